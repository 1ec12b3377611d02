//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{PostgresSink, PostgresTarget};
use crate::error::SinksError;
use crate::settings::{Build, Postgres, SinkContext};

impl Build for Postgres {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        _cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let target = PostgresTarget::parse(self.address().read()?.expose())?;
        let target = self.tls().onto(
            target,
            PostgresTarget::with_ca_file,
            PostgresTarget::with_certificate,
        );
        let sink = PostgresSink::new(name, target)?;
        Ok(Arc::new(if personal == PersonalMode::Opening {
            sink.keeping_openings()
        } else {
            sink
        }))
    }
}
