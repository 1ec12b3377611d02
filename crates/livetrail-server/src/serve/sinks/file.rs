//! `[sink.file]`.

use std::sync::Arc;

use livetrail_audit::replica::ReplicaSink;
use livetrail_sinks::file::{FileReplica, Format};

use crate::config;

pub(super) fn make(name: &str, settings: &config::LineFile) -> Arc<dyn ReplicaSink> {
    let format = match settings.format {
        config::LineFormat::Lines => Format::Lines,
        config::LineFormat::Json => Format::Json,
    };
    Arc::new(FileReplica::new(name, &settings.path, format))
}
