//! The sink: it sends requests, and then it moves the cursor.

use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::ReplicaError;

use super::client::Client;
use super::record;
use super::target::OtlpTarget;
use crate::at_least_once::{AtLeastOnce, Sent, Transport};
use crate::error::SinksError;
use crate::local_cursor::Claim;

/// A collector of OpenTelemetry as a replica of the ledger. The [module](super) describes the
/// requests and the guarantees.
///
/// Many logs and sinks may send to one collector. The sink has a cursor file for each log. Memory:
/// one request, which is about 2 MiB.
pub type OtlpSink = AtLeastOnce<Collector>;

/// Requests to a collector.
#[derive(Debug)]
pub struct Collector(Client);

impl OtlpSink {
    /// Creates a sink with this name and with cursors in `folder`. It connects at its first call.
    ///
    /// # Errors
    /// The files with certificates are not usable, or a collector on another machine has no TLS.
    pub fn new(
        name: impl Into<String>,
        target: OtlpTarget,
        folder: &Path,
    ) -> Result<Self, SinksError> {
        let collector = Collector(Client::new(target)?);
        Ok(Self::with_transport(name, collector, folder))
    }
}

#[async_trait]
impl Transport for Collector {
    type Turn = ();

    fn turn(&self) -> Result<(), ReplicaError> {
        Ok(())
    }

    async fn send(&self, _turn: (), sent: Sent<'_>, claim: Claim) -> Result<Claim, ReplicaError> {
        match sent {
            Sent::Range(range) => self.0.send_entries(range).await?,
            Sent::Gap(gap) => {
                let records = vec![record::gap(gap)];
                self.0.send(&gap.origin, &gap.missing, records).await?;
            }
        }
        Ok(claim)
    }

    /// Sends a request without records. A collector answers it like any other.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.0.send("", &(0..0), Vec::new()).await
    }
}
