//! The table of openings, and erasures.
//!
//! A transaction that adds openings locks the row of `livetrail.erasures`, and so does an erasure.
//! So one of them is first: the later one sees what the earlier one did. An opening whose
//! identifier is in `livetrail.erased` is not added.

use livetrail_replica::{EntryOpening, Erasure, ReplicaError, SealedRange};
use tokio_postgres::types::ToSql;

use super::connection::{Connection, int};

/// The cursor of a log without openings is that of its records.
const CURSOR: &str = "SELECT coalesce( \
        (SELECT e.next_index FROM livetrail.erasures e WHERE e.log_id = l.log_id), \
        (SELECT max(c.next_index) FROM livetrail.commits c WHERE c.log_id = l.log_id), 0) \
    FROM livetrail.logs l WHERE l.origin = $1";

/// The row of a log that gets its first opening at an index.
const BEGIN_AT: &str =
    "INSERT INTO livetrail.erasures (log_id, next_index) VALUES ($1, $2) ON CONFLICT DO NOTHING";

/// The row of a log for which an erasure comes before an opening.
const BEGIN: &str = "INSERT INTO livetrail.erasures (log_id, next_index) \
    SELECT $1, coalesce(max(next_index), 0) FROM livetrail.commits WHERE log_id = $1 ON CONFLICT DO NOTHING";

const LOCK: &str = "SELECT next_index FROM livetrail.erasures WHERE log_id = $1 FOR UPDATE";

const ADD: &str = "INSERT INTO livetrail.openings \
        (log_id, session, index, principal, peer, user_agent, stream, detail, operator, opening) \
    SELECT $1, n.session::uuid, n.index, n.principal, n.peer, n.user_agent, n.stream, n.detail, n.operator, n.opening \
    FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[]) \
        AS n (session, index, principal, peer, user_agent, stream, detail, operator, opening) \
    WHERE NOT EXISTS (SELECT FROM livetrail.erased e WHERE e.log_id = $1 AND e.session = n.session::uuid) \
    ON CONFLICT DO NOTHING";

const ERASED: &str = "INSERT INTO livetrail.erased (log_id, session) \
    SELECT $1, n::uuid FROM unnest($2::text[]) n ON CONFLICT DO NOTHING";

const DELETE: &str = "DELETE FROM livetrail.openings o USING unnest($2::text[]) n \
    WHERE o.log_id = $1 AND o.session = n::uuid";

const MOVE: &str = "UPDATE livetrail.erasures \
    SET next_index = greatest(next_index, $2), moved_at = clock_timestamp() WHERE log_id = $1";

impl Connection {
    /// Adds the openings of a range, in the transaction that adds its records.
    pub(super) async fn add_openings(
        &self,
        log: i32,
        range: &SealedRange,
    ) -> Result<(), ReplicaError> {
        let openings = range.openings();
        if openings.is_empty() {
            return Ok(());
        }
        let failed = |error| self.failed("add openings", error);
        let client = self.client();
        client
            .execute(BEGIN_AT, &[&log, &int(range.first())])
            .await
            .map_err(failed)?;
        client.query(LOCK, &[&log]).await.map_err(failed)?;
        let sessions: Vec<String> = openings
            .iter()
            .map(|one| one.opening.session().to_string())
            .collect();
        let indexes: Vec<i64> = openings.iter().map(|one| int(one.index)).collect();
        let of = |name: &str| -> Vec<Option<String>> {
            openings.iter().map(|one| field(one, name)).collect()
        };
        let json: Vec<Vec<u8>> = openings.iter().map(EntryOpening::json).collect();
        let (principals, peers, agents) = (of("principal"), of("peer"), of("user_agent"));
        let (streams, details, operators) = (of("stream"), of("detail"), of("by"));
        let params: [&(dyn ToSql + Sync); 10] = [
            &log,
            &sessions,
            &indexes,
            &principals,
            &peers,
            &agents,
            &streams,
            &details,
            &operators,
            &json,
        ];
        client.execute(ADD, &params).await.map_err(failed)?;
        Ok(())
    }

    pub(super) async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        let row = self.client().query_opt(CURSOR, &[&origin]).await;
        let row = row.map_err(|error| self.failed("read the erasure cursor", error))?;
        let next: i64 = match &row {
            Some(row) => self.get(row, 0)?,
            None => 0,
        };
        Ok(u64::try_from(next).unwrap_or(0))
    }

    /// Runs one transaction: it locks the cursor, notes the identifiers, removes the openings, and
    /// moves the cursor.
    pub(super) async fn erase(&mut self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let log = self.log(&erasure.origin).await?;
        let failed = |error| self.failed("erase openings", error);
        let client = self.client();
        client.batch_execute("BEGIN").await.map_err(failed)?;
        client.execute(BEGIN, &[&log]).await.map_err(failed)?;
        let row = client.query_one(LOCK, &[&log]).await.map_err(failed)?;
        let found: i64 = self.get(&row, 0)?;
        if int(erasure.span.start) > found {
            client.batch_execute("ROLLBACK").await.map_err(failed)?;
            return Err(ReplicaError::CursorMoved {
                expected: erasure.span.start,
                found: u64::try_from(found).unwrap_or(0),
            });
        }
        if !erasure.sessions.is_empty() {
            let sessions: Vec<String> = erasure
                .sessions
                .iter()
                .map(|session| livetrail_record::Uuid::from_bytes(*session).to_string())
                .collect();
            for statement in [ERASED, DELETE] {
                client
                    .execute(statement, &[&log, &sessions])
                    .await
                    .map_err(failed)?;
            }
        }
        client
            .execute(MOVE, &[&log, &int(erasure.span.end)])
            .await
            .map_err(failed)?;
        client.batch_execute("COMMIT").await.map_err(failed)
    }
}

/// PostgreSQL's text cannot have a NUL, so this replaces it. The column `opening` keeps the exact
/// bytes.
fn field(one: &EntryOpening, name: &str) -> Option<String> {
    let value = one.opening.get(name)?;
    Some(value.expose().replace('\0', "\u{fffd}"))
}
