//! `[sink.postgres]`.

use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_sinks::postgres::{PostgresSink, PostgresTarget};

use crate::config::{self, SecretError};

pub(super) fn make(
    name: &str,
    settings: &config::Postgres,
) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    Ok(Arc::new(PostgresSink::new(name, target(settings)?)?))
}

fn target(settings: &config::Postgres) -> anyhow::Result<PostgresTarget> {
    let address = settings.address().read().map_err(SecretError::named)?;
    let target = PostgresTarget::parse(address.expose())?;
    Ok(settings.tls().onto(
        target,
        PostgresTarget::with_ca_file,
        PostgresTarget::with_certificate,
    ))
}
