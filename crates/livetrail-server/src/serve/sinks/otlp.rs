//! `[sink.otlp]`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use livetrail_replica::ReplicaSink;
use livetrail_sinks::otlp::{OtlpSink, OtlpTarget};

use crate::config::{self, SecretError};

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
    target = settings.tls().onto(
        target,
        OtlpTarget::with_ca_file,
        OtlpTarget::with_certificate,
    );
    for header in &settings.header {
        let value = header.secret().read().map_err(SecretError::named);
        let value = value.with_context(|| format!("header {:?}", header.name))?;
        target = target.with_header(&header.name, value.expose())?;
    }
    Ok(target)
}
