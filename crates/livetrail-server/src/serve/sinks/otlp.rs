//! `[sink.otlp]`.

use std::path::Path;
use std::sync::Arc;

use livetrail_audit::replica::ReplicaSink;
use livetrail_sinks::otlp::{OtlpSink, OtlpTarget};

use crate::config;

pub(super) fn make(
    name: &str,
    settings: &config::Otlp,
    cursors: &Path,
) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    let sink = OtlpSink::new(name, target(settings)?, cursors)?;
    Ok(Arc::new(sink))
}

fn target(settings: &config::Otlp) -> anyhow::Result<OtlpTarget> {
    let mut target =
        OtlpTarget::parse(&settings.endpoint)?.with_service_name(&settings.service_name);
    if settings.insecure {
        target = target.insecure();
    }
    if settings.compression == config::OtlpCompression::None {
        target = target.uncompressed();
    }
    if let Some(file) = &settings.ca_file {
        target = target.with_ca_file(file);
    }
    if let (Some(chain), Some(key)) = (&settings.certificate_file, &settings.key_file) {
        target = target.with_certificate(chain, key);
    }
    for header in &settings.header {
        target = target.with_header(&header.name, header.secret()?.expose())?;
    }
    Ok(target)
}
