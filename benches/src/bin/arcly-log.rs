//! Writes an audit log with `arcly-stream`: the file that the tests of `--format arcly` read.
//!
//! ```console
//! $ cargo run --manifest-path benches/Cargo.toml --bin arcly-log -- audit.log
//! ```

use std::{error::Error, sync::Arc, time::Duration};

use arcly_stream::{
    audit::{AuditAction, AuditPipeline, AuditRecord, AuditSink, FileAuditSink},
    prelude::*,
};

/// Labels that read differently in a line of Livetrail's own.
const LABELS: [&str; 6] = [
    "scene change",
    "100%=full",
    "bitrate=5 fps=30",
    "%41",
    "a\ttab and a\nline feed, and\rno more",
    "",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: arcly-log FILE")?;
    let sink = Arc::new(FileAuditSink::open(path)?);
    for (n, label) in (1..).zip(LABELS) {
        let record = AuditRecord {
            ts_ms: n,
            action: AuditAction::Event(label.to_owned()),
            app: "live".to_owned(),
            stream: (n % 2 == 0).then(|| "50% = cam".to_owned()),
        };
        sink.write(record).await;
    }
    let pipeline = AuditPipeline::new(sink, 64);
    let key = StreamKey::new("live", "cam");
    pipeline.on_publish_started("live");
    pipeline.on_rate_limited(&key);
    pipeline.on_subscriber_evicted(&key);
    pipeline.on_stream_reaped(&key);
    pipeline.on_publish_ended("live");
    tokio::time::sleep(Duration::from_millis(300)).await;
    Ok(())
}
