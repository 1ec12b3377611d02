//! A sink over a destination that cannot say what it holds: what is sent, and then the cursor.

use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::{Delivery, Gap, ReplicaError, ReplicaSink, SealedRange, SinkCursor};

use crate::local_cursor::{Claim, LocalCursor};

/// What a transport sends.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'a> {
    /// The entries of a range.
    Range(&'a SealedRange),
    /// The notice that these entries are missing.
    Gap(&'a Gap),
}

/// Sends to a destination that cannot say what it holds. [`AtLeastOnce`] makes a sink of it.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The right to be the one that sends now.
    type Turn: Send;

    /// Takes the turn. Does not wait.
    ///
    /// # Errors
    /// An earlier batch is still being sent.
    fn turn(&self) -> Result<Self::Turn, ReplicaError>;

    /// Sends all of it, and gives the claim back. Nobody else sends while the claim is held, so a
    /// transport that goes on sending after its caller has given up keeps the claim until it is done.
    ///
    /// # Errors
    /// The destination has taken some of it, or nothing. All of it is sent again.
    async fn send(
        &self,
        turn: Self::Turn,
        sent: Sent<'_>,
        claim: Claim,
    ) -> Result<Claim, ReplicaError>;

    /// Whether the destination could take records now.
    ///
    /// # Errors
    /// Why it could not.
    async fn health(&self) -> Result<(), ReplicaError>;
}

/// A sink over such a destination: its cursors are files of our own, one for each log.
#[derive(Debug)]
pub struct AtLeastOnce<T> {
    name: String,
    transport: T,
    cursor: LocalCursor,
}

impl<T: Transport> AtLeastOnce<T> {
    /// A sink of this name, whose cursors are in a folder of its own in `folder`.
    pub fn with_transport(name: impl Into<String>, transport: T, folder: &Path) -> Self {
        let name = name.into();
        Self {
            cursor: LocalCursor::new(folder, &name),
            name,
            transport,
        }
    }
}

#[async_trait]
impl<T: Transport> ReplicaSink for AtLeastOnce<T> {
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
        let turn = self.transport.turn()?;
        let claim = self.cursor.claim(range.origin(), range.first()).await?;
        // A crash here, or an error: the destination has some of it, and all of it is sent again.
        let sent = Sent::Range(range);
        let claim = self.transport.send(turn, sent, claim).await?;
        // A crash here: it has all of it, and gets it twice.
        claim.commit(range).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let turn = self.transport.turn()?;
        let claim = self.cursor.claim(&gap.origin, gap.missing.start).await?;
        let claim = self.transport.send(turn, Sent::Gap(gap), claim).await?;
        claim.commit_gap(gap).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        self.transport.health().await
    }
}
