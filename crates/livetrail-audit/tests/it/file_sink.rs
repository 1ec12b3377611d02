//! The file sink writes whole lines, loses nothing, and reports a failing disk.

use crate::common;
use std::sync::Arc;
use std::time::Duration;

use crate::common::wait_until;
use livetrail_audit::{
    AuditAction, AuditError, AuditPipeline, AuditRecord, AuditSink, FileAuditSink, FileTrail,
    LineFormat, Mode, Policy, SinkError, Status,
};
use livetrail_engine::{Gate, Observer, Reason, Role};
use livetrail_record::parse_line;

fn record(n: u64) -> AuditRecord {
    AuditRecord::new(AuditAction::PublishStarted, "live")
        .with_stream("cam")
        .with_ts_ms(n)
}

#[tokio::test]
async fn records_are_lines_and_opening_again_appends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.tsv");
    let sink = FileAuditSink::open(&path).unwrap();
    sink.write(record(1)).await;
    sink.flush().await.unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "1\tpublish_started\tlive\tcam\t\n"
    );
    drop(sink);
    let sink = FileAuditSink::open(&path).unwrap();
    let label = AuditRecord::new(AuditAction::Event("a\tb\nc".into()), "live").with_ts_ms(2);
    sink.write_batch(vec![label, record(3)]).await;
    drop(sink);
    let expected = "1\tpublish_started\tlive\tcam\t\n2\tevent\tlive\t-\ta b c\n3\tpublish_started\tlive\tcam\t\n";
    assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
}

#[test]
fn a_torn_last_line_is_dropped_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.tsv");
    std::fs::write(
        &path,
        "1\tpublish_started\tlive\tcam\t\n2\tplay_ended\tlive\tcam\tbytes=12",
    )
    .unwrap();
    let sink = FileAuditSink::open(&path).unwrap();
    assert_eq!(sink.torn_bytes(), 30);
    drop(sink);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "1\tpublish_started\tlive\tcam\t\n"
    );
}

#[test]
fn lines_of_many_writers_never_interleave() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.tsv");
    let sink = Arc::new(FileAuditSink::open(&path).unwrap());
    std::thread::scope(|scope| {
        for writer in 0..4_u64 {
            let sink = Arc::clone(&sink);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    for n in 0..500 {
                        let detail = format!("{writer}").repeat(usize::try_from(n % 100).unwrap());
                        sink.write(record(n).with_seq(writer).with_detail(detail))
                            .await;
                    }
                });
            });
        }
    });
    drop(sink);
    let mut next = [0; 4];
    for line in FileTrail::open(&path).unwrap() {
        let record = line.unwrap().record;
        let writer = record.seq.unwrap();
        let next = &mut next[usize::try_from(writer).unwrap()];
        assert_eq!(record.ts_ms, *next, "the order of each writer is kept");
        *next += 1;
        let detail = record.detail.unwrap();
        assert!(
            detail
                .expose()
                .chars()
                .all(|c| c.to_string() == writer.to_string())
        );
    }
    assert_eq!(next, [500; 4]);
}

#[tokio::test]
async fn a_full_disk_is_counted_visible_and_refuses_what_is_strict() {
    let sink = Arc::new(FileAuditSink::open("/dev/full").unwrap());
    let pipeline = AuditPipeline::new(sink.clone(), 64);
    let gate = pipeline.gate(Policy::of(Mode::Strict));
    let publisher = common::context(Role::Publish, "cam");
    pipeline.on_event(&common::started(&publisher));
    assert_eq!(
        gate.confirm(&publisher).await,
        Err(Reason::AuditUnavailable)
    );
    wait_until(|| sink.failed() >= 3);
    assert!(
        matches!(sink.failing(), Some(SinkError::Write(error)) if error.raw_os_error() == Some(28))
    );
    assert!(matches!(
        pipeline.status(),
        Status::Failing {
            error: SinkError::Write(_),
            ..
        }
    ));
    assert!(matches!(sink.flush().await, Err(SinkError::Write(_))));
    let report = pipeline.close().await;
    assert!(!report.durable);
}

#[tokio::test]
async fn a_sink_that_cannot_write_holds_a_bounded_amount() {
    let sink = FileAuditSink::open("/dev/full").unwrap();
    let long = "x".repeat(60_000);
    let flood = async {
        for n in 0..1_000 {
            sink.write(record(n).with_detail(long.as_str())).await;
        }
    };
    let flooded = tokio::time::timeout(Duration::from_millis(300), flood).await;
    assert!(flooded.is_err(), "60 MB do not fit into the sink's 8 MiB");
}

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let error = FileAuditSink::open("/nonexistent/audit.tsv").unwrap_err();
    assert!(matches!(&error, AuditError::Open { path, .. } if path.ends_with("audit.tsv")));
    assert!(error.to_string().contains("/nonexistent/audit.tsv"));
}

#[tokio::test]
async fn a_pipeline_into_a_file_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.tsv");
    let sink = Arc::new(FileAuditSink::open(&path).unwrap());
    let pipeline = AuditPipeline::new(sink, 100_000);
    let publisher = common::context(Role::Publish, "cam");
    for _ in 0..50_000 {
        pipeline.on_publish_started(&common::started(&publisher));
    }
    let report = pipeline.close().await;
    assert_eq!(
        (report.dropped, report.written, report.durable),
        (0, 50_000, true)
    );
    let text = std::fs::read(&path).unwrap();
    let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 50_000);
    for (n, line) in lines.into_iter().enumerate() {
        assert_eq!(
            parse_line(line).unwrap().seq,
            Some(u64::try_from(n).unwrap())
        );
    }
}

/// `cargo run --manifest-path benches/Cargo.toml --bin arcly-log -- FILE` wrote this file with
/// `arcly-stream` 0.8.3. Only the times of the last five lines were set.
#[test]
fn a_log_that_arcly_stream_wrote_is_read_completely_when_told_so() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/arcly/audit.log");
    let trail = FileTrail::open(path).unwrap().format(LineFormat::Arcly);
    let records: Vec<_> = trail.map(|line| line.unwrap().record).collect();
    let events = [
        "scene change",
        "100%=full",
        "bitrate=5 fps=30",
        "%41",
        "a tab and a line feed, and\rno more",
        "",
    ];
    for (n, (record, label)) in (1..).zip(records.iter().zip(events)) {
        assert_eq!(record.action, AuditAction::Event(label.to_owned()));
        assert_eq!((record.ts_ms, record.app.as_str()), (n, "live"));
        let stream = (n % 2 == 0).then_some("50% = cam");
        assert_eq!(record.stream.as_deref(), stream);
    }
    let rest: Vec<_> = records[events.len()..]
        .iter()
        .map(|record| {
            (
                record.action.label(),
                record.stream.as_deref(),
                record.ts_ms,
            )
        })
        .collect();
    let at = 1_763_805_600_123;
    assert_eq!(
        rest,
        [
            ("publish_started", None, at),
            ("rate_limited", Some("cam"), at),
            ("subscriber_evicted", Some("cam"), at),
            ("stream_reaped", Some("cam"), at),
            ("publish_ended", None, at),
        ]
    );
    // As lines of our own, some are not records, and one reads as another text.
    let ours: Vec<_> = FileTrail::open(path).unwrap().collect();
    assert_eq!(ours.iter().filter(|line| line.is_err()).count(), 4);
}
