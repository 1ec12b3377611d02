//! The sink: it sends requests, and then it moves the cursor.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_clock::Clock;
use livetrail_replica::ReplicaError;

use super::hook::Requests;
use super::target::WebhookTarget;
use crate::at_least_once::{AtLeastOnce, Sent, Transport};
use crate::error::SinksError;
use crate::local_cursor::{Claim, Lost};

/// A web service that gets events of the ledger. The [module](super) describes the requests and the
/// guarantees.
///
/// Many logs and sinks may send to one service. The sink has a cursor file for each log. Memory:
/// one request, which is about 2 MiB.
pub type WebhookSink = AtLeastOnce<Hook>;

/// Requests to a web service.
#[derive(Debug)]
pub struct Hook(Requests);

impl WebhookSink {
    /// Creates a sink with this name and with cursors in `folder`. It connects at its first call.
    /// `clock` gives the time in signatures and the age of events.
    ///
    /// # Errors
    /// [`SinksError::Request`]: the files with certificates are not usable, or a service on another
    /// machine has no TLS.
    pub fn new(
        name: impl Into<String>,
        target: WebhookTarget,
        folder: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SinksError> {
        let hook = Hook(Requests::new(target, clock)?);
        Ok(Self::with_transport(name, hook, folder))
    }
}

#[async_trait]
impl Transport for Hook {
    type Turn = ();

    fn turn(&self) -> Result<(), ReplicaError> {
        Ok(())
    }

    async fn send(
        &self,
        _turn: (),
        sent: Sent<'_>,
        mut claim: Claim,
    ) -> Result<Claim, ReplicaError> {
        let lost = match sent {
            Sent::Range(range) => self.0.send_events(range, claim.lost()).await?,
            Sent::Gap(gap) => {
                let missing = Lost {
                    first: gap.missing.start,
                    next: gap.missing.end,
                    events: gap.missing.end.saturating_sub(gap.missing.start),
                };
                let lost = claim.lost().map_or(missing, |lost| lost.and(missing));
                self.0.report(&gap.origin, lost).await?;
                None
            }
        };
        claim.set_lost(lost);
        Ok(claim)
    }

    /// Sends a request without events. A service answers it like any other.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.0.probe().await
    }

    fn lost(&self) -> u64 {
        self.0.given_up()
    }
}
