//! The sink: a connection a batch, and then the cursor.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::{Delivery, Gap, ReplicaError, ReplicaSink, SealedRange, SinkCursor};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::message::Encoder;
use super::target::SyslogTarget;
use crate::error::SinksError;
use crate::local_cursor::LocalCursor;

/// So many bytes are gathered before they are written. Memory: this, and a message.
const CHUNK_BYTES: usize = 64 << 10;

/// A receiver of syslog as a replica of the ledger. See the [module](super) for what it is sent, and what is promised.
///
/// Many logs and sinks may send to one receiver. Its cursors are in a file for each log.
pub struct SyslogSink {
    name: String,
    target: SyslogTarget,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    cursor: LocalCursor,
}

impl SyslogSink {
    /// A sink of this name, whose cursors are in `folder`. Connects when it is used.
    ///
    /// # Errors
    /// Files with certificates cannot be used, or TLS is off for a receiver beyond this machine.
    pub fn new(
        name: impl Into<String>,
        target: SyslogTarget,
        folder: &Path,
    ) -> Result<Self, SinksError> {
        let name = name.into();
        Ok(Self {
            tls: target.tls()?,
            target,
            cursor: LocalCursor::new(folder, &name),
            name,
        })
    }

    async fn connect(&self) -> Result<Connection<'_>, ReplicaError> {
        Connection::open(&self.target, self.tls.as_ref()).await
    }

    async fn send(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let mut connection = self.connect().await?;
        let mut encoder = Encoder::new(&self.target, range.origin());
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        for (index, entry, leaf) in range.iter() {
            encoder.entry(&mut chunk, index, leaf, entry);
            if chunk.len() >= CHUNK_BYTES {
                connection.send(&chunk).await?;
                chunk.clear();
            }
        }
        connection.send(&chunk).await?;
        connection.close().await
    }
}

#[async_trait]
impl ReplicaSink for SyslogSink {
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
        // A crash here, or an error: the receiver has some of it, and all of it is sent again.
        self.send(range).await?;
        // A crash here: it has all of it, and gets it twice.
        claim.commit(range).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let claim = self.cursor.claim(&gap.origin, gap.missing.start).await?;
        let mut message = Vec::new();
        Encoder::new(&self.target, &gap.origin).gap(&mut message, gap);
        let mut connection = self.connect().await?;
        connection.send(&message).await?;
        connection.close().await?;
        claim.commit_gap(gap).await
    }

    /// Connects, says nothing, and waits for the receiver to close.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.connect().await?.close().await
    }
}

impl fmt::Debug for SyslogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyslogSink")
            .field("name", &self.name)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
