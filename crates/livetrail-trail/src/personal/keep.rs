//! Sealing openings for the write-ahead log, and putting them into the vault.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    sync::{Arc, atomic::Ordering},
};

use livetrail_audit::{AuditRecord, OpeningOf, Openings};
use livetrail_ledger::{Companion, CompanionStore};
use livetrail_record::Opening;
use livetrail_vault::{Inserted, NewRow, RowKind, Vault, VaultError};

use super::{
    Personal,
    companion::{Row, Sealed},
    lock,
};

impl Personal {
    /// Seals an opening for its way through the write-ahead log.
    pub(crate) fn seal_opening(
        &self,
        record: &AuditRecord,
        opening: &Opening,
        into: &mut Vec<u8>,
    ) -> Result<(), VaultError> {
        let keys = self.keys.as_ref().ok_or(VaultError::ReadOnly)?;
        let row = Row::new(record, opening);
        keys.seal(|key| row.seal(key, into))
    }

    /// Puts openings from the write-ahead log into the vault. They are durable when it returns. The
    /// same ones may be given again, after an error or after a crash.
    pub(crate) fn keep_companions(&self, companions: &[&[u8]]) -> Result<(), VaultError> {
        let done = self.keep(companions);
        let failing = done.as_ref().err().map(|error| crate::chain(error));
        let before = std::mem::replace(&mut *lock(&self.failing), failing.clone());
        match (before, failing) {
            (None, Some(why)) => tracing::error!(
                "the vault takes no openings; no checkpoint covers their entries until it does: {why}"
            ),
            (Some(_), None) => tracing::info!("the vault takes openings again"),
            _ => {}
        }
        done
    }

    fn keep(&self, companions: &[&[u8]]) -> Result<(), VaultError> {
        let keys = self.keys.as_ref().ok_or(VaultError::ReadOnly)?;
        let mut known = BTreeMap::new();
        let mut used = Vec::with_capacity(companions.len());
        let mut rows = Vec::with_capacity(companions.len());
        let mut unreadable = Vec::new();
        let mut lost = 0_u64;
        let mut is_earlier = false;
        for companion in companions {
            let Some(sealed) = Sealed::parse(companion) else {
                lost = lost.saturating_add(1);
                continue;
            };
            used.push(sealed.key);
            let key = match known.entry(sealed.key) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    is_earlier |= keys.is_earlier(sealed.key);
                    new.insert(keys.get(sealed.key)?)
                }
            };
            match key.as_ref().and_then(|key| sealed.open(key)) {
                Some(row) => rows.push(row),
                None => unreadable.push(sealed),
            }
        }
        let rows: Vec<NewRow<'_>> = rows.iter().map(Row::as_new).collect();
        let done = self.with(|vault| {
            for sealed in &unreadable {
                lost = lost.saturating_add(u64::from(is_lost(vault, sealed)?));
            }
            // Those of this process can only be among the newest rows.
            if is_earlier {
                vault.insert_missing(&rows)
            } else {
                vault.insert(&rows)
            }
        })?;
        self.count(&done, lost);
        keys.kept(used);
        if let Err(error) = keys.destroy_retired() {
            self.warn_of_keys(&error);
        }
        Ok(())
    }

    fn count(&self, done: &Inserted, lost: u64) {
        if lost > 0 {
            tracing::error!(
                openings = lost,
                "openings in the write-ahead log cannot be read, and the vault does not have them: the keys of the vault were lost"
            );
        }
        for (count, more) in [
            (&self.counts.kept, done.kept),
            (&self.counts.erased, done.erased),
            (&self.counts.not_kept, done.not_kept),
            (&self.counts.lost, lost),
        ] {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Refusals since the last call whose openings were not kept because of the vault's bounds.
    pub(crate) fn take_not_kept(&self) -> Result<u64, VaultError> {
        self.with(|vault| Ok(vault.take_not_kept()))
    }
}

/// Whether an opening that cannot be read is nowhere else. A key is destroyed when its openings are
/// in the vault, so most often it is there.
fn is_lost(vault: &Vault, sealed: &Sealed<'_>) -> Result<bool, VaultError> {
    // Openings of refusals are not always kept.
    Ok(sealed.kind != RowKind::Refusal
        && vault.get(&sealed.id)?.is_none()
        && !vault.is_erased(&sealed.id)?)
}

impl Openings for Personal {
    fn seal(&self, opening: &OpeningOf<'_>, into: &mut Vec<u8>) -> io::Result<()> {
        self.seal_opening(opening.record, opening.opening, into)
            .map_err(io_error)
    }

    fn name_secret(&self, app: &str) -> Option<[u8; 32]> {
        Self::name_secret(self, app)
    }
}

/// The vault as the ledger sees it. It is closed together with the log.
#[derive(Debug)]
pub(crate) struct Companions(pub(crate) Arc<Personal>);

impl CompanionStore for Companions {
    fn keep(&mut self, companions: &[Companion<'_>]) -> io::Result<()> {
        let companions: Vec<&[u8]> = companions.iter().map(|one| one.bytes).collect();
        self.0.keep_companions(&companions).map_err(io_error)
    }
}

impl Drop for Companions {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn io_error(error: VaultError) -> io::Error {
    let kind = match &error {
        VaultError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
