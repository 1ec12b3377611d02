//! The sink: requests, and then the cursor.

use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::{Delivery, Gap, ReplicaError, ReplicaSink, SealedRange, SinkCursor};

use super::client::Client;
use super::record;
use super::target::OtlpTarget;
use crate::error::SinksError;
use crate::local_cursor::LocalCursor;

/// A collector of OpenTelemetry as a replica of the ledger. See the [module](super) for what it is sent, and what is promised.
///
/// Many logs and sinks may send to one collector. Its cursors are in a file for each log. Memory: a request, which is about 2 MiB.
#[derive(Debug)]
pub struct OtlpSink {
    name: String,
    client: Client,
    cursor: LocalCursor,
}

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
        let name = name.into();
        Ok(Self {
            client: Client::new(target)?,
            cursor: LocalCursor::new(folder, &name),
            name,
        })
    }
}

#[async_trait]
impl ReplicaSink for OtlpSink {
    fn name(&self) -> &str {
        &self.name
    }

    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        self.cursor.read(origin).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let claim = self.cursor.claim(range.origin(), range.first()).await?;
        // A crash here, or an error: the collector has some of it, and all of it is sent again.
        self.client
            .send_entries(range.origin(), range.iter())
            .await?;
        // A crash here: it has all of it, and gets it twice.
        claim.commit(range).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let claim = self.cursor.claim(&gap.origin, gap.missing.start).await?;
        let records = vec![record::gap(gap)];
        self.client.send(&gap.origin, &gap.missing, records).await?;
        claim.commit_gap(gap).await
    }

    /// Sends a request without records, which a collector answers as any other.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.client.send("", &(0..0), Vec::new()).await
    }
}
