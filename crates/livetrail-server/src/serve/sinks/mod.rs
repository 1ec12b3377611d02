//! The sinks that follow the server's trail: from the configuration to replicators that run.

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(feature = "stdout")]
mod stdout;
#[cfg(feature = "syslog")]
mod syslog;

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use livetrail_replica::ReplicaSink;

use crate::{config, trail::Followers};

/// Below the data directory: the cursors of sinks whose place cannot say what it holds.
const CURSORS: &str = "sinks";

/// Makes the configured sinks. Nothing is connected to. Those whose place cannot say what it holds
/// keep their cursors below the data directory.
///
/// # Errors
/// A secret or a certificate is not where it should be, or this build has no sink of that kind.
pub(crate) fn configured(sinks: &[config::Sink], data: &Path) -> anyhow::Result<Followers> {
    let cursors = data.join(CURSORS);
    sinks.iter().try_fold(Followers::none(), |followers, sink| {
        let made = make(sink, &cursors).with_context(|| format!("sink {}", sink.name))?;
        Ok(followers.with(made, sink.options()))
    })
}

#[cfg_attr(
    not(any(feature = "otlp", feature = "stdout", feature = "syslog")),
    expect(unused_variables, reason = "for sinks that this build leaves out")
)]
fn make(sink: &config::Sink, cursors: &Path) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    if let Some(settings) = &sink.file {
        #[cfg(feature = "file")]
        return Ok(file::make(&sink.name, settings));
        #[cfg(not(feature = "file"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("file"));
        }
    }
    if let Some(settings) = &sink.kafka {
        #[cfg(feature = "kafka")]
        return kafka::make(&sink.name, settings);
        #[cfg(not(feature = "kafka"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("kafka"));
        }
    }
    if let Some(settings) = &sink.otlp {
        #[cfg(feature = "otlp")]
        return otlp::make(&sink.name, settings, cursors);
        #[cfg(not(feature = "otlp"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("otlp"));
        }
    }
    if let Some(settings) = &sink.postgres {
        #[cfg(feature = "postgres")]
        return postgres::make(&sink.name, settings);
        #[cfg(not(feature = "postgres"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("postgres"));
        }
    }
    if let Some(settings) = &sink.s3 {
        #[cfg(feature = "s3")]
        return s3::make(&sink.name, settings);
        #[cfg(not(feature = "s3"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("s3"));
        }
    }
    if sink.stdout.is_some() {
        #[cfg(feature = "stdout")]
        return stdout::make(&sink.name, cursors);
        #[cfg(not(feature = "stdout"))]
        anyhow::bail!(not_built("stdout"));
    }
    if let Some(settings) = &sink.syslog {
        #[cfg(feature = "syslog")]
        return syslog::make(&sink.name, settings, cursors);
        #[cfg(not(feature = "syslog"))]
        {
            let _ = settings;
            anyhow::bail!(not_built("syslog"));
        }
    }
    anyhow::bail!("it is of no kind")
}

/// What to do where this build leaves a kind of sink out.
#[cfg(not(all(
    feature = "file",
    feature = "kafka",
    feature = "otlp",
    feature = "postgres",
    feature = "s3",
    feature = "stdout",
    feature = "syslog"
)))]
pub(crate) fn not_built(kind: &str) -> String {
    format!(
        "this program was built without {kind}: build livetrail-server with `--features {kind}`"
    )
}

#[cfg(all(test, not(feature = "kafka")))]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_was_not_built_in_is_refused_with_what_to_do() {
        let text = "name = \"topic\"\n[kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntopic = \"audit\"\n";
        let sink: config::Sink = toml::from_str(text).unwrap();
        let refused = configured(&[sink], Path::new("data")).expect_err("it is refused");
        assert_eq!(
            format!("{refused:#}"),
            "sink topic: this program was built without kafka: build livetrail-server with `--features kafka`"
        );
    }
}
