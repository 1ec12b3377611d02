//! The sink: one connection per batch, and then it moves the cursor.

use std::fmt;
use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::{Gap, ReplicaError, SealedRange};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::message::Encoder;
use super::target::SyslogTarget;
use crate::at_least_once::{AtLeastOnce, Sent, Transport};
use crate::error::SinksError;
use crate::local_cursor::Claim;

/// The sink writes after it has collected this many bytes. Memory: these bytes and one message.
const CHUNK_BYTES: usize = 64 << 10;

/// A receiver of syslog as a replica of the ledger. The [module](super) describes the messages and
/// the guarantees.
///
/// Many logs and sinks may send to one receiver. The sink has a cursor file for each log.
pub type SyslogSink = AtLeastOnce<Receiver>;

/// Connections to a receiver, one for each batch.
pub struct Receiver {
    target: SyslogTarget,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl SyslogSink {
    /// Creates a sink with this name and with cursors in `folder`. It connects at its first call.
    ///
    /// # Errors
    /// The files with certificates are not usable, or a receiver on another machine has no TLS.
    pub fn new(
        name: impl Into<String>,
        target: SyslogTarget,
        folder: &Path,
    ) -> Result<Self, SinksError> {
        let tls = target.tls()?;
        let receiver = Receiver { target, tls };
        Ok(Self::with_transport(name, receiver, folder))
    }
}

impl Receiver {
    async fn connect(&self) -> Result<Connection<'_>, ReplicaError> {
        Connection::open(&self.target, self.tls.as_ref()).await
    }

    async fn send_range(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let mut connection = self.connect().await?;
        let mut encoder = Encoder::new(&self.target, range.origin());
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        for (index, entry, leaf) in range.iter() {
            encoder.entry(&mut chunk, index, leaf, entry, range.opening(index));
            if chunk.len() >= CHUNK_BYTES {
                connection.send(&chunk).await?;
                chunk.clear();
            }
        }
        connection.send(&chunk).await?;
        connection.close().await
    }

    async fn send_gap(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let mut message = Vec::new();
        Encoder::new(&self.target, &gap.origin).gap(&mut message, gap);
        let mut connection = self.connect().await?;
        connection.send(&message).await?;
        connection.close().await
    }
}

#[async_trait]
impl Transport for Receiver {
    type Turn = ();

    fn turn(&self) -> Result<(), ReplicaError> {
        Ok(())
    }

    async fn send(&self, _turn: (), sent: Sent<'_>, claim: Claim) -> Result<Claim, ReplicaError> {
        match sent {
            Sent::Range(range) => self.send_range(range).await?,
            Sent::Gap(gap) => self.send_gap(gap).await?,
        }
        Ok(claim)
    }

    /// Connects, sends nothing, and waits for the receiver to close.
    async fn health(&self) -> Result<(), ReplicaError> {
        self.connect().await?.close().await
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
