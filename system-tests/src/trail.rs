//! The trail as the server has sealed it: read from its ledger, checked with the state machine of
//! `livetrail-record` and by `livetrail-verify`, and compared with exactly the expected events.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_ledger::{Reader, RealStore};
use livetrail_record::{
    AuditAction, AuditRecord, TrailChecker, Uuid, Value, encode_line, parse_canonical,
};
use livetrail_verify::{Directory, Options, Policy, Report, Verdict, keys_in, verify};

use crate::openings::{Opened, Openings, session_of_opening};
use crate::story::Story;

/// The records of a data folder's trail, in its order, as far as a checkpoint covers them.
#[derive(Debug, Clone)]
pub struct Trail {
    data: PathBuf,
    records: Vec<AuditRecord>,
    text: String,
    checkpoint: Vec<u8>,
    /// The records, with names, that commit to something that the vault does not have.
    unopened: Vec<usize>,
}

impl Trail {
    /// Reads the trail in a data folder, also while a server writes it.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    #[must_use]
    pub fn read(data: &Path) -> Self {
        match Self::try_read(data) {
            Ok(trail) => trail,
            Err(error) => panic!("{}: {error}", data.display()),
        }
    }

    pub(crate) fn try_read(data: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let store = Arc::new(RealStore::new(data.join("trail")));
        let reader = Reader::open(store)?;
        let checkpoint = reader.checkpoint()?;
        let entries = reader.entries(0..checkpoint.head().size)?;
        let records = entries
            .map(|entry| Ok(parse_canonical(&entry?)?))
            .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
        Ok(Self {
            data: data.to_path_buf(),
            text: records.iter().map(encode_line).collect(),
            records,
            checkpoint: checkpoint.note().encode().into_bytes(),
            unopened: Vec::new(),
        })
    }

    /// The same trail with the names that the server's vault has now.
    ///
    /// # Panics
    /// When the vault cannot be read, has another opening than a record commits to, or lacks one
    /// that was not erased.
    #[track_caller]
    #[must_use]
    pub fn with_names(&self) -> Self {
        let openings = match Openings::read(&self.data) {
            Ok(openings) => openings,
            Err(error) => panic!("the vault in {}: {error}", self.data.display()),
        };
        let mut named = self.clone();
        named.unopened.clear();
        for (at, record) in named.records.iter_mut().enumerate() {
            if matches!(openings.open(record), Opened::Missing) {
                named.unopened.push(at);
            }
        }
        named.text = named.records.iter().map(encode_line).collect();
        named.assert_opened();
        named
    }

    /// The sessions, and what stands for one, whose openings are on record as erased.
    ///
    /// # Panics
    /// When a record of an erasure has something else.
    #[must_use]
    pub fn erased(&self) -> HashSet<Uuid> {
        let lists = self.of("admin_erased").map(|record| {
            let Some(Value::Text(list)) = record.extra.get("sessions") else {
                panic!("an erasure without sessions\n{self}");
            };
            STANDARD.decode(list).expect("sessions in base64")
        });
        lists
            .flat_map(|list| {
                let (ids, rest) = list.as_chunks::<16>();
                assert!(rest.is_empty(), "a part of a session\n{self}");
                ids.iter()
                    .map(|id| Uuid::from_bytes(*id))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// Asserts that the vault had an opening for each record that commits to one, except those
    /// that are on record as erased, and refusals, of which it keeps a bounded number.
    ///
    /// # Panics
    /// When it lacked one.
    #[track_caller]
    fn assert_opened(&self) {
        let erased = self.erased();
        let records = self.unopened.iter().map(|at| &self.records[*at]);
        let missing: Vec<_> = records
            .filter(|record| !record.action.is_refusal())
            .filter(|record| !erased.contains(&session_of_opening(record)))
            .map(|record| record.action.label())
            .collect();
        assert!(
            missing.is_empty(),
            "the vault lacks the openings of {missing:?}\n{self}"
        );
    }

    /// The checkpoint that covers these records.
    #[must_use]
    pub fn checkpoint(&self) -> &[u8] {
        &self.checkpoint
    }

    /// All records.
    #[must_use]
    pub fn records(&self) -> &[AuditRecord] {
        &self.records
    }

    /// The records with this action's label.
    pub fn of(&self, label: &str) -> impl Iterator<Item = &AuditRecord> {
        self.records
            .iter()
            .filter(move |record| record.action.label() == label)
    }

    /// The number of refused attempts with this action's label, including those that a record
    /// summarises.
    #[must_use]
    pub fn refused(&self, label: &str) -> u64 {
        self.of(label).map(|record| record.count.unwrap_or(1)).sum()
    }

    /// How many records have this action's label.
    #[must_use]
    pub fn count(&self, label: &str) -> usize {
        self.of(label).count()
    }

    /// The records of one session, without administrators' records about it.
    pub fn session(&self, session: Uuid) -> impl Iterator<Item = &AuditRecord> {
        let of_session = move |record: &&AuditRecord| record.session == Some(session);
        self.records
            .iter()
            .filter(of_session)
            .filter(|record| !record.action.is_admin())
    }

    /// The events of each session, in the order of their first records. A record that summarises
    /// refused attempts gives as many stories, at most 100.
    #[must_use]
    pub fn stories(&self) -> Vec<Story> {
        let mut order = Vec::new();
        let mut sessions: BTreeMap<Uuid, Vec<&AuditRecord>> = BTreeMap::new();
        for record in self
            .records
            .iter()
            .filter(|record| !record.action.is_admin())
        {
            if let Some(session) = record.session {
                let told = sessions.entry(session).or_default();
                if told.is_empty() {
                    order.push(session);
                }
                told.push(record);
            }
        }
        order
            .iter()
            .flat_map(|session| {
                let records = &sessions[session];
                let attempts = match records[0].action.is_refusal() {
                    true => records[0].count.unwrap_or(1).min(100),
                    false => 1,
                };
                (0..attempts).map(|_| Story::of(records))
            })
            .collect()
    }

    /// Asserts that the trail has exactly these sessions, in any order, each with exactly its
    /// records.
    ///
    /// # Panics
    /// If the trail has other records, or other values in them.
    #[track_caller]
    pub fn assert_sessions(&self, expected: &[Story]) {
        let mut expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        let mut found: Vec<_> = self.stories().iter().map(ToString::to_string).collect();
        expected.sort();
        found.sort();
        assert!(
            expected == found,
            "the trail's sessions are not those expected\n--- expected\n{}\n--- found\n{}\n--- the trail\n{self}",
            expected.join("\n"),
            found.join("\n")
        );
    }

    /// Asserts that the trail has exactly these records outside sessions, in this order: those of
    /// the server, and of operators. Heartbeats are ignored.
    ///
    /// # Panics
    /// When the trail has others.
    #[track_caller]
    pub fn assert_server_records(&self, expected: &[&str]) {
        let outside = |record: &&AuditRecord| {
            // Tests read the trail, too.
            let looked = [AuditAction::AdminRead, AuditAction::AdminExported];
            (record.session.is_none() || record.action.is_admin())
                && record.action != AuditAction::Heartbeat
                && !looked.contains(&record.action)
        };
        let found: Vec<_> = self
            .records
            .iter()
            .filter(outside)
            .map(|record| record.action.label())
            .collect();
        assert!(
            found == expected,
            "the server's own records are not those expected\n--- expected\n{expected:?}\n--- found\n{found:?}\n--- the trail\n{self}"
        );
    }

    /// Asserts that every rule of the contract holds, that every session is closed and that every
    /// `seq` exists or is reported as dropped.
    ///
    /// # Panics
    /// When the checker finds anything, or a session is open.
    #[track_caller]
    pub fn assert_sound(&self) {
        let (findings, report) = TrailChecker::new().check(&self.records);
        let told: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(
            findings.is_empty() && report.is_sound() && report.open.is_empty(),
            "the trail breaks the contract\n--- findings\n{}\n--- open\n{:?}\n--- the trail\n{self}",
            told.join("\n"),
            report.open
        );
    }

    /// Asserts that an outsider finds the whole trail sound, with these records and no others, and
    /// that it contains each of these checkpoints, which were published before.
    ///
    /// # Panics
    /// When `livetrail-verify` finds anything.
    #[track_caller]
    pub fn assert_verified(&self, against: &[Vec<u8>]) {
        let report = report(&self.data, against);
        assert_eq!(report.verdict, Verdict::Sound, "{report}\n{self}");
        assert_eq!(
            report.figures.entries,
            self.records.len() as u64,
            "{report}\n{self}"
        );
        assert_eq!(report.sessions.open_total, 0, "{report}\n{self}");
    }

    /// Asserts that no record was dropped.
    ///
    /// # Panics
    /// When the trail says that one was.
    #[track_caller]
    pub fn assert_lossless(&self) {
        assert_eq!(
            self.count("records_dropped"),
            0,
            "records were dropped\n{self}"
        );
    }

    /// Asserts that none of these texts is in the trail.
    ///
    /// # Panics
    /// When one is.
    #[track_caller]
    pub fn assert_tells_nothing_of(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(
                !self.text.contains(secret),
                "a secret is in the trail\n{self}"
            );
        }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} records)\n{}",
            self.data.display(),
            self.records.len(),
            self.text
        )
    }
}

/// The result of `livetrail-verify` for a data folder's trail, with the keys next to it.
#[track_caller]
fn report(data: &Path, against: &[Vec<u8>]) -> Report {
    let keys = std::fs::read_to_string(data.join("trail.vkey")).expect("the verifier keys");
    let mut policy = Policy::default();
    for key in keys_in(&keys).expect("verifier keys") {
        policy.add(key).expect("a key of a log");
    }
    let named = (1..).zip(against);
    let options = Options {
        policy,
        against: named
            .map(|(n, note)| (format!("checkpoint {n}"), note.clone()))
            .collect(),
        ..Options::default()
    };
    let directory = Directory::new(data.join("trail"));
    verify(&directory, &options, &mut |_, _| {}).expect("a trail to verify")
}
