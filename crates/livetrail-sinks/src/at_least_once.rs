//! A sink for a destination that cannot report what it holds. The sink sends first, and then it
//! moves a cursor of its own.

use std::path::Path;

use async_trait::async_trait;
use livetrail_replica::{
    Delivery, Gap, PersonalMode, ReplicaError, ReplicaSink, SealedRange, SinkCursor,
};

use crate::local_cursor::{Claim, LocalCursor};

/// The data that a transport sends.
#[derive(Clone, Copy, Debug)]
pub enum Sent<'a> {
    /// The entries of a range.
    Range(&'a SealedRange),
    /// The notice that these entries are missing.
    Gap(&'a Gap),
}

/// Sends to a destination that cannot report what it holds. [`AtLeastOnce`] makes a sink of it.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use async_trait::async_trait;
/// use livetrail_replica::{ReplicaError, ReplicaSink as _, conformance::TestLog};
/// use livetrail_sinks::{AtLeastOnce, Sent, Transport, local_cursor::Claim};
///
/// /// Sends the index of each entry to another part of this program.
/// #[derive(Clone, Default)]
/// struct Indexes(Arc<Mutex<Vec<u64>>>);
///
/// #[async_trait]
/// impl Transport for Indexes {
///     type Turn = ();
///
///     fn turn(&self) -> Result<(), ReplicaError> {
///         Ok(())
///     }
///
///     async fn send(&self, _: (), sent: Sent<'_>, claim: Claim) -> Result<Claim, ReplicaError> {
///         if let Sent::Range(range) = sent {
///             self.0.lock().unwrap().extend(range.iter().map(|(index, ..)| index));
///         }
///         Ok(claim)
///     }
///
///     async fn health(&self) -> Result<(), ReplicaError> {
///         Ok(())
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let indexes = Indexes::default();
/// let sink = AtLeastOnce::with_transport("indexes", indexes.clone(), folder.path());
/// // A replicator makes these calls; `TestLog` is a ledger for tests.
/// let log = TestLog::with("example.com/log", 3);
/// sink.append(&log.range(0, 3)).await?;
/// assert_eq!(sink.cursor("example.com/log").await?.next(), 3);
/// assert_eq!(*indexes.0.lock().unwrap(), [0, 1, 2]);
/// # Ok(()) }
/// ```
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The exclusive right to send now.
    type Turn: Send;

    /// Takes the turn. Does not wait.
    ///
    /// # Errors
    /// An earlier batch is still being sent.
    fn turn(&self) -> Result<Self::Turn, ReplicaError>;

    /// Sends all of it and returns the claim. Nobody else sends while the claim is held. A
    /// transport that continues to send after its caller gave up keeps the claim until it is done.
    ///
    /// # Errors
    /// The destination has accepted some of it or nothing. All of it is sent again.
    async fn send(
        &self,
        turn: Self::Turn,
        sent: Sent<'_>,
        claim: Claim,
    ) -> Result<Claim, ReplicaError>;

    /// Checks that the destination can accept records now.
    ///
    /// # Errors
    /// The destination cannot; the error has the reason.
    async fn health(&self) -> Result<(), ReplicaError>;

    /// How many records this transport has given up since it was made: the destination did not
    /// accept them in time. By default a transport gives up nothing.
    fn lost(&self) -> u64 {
        0
    }
}

/// A sink for such a destination. Its cursors are files of its own, one for each log.
#[derive(Debug)]
pub struct AtLeastOnce<T> {
    name: String,
    transport: T,
    personal: PersonalMode,
    cursor: LocalCursor,
}

impl<T: Transport> AtLeastOnce<T> {
    /// Creates a sink with this name. Its cursors are in a directory of its own in `folder`.
    pub fn with_transport(name: impl Into<String>, transport: T, folder: &Path) -> Self {
        let name = name.into();
        Self {
            cursor: LocalCursor::new(folder, &name),
            name,
            personal: PersonalMode::None,
            transport,
        }
    }

    /// Sends names in clear next to each entry, to where nobody can erase them. A range then has
    /// the openings of its entries.
    #[must_use]
    pub fn with_names_in_clear(mut self) -> Self {
        self.personal = PersonalMode::Clear;
        self
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

    fn personal(&self) -> PersonalMode {
        self.personal
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        self.cursor.read(origin).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let turn = self.transport.turn()?;
        let claim = self.cursor.claim(range.origin(), range.first()).await?;
        // After an error or a crash here, the destination has some of it. All of it is sent again.
        let sent = Sent::Range(range);
        let claim = self.transport.send(turn, sent, claim).await?;
        // After a crash here, the destination has all of it and receives it twice.
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

    fn lost(&self) -> u64 {
        self.transport.lost()
    }
}
