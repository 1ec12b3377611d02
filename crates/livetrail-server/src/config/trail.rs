//! `[trail]`: the trail on disk, its retention and its witnesses.

use std::path::{Path, PathBuf};

use livetrail_ledger::{LedgerError, MAX_WITNESSES};
use livetrail_settings::{Bounds, beside};
use livetrail_trail::Settings;
use serde::Deserialize;

use super::{
    ByteSize, Span,
    retention::Retention,
    section::{DAY_S, Section, Wrong},
};

/// The trail on disk: a ledger.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trail {
    pub(crate) origin: Option<String>,
    pub(crate) signer_key_file: Option<PathBuf>,
    pub(crate) cosigner_key_file: Option<PathBuf>,
    pub(crate) commit_interval: Span,
    pub(crate) checkpoint_interval: Span,
    pub(crate) wal_segment_size: ByteSize,
    pub(crate) reserve_size: ByteSize,
    /// The vault's directory. Without one it is `personal` in the data directory.
    pub(crate) personal: Option<PathBuf>,
    pub(crate) vault_key_file: Option<PathBuf>,
    pub(crate) retention: Retention,
    pub(crate) retention_size: Option<ByteSize>,
    pub(crate) verify_every: Option<Span>,
    pub(crate) witness_interval: Span,
    pub(crate) witness_overdue_after: Span,
    pub(crate) witness: Vec<Witness>,
}

/// A witness, which cosigns the trail's checkpoints.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witness {
    pub(crate) url: String,
    pub(crate) key: String,
}

impl Witness {
    /// # Errors
    /// The address or the key is invalid.
    pub(crate) fn witness(&self) -> Result<livetrail_ledger::Witness, LedgerError> {
        livetrail_ledger::Witness::new(self.url.as_str(), self.key.trim().parse()?)
    }
}

impl Default for Trail {
    fn default() -> Self {
        let of = Settings::new(PathBuf::new());
        Self {
            origin: of.origin,
            signer_key_file: of.signer_key_file,
            cosigner_key_file: of.cosigner_key_file,
            commit_interval: Span(of.ledger.commit_interval),
            checkpoint_interval: Span(of.ledger.checkpoint_interval),
            wal_segment_size: size(of.ledger.segment_bytes),
            reserve_size: size(of.ledger.ballast_bytes),
            personal: of.personal,
            vault_key_file: of.vault_key_file,
            retention: Retention {
                openings: of.openings.default.map(Span),
                entries: of.retention.age.map(Span),
            },
            retention_size: of.retention.bytes.map(size),
            verify_every: of.verify_every.map(Span),
            witness_interval: Span(of.witness.interval),
            witness_overdue_after: Span(of.witness.overdue_after),
            witness: Vec::new(),
        }
    }
}

impl Trail {
    /// Resolves paths relative to the directory of the configuration file.
    pub(super) fn resolve(&mut self, base: &Path) {
        let files = [
            &mut self.signer_key_file,
            &mut self.cosigner_key_file,
            &mut self.personal,
            &mut self.vault_key_file,
        ];
        beside(base, files);
    }

    /// The settings of the trail in this data directory.
    ///
    /// # Errors
    /// The address or the key of a witness is invalid.
    pub(crate) fn settings(&self, data: &Path) -> anyhow::Result<Settings> {
        let mut settings = Settings::new(data);
        settings.origin.clone_from(&self.origin);
        settings.signer_key_file.clone_from(&self.signer_key_file);
        settings
            .cosigner_key_file
            .clone_from(&self.cosigner_key_file);
        settings.ledger.commit_interval = self.commit_interval.0;
        settings.ledger.checkpoint_interval = self.checkpoint_interval.0;
        settings.ledger.segment_bytes = bytes(self.wal_segment_size);
        settings.ledger.ballast_bytes = bytes(self.reserve_size);
        settings.retention = self.kept();
        settings.personal.clone_from(&self.personal);
        settings.vault_key_file.clone_from(&self.vault_key_file);
        settings.openings.default = self.retention.of_openings(None).map(|span| span.0);
        settings.verify_every = self.verify_every.map(|span| span.0);
        settings.witness.interval = self.witness_interval.0;
        settings.witness.overdue_after = self.witness_overdue_after.0;
        let witnesses = self.witness.iter().map(Witness::witness);
        settings.witnesses = witnesses.collect::<Result<_, _>>()?;
        Ok(settings)
    }

    fn kept(&self) -> livetrail_trail::Retention {
        let mut retention = livetrail_trail::Retention::default();
        retention.age = self.retention.entries.map(|span| span.0);
        retention.bytes = self.retention_size.map(bytes);
        retention
    }
}

impl Section for Trail {
    fn bounds(&self, list: &mut Bounds) {
        list.span("commit_interval", self.commit_interval, 0, 1);
        list.span("checkpoint_interval", self.checkpoint_interval, 1, 60);
        // A segment holds at least one commit, which has at most 8 MiB.
        list.bytes("wal_segment_size", self.wal_segment_size, 9 << 20, 1 << 30);
        list.bytes("reserve_size", self.reserve_size, 0, 64 << 30);
        list.section("retention", |list| self.retention.bounds(list));
        if let Some(size) = self.retention_size {
            list.bytes("retention_size", size, 1 << 20, 1 << 49);
        }
        if let Some(every) = self.verify_every {
            list.span("verify_every", every, 1_000, 366 * DAY_S);
        }
        list.span("witness_interval", self.witness_interval, 100, 3_600);
        let overdue = self.witness_overdue_after;
        list.span("witness_overdue_after", overdue, 1_000, DAY_S);
        list.number("witness", self.witness.len(), 0, MAX_WITNESSES, "");
    }

    fn check(&self) -> Result<(), Wrong> {
        for (i, witness) in self.witness.iter().enumerate() {
            if let Err(error) = witness.witness() {
                let key = match &error {
                    LedgerError::WitnessUrl { .. } => "url",
                    _ => "key",
                };
                let problem = livetrail_trail::chain(&error);
                return Err(Wrong::new(format!("witness[{i}].{key}"), problem));
            }
            let mut before = self.witness.iter().take(i);
            if before.any(|other| other.key == witness.key) {
                let problem = "the same witness is given twice";
                return Err(Wrong::new(format!("witness[{i}].key"), problem));
            }
        }
        if let Some(origin) = &self.origin {
            if origin.is_empty() {
                let problem = "is empty; leave it out to take the trail as it is";
                return Err(Wrong::new("origin", problem));
            }
            livetrail_trail::check_origin(origin)
                .map_err(|error| Wrong::new("origin", format!("{error:#}")))?;
        }
        let files = [
            ("signer_key_file", &self.signer_key_file),
            ("cosigner_key_file", &self.cosigner_key_file),
            ("vault_key_file", &self.vault_key_file),
        ];
        for (i, (key, file)) in files.iter().enumerate() {
            let mut before = files.iter().take(i);
            if let Some((other, _)) = before.find(|(_, other)| file.is_some() && other == file) {
                let problem = format!("is also trail.{other}: each key needs a file of its own");
                return Err(Wrong::new(*key, problem));
            }
        }
        let retention = self.retention.check();
        retention.map_err(|wrong| wrong.within("retention"))
    }
}

fn bytes(size: ByteSize) -> u64 {
    u64::try_from(size.0).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> ByteSize {
    ByteSize(usize::try_from(bytes).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reach_the_trail_unchanged() {
        let data = Path::new("data");
        let settings = Trail::default().settings(data).unwrap();
        let wanted = Settings::new(data);
        assert_eq!(format!("{settings:?}"), format!("{wanted:?}"));
    }
}
