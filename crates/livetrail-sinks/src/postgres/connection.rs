//! A connection and the statements of a batch. The sink drops the connection after any error.

use std::collections::BTreeMap;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use futures_util::SinkExt as _;
use livetrail_record::AuditRecord;
use livetrail_replica::{Gap, HandOver, ReplicaError, SealedRange, Sightings, SinkCursor};
use livetrail_tlog::Hash;
use tokio::task::JoinHandle;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{is_lost_swap, replica_error};
use super::schema::{HAND_OVERS_VERSION, OLDEST_VERSION, OPENINGS_VERSION, SCHEMA_VERSION};
use super::{copy, target::PostgresTarget};

/// The sink hands rows to the server after it has collected this many bytes of them.
const CHUNK_BYTES: usize = 256 << 10;

/// How many logs and months a connection remembers before it forgets them all.
const MAX_REMEMBERED: usize = 1_024;

/// The settings of a session. A server that hears nothing from us for about half a minute ends our
/// abandoned session.
const SESSION: &str = "SET timezone = 'UTC'; SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; \
    SET tcp_keepalives_count = 4; SET idle_in_transaction_session_timeout = '60s'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

const CURSOR: &str = "SELECT c.next_index, \
        (SELECT r.leaf FROM livetrail.records r WHERE r.log_id = l.log_id AND r.index = c.next_index - 1 LIMIT 1), \
        (SELECT k.note FROM livetrail.checkpoints k WHERE k.log_id = l.log_id ORDER BY k.size DESC LIMIT 1) \
    FROM livetrail.logs l CROSS JOIN LATERAL \
        (SELECT next_index FROM livetrail.commits WHERE log_id = l.log_id ORDER BY next_index DESC LIMIT 1) c \
    WHERE l.origin = $1";

const COMMIT: &str = "INSERT INTO livetrail.commits (log_id, first_index, next_index, checkpoint_size, gap) \
    VALUES ($1, $2, $3, $4, $5)";

const CHECKPOINT: &str = "INSERT INTO livetrail.checkpoints (log_id, size, note) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

const HAND_OVER: &str = "INSERT INTO livetrail.hand_overs (log_id, key_id, size, note) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";

/// The number of checkpoints per query for sightings. The largest come first.
const SEEN_AT_ONCE: i64 = 16;

/// The maximum number of rows of `checkpoints` without a valid signature. After that the answer
/// counts as incomplete.
const MAX_UNSIGNED: usize = 4_096;

const HANDED_OVER: &str = "SELECT h.note FROM livetrail.hand_overs h JOIN livetrail.logs l USING (log_id) \
    WHERE l.origin = $1 AND length(h.note) <= 1000000 ORDER BY h.size DESC LIMIT 64";

const SEEN: &str = "SELECT k.size, k.note FROM livetrail.checkpoints k JOIN livetrail.logs l USING (log_id) \
    WHERE l.origin = $1 AND k.size < $2 AND length(k.note) <= 1000000 ORDER BY k.size DESC LIMIT $3";

const LEAVES: &str = "SELECT index, leaf FROM livetrail.records \
    WHERE log_id = $1 AND index >= $2 AND index < $3 ORDER BY index";

/// Creates the partition of a time. The time is at most in the year 9999, the limit of
/// `to_timestamp`.
const PARTITION: &str =
    "SELECT livetrail.ensure_partition(to_timestamp(LEAST($1::bigint, 253402300799)::float8))";

/// An open session with a schema of the right version. Dropping it closes it at once, and the
/// server undoes the uncommitted changes.
pub(super) struct Connection {
    client: Client,
    _driver: Driver,
    place: String,
    version: i32,
    keeps_openings: bool,
    commit: Statement,
    checkpoint: Statement,
    copy: Statement,
    /// The ids of logs that exist, by origin.
    logs: BTreeMap<String, i32>,
    /// The months that need no new partition, as periods of 28 days since 1970.
    months: Vec<i64>,
}

/// The result of a compare-and-swap.
enum Swap {
    Done,
    /// The cursor is elsewhere, and nothing has changed.
    Lost,
}

impl Connection {
    pub(super) async fn open(
        target: &PostgresTarget,
        tls: MakeRustlsConnect,
        keeps_openings: bool,
    ) -> Result<Self, ReplicaError> {
        let place = target.place();
        let what = format!("cannot connect to {place}");
        let connected = target.config().connect(tls).await;
        let (client, connection) = connected.map_err(|error| replica_error(&what, error))?;
        let driver = Driver::start(connection);
        let failed = |error| replica_error(&format!("cannot prepare a session at {place}"), error);
        client.batch_execute(SESSION).await.map_err(failed)?;
        let version = check_version(&client, &place).await?;
        if keeps_openings && version < OPENINGS_VERSION {
            return Err(ReplicaError::unsuitable(format!(
                "{place} has schema version {version}, which has no table for openings: run `livetrail trail sinks init postgres`"
            )));
        }
        let commit = client.prepare(COMMIT).await.map_err(failed)?;
        let checkpoint = client.prepare(CHECKPOINT).await.map_err(failed)?;
        let statement = &copy::columns(version).statement;
        let copy = client.prepare(statement).await.map_err(failed)?;
        Ok(Self {
            client,
            _driver: driver,
            place,
            version,
            keeps_openings,
            commit,
            checkpoint,
            copy,
            logs: BTreeMap::new(),
            months: Vec::new(),
        })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        let row = self.client.query_opt(CURSOR, &[&origin]).await;
        let Some(row) = row.map_err(|error| self.failed("read the cursor", error))? else {
            return Ok(SinkCursor::at(0));
        };
        let next: i64 = self.get(&row, 0)?;
        let leaf: Option<Vec<u8>> = self.get(&row, 1)?;
        let note: Option<Vec<u8>> = self.get(&row, 2)?;
        let mut cursor = SinkCursor::at(u64::try_from(next).unwrap_or(0));
        if let Some(leaf) = leaf {
            cursor = cursor.with_last_leaf(self.hash(&leaf)?);
        }
        if let Some(note) = note {
            cursor = cursor.with_checkpoint(note);
        }
        Ok(cursor)
    }

    /// Offers checkpoints from the largest down, until one has a valid signature. Foreign and
    /// truncated rows change nothing.
    pub(super) async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        if self.version >= HAND_OVERS_VERSION {
            let rows = self.client.query(HANDED_OVER, &[&seen.origin()]).await;
            let rows = rows.map_err(|error| self.failed("read hand-overs", error))?;
            for row in &rows {
                seen.offer(self.get(row, 0)?);
            }
        }
        let mut below = i64::MAX;
        let mut unsigned = 0;
        while unsigned < MAX_UNSIGNED {
            let params: [&(dyn ToSql + Sync); 3] = [&seen.origin(), &below, &SEEN_AT_ONCE];
            let rows = self.client.query(SEEN, &params).await;
            let rows = rows.map_err(|error| self.failed("read checkpoints", error))?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                below = self.get(row, 0)?;
                let note: &[u8] = self.get(row, 1)?;
                match seen.offer(note) {
                    Some(head) if int(head.size) == below => return Ok(()),
                    _ => unsigned = unsigned.saturating_add(1),
                }
                tracing::error!(
                    place = self.place,
                    size = below,
                    "a row of livetrail.checkpoints is not what its size says, or is not signed with a key of the trail"
                );
            }
        }
        Err(ReplicaError::Damaged {
            what: format!(
                "the {MAX_UNSIGNED} largest checkpoints at {} are not signed with a key of the trail",
                self.place
            ),
            source: None,
        })
    }

    /// Does the whole `append` of the trait: commits new entries and compares known ones.
    pub(super) async fn append(&mut self, range: &SealedRange) -> Result<(), ReplicaError> {
        let log = self.log(range.origin()).await?;
        if matches!(self.swap_in(log, range).await?, Swap::Done) {
            return Ok(());
        }
        let next = self.next_index(log).await?;
        if next > range.first() {
            self.compare(log, range, next).await?;
        }
        if next >= range.next() {
            return Ok(());
        }
        let moved = ReplicaError::CursorMoved {
            expected: range.first(),
            found: next,
        };
        let rest = range
            .starting_at(next)
            .filter(|rest| rest.first() > range.first());
        let Some(rest) = rest else {
            return Err(moved);
        };
        match self.swap_in(log, &rest).await? {
            Swap::Done => Ok(()),
            Swap::Lost => Err(moved),
        }
    }

    pub(super) async fn skip(&mut self, gap: &Gap) -> Result<(), ReplicaError> {
        let log = self.log(&gap.origin).await?;
        let (first, next) = (int(gap.missing.start), int(gap.missing.end));
        let params: [&(dyn ToSql + Sync); 5] =
            [&log, &Some(first), &next, &next, &Some(&gap.reason)];
        match self.client.execute(&self.commit, &params).await {
            Ok(_) => Ok(()),
            Err(error) if is_lost_swap(&error) => Err(ReplicaError::CursorMoved {
                expected: gap.missing.start,
                found: self.next_index(log).await?,
            }),
            Err(error) => Err(self.failed("record a gap", error)),
        }
    }

    pub(super) async fn health(&self) -> Result<(), ReplicaError> {
        let statement = "SELECT pg_is_in_recovery(), \
            has_table_privilege('livetrail.records', 'INSERT') AND has_table_privilege('livetrail.commits', 'INSERT') \
            AND has_table_privilege('livetrail.checkpoints', 'INSERT') AND has_table_privilege('livetrail.logs', 'INSERT')";
        let row = self.client.query_one(statement, &[]).await;
        let row = row.map_err(|error| self.failed("look at the schema", error))?;
        let (standby, may_write): (bool, bool) = (self.get(&row, 0)?, self.get(&row, 1)?);
        if standby {
            let what = format!(
                "{} is a standby, which takes no records: name the primary",
                self.place
            );
            return Err(ReplicaError::Unavailable { what, source: None });
        }
        if !may_write {
            let what = format!(
                "may not insert at {}: grant the role livetrail_writer",
                self.place
            );
            return Err(ReplicaError::Denied { what, source: None });
        }
        if self.keeps_openings {
            self.check_eraser().await?;
        }
        Ok(())
    }

    /// Checks that openings can be added and erased.
    async fn check_eraser(&self) -> Result<(), ReplicaError> {
        let statement = "SELECT has_table_privilege('livetrail.openings', 'INSERT') AND has_table_privilege('livetrail.openings', 'DELETE') \
            AND has_table_privilege('livetrail.erased', 'INSERT') AND has_table_privilege('livetrail.erasures', 'UPDATE')";
        let row = self.client.query_one(statement, &[]).await;
        let row = row.map_err(|error| self.failed("look at the schema", error))?;
        if self.get(&row, 0)? {
            return Ok(());
        }
        let what = format!(
            "may not erase openings at {}: grant the role livetrail_eraser",
            self.place
        );
        Err(ReplicaError::Denied { what, source: None })
    }

    /// Runs one transaction: first the cursor, then the records, then the checkpoint. A writer that
    /// moves the cursor first makes other writers wait, and they then fail.
    async fn swap_in(&mut self, log: i32, range: &SealedRange) -> Result<Swap, ReplicaError> {
        let records: Vec<_> = range
            .entries()
            .iter()
            .map(|entry| copy::parse(entry))
            .collect();
        self.ensure_partitions(&records).await?;
        let failed = |error| replica_error(&format!("cannot add records at {}", self.place), error);
        self.client.batch_execute("BEGIN").await.map_err(failed)?;
        let size = int(range.checkpoint().head().size);
        let (first, next) = (int(range.first()), int(range.next()));
        let no_gap: Option<&str> = None;
        let params: [&(dyn ToSql + Sync); 5] = [&log, &Some(first), &next, &size, &no_gap];
        match self.client.execute(&self.commit, &params).await {
            Ok(_) => {}
            Err(error) if is_lost_swap(&error) => {
                self.client
                    .batch_execute("ROLLBACK")
                    .await
                    .map_err(failed)?;
                return Ok(Swap::Lost);
            }
            Err(error) => return Err(failed(error)),
        }
        self.copy(log, range, &records).await?;
        // A checkpoint that also covers later rows would accuse the table's present owner. It is
        // written with the last of those rows.
        if size <= next {
            let note: &[u8] = range.note();
            self.client
                .execute(&self.checkpoint, &[&log, &size, &note])
                .await
                .map_err(failed)?;
        }
        self.add_hand_overs(log, range.hand_overs()).await?;
        if self.keeps_openings {
            self.add_openings(log, range).await?;
        }
        self.client.batch_execute("COMMIT").await.map_err(failed)?;
        Ok(Swap::Done)
    }

    async fn add_hand_overs(&self, log: i32, hand_overs: &[HandOver]) -> Result<(), ReplicaError> {
        if hand_overs.is_empty() {
            return Ok(());
        }
        if self.version < HAND_OVERS_VERSION {
            tracing::warn!(
                place = self.place,
                "the trail has new keys, and this schema has no place for their hand-over: run `livetrail trail sinks init postgres`, so that later ones are kept"
            );
            return Ok(());
        }
        for one in hand_overs {
            for key in &one.keys {
                let (key, size, note) = (key.to_string(), int(one.size), one.note.as_slice());
                self.client
                    .execute(HAND_OVER, &[&log, &key, &size, &note])
                    .await
                    .map_err(|error| self.failed("add a hand-over", error))?;
            }
        }
        Ok(())
    }

    async fn copy(
        &self,
        log: i32,
        range: &SealedRange,
        records: &[Option<AuditRecord>],
    ) -> Result<(), ReplicaError> {
        let failed =
            |error| replica_error(&format!("cannot copy records to {}", self.place), error);
        let sink = self.client.copy_in(&self.copy).await.map_err(failed)?;
        let mut sink = pin!(sink);
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES * 2);
        let columns = copy::columns(self.version);
        copy::begin(&mut chunk);
        for ((index, entry, leaf), record) in range.iter().zip(records) {
            let record = record.as_ref();
            copy::row(&mut chunk, columns, log, int(index), record, leaf, entry);
            if chunk.len() >= CHUNK_BYTES {
                let full: Bytes = chunk.split().freeze();
                sink.send(full).await.map_err(failed)?;
            }
        }
        copy::end(&mut chunk);
        sink.send(chunk.freeze()).await.map_err(failed)?;
        let rows = sink.finish().await.map_err(failed)?;
        if rows != range.len() as u64 {
            let what = format!("{} took {rows} of {} records", self.place, range.len());
            return Err(ReplicaError::Rejected { what, source: None });
        }
        Ok(())
    }

    /// Compares a range with the entries below `next` that are there.
    async fn compare(&self, log: i32, range: &SealedRange, next: u64) -> Result<(), ReplicaError> {
        let end = next.min(range.next());
        let rows = self
            .client
            .query(LEAVES, &[&log, &int(range.first()), &int(end)])
            .await
            .map_err(|error| self.failed("compare records", error))?;
        let mut rows = rows.iter();
        for (index, _, ours) in range.iter().take_while(|(index, ..)| *index < end) {
            let row = match rows.next() {
                Some(row) if self.get::<i64>(row, 0)? == int(index) => Some(row),
                _ => None,
            };
            let Some(row) = row else {
                return Err(ReplicaError::Damaged {
                    what: format!(
                        "record {index} is below the cursor, but the table does not have exactly one row of it"
                    ),
                    source: None,
                });
            };
            let theirs = self.hash(self.get(row, 1)?)?;
            if theirs != *ours {
                return Err(ReplicaError::Fork {
                    index,
                    ours: *ours,
                    theirs,
                });
            }
        }
        Ok(())
    }

    async fn next_index(&self, log: i32) -> Result<u64, ReplicaError> {
        let statement = "SELECT max(next_index) FROM livetrail.commits WHERE log_id = $1";
        let row = self.client.query_one(statement, &[&log]).await;
        let row = row.map_err(|error| self.failed("read the cursor", error))?;
        let next: Option<i64> = self.get(&row, 0)?;
        Ok(next.and_then(|next| u64::try_from(next).ok()).unwrap_or(0))
    }

    /// The id of a log. Adds the log if it is new.
    pub(super) async fn log(&mut self, origin: &str) -> Result<i32, ReplicaError> {
        if let Some(log) = self.logs.get(origin) {
            return Ok(*log);
        }
        // The same statement adds the row of `commits`: a log without the start of its chain could
        // accept nothing.
        let statement = "WITH new AS (INSERT INTO livetrail.logs (origin) VALUES ($1) ON CONFLICT DO NOTHING RETURNING log_id) \
            INSERT INTO livetrail.commits (log_id, next_index, checkpoint_size) SELECT log_id, 0, 0 FROM new";
        let find = "SELECT log_id FROM livetrail.logs WHERE origin = $1";
        let failed = |error| self.failed("add the log", error);
        let mut row = self
            .client
            .query_opt(find, &[&origin])
            .await
            .map_err(failed)?;
        if row.is_none() {
            self.client
                .execute(statement, &[&origin])
                .await
                .map_err(failed)?;
            row = self
                .client
                .query_opt(find, &[&origin])
                .await
                .map_err(failed)?;
        }
        let row = row.ok_or_else(|| {
            ReplicaError::unsuitable(format!("{} keeps no row of livetrail.logs", self.place))
        })?;
        if self.logs.len() >= MAX_REMEMBERED {
            self.logs.clear();
        }
        let log: i32 = self.get(&row, 0)?;
        self.logs.insert(origin.to_owned(), log);
        Ok(log)
    }

    /// Creates the partitions for the months of these records, as far as the schema wants them.
    async fn ensure_partitions(
        &mut self,
        records: &[Option<AuditRecord>],
    ) -> Result<(), ReplicaError> {
        for record in records {
            let ts_ms = copy::ts_ms(record.as_ref());
            // No month has fewer than 28 days, so such a period touches at most two months: those
            // at its edges.
            let period = int(ts_ms / (28 * 86_400_000));
            if self.months.contains(&period) {
                continue;
            }
            for edge in [period, period.saturating_add(1)] {
                let seconds = edge.saturating_mul(28 * 86_400);
                self.client
                    .execute(PARTITION, &[&seconds])
                    .await
                    .map_err(|error| self.failed("make a partition", error))?;
            }
            if self.months.len() >= MAX_REMEMBERED {
                self.months.clear();
            }
            self.months.push(period);
        }
        Ok(())
    }

    /// Reads a column of a row. A column of an unexpected type is an error.
    pub(super) fn get<'a, T: FromSql<'a>>(
        &self,
        row: &'a Row,
        column: usize,
    ) -> Result<T, ReplicaError> {
        row.try_get(column)
            .map_err(|error| self.failed("read an answer", error))
    }

    fn hash(&self, bytes: &[u8]) -> Result<Hash, ReplicaError> {
        Hash::try_from(bytes).map_err(|error| ReplicaError::Damaged {
            what: format!("a leaf hash at {} is invalid", self.place),
            source: Some(error.into()),
        })
    }

    pub(super) fn failed(&self, step: &str, error: Error) -> ReplicaError {
        replica_error(&format!("cannot {step} at {}", self.place), error)
    }
}

async fn check_version(client: &Client, place: &str) -> Result<i32, ReplicaError> {
    let statement = "SELECT max(version) FROM livetrail.schema_version";
    let row = client.query_one(statement, &[]).await;
    let row = row.map_err(|error| {
        replica_error(
            &format!("cannot read the schema's version at {place}"),
            error,
        )
    })?;
    let version: Option<i32> = row
        .try_get(0)
        .map_err(|error| replica_error("the schema's version is not a number", error))?;
    let usable = version.filter(|found| (OLDEST_VERSION..=SCHEMA_VERSION).contains(found));
    let Some(usable) = usable else {
        return Err(ReplicaError::unsuitable(format!(
            "{place} has schema version {}, and this program needs {SCHEMA_VERSION}: run `livetrail trail sinks init postgres` with the newer of the two programs",
            version.unwrap_or(0)
        )));
    };
    Ok(usable)
}

/// An index or a count as an `i64`. Both are below 2^53.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The task that moves a connection's bytes. It ends with the connection.
pub(super) struct Driver(JoinHandle<()>);

impl Driver {
    pub(super) fn start(
        connection: impl Future<Output = Result<(), Error>> + Send + 'static,
    ) -> Self {
        Self(tokio::spawn(async move {
            // The caller that waits for an answer receives the connection's errors.
            let _ = connection.await;
        }))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}
