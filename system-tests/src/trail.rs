//! The trail as the server has written it: read with the parser of `livetrail-record`, checked with its state machine, and
//! compared with exactly what should have happened.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use livetrail_record::{AuditAction, AuditRecord, TrailChecker, Uuid, parse_line};

use crate::story::Story;

/// The records of a trail file, in its order.
#[derive(Debug, Clone)]
pub struct Trail {
    path: PathBuf,
    records: Vec<AuditRecord>,
    text: String,
}

impl Trail {
    /// Reads a file. A line without its LF is one that the server is writing, and left out; no file is no records.
    ///
    /// # Panics
    /// When a line is none of the file sink's.
    #[track_caller]
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let records = whole
            .lines()
            .map(|line| match parse_line(line.as_bytes()) {
                Ok(record) => record,
                Err(error) => panic!("{}: {error}\n{line}", path.display()),
            })
            .collect();
        Self {
            path: path.to_path_buf(),
            records,
            text: whole.to_owned(),
        }
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

    /// How many records have this action's label.
    #[must_use]
    pub fn count(&self, label: &str) -> usize {
        self.of(label).count()
    }

    /// The records of one session, administrators' records about it left out.
    pub fn session(&self, session: Uuid) -> impl Iterator<Item = &AuditRecord> {
        let of_session = move |record: &&AuditRecord| record.session == Some(session);
        self.records
            .iter()
            .filter(of_session)
            .filter(|record| !record.action.is_admin())
    }

    /// What happened in each session, in the order of their first records.
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
            .map(|session| Story::of(&sessions[session]))
            .collect()
    }

    /// Insists on exactly these sessions, in any order, each with exactly its records.
    ///
    /// # Panics
    /// When the trail has others, or tells otherwise of them.
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

    /// Insists on exactly these records outside of sessions, in this order: those of the server, and of operators.
    /// Heartbeats are left out.
    ///
    /// # Panics
    /// When the trail has others.
    #[track_caller]
    pub fn assert_server_records(&self, expected: &[&str]) {
        let outside = |record: &&AuditRecord| {
            (record.session.is_none() || record.action.is_admin())
                && record.action != AuditAction::Heartbeat
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

    /// Insists that every rule of the contract holds, that every session is closed and that every `seq` is there or reported
    /// as dropped.
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

    /// Insists that no record was dropped.
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

    /// Insists that none of these texts is in the trail.
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
            self.path.display(),
            self.records.len(),
            self.text
        )
    }
}
