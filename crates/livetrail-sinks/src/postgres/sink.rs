//! The sink: it opens one connection when it needs it, and drops it after any error.

use async_trait::async_trait;
use livetrail_replica::{
    Erasure, Gap, PersonalMode, ReplicaError, ReplicaSink, SealedRange, Sightings, SinkCursor,
};
use tokio::sync::Mutex;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Connection;
use super::target::PostgresTarget;
use crate::error::SinksError;

/// An append-only table of PostgreSQL as a replica of the ledger.
///
/// The schema must exist ([`set_up`](super::set_up)). Many logs may share one database. Two writers
/// of one log cannot write a record twice.
pub struct PostgresSink {
    name: String,
    target: PostgresTarget,
    tls: MakeRustlsConnect,
    keeps_openings: bool,
    connection: Mutex<Option<Connection>>,
}

impl PostgresSink {
    /// Creates a sink with this name. It connects at its first call.
    ///
    /// # Errors
    /// The files with certificates are not usable.
    pub fn new(name: impl Into<String>, target: PostgresTarget) -> Result<Self, SinksError> {
        Ok(Self {
            name: name.into(),
            tls: target.tls()?,
            target,
            keeps_openings: false,
            connection: Mutex::new(None),
        })
    }

    /// Keeps openings in the table `livetrail.openings`, and erases them again. The login needs the
    /// role `livetrail_eraser` as well.
    #[must_use]
    pub const fn keeping_openings(mut self) -> Self {
        self.keeps_openings = true;
        self
    }

    /// Takes the connection out of its field. If the caller is dropped before it is done, the
    /// connection closes with it.
    ///
    /// A connection that has ended since the last call is not an error of this call. The server may
    /// have restarted, or the runtime of the program's start may have ended with it.
    async fn take(&self) -> Result<Connection, ReplicaError> {
        let kept = self.connection.lock().await.take();
        if let Some(connection) = kept.filter(|kept| !kept.is_closed()) {
            return Ok(connection);
        }
        Connection::open(&self.target, self.tls.clone(), self.keeps_openings).await
    }

    /// Puts the connection back after an answer that leaves no transaction open.
    async fn done<T>(
        &self,
        connection: Connection,
        answer: Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        if matches!(answer, Ok(_) | Err(ReplicaError::CursorMoved { .. })) {
            *self.connection.lock().await = Some(connection);
        }
        answer
    }
}

#[async_trait]
impl ReplicaSink for PostgresSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        let connection = self.take().await?;
        let answer = connection.cursor(origin).await;
        self.done(connection, answer).await
    }

    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        let connection = self.take().await?;
        let answer = connection.sightings(seen).await;
        self.done(connection, answer).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let mut connection = self.take().await?;
        let answer = connection.append(range).await;
        self.done(connection, answer).await
    }

    async fn skip(&self, gap: &Gap) -> Result<(), ReplicaError> {
        let mut connection = self.take().await?;
        let answer = connection.skip(gap).await;
        self.done(connection, answer).await
    }

    fn personal(&self) -> PersonalMode {
        if self.keeps_openings {
            PersonalMode::Opening
        } else {
            PersonalMode::None
        }
    }

    async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        let connection = self.take().await?;
        let answer = connection.erasure_cursor(origin).await;
        self.done(connection, answer).await
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let mut connection = self.take().await?;
        let answer = connection.erase(erasure).await;
        self.done(connection, answer).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        let connection = self.take().await?;
        let answer = connection.health().await;
        self.done(connection, answer).await
    }
}

impl std::fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresSink")
            .field("name", &self.name)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
