//! `[sink.postgres]`.

use std::sync::Arc;

use livetrail_audit::replica::ReplicaSink;
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget};

use crate::config;

pub(super) fn make(
    name: &str,
    settings: &config::Postgres,
) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    Ok(Arc::new(PostgresSink::new(name, target(settings)?)?))
}

fn target(settings: &config::Postgres) -> anyhow::Result<PostgresTarget> {
    let mut target = PostgresTarget::parse(settings.address()?.expose())?;
    if let Some(file) = &settings.ca_file {
        target = target.with_ca_file(file);
    }
    if let (Some(chain), Some(key)) = (&settings.certificate_file, &settings.key_file) {
        target = target.with_certificate(chain, key);
    }
    Ok(target)
}
