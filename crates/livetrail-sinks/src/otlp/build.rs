//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{OtlpSink, OtlpTarget};
use crate::error::SinksError;
use crate::settings::{Build, Compression, Otlp, SinkContext};

impl Build for Otlp {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let mut target = OtlpTarget::parse(&self.endpoint)?.with_service_name(&self.service_name);
        if self.insecure {
            target = target.insecure();
        }
        if self.compression == Compression::None {
            target = target.uncompressed();
        }
        target = self.tls().onto(
            target,
            OtlpTarget::with_ca_file,
            OtlpTarget::with_certificate,
        );
        for header in &self.header {
            let value = header.secret().read().map_err(|error| {
                let (name, source) = (header.name.clone(), Box::new(error.into()));
                SinksError::HeaderValue { name, source }
            })?;
            target = target.with_header(&header.name, value.expose())?;
        }
        let sink = OtlpSink::new(name, target, cx.cursors)?;
        Ok(Arc::new(match personal {
            PersonalMode::Clear => sink.with_names_in_clear(),
            _ => sink,
        }))
    }
}
