//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{SyslogSink, SyslogTarget};
use crate::error::SinksError;
use crate::settings::{Build, SinkContext, Syslog};

impl Build for Syslog {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let mut target = SyslogTarget::parse(&self.address, self.transport)?
            .with_names(self.facility, self.enterprise)?;
        if self.insecure {
            target = target.insecure();
        }
        if self.accept_plain_close {
            target = target.taking_plain_close();
        }
        if let Some(name) = &self.server_name {
            target = target.with_server_name(name);
        }
        target = self.tls().onto(
            target,
            SyslogTarget::with_ca_file,
            SyslogTarget::with_certificate,
        );
        let sink = SyslogSink::new(name, target, cx.cursors)?;
        Ok(Arc::new(match personal {
            PersonalMode::Clear => sink.with_names_in_clear(),
            _ => sink,
        }))
    }
}
