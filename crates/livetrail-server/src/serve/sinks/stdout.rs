//! `[sink.stdout]`.

use std::path::Path;
use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_sinks::stdout::StdoutSink;

pub(super) fn make(name: &str, cursors: &Path) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    Ok(Arc::new(StdoutSink::new(name, cursors)?))
}
