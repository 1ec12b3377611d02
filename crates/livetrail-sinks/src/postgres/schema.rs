//! The schema and its versions.

use tokio_postgres::{Client, Error};

use super::target::PostgresTarget;
use crate::error::SinksError;

/// The schema version that this program writes.
pub const SCHEMA_VERSION: i32 = 5;

/// The oldest version that it also writes, without what later versions have.
pub(super) const OLDEST_VERSION: i32 = 1;

/// The first version that has hand-overs from key to key.
pub(super) const HAND_OVERS_VERSION: i32 = 2;

/// The first version that has columns for the fields of schema 2 of a record. In an older one those
/// fields are in the column `entry` alone.
pub(super) const SECOND_SCHEMA_VERSION: i32 = 3;

/// The first version that has a table for openings.
pub(super) const OPENINGS_VERSION: i32 = 4;

/// The migrations from each version to the next, the first from an empty database. A published
/// migration never changes: each change is a new file.
const MIGRATIONS: [&str; 5] = [
    include_str!("sql/001.sql"),
    include_str!("sql/002.sql"),
    include_str!("sql/003.sql"),
    include_str!("sql/004.sql"),
    include_str!("sql/005.sql"),
];

const _: () = assert!(MIGRATIONS.len() == SCHEMA_VERSION as usize);

/// Allows only one set-up at a time, from any client.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended('livetrail.schema', 0))";

/// Creates the group roles. Roles belong to the whole server, so another database may have created
/// them.
const ROLES: &str = "DO $$ DECLARE role text; BEGIN \
    FOREACH role IN ARRAY ARRAY['livetrail_writer', 'livetrail_reader', 'livetrail_eraser'] LOOP \
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role) THEN \
            EXECUTE format('CREATE ROLE %I NOLOGIN', role); \
        END IF; \
    END LOOP; END $$";

/// The result of a set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetUp {
    /// The schema's earlier version; 0 if there was no schema.
    pub from: i32,
    /// The schema's version now.
    pub to: i32,
}

/// Creates the schema or brings it to this program's version, with the group roles
/// `livetrail_writer`, `livetrail_reader` and `livetrail_eraser`.
///
/// An administrator of the database runs this and then owns the schema. The server should log in as
/// another user. Each version is one transaction. This does nothing if the schema is up to date.
///
/// If the future is dropped, the versions that were committed stay. A further call does the rest.
///
/// # Errors
/// [`SinksError`].
///
/// # Panics
/// Outside of a tokio runtime with I/O and time.
pub async fn set_up(target: &PostgresTarget) -> Result<SetUp, SinksError> {
    let place = target.place();
    let connected = target.config().connect(target.tls()?).await;
    let (mut client, connection) = connected.map_err(|error| SinksError::Connect {
        place: place.clone(),
        source: error.into(),
    })?;
    let driver = tokio::spawn(async move {
        // The caller that waits for an answer receives the connection's errors.
        let _ = connection.await;
    });
    let done = migrate(&mut client, &place).await;
    drop(client);
    let _ = driver.await;
    done
}

async fn migrate(client: &mut Client, place: &str) -> Result<SetUp, SinksError> {
    let failed = |step: &str| {
        let step = step.to_owned();
        move |error: Error| SinksError::Setup {
            step,
            place: place.to_owned(),
            source: error.into(),
        }
    };
    let from = version(client)
        .await
        .map_err(failed("read the schema's version"))?;
    if from > SCHEMA_VERSION {
        return Err(SinksError::NewerSchema {
            place: place.to_owned(),
            found: from,
            known: SCHEMA_VERSION,
        });
    }
    for (version, sql) in (1..).zip(MIGRATIONS) {
        let step = format!("make version {version} of the schema");
        migrate_to(client, version, sql)
            .await
            .map_err(failed(&step))?;
    }
    let partition = "SELECT livetrail.ensure_partition(now())";
    client
        .batch_execute(partition)
        .await
        .map_err(failed("make this month's partition"))?;
    Ok(SetUp {
        from,
        to: SCHEMA_VERSION,
    })
}

async fn migrate_to(client: &mut Client, to: i32, sql: &str) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(LOCK).await?;
    // This check runs under the lock, because another set-up may have been first.
    if version(transaction.client()).await? < to {
        transaction.batch_execute(ROLES).await?;
        transaction.batch_execute(sql).await?;
        transaction
            .execute(
                "INSERT INTO livetrail.schema_version (version) VALUES ($1)",
                &[&to],
            )
            .await?;
    }
    transaction.commit().await
}

pub(super) async fn version(client: &Client) -> Result<i32, Error> {
    let there = "SELECT to_regclass('livetrail.schema_version') IS NOT NULL";
    let there: bool = client.query_one(there, &[]).await?.get(0);
    if !there {
        return Ok(0);
    }
    let version = "SELECT coalesce(max(version), 0) FROM livetrail.schema_version";
    Ok(client.query_one(version, &[]).await?.get(0))
}
