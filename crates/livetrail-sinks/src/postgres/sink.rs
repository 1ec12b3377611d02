//! The sink: one connection at a time, made when it is needed and given up after any error.

use async_trait::async_trait;
use livetrail_replica::{Gap, ReplicaError, ReplicaSink, SealedRange, Sightings, SinkCursor};
use tokio::sync::Mutex;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Connection;
use super::target::PostgresTarget;
use crate::error::SinksError;

/// An append-only table of PostgreSQL as a replica of the ledger.
///
/// The schema must be there ([`set_up`](super::set_up)). Many logs may share one database; two writers of one log cannot
/// write anything twice.
pub struct PostgresSink {
    name: String,
    target: PostgresTarget,
    tls: MakeRustlsConnect,
    connection: Mutex<Option<Connection>>,
}

impl PostgresSink {
    /// A sink of this name. Connects when it is used first.
    ///
    /// # Errors
    /// When files with certificates cannot be used.
    pub fn new(name: impl Into<String>, target: PostgresTarget) -> Result<Self, SinksError> {
        Ok(Self {
            name: name.into(),
            tls: target.tls()?,
            target,
            connection: Mutex::new(None),
        })
    }

    /// The connection, out of its place: when the caller is dropped in the middle it is closed with it. One that has ended meanwhile is not
    /// an error of whoever asks next: that may have been the server's restart, or the runtime in which a start asked.
    async fn take(&self) -> Result<Connection, ReplicaError> {
        let kept = self.connection.lock().await.take();
        if let Some(connection) = kept.filter(|kept| !kept.is_closed()) {
            return Ok(connection);
        }
        Connection::open(&self.target, self.tls.clone()).await
    }

    /// Puts it back after an answer that leaves no transaction open.
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
