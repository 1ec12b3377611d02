//! Builds a sink from settings.

use std::sync::Arc;

use livetrail_replica::{PersonalMode, ReplicaSink};

use super::{WebhookSink, WebhookTarget};
use crate::error::SinksError;
use crate::settings::{Build, SinkContext, Webhook};

impl Build for Webhook {
    fn build(
        &self,
        name: &str,
        personal: PersonalMode,
        cx: &SinkContext<'_>,
    ) -> Result<Arc<dyn ReplicaSink>, SinksError> {
        let secret = self.key().read()?;
        let mut target = WebhookTarget::new(&self.url, secret.expose())?
            .with_actions(&self.actions)
            .with_max_events(self.max_events)
            .with_timeout(self.timeout.0)
            .with_max_age(self.max_age.0);
        if self.insecure {
            target = target.insecure();
        }
        target = self.tls().onto(
            target,
            WebhookTarget::with_ca_file,
            WebhookTarget::with_certificate,
        );
        let sink = WebhookSink::new(name, target, cx.cursors, Arc::clone(&cx.clock))?;
        Ok(Arc::new(match personal {
            PersonalMode::Clear => sink.with_names_in_clear(),
            _ => sink,
        }))
    }
}
