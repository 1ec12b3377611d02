//! Witnesses of a trail: starts the threads that ask them, and logs their trouble.

use std::sync::Arc;

use livetrail_ledger::{
    Handle, HttpTransport, SharedStore, Witness, WitnessEvent, WitnessFloor, WitnessOptions,
    WitnessTransport, Witnesses,
};

use super::Settings;

/// The configured witnesses, before they are asked.
pub(super) struct Configured {
    witnesses: Vec<Witness>,
    options: WitnessOptions,
    transport: Arc<dyn WitnessTransport>,
}

impl Configured {
    /// The witnesses, or `None` if there are none.
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        if settings.witnesses.is_empty() {
            return None;
        }
        Some(Self {
            witnesses: settings.witnesses.clone(),
            options: settings.witness.clone(),
            transport: Arc::new(HttpTransport::new()),
        })
    }

    /// Asks the witnesses what they have seen, before the trail is opened.
    pub(super) fn floor(&self, store: SharedStore) -> anyhow::Result<WitnessFloor> {
        Ok(WitnessFloor::new(
            store,
            self.witnesses.clone(),
            self.options.clone(),
            Arc::clone(&self.transport),
        )?)
    }

    /// Shows the witnesses each newest checkpoint from now on.
    pub(super) fn follow(self, handle: Handle) -> anyhow::Result<Witnesses> {
        let started = Witnesses::start(
            handle,
            self.witnesses,
            self.options,
            self.transport,
            log_event,
        )?;
        Ok(started)
    }
}

fn log_event(event: &WitnessEvent) {
    match event {
        WitnessEvent::Overdue { witness, error } => tracing::error!(
            "{witness} has not cosigned the trail for a while; the trail goes on without it: {error}"
        ),
        WitnessEvent::Back { witness, size } => {
            tracing::info!(size, "{witness} cosigns the trail again");
        }
        WitnessEvent::Alarm { reason } => {
            tracing::error!("the trail was stopped; nothing more is signed: {reason}");
        }
        _ => {}
    }
}
