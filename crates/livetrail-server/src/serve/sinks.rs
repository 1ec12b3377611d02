//! Creates the sinks that follow the server's trail, from the configuration.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use livetrail_engine::SystemClock;
use livetrail_sinks::{SinksError, settings::SinkContext};
use livetrail_trail::Followers;

use crate::config;

/// Directory below the data directory, for the cursors of sinks whose destination cannot report
/// what it holds.
const CURSORS: &str = "sinks";

/// Makes the configured sinks. No connection is made. Sinks whose destination cannot report what it
/// holds keep their cursors below the data directory.
///
/// # Errors
/// A secret or a certificate is missing, or this build does not have the kind of a sink.
pub(crate) fn configured(sinks: &[config::Sink], data: &Path) -> anyhow::Result<Followers> {
    let context = SinkContext {
        cursors: &data.join(CURSORS),
        clock: Arc::new(SystemClock::new()),
    };
    sinks.iter().try_fold(Followers::none(), |followers, sink| {
        let made = sink.build(&context).map_err(refused);
        let made = made.with_context(|| format!("sink {}", sink.name))?;
        Ok(followers.with(made, sink.options()))
    })
}

/// The error of a sink that cannot be made, in words of this program.
fn refused(error: SinksError) -> anyhow::Error {
    match error {
        SinksError::NotBuilt { kind } => anyhow::anyhow!(not_built(kind)),
        error => error.into(),
    }
}

/// The solution if this build does not have a kind of sink.
pub(crate) fn not_built(kind: &str) -> String {
    format!(
        "this program was built without {kind}: build livetrail-server with `--features {kind}`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Tests of the whole workspace build the sinks with every kind, so the refusal is made by hand.
    #[test]
    fn a_sink_that_was_not_built_in_is_refused_with_what_to_do() {
        assert_eq!(
            refused(SinksError::NotBuilt { kind: "kafka" }).to_string(),
            "this program was built without kafka: build livetrail-server with `--features kafka`"
        );
    }
}
