//! A trail in a PostgreSQL table, as the server's sink keeps it: entries and leaf hashes in
//! `livetrail.records`, checkpoints in `livetrail.checkpoints`.
//!
//! The hash tiles of the lowest level are the column `leaf`; those above are computed from it. So
//! every byte of `entry` and `leaf` is compared with the signed root. The typed columns are not
//! compared: they are for queries.

mod tls;

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use livetrail_tlog::{
    Bundle, HASH_BYTES, Hash, MAX_ENTRY_BYTES, MAX_NOTE_BYTES, Tile, TilePath, encode_entry_into,
    tree_root,
};
use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{Client, Config, Row};

use crate::error::VerifyError;
use crate::sources::{SizeClaim, Source, SourceError};

/// The longest time of one query in total.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// The checkpoints that are compared with the trail: the newest of each day.
const ARCHIVED: &str = "SELECT max(size) FROM livetrail.checkpoints WHERE log_id = $1 AND size <= $2 \
    GROUP BY added_at::date ORDER BY 1 DESC LIMIT 10000";

/// The directory for older checkpoints.
const ARCHIVE: &str = "private/checkpoints";

/// A value that is longer than allowed is returned as NULL, so that no row costs more memory than a
/// valid one.
const ROWS: &str = "SELECT index, CASE WHEN octet_length(entry) <= $4 THEN entry END, CASE WHEN octet_length(leaf) = 32 THEN leaf END \
    FROM livetrail.records WHERE log_id = $1 AND index >= $2 AND index < $3 ORDER BY index LIMIT 257";

const LEAVES: &str = "SELECT index, CASE WHEN octet_length(leaf) = 32 THEN leaf END FROM livetrail.records \
    WHERE log_id = $1 AND index >= $2 AND index < $3 ORDER BY index LIMIT 257";

const NOTE: &str = "SELECT CASE WHEN octet_length(note) <= $3 THEN note END FROM livetrail.checkpoints \
    WHERE log_id = $1 AND size = $2 LIMIT 1";

/// The directory for hand-overs from key to key.
const HAND_OVERS: &str = "handover";

/// Whether the schema has a table for them; version 1 has none.
const HAS_HAND_OVERS: &str = "SELECT to_regclass('livetrail.hand_overs') IS NOT NULL";

/// No log has more keys than this; the reader of the list has its own bound.
const KEYS_GIVEN_UP: &str =
    "SELECT key_id FROM livetrail.hand_overs WHERE log_id = $1 ORDER BY size LIMIT 4096";

const HAND_OVER: &str = "SELECT note FROM livetrail.hand_overs \
    WHERE log_id = $1 AND key_id = $2 AND length(note) <= 1000000";

/// The wanted log, the newest checkpoint whose records all exist, the newest one of all, and the
/// last record. One statement, so that a writer's transaction is seen completely or not at all.
const LOG: &str = "SELECT log_id, origin, next_index, covered_by, \
    (SELECT max(k.size) FROM livetrail.checkpoints k WHERE k.log_id = c.log_id) AS newest, \
    (SELECT r.index FROM livetrail.records r WHERE r.log_id = c.log_id ORDER BY r.index DESC LIMIT 1) AS last_index \
    FROM livetrail.cursors c WHERE $1::text IS NULL OR origin = $1 ORDER BY log_id LIMIT 2";

/// The logs in the database.
const ORIGINS: &str = "SELECT origin FROM livetrail.logs ORDER BY origin LIMIT $1";

/// Entries in a bundle, and hashes in a tile.
const WIDTH: u64 = livetrail_tlog::TILE_WIDTH as u64;

/// A log in a database. Read-only.
#[derive(Debug)]
pub struct PostgresTrail {
    place: String,
    log_id: i32,
    /// The newest checkpoint that is covered, or `None` when there is none.
    size: Option<i64>,
    /// The index after the last committed record.
    next_index: i64,
    /// The newest checkpoint of all.
    newest: Option<i64>,
    /// The last record that exists.
    last_index: Option<i64>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Runtime,
    client: Client,
    /// The last bundle that was read, and its leaf hashes: the tile next to it is read next.
    last: Option<(u64, Vec<u8>, Vec<Vec<u8>>)>,
    /// Known hashes of level 1, in order: 32 bytes for 256 entries.
    roots: Vec<Hash>,
    /// A query timed out: the connection is still busy with it, and any further query would wait
    /// for it.
    is_lost: std::sync::atomic::AtomicBool,
}

impl PostgresTrail {
    /// Connects. `origin` is needed when there are several logs. Beyond this machine TLS is used
    /// and the server's certificate verified, with the authorities in `ca_file` or the system's.
    /// The password may also be in the variable `PGPASSWORD`.
    ///
    /// # Errors
    /// [`VerifyError::Database`].
    pub fn open(
        url: &str,
        origin: Option<&str>,
        ca_file: Option<&Path>,
    ) -> Result<Self, VerifyError> {
        let (inner, config) = connect(url, ca_file)?;
        let rows = inner
            .ask(LOG, &[&origin])
            .map_err(|error| failed("find the log", error.to_string()))?;
        let row = match rows.as_slice() {
            [row] => row,
            [] => {
                let why = "there is none, or none of that origin".to_owned();
                return Err(failed("find the log", why));
            }
            _ => {
                let why = "there are several: name one with --origin, or check all with --fleet";
                return Err(failed("find the log", why.to_owned()));
            }
        };
        let read = || -> Result<_, SourceError> {
            let name: (i32, String) = (get(row, 0)?, get(row, 1)?);
            Ok((name, get(row, 2)?, get(row, 3)?, get(row, 4)?, get(row, 5)?))
        };
        let ((log_id, origin), next_index, size, newest, last_index) =
            read().map_err(|error| failed("find the log", error.to_string()))?;
        Ok(Self {
            place: format!("{} of {origin}", database(&config)),
            log_id,
            size,
            next_index,
            newest,
            last_index,
            inner: Mutex::new(inner),
        })
    }

    /// The origins of the logs in a database, at most `most`.
    ///
    /// # Errors
    /// [`VerifyError::Database`].
    pub fn origins(
        url: &str,
        ca_file: Option<&Path>,
        most: usize,
    ) -> Result<Vec<String>, VerifyError> {
        let (inner, _) = connect(url, ca_file)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = inner.ask(ORIGINS, &[&most]);
        let origins = rows.and_then(|rows| rows.iter().map(|row| get(row, 0)).collect());
        origins.map_err(|error| failed("find the logs", error.to_string()))
    }

    fn hashes(&self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
        let width = u64::from(tile.width());
        if tile.level() == 0 {
            let (_, leaves) = self.bundle(tile.index(), width)?;
            return Ok(complete(leaves, width).map(|leaves| leaves.concat()));
        }
        let mut bytes = Vec::new();
        let first = tile.index().saturating_mul(WIDTH);
        for at in first..first.saturating_add(width) {
            match self.root(tile.level(), at)? {
                Some(root) => bytes.extend(root.as_bytes()),
                None => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }

    /// Hash `at` of a level from 1 on.
    fn root(&self, level: u8, at: u64) -> Result<Option<Hash>, SourceError> {
        if level == 1 {
            return self.root_of_bundle(at);
        }
        let mut below = Vec::new();
        let first = at.saturating_mul(WIDTH);
        for at in first..first.saturating_add(WIDTH) {
            match self.root(level.saturating_sub(1), at)? {
                Some(root) => below.push(root),
                None => return Ok(None),
            }
        }
        Ok(Some(tree_root(&below)))
    }

    fn root_of_bundle(&self, number: u64) -> Result<Option<Hash>, SourceError> {
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(root) = self.inner().roots.get(at) {
            return Ok(Some(*root));
        }
        let first = number.saturating_mul(WIDTH);
        let (from, to) = (int(first), int(first.saturating_add(WIDTH)));
        let mut inner = self.inner();
        let rows = inner.ask(LEAVES, &[&self.log_id, &from, &to])?;
        let leaves = in_order(&rows, first).map(|row| get::<Option<Vec<u8>>>(row, 1));
        let leaves: Result<Vec<_>, SourceError> = leaves.collect();
        let leaves = leaves?.into_iter().map_while(|leaf| leaf).collect();
        let Some(leaves) = complete(leaves, WIDTH) else {
            return Ok(None);
        };
        let hashes: Result<Vec<_>, _> = leaves
            .iter()
            .map(|leaf| Hash::try_from(leaf.as_slice()))
            .collect();
        let Ok(hashes) = hashes else {
            return Ok(None);
        };
        let root = tree_root(&hashes);
        inner.remember(at, root);
        Ok(Some(root))
    }

    /// The bytes of a bundle, as far as its rows exist, and its leaf hashes.
    fn bundle(&self, number: u64, width: u64) -> Result<(Vec<u8>, Vec<Vec<u8>>), SourceError> {
        let mut inner = self.inner();
        if let Some((last, bytes, leaves)) = &inner.last
            && *last == number
            && leaves.len() as u64 == width
        {
            return Ok((bytes.clone(), leaves.clone()));
        }
        let first = number.saturating_mul(WIDTH);
        let (from, to) = (int(first), int(first.saturating_add(width)));
        let most = i32::try_from(MAX_ENTRY_BYTES).unwrap_or(i32::MAX);
        let rows = inner.ask(ROWS, &[&self.log_id, &from, &to, &most])?;
        let (mut bytes, mut leaves) = (Vec::new(), Vec::new());
        for row in in_order(&rows, first) {
            let (Some(entry), Some(leaf)) = (
                get::<Option<&[u8]>>(row, 1)?,
                get::<Option<Vec<u8>>>(row, 2)?,
            ) else {
                break;
            };
            // A value longer than any entry is not an entry, so the bundle ends before it.
            if encode_entry_into(&mut bytes, entry).is_err() {
                break;
            }
            leaves.push(leaf);
        }
        inner.last = Some((number, bytes.clone(), leaves.clone()));
        Ok((bytes, leaves))
    }

    fn hand_over(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        if !self.has_hand_overs()? {
            return Ok(None);
        }
        let rows = self.inner().ask(HAND_OVER, &[&self.log_id, &key])?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    fn has_hand_overs(&self) -> Result<bool, SourceError> {
        let rows = self.inner().ask(HAS_HAND_OVERS, &[])?;
        rows.first().map_or(Ok(false), |row| get(row, 0))
    }

    fn note(&self, size: i64) -> Result<Option<Vec<u8>>, SourceError> {
        let most = i32::try_from(MAX_NOTE_BYTES).unwrap_or(i32::MAX);
        let rows = self.inner().ask(NOTE, &[&self.log_id, &size, &most])?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let too_long = SourceError::TooLong {
            most: MAX_NOTE_BYTES,
        };
        get::<Option<Vec<u8>>>(row, 0)?.map(Some).ok_or(too_long)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(what: &str, why: String) -> VerifyError {
    VerifyError::Database {
        what: what.to_owned(),
        why,
    }
}

fn connect(url: &str, ca_file: Option<&Path>) -> Result<(Inner, Config), VerifyError> {
    let mut config: Config = url.trim().parse().map_err(|_| {
        let form = "it must have the form postgres://USER@HOST:PORT/DATABASE";
        failed("parse the address", form.to_owned())
    })?;
    if let (None, Ok(password)) = (config.get_password(), std::env::var("PGPASSWORD")) {
        config.password(password);
    }
    tls::choose_mode(&mut config, ca_file.is_some());
    let connector = tls::connector(ca_file, config.get_ssl_mode() == SslMode::Disable)
        .map_err(|why| failed("set up TLS", why))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| failed("start", error.to_string()))?;
    let client = runtime
        .block_on(async {
            let connect = tokio::time::timeout(QUESTION_TIMEOUT, config.connect(connector));
            let (client, connection) = match connect.await {
                Ok(connected) => connected.map_err(|error| chain(&error))?,
                Err(_) => return Err(format!("no answer within {QUESTION_TIMEOUT:?}")),
            };
            // The waiting query gets its errors.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            Ok(client)
        })
        .map_err(|why| failed("connect", why))?;
    let inner = Inner {
        runtime,
        client,
        last: None,
        roots: Vec::new(),
        is_lost: false.into(),
    };
    Ok((inner, config))
}

impl Source for PostgresTrail {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        let found = match path.parse() {
            Ok(TilePath::Entries(bundle)) => self.entries(bundle)?,
            Ok(TilePath::Hashes(tile)) => self.hashes(tile)?,
            Err(_) if path == "checkpoint" => match self.size {
                Some(size) => self.note(size)?,
                None => None,
            },
            Err(_) => match (archived(path), path.strip_prefix(HAND_OVERS)) {
                (Some(size), _) => self.note(size)?,
                (None, Some(key)) => self.hand_over(key.trim_start_matches('/'))?,
                (None, None) => None,
            },
        };
        match found {
            Some(bytes) if bytes.len() > most => Err(SourceError::TooLong { most }),
            found => Ok(found),
        }
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        if dir == HAND_OVERS && self.has_hand_overs()? {
            let rows = self.inner().ask(KEYS_GIVEN_UP, &[&self.log_id])?;
            for row in rows {
                each(get(&row, 0)?, false);
            }
            return Ok(true);
        }
        let Some(size) = self.size.filter(|_| dir == ARCHIVE) else {
            return Ok(false);
        };
        let rows = self.inner().ask(ARCHIVED, &[&self.log_id, &size])?;
        for row in rows {
            let size: i64 = get(&row, 0)?;
            each(&format!("{size:020}.note"), false);
        }
        Ok(true)
    }

    fn lists(&self) -> bool {
        false
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn size_claims(&self) -> Vec<SizeClaim> {
        let mut found = Vec::new();
        if let Some(newest) = self.newest.filter(|newest| Some(*newest) > self.size) {
            let name = format!("livetrail.checkpoints, size {newest}");
            match self.note(newest) {
                Ok(Some(note)) => found.push(SizeClaim::Checkpoint {
                    name,
                    note,
                    is_shown: false,
                }),
                Ok(None) => {}
                Err(error) => found.push(SizeClaim::Checkpoint {
                    name: format!("{name}: {error}"),
                    note: Vec::new(),
                    is_shown: false,
                }),
            }
        }
        if let Some(last) = self.last_index.filter(|last| *last >= self.next_index) {
            let first = u64::try_from(self.next_index).unwrap_or(0);
            found.push(SizeClaim::Beyond {
                first,
                text: format!(
                    "there are records up to {last} beyond entry {}, where the last commit ends: rows of livetrail.commits were removed, or records were inserted",
                    self.next_index.saturating_sub(1)
                ),
                may_be_honest: false,
            });
        }
        found
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

impl PostgresTrail {
    fn entries(&self, bundle: Bundle) -> Result<Option<Vec<u8>>, SourceError> {
        let width = u64::from(bundle.width());
        let (bytes, leaves) = self.bundle(bundle.index(), width)?;
        // Without any row the file does not exist; with some rows it is wrong.
        Ok((!leaves.is_empty()).then_some(bytes))
    }
}

impl Inner {
    fn ask(
        &self,
        question: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, SourceError> {
        use std::sync::atomic::Ordering::Relaxed;

        if self.is_lost.load(Relaxed) {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        let answer = self.runtime.block_on(async {
            let question = self.client.query(question, parameters);
            tokio::time::timeout(QUESTION_TIMEOUT, question).await
        });
        match answer {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => Err(io::Error::other(chain(&error)).into()),
            Err(_) => {
                self.is_lost.store(true, Relaxed);
                Err(io::Error::from(io::ErrorKind::TimedOut).into())
            }
        }
    }

    /// Keeps hashes that arrive in order, as is usual; others are read again.
    fn remember(&mut self, at: usize, root: Hash) {
        if at == self.roots.len() {
            self.roots.push(root);
        }
    }
}

/// A column, of the type that the database reports.
fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, SourceError> {
    let found = row.try_get(column);
    found.map_err(|error| io::Error::other(chain(&error)).into())
}

/// The rows from `first` on, each once: up to the first that is missing or duplicate.
fn in_order(rows: &[Row], first: u64) -> impl Iterator<Item = &Row> {
    let indexes = first..;
    rows.iter()
        .zip(indexes)
        .take_while(|(row, index)| get::<i64>(row, 0).is_ok_and(|found| found == int(*index)))
        .map(|(row, _)| row)
}

/// All hashes, if each has the length of a hash.
fn complete(leaves: Vec<Vec<u8>>, width: u64) -> Option<Vec<Vec<u8>>> {
    let whole = leaves.len() as u64 == width && leaves.iter().all(|leaf| leaf.len() == HASH_BYTES);
    whole.then_some(leaves)
}

fn archived(path: &str) -> Option<i64> {
    let name = path.strip_prefix(ARCHIVE)?.strip_prefix('/')?;
    name.strip_suffix(".note")?.parse().ok()
}

fn int(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// The database's address, without user and password.
fn database(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5_432);
    format!(
        "postgres://{host}:{port}/{}",
        config.get_dbname().unwrap_or_default()
    )
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
