//! `[sink.file]`.

use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_sinks::file::{FileReplica, Format, Rotation};

use crate::config;

pub(super) fn make(name: &str, settings: &config::LineFile) -> Arc<dyn ReplicaSink> {
    let format = match settings.format {
        config::LineFormat::Lines => Format::Lines,
        config::LineFormat::Json => Format::Json,
    };
    let rotation = Rotation {
        max_bytes: settings.rotate_bytes.map(|most| most.0 as u64),
        every: settings.rotate_every.map(|every| every.0),
        keep_files: settings.keep_files,
    };
    let path = &settings.path;
    Arc::new(FileReplica::rotating(name, path, format, rotation))
}
