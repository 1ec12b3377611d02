//! A sink of your own: `cargo run -p livetrail --example own_sink`.

#![allow(clippy::print_stdout, reason = "an example for people")]

use livetrail::prelude::*;

/// Prints records. A real sink would send them to a collector.
struct Collector;

#[async_trait]
impl AuditSink for Collector {
    async fn write(&self, record: AuditRecord) {
        match livetrail::record::encode_canonical(&record) {
            Ok(bytes) => println!("{}", String::from_utf8_lossy(&bytes)),
            Err(error) => println!("not an entry: {error}"),
        }
    }

    // A sink that gets many records at once usually overrides `write_batch`; one that stores them,
    // `flush`.
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = Arc::new(AuditPipeline::new(Arc::new(Collector), 1_024));
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .audit(&pipeline, Policy::of(Mode::BestEffort))
        .build()?;
    let publication = engine
        .publish(Attempt::new(StreamKey::parse("live", "cam")?, "example"))
        .await?;
    pipeline.record(
        AuditRecord::new(AuditAction::Event("the show begins".to_owned()), "live")
            .with_stream("cam"),
    )?;
    drop(publication);
    pipeline.close().await;
    Ok(())
}
