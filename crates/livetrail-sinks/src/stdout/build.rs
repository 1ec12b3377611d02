//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::ReplicaSink;

use super::StdoutSink;
use crate::error::SinksError;
use crate::settings::{Build, SinkContext, Stdout};

impl Build for Stdout {
    fn build(&self, name: &str, cx: &SinkContext<'_>) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        Ok(Arc::new(StdoutSink::new(name, cx.cursors)?))
    }
}
