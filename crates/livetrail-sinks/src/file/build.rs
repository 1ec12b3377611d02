//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{FileReplica, Rotation};
use crate::error::SinksError;
use crate::settings::{Build, File, SinkContext};

impl Build for File {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        _cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let rotation = Rotation {
            max_bytes: self.rotate_bytes.map(|most| most.0 as u64),
            every: self.rotate_every.map(|every| every.0),
            keep_files: self.keep_files,
        };
        let (path, format) = (&self.path, self.format);
        let sink = FileReplica::rotating(name, path, format, rotation);
        Ok(Arc::new(match personal {
            PersonalMode::Clear => sink.with_names_in_clear(),
            _ => sink,
        }))
    }
}
