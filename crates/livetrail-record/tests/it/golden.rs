//! The format is fixed: these records always have exactly the bytes in `golden.txt`.
//!
//! The file has three lines per record: `# name`, its canonical bytes, and its line. In
//! `golden_entries.txt` the three lines are `# name`, the entry of schema 2, and its opening or
//! `-`. Another implementation made that file from `golden.txt`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use livetrail_record::{
    AuditAction, AuditRecord, EntryContext, Opening, Outcome, Reason, Uuid, Value,
    encode_canonical, encode_entry, encode_line, parse_canonical, parse_line,
};

const SESSION: Uuid = Uuid::from_u128(0x019a_a5c5_8000_7000_8000_0000_0000_0001);
const BOOT: Uuid = Uuid::from_u128(0x019a_a5c0_0000_7abc_9def_0123_4567_89ab);

fn placed(record: AuditRecord, seq: u64) -> AuditRecord {
    record
        .with_ts_ms(1_763_805_600_123)
        .with_node("edge-1")
        .with_boot(BOOT)
        .with_seq(seq)
        .with_mono_ms(4_567)
        .with_nonce(*b"0123456789abcdef")
}

fn records() -> Vec<(&'static str, AuditRecord)> {
    let live = |action| AuditRecord::new(action, "live").with_stream("cam");
    vec![
        ("the smallest", AuditRecord::new(AuditAction::Heartbeat, "")),
        (
            "publish_started",
            placed(live(AuditAction::PublishStarted), 1)
                .with_session(SESSION)
                .with_outcome(Outcome::Success)
                .with_protocol("rtmp")
                .with_principal("studio-1")
                .with_peer("192.0.2.7:50312")
                .with_user_agent("FMLE/3.0 (compatible; FMSc/1.0)"),
        ),
        (
            "publish_ended",
            placed(live(AuditAction::PublishEnded), 2)
                .with_session(SESSION)
                .with_outcome(Outcome::Success)
                .with_reason(Reason::ClientClosed)
                .with_duration_ms(61_000)
                .with_bytes(9_007_199_254_740_991)
                .with_frames(1_830)
                .with_dropped_frames(0),
        ),
        (
            "play_denied",
            placed(live(AuditAction::PlayDenied), 3)
                .with_session(SESSION)
                .with_outcome(Outcome::Denied)
                .with_reason(Reason::Unauthorized)
                .with_protocol("http-flv"),
        ),
        (
            "server_crash",
            placed(live(AuditAction::PlayEnded), 4)
                .with_session(SESSION)
                .with_outcome(Outcome::Failed)
                .with_reason(Reason::ServerCrash)
                .with_inferred(true),
        ),
        (
            "records_dropped",
            placed(AuditRecord::new(AuditAction::RecordsDropped, ""), 20)
                .with_count(4)
                .with_first_seq(5)
                .with_last_seq(19)
                .with_detail("play_started:3,publish_ended:1"),
        ),
        (
            "event",
            live(AuditAction::Event("score\t3=2, 100% \u{1f600}".into()))
                .with_ts_ms(1)
                .with_detail("a \"quoted\"\\\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f} word"),
        ),
        ("a later version", {
            let mut record = AuditRecord::new(AuditAction::from_label("transcode_started"), "live")
                .with_extra(
                    "region",
                    Value::List(vec![Value::Integer(-1), Value::Null, Value::Bool(false)]),
                )
                .unwrap()
                .with_extra("\u{fb33}", Value::Text("after".into()))
                .unwrap()
                .with_extra("\u{1f600}", Value::Text("before".into()))
                .unwrap();
            record.v = 2;
            record
        }),
    ]
}

#[test]
fn the_golden_bytes_have_not_changed() {
    let golden = include_str!("../golden.txt");
    let lines: Vec<&str> = golden.lines().collect();
    let records = records();
    assert_eq!(lines.len(), 3 * records.len(), "three lines a record");
    for (part, (name, record)) in lines.chunks(3).zip(&records) {
        assert_eq!(part[0], format!("# {name}"));
        assert_eq!(
            String::from_utf8(encode_canonical(record).unwrap()).unwrap(),
            part[1],
            "{name}"
        );
        assert_eq!(encode_line(record), format!("{}\n", part[2]), "{name}");
        assert_eq!(
            &parse_canonical(part[1].as_bytes()).unwrap(),
            record,
            "{name}"
        );
        let read = parse_line(part[2].as_bytes()).unwrap();
        assert_eq!(encode_line(&read), encode_line(record), "{name}");
    }
}

#[test]
fn the_golden_entries_of_schema_2_have_not_changed() {
    let golden = include_str!("../golden_entries.txt");
    let lines: Vec<&str> = golden.lines().collect();
    let records = records();
    assert_eq!(lines.len(), 3 * records.len(), "three lines a record");
    for (part, (name, record)) in lines.chunks(3).zip(&records) {
        assert_eq!(part[0], format!("# {name}"));
        let entry = encode_entry(record, &EntryContext::new(*b"fedcba9876543210")).unwrap();
        let opening = entry.opening.as_ref().map(Opening::to_json);
        let opening = String::from_utf8(opening.unwrap_or(b"-".to_vec())).unwrap();
        assert_eq!(opening, part[2], "{name}");
        let bytes = String::from_utf8(entry.bytes).unwrap();
        assert_eq!(bytes, part[1], "{name}");
        let read = parse_canonical(bytes.as_bytes()).unwrap();
        assert_eq!(encode_canonical(&read).unwrap(), bytes.as_bytes(), "{name}");
        let line = encode_line(&read);
        assert_eq!(
            encode_line(&parse_line(line.as_bytes()).unwrap()),
            line,
            "{name}"
        );
        let most = match *name {
            "publish_started" => 350,
            "publish_ended" => 390,
            _ => continue,
        };
        assert!(bytes.len() <= most, "{name} has {} bytes", bytes.len());
    }
}
