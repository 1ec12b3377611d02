//! The sink: requests, and then the cursor.

use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::ReplicaError;

use super::client::Client;
use super::record;
use super::target::OtlpTarget;
use crate::at_least_once::{AtLeastOnce, Sent, Transport};
use crate::error::SinksError;
use crate::local_cursor::Claim;

/// A collector of OpenTelemetry as a replica of the ledger. See the [module](super) for what it is sent, and what is promised.
///
/// Many logs and sinks may send to one collector. Its cursors are in a file for each log. Memory: a request, which is about 2 MiB.
pub type OtlpSink = AtLeastOnce<Collector>;

/// Requests to a collector.
#[derive(Debug)]
pub struct Collector(Client);

impl OtlpSink {
    /// A sink of this name, whose cursors are in `folder`. Connects when it is used.
    ///
    /// # Errors
    /// Files with certificates cannot be used, or there is no TLS to a collector beyond this machine.
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
            Sent::Range(range) => self.0.send_entries(range.origin(), range.iter()).await?,
            Sent::Gap(gap) => {
                let records = vec![record::gap(gap)];
                self.0.send(&gap.origin, &gap.missing, records).await?;
            }
        }
        Ok(claim)
    }

    /// Sends a request without records, which a collector answers as any other.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.0.send("", &(0..0), Vec::new()).await
    }
}
