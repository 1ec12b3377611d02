//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::StdoutSink;
use crate::error::SinksError;
use crate::settings::{Build, SinkContext, Stdout};

impl Build for Stdout {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let sink = StdoutSink::new(name, cx.cursors)?;
        Ok(Arc::new(match personal {
            PersonalMode::Clear => sink.with_names_in_clear(),
            _ => sink,
        }))
    }
}
