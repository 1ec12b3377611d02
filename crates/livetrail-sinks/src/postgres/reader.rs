//! Questions to a database that has the records of several logs.
//!
//! The reader believes the database: it filters by the typed columns and returns entries as they
//! are stored. The caller verifies the checkpoints, and compares entries with their leaf hashes.

use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt as _;
use livetrail_record::Uuid;
use livetrail_tlog::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES};
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Error, Row, RowStream};

use super::connection::{Driver, int};
use super::error::without_values;
use super::schema::{OPENINGS_VERSION, version};
use super::target::PostgresTarget;
use crate::error::SinksError;

/// Nothing is changed. Compiling a statement costs more than most questions.
const SESSION: &str = "SET timezone = 'UTC'; SET default_transaction_read_only = on; SET jit = off";

/// Each log, its newest checkpoint whose records all exist, and the last of these records.
const LOGS: &str = "SELECT c.log_id, c.origin, \
        (SELECT CASE WHEN octet_length(k.note) <= $2 THEN k.note END FROM livetrail.checkpoints k \
            WHERE k.log_id = c.log_id AND k.size = c.covered_by LIMIT 1), \
        (SELECT CASE WHEN octet_length(r.entry) <= $3 THEN r.entry END FROM livetrail.records r \
            WHERE r.log_id = c.log_id AND r.index = c.covered_by - 1 LIMIT 1) \
    FROM livetrail.cursors c ORDER BY c.origin LIMIT $1";

/// The last time that `to_timestamp` knows, in milliseconds: the end of the year 9999.
const MAX_MS: u64 = 253_402_300_799_999;

/// The maximum number of openings that a question about a person may select.
pub const MAX_PERSON_ROWS: usize = 65_536;

/// Reads a database with the records of one or more logs. It changes nothing, and needs only the
/// role `livetrail_reader`.
pub struct PostgresReader {
    client: Client,
    _driver: Driver,
    place: String,
    version: i32,
}

/// A log of a database. Nothing about it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredLog {
    /// Its number in the database.
    pub id: i32,
    /// Its name.
    pub origin: String,
    /// The newest checkpoint whose records all exist, as it was signed. `None` if there is none, or
    /// if it is longer than a checkpoint can be.
    pub checkpoint: Option<Vec<u8>>,
    /// The last entry that the checkpoint covers.
    pub newest: Option<Vec<u8>>,
}

/// The records that a question selects: those that fulfil each condition that is set.
#[derive(Clone, Debug, Default)]
pub struct RecordQuery {
    /// The numbers of the logs.
    pub logs: Vec<i32>,
    /// The application.
    pub app: Option<String>,
    /// The stream.
    pub stream: Option<String>,
    /// A session's id or its beginning; hyphenated, in lower case.
    pub session: Option<String>,
    /// `session` may also be the end of an id. No index has ends: such a question reads each record
    /// that the other conditions select.
    pub or_end: bool,
    /// Labels of actions, any of which matches; empty for all.
    pub actions: Vec<String>,
    /// The principal, in clear in the record. Records of schema 2 have none.
    pub principal: Option<String>,
    /// Records of these persons. If `principal` is set too, either suffices.
    pub persons: Option<Vec<PersonRow>>,
    /// At this time or later, in milliseconds since 1970 UTC.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
}

/// A question about persons to the table of openings. Each condition that is set must hold.
#[derive(Clone, Debug, Default)]
pub struct PersonQuery {
    /// The numbers of the logs.
    pub logs: Vec<i32>,
    /// The authenticated name.
    pub principal: Option<String>,
    /// The network: an address and the number of its leading bits that count.
    pub network: Option<(IpAddr, u8)>,
    /// Exactly this user agent.
    pub user_agent: Option<String>,
}

/// An opening that a question about a person selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct PersonRow {
    /// The number of the log.
    pub log: i32,
    /// The session, or the value that stands for it in an entry that opens none.
    pub session: Uuid,
    /// The entry that commits to the opening.
    pub index: u64,
}

/// A record of a database. It is not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredRecord {
    /// The number of its log.
    pub log: i32,
    /// Its index in the log.
    pub index: u64,
    /// The hash of the leaf. `None` if the column has something else.
    pub leaf: Option<[u8; 32]>,
    /// The entry. `None` if it is longer than an entry can be.
    pub entry: Option<Vec<u8>>,
}

/// The answer to a [`RecordQuery`], in the order of time. The server sends records as fast as they
/// are taken: memory is needed for a few of them.
pub struct StoredRecords<'a> {
    rows: Pin<Box<RowStream>>,
    reader: &'a PostgresReader,
}

impl PostgresReader {
    /// Connects.
    ///
    /// # Errors
    /// [`SinksError::Connect`], [`SinksError::Read`].
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn connect(target: &PostgresTarget) -> Result<Self, SinksError> {
        let place = target.place();
        let connected = target.config().connect(target.tls()?).await;
        let (client, connection) = connected.map_err(|error| SinksError::Connect {
            place: place.clone(),
            source: without_values(error),
        })?;
        let driver = Driver::start(connection);
        let mut reader = Self {
            client,
            _driver: driver,
            place,
            version: 0,
        };
        let prepared = reader.client.batch_execute(SESSION).await;
        prepared.map_err(|error| reader.failed("prepare a session", error))?;
        let version = version(&reader.client).await;
        reader.version =
            version.map_err(|error| reader.failed("read the schema's version", error))?;
        Ok(reader)
    }

    /// The host, the port and the database.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The logs, by origin, at most `most`.
    ///
    /// # Errors
    /// [`SinksError::Read`].
    pub async fn logs(&self, most: usize) -> Result<Vec<StoredLog>, SinksError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let (note, entry) = (bound(MAX_NOTE_BYTES), bound(MAX_ENTRY_BYTES));
        let rows = self.client.query(LOGS, &[&most, &note, &entry]).await;
        let rows = rows.map_err(|error| self.failed("read the logs", error))?;
        let logs = rows.iter().map(|row| {
            Ok(StoredLog {
                id: self.get(row, 0)?,
                origin: self.get(row, 1)?,
                checkpoint: self.get(row, 2)?,
                newest: self.get(row, 3)?,
            })
        });
        logs.collect()
    }

    /// The openings of persons. An erased opening is not found, nor one that never came here.
    ///
    /// # Errors
    /// [`SinksError::Read`], and [`SinksError::TooManyPersons`] for more than
    /// [`MAX_PERSON_ROWS`].
    pub async fn persons(&self, query: &PersonQuery) -> Result<Vec<PersonRow>, SinksError> {
        if self.version < OPENINGS_VERSION {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(
            "SELECT o.log_id, uuid_send(o.session), o.index, o.peer FROM livetrail.openings o",
        );
        sql.must("o.log_id = ANY($)", query.logs.clone());
        sql.may("o.principal = $", query.principal.clone());
        sql.may("o.user_agent = $", query.user_agent.clone());
        sql.may("o.peer LIKE $", query.network.map(beginning_of));
        let mut rows = Box::pin(self.ask(&sql, "read openings").await?);
        let mut found = Vec::new();
        while let Some(row) = rows.next().await {
            let row = row.map_err(|error| self.failed("read openings", error))?;
            let peer: Option<&str> = self.get(&row, 3)?;
            if !query.network.is_none_or(|network| is_in(peer, network)) {
                continue;
            }
            if found.len() == MAX_PERSON_ROWS {
                return Err(SinksError::TooManyPersons {
                    most: MAX_PERSON_ROWS,
                });
            }
            let session: &[u8] = self.get(&row, 1)?;
            found.push(PersonRow {
                log: self.get(&row, 0)?,
                session: Uuid::from_slice(session).unwrap_or_default(),
                index: index(self.get(&row, 2)?),
            });
        }
        Ok(found)
    }

    /// The records that match.
    ///
    /// # Errors
    /// [`SinksError::Read`].
    pub async fn find(&self, query: &RecordQuery) -> Result<StoredRecords<'_>, SinksError> {
        let sql = query.sql();
        let rows = Box::pin(self.ask(&sql, "read records").await?);
        Ok(StoredRecords { rows, reader: self })
    }

    async fn ask(&self, sql: &Sql, step: &str) -> Result<RowStream, SinksError> {
        let values = sql.values.iter();
        let values = values.map(|value| value.as_ref() as &(dyn ToSql + Sync));
        let rows = self.client.query_raw(&sql.text, values).await;
        rows.map_err(|error| self.failed(step, error))
    }

    fn get<'a, T: FromSql<'a>>(&self, row: &'a Row, column: usize) -> Result<T, SinksError> {
        let value = row.try_get(column);
        value.map_err(|error| self.failed("read an answer", error))
    }

    fn failed(&self, step: &str, error: Error) -> SinksError {
        SinksError::Read {
            step: step.to_owned(),
            place: self.place.clone(),
            source: without_values(error),
        }
    }
}

impl StoredRecords<'_> {
    /// The next record, or `None` after the last one.
    ///
    /// # Errors
    /// [`SinksError::Read`]. Nothing can be read afterwards.
    pub async fn next(&mut self) -> Result<Option<StoredRecord>, SinksError> {
        let Some(row) = self.rows.next().await else {
            return Ok(None);
        };
        let row = row.map_err(|error| self.reader.failed("read records", error))?;
        let leaf: Option<&[u8]> = self.reader.get(&row, 2)?;
        Ok(Some(StoredRecord {
            log: self.reader.get(&row, 0)?,
            index: index(self.reader.get(&row, 1)?),
            leaf: leaf.and_then(|leaf| leaf.try_into().ok()),
            entry: self.reader.get(&row, 3)?,
        }))
    }
}

impl RecordQuery {
    /// The statement. Conditions on the stream, a session, persons and the time use indexes.
    fn sql(&self) -> Sql {
        let most = bound(MAX_ENTRY_BYTES);
        let mut sql = Sql::new(&format!(
            "SELECT r.log_id, r.index, r.leaf, CASE WHEN octet_length(r.entry) <= {most} THEN r.entry END \
             FROM livetrail.records r"
        ));
        sql.must("r.log_id = ANY($)", self.logs.clone());
        sql.may("r.app = $", self.app.clone());
        sql.may("r.stream = $", self.stream.clone());
        if let Some(part) = &self.session {
            sql.session(part, self.or_end);
        }
        if !self.actions.is_empty() {
            sql.must("r.action = ANY($)", self.actions.clone());
        }
        match (&self.principal, &self.persons) {
            (principal, None) => sql.may("r.principal = $", principal.clone()),
            (principal, Some(rows)) => sql.persons(principal.clone(), rows),
        }
        sql.may("r.ts >= $", self.since_ms.map(time));
        sql.may("r.ts < $", self.until_ms.map(time));
        sql.text.push_str(" ORDER BY r.ts, r.log_id, r.index");
        sql
    }
}

/// A statement with the values of its parameters.
struct Sql {
    text: String,
    values: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Sql {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds a condition in which `$` stands for this value.
    fn must(&mut self, condition: &str, value: impl ToSql + Sync + Send + 'static) {
        let condition = condition.replace('$', &self.value(value));
        self.add(&condition);
    }

    fn may(&mut self, condition: &str, value: Option<impl ToSql + Sync + Send + 'static>) {
        if let Some(value) = value {
            self.must(condition, value);
        }
    }

    fn session(&mut self, part: &str, or_end: bool) {
        if part.len() == 36 {
            return self.must("r.session = $::text::uuid", part.to_owned());
        }
        // The first id with this beginning, and the last one.
        let digits: String = part.chars().filter(char::is_ascii_hexdigit).collect();
        let [first, last] = ['0', 'f'].map(|fill| {
            let filled = digits.chars().chain(std::iter::repeat(fill));
            filled.take(32).collect::<String>()
        });
        let (first, last) = (self.value(first), self.value(last));
        let begins = format!("r.session BETWEEN {first}::text::uuid AND {last}::text::uuid");
        if !or_end {
            return self.add(&begins);
        }
        let (length, end) = (self.value(bound(part.len())), self.value(part.to_owned()));
        self.add(&format!(
            "({begins} OR right(r.session::text, {length}) = {end})"
        ));
    }

    fn persons(&mut self, principal: Option<String>, rows: &[PersonRow]) {
        let sessions: Vec<String> = rows.iter().map(|row| row.session.to_string()).collect();
        let indexes: Vec<i64> = rows.iter().map(|row| int(row.index)).collect();
        let named = principal.map(|name| format!("r.principal = {} OR ", self.value(name)));
        let named = named.unwrap_or_default();
        let (sessions, indexes) = (self.value(sessions), self.value(indexes));
        self.add(&format!(
            "({named}r.session = ANY({sessions}::text[]::uuid[]) OR (r.session IS NULL AND r.index = ANY({indexes})))"
        ));
    }

    /// Adds a value. Returns the parameter that stands for it.
    fn value(&mut self, value: impl ToSql + Sync + Send + 'static) -> String {
        self.values.push(Box::new(value));
        format!("${}", self.values.len())
    }

    fn add(&mut self, condition: &str) {
        let is_first = !self.text.contains(" WHERE ");
        self.text
            .push_str(if is_first { " WHERE " } else { " AND " });
        self.text.push_str(condition);
    }
}

/// A pattern for the text of the addresses in a network: of IPv4 the whole bytes of its prefix.
fn beginning_of((address, bits): (IpAddr, u8)) -> String {
    let whole = match address {
        IpAddr::V4(address) => {
            let bytes = address.octets();
            let kept = usize::from(bits / 8).min(bytes.len());
            let kept: Vec<String> = bytes.iter().take(kept).map(u8::to_string).collect();
            let end = match kept.len() {
                0 => "",
                4 => ":",
                _ => ".",
            };
            format!("{}{end}", kept.join("."))
        }
        IpAddr::V6(address) if bits == 128 => format!("[{address}]:"),
        IpAddr::V6(_) => String::new(),
    };
    format!("{whole}%")
}

/// Whether an address with a port is in a network.
fn is_in(peer: Option<&str>, (network, bits): (IpAddr, u8)) -> bool {
    let peer = peer.and_then(|peer| peer.parse::<std::net::SocketAddr>().ok());
    let shift = |width: u8| u32::from(width.saturating_sub(bits));
    match (peer.map(|peer| peer.ip().to_canonical()), network) {
        (Some(IpAddr::V4(peer)), IpAddr::V4(network)) => {
            let differ = u32::from(peer) ^ u32::from(network);
            differ.checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (Some(IpAddr::V6(peer)), IpAddr::V6(network)) => {
            let differ = u128::from(peer) ^ u128::from(network);
            differ.checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms.min(MAX_MS))
}

fn bound(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn index(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(u64::MAX)
}

impl std::fmt::Debug for PostgresReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresReader")
            .field("place", &self.place)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StoredRecords<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRecords")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_and_its_text_begins_as_that_of_the_network() {
        for (peer, network, bits, wanted) in [
            ("192.0.2.7:1", "192.0.2.0", 24, true),
            ("192.0.2.7:1", "192.0.2.7", 32, true),
            ("192.0.2.70:1", "192.0.2.7", 32, false),
            ("192.0.3.7:1", "192.0.2.0", 24, false),
            ("192.0.3.7:1", "192.0.2.0", 23, true),
            ("10.1.2.3:1", "0.0.0.0", 0, true),
            ("[2001:db8::1]:1", "2001:db8::", 32, true),
            ("[2001:db8::1]:1", "2001:db8::1", 128, true),
            ("[2001:db9::1]:1", "2001:db8::", 32, false),
            ("192.0.2.7:1", "::", 0, false),
        ] {
            let network = (network.parse().unwrap(), bits);
            assert_eq!(is_in(Some(peer), network), wanted, "{peer} in {network:?}");
            let pattern = beginning_of(network);
            let beginning = pattern.strip_suffix('%').unwrap();
            assert!(!wanted || peer.starts_with(beginning), "{peer}: {pattern}");
        }
        assert!(!is_in(Some("nobody"), ("0.0.0.0".parse().unwrap(), 0)));
        assert!(!is_in(None, ("0.0.0.0".parse().unwrap(), 0)));
    }

    #[test]
    fn each_condition_of_a_question_has_its_parameter() {
        let query = RecordQuery {
            logs: vec![1],
            app: Some("live".into()),
            stream: Some("cam".into()),
            session: Some("0199a1b2-c3".into()),
            or_end: true,
            actions: vec!["play_denied".into()],
            principal: Some("alice".into()),
            persons: Some(Vec::new()),
            since_ms: Some(0),
            until_ms: Some(u64::MAX),
        };
        let sql = query.sql();
        let count = |text| sql.text.matches(text).count();
        assert_eq!((count(" AND r."), count(" AND (")), (6, 2), "{}", sql.text);
        assert_eq!(sql.values.len(), 13);
        assert!(sql.text.contains("r.ts < $13 ORDER BY"), "{}", sql.text);
        let all = RecordQuery::default().sql();
        assert!(all.text.contains("WHERE r.log_id = ANY($1) ORDER BY"));
    }
}
