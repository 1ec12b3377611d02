//! The trails that sinks keep in a PostgreSQL database.

use std::{cell::Cell, collections::BTreeMap, collections::BTreeSet};

use livetrail_audit::{AuditRecord, Personal};
use livetrail_index::Filter;
use livetrail_record::{Uuid, parse_canonical};
use livetrail_sinks::postgres::{
    PersonQuery, PersonRow, PostgresReader, PostgresTarget, RecordQuery, StoredLog, StoredRecord,
};
use livetrail_tlog::{CheckpointVerifier, Ed25519Verifier, leaf_hash};
use livetrail_verify::{KeyFile, MAX_FLEET};
use tokio::runtime::Runtime;

use super::{Each, FleetArgs, Found, Newest, Node, Nodes, Question, keys_of, warn_of_unreadable};
use crate::{
    commands::runtime,
    output::{Failure, complain, printable},
};

/// A session's beginning with this many characters is searched for by index, before ends are.
const INDEXED_CHARS: usize = 8;

/// An open database.
pub(super) struct Database {
    runtime: Runtime,
    reader: PostgresReader,
    logs: BTreeMap<i32, Log>,
}

/// A log whose newest checkpoint is signed with its key.
struct Log {
    node: usize,
    size: u64,
}

impl Database {
    /// Connects, and adds each log as a node.
    pub(super) fn open(
        url: &str,
        args: &FleetArgs,
        nodes: &mut Nodes<'_>,
    ) -> Result<Self, Failure> {
        let mut target = PostgresTarget::parse(url).map_err(Failure::unusable)?;
        if let Ok(password) = std::env::var("PGPASSWORD") {
            target = target.or_password(&password);
        }
        if let Some(file) = &args.postgres_ca {
            target = target.with_ca_file(file);
        }
        let runtime = runtime()?;
        let opened = runtime.block_on(async {
            let reader = PostgresReader::connect(&target).await?;
            let logs = reader.logs(MAX_FLEET + 1).await?;
            anyhow::Ok((reader, logs))
        });
        let (reader, stored) = opened.map_err(Failure::unusable)?;
        if stored.len() > MAX_FLEET {
            let many = anyhow::anyhow!("there are more than {MAX_FLEET} logs in the database");
            return Err(Failure::unusable(many));
        }
        let mut logs = BTreeMap::new();
        for log in stored {
            let newest = newest(&log, nodes.keys);
            let size = newest.as_ref().map_or(0, |newest| newest.size);
            if let Some(node) = nodes.add(log.origin, newest) {
                logs.insert(log.id, Log { node, size });
            }
        }
        Ok(Self {
            runtime,
            reader,
            logs,
        })
    }

    /// Calls `each` with the records that match, in the order of time.
    pub(super) fn each(
        &self,
        nodes: &[Node],
        question: &Question,
        each: Each<'_>,
    ) -> Result<(), Failure> {
        let persons = self.persons(question)?;
        let by_end = |part: &String| part.len() < INDEXED_CHARS;
        let mut query = self.query(question, persons.as_ref());
        query.or_end = question.filter.session.as_ref().is_some_and(by_end);
        let found = self.find(nodes, question, persons.as_ref(), &query, each)?;
        let is_part = |part: &String| (INDEXED_CHARS..36).contains(&part.len());
        if !found && question.filter.session.as_ref().is_some_and(is_part) {
            // No session begins so. Reading all ids for their end takes longer.
            query.or_end = true;
            self.find(nodes, question, persons.as_ref(), &query, each)?;
        }
        Ok(())
    }

    /// Returns whether anything matched.
    fn find(
        &self,
        nodes: &[Node],
        question: &Question,
        persons: Option<&Persons>,
        query: &RecordQuery,
        each: Each<'_>,
    ) -> Result<bool, Failure> {
        let check = Check::new(&question.filter, persons);
        let mut records = self
            .runtime
            .block_on(self.reader.find(query))
            .map_err(Failure::unusable)?;
        let mut unreadable = BTreeMap::<usize, u64>::new();
        let mut found = false;
        while let Some(stored) = self
            .runtime
            .block_on(records.next())
            .map_err(Failure::unusable)?
        {
            let Some(log) = self.logs.get(&stored.log) else {
                continue;
            };
            // No checkpoint covers it yet.
            if stored.index >= log.size {
                continue;
            }
            let Some(entry) = entry_of(&stored) else {
                let origin = nodes.get(log.node).map_or("", |node| &node.origin);
                return Err(Failure::unusable(anyhow::anyhow!(
                    "{}: entry {} is not what its leaf hash says: it was changed; `livetrail-verify --fleet` says more",
                    printable(origin),
                    stored.index
                )));
            };
            let Ok(record) = parse_canonical(entry) else {
                let count = unreadable.entry(log.node).or_default();
                *count = count.saturating_add(1);
                continue;
            };
            if check.fits(&stored, &record) {
                found = true;
                each(Found {
                    node: log.node,
                    index: stored.index,
                    record,
                })?;
            }
        }
        for (node, count) in unreadable {
            let origin = nodes.get(node).map_or("", |node| &node.origin);
            warn_of_unreadable(origin, count);
        }
        check.warn();
        Ok(found)
    }

    fn ids(&self, only: Option<usize>) -> Vec<i32> {
        let asked = |log: &Log| only.is_none_or(|only| only == log.node);
        let logs = self.logs.iter().filter(|(_, log)| asked(log));
        logs.map(|(id, _)| *id).collect()
    }

    /// The openings of the persons that are asked for. `None` if nobody is.
    fn persons(&self, question: &Question) -> Result<Option<Persons>, Failure> {
        let query = PersonQuery {
            logs: self.ids(question.only),
            principal: question.filter.principal.clone(),
            network: question.network,
            user_agent: question.user_agent.clone(),
        };
        if query.principal.is_none() && query.network.is_none() && query.user_agent.is_none() {
            return Ok(None);
        }
        let rows = self.runtime.block_on(self.reader.persons(&query));
        let rows = rows.map_err(Failure::unusable)?;
        let is_only_principal = query.network.is_none() && query.user_agent.is_none();
        Ok(Some(Persons::new(
            query.principal.filter(|_| is_only_principal),
            rows,
        )))
    }

    fn query(&self, question: &Question, persons: Option<&Persons>) -> RecordQuery {
        let filter = &question.filter;
        RecordQuery {
            logs: self.ids(question.only),
            app: filter.app.clone(),
            stream: filter.stream.clone(),
            session: filter.session.clone(),
            or_end: false,
            actions: filter.actions.clone(),
            principal: persons.and_then(|persons| persons.in_clear.clone()),
            persons: persons.map(|persons| persons.rows.clone()),
            since_ms: filter.since_ms,
            until_ms: filter.until_ms,
        }
    }
}

/// The newest checkpoint of a log, if its key signed it, and the last record below it.
fn newest(log: &StoredLog, keys: &KeyFile) -> anyhow::Result<Newest> {
    let [signers, _] = keys_of(keys, &log.origin)?;
    let mut signers = signers.iter().map(Ed25519Verifier::new);
    let Some(first) = signers.next().transpose()? else {
        anyhow::bail!("no key was given for this origin");
    };
    let mut verifier = CheckpointVerifier::new(log.origin.as_str(), first);
    for signer in signers {
        verifier = verifier.with_log_key(signer?);
    }
    for retired in keys.of(&log.origin).retired() {
        verifier = verifier.with_retired(retired)?;
    }
    let Some(note) = &log.checkpoint else {
        anyhow::bail!("no checkpoint covers its records");
    };
    let size = verifier.verify(note)?.head().size;
    let record = log.newest.as_ref();
    Ok(Newest {
        size,
        record: record.and_then(|entry| parse_canonical(entry).ok()),
    })
}

/// The entry, if its leaf hash is that of the row.
fn entry_of(stored: &StoredRecord) -> Option<&[u8]> {
    let entry = stored.entry.as_deref()?;
    let is_same = stored.leaf.as_ref() == Some(leaf_hash(entry).as_bytes());
    is_same.then_some(entry)
}

/// The persons of a question, by their openings.
struct Persons {
    /// A principal that records of schema 1 have in clear.
    in_clear: Option<String>,
    rows: Vec<PersonRow>,
    sessions: BTreeSet<(i32, Uuid)>,
    entries: BTreeSet<(i32, u64)>,
}

impl Persons {
    fn new(in_clear: Option<String>, rows: Vec<PersonRow>) -> Self {
        Self {
            in_clear,
            sessions: rows.iter().map(|row| (row.log, row.session)).collect(),
            entries: rows.iter().map(|row| (row.log, row.index)).collect(),
            rows,
        }
    }

    fn have(&self, stored: &StoredRecord, record: &AuditRecord) -> bool {
        let name = record.principal.as_ref().map(Personal::expose);
        let is_named = self.in_clear.is_some() && name == self.in_clear.as_deref();
        let is_in_session = |session: Uuid| self.sessions.contains(&(stored.log, session));
        is_named
            || record.session.is_some_and(is_in_session)
            || self.entries.contains(&(stored.log, stored.index))
    }
}

/// Checks rows again by their entries: the columns are not proven.
struct Check<'a> {
    filter: Filter,
    persons: Option<&'a Persons>,
    differ: Cell<u64>,
}

impl<'a> Check<'a> {
    fn new(filter: &Filter, persons: Option<&'a Persons>) -> Self {
        let mut filter = filter.clone();
        filter.principal = None;
        Self {
            filter,
            persons,
            differ: Cell::new(0),
        }
    }

    fn fits(&self, stored: &StoredRecord, record: &AuditRecord) -> bool {
        if !self.filter.fits(record) {
            self.differ.set(self.differ.get().saturating_add(1));
            return false;
        }
        // The columns of one log may have the session of another log.
        let persons = self.persons;
        persons.is_none_or(|persons| persons.have(stored, record))
    }

    fn warn(&self) {
        if self.differ.get() > 0 {
            complain(&format!(
                "warning: rows whose columns contradict their entries: {}; the columns were changed, and may hide other records",
                self.differ.get()
            ));
        }
    }
}
