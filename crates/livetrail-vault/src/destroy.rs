//! Erasing the rows of sessions that are on record as erased: steps 2 to 5 of an erasure.
//!
//! A caller that shares the vault erases in parts: [`begin_erasure`](Vault::begin_erasure), then
//! [`erase_part`](Vault::erase_part) until there are no more. In between others can use the vault.
//! From the beginning on, no opening of these sessions is accepted. Their rows can be read until
//! their part is erased.

use std::collections::BTreeSet;

use crate::{
    disk,
    error::VaultError,
    find::Places,
    format::{row::SessionId, tombstones, wide},
    key::Kind,
    vault::Vault,
};

/// The maximum number of rows of a part. They are in one segment.
pub const PART_ROWS: usize = 4_096;

impl Vault {
    /// Begins to erase sessions that the log names as erased. Holds are ignored, as by
    /// [`replay`](Self::replay). Pass at most [`ERASE_SESSIONS`](crate::ERASE_SESSIONS). From now
    /// on, every start finishes the erasure. An earlier erasure is finished first.
    ///
    /// Returns the number of sessions that had rows.
    ///
    /// # Errors
    /// Errors of the system, after which the vault must be opened again.
    pub fn begin_erasure(&mut self, sessions: &[SessionId]) -> Result<u64, VaultError> {
        while self.erase_part()? {}
        if sessions.is_empty() {
            return Ok(0);
        }
        self.mutate(|vault| {
            let mut sorted = sessions.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            let file = tombstones::file(&sorted);
            vault.disk.replace(disk::ERASING, &file)?;
            let (places, found) = vault.places_of(&sorted, Places::new())?;
            vault.unfinished = Some(places);
            Ok(found)
        })
    }

    /// Erases up to [`PART_ROWS`] rows of the erasure that was begun. Returns whether there are
    /// more.
    ///
    /// # Errors
    /// Errors of the system, after which the vault must be opened again.
    pub fn erase_part(&mut self) -> Result<bool, VaultError> {
        let Some(mut places) = self.unfinished.take() else {
            return Ok(false);
        };
        self.mutate(|vault| {
            if let Some((segment, mut rows)) = places.pop_first() {
                if let Some(behind) = rows.iter().nth(PART_ROWS).copied() {
                    places.insert(segment, rows.split_off(&behind));
                }
                vault.destroy_places(&Places::from([(segment, rows)]))?;
            }
            if places.is_empty() {
                vault.end_erasure()?;
                return Ok(false);
            }
            vault.unfinished = Some(places);
            Ok(true)
        })
    }

    /// Whether an erasure was begun and is not finished.
    #[must_use]
    pub const fn is_erasing(&self) -> bool {
        self.unfinished.is_some()
    }

    /// Erases all that the vault has of these sessions.
    pub(crate) fn destroy(&mut self, sessions: &[SessionId]) -> Result<(), VaultError> {
        self.begin_erasure(sessions)?;
        while self.erase_part()? {}
        Ok(())
    }

    /// Finishes an erasure that a crash interrupted; returns its number of sessions.
    pub(crate) fn finish_erasure(&mut self) -> Result<u64, VaultError> {
        self.unfinished = None;
        let Some(bytes) = self.disk.read(disk::ERASING)? else {
            return Ok(0);
        };
        let sessions = tombstones::parse(&bytes).ok_or_else(|| {
            VaultError::damaged(
                disk::ERASING,
                "it is not valid: delete it and replay the erasures of the log",
            )
        })?;
        let mut places = Places::new();
        let torn = self.active.damaged();
        if !torn.is_empty() {
            places.insert(self.active.number, torn);
        }
        let (places, _) = self.places_of(sessions, places)?;
        self.destroy_places(&places)?;
        self.end_erasure()?;
        Ok(wide(sessions.len()))
    }

    /// Makes tombstones of sessions, and adds where their rows are. Also returns the number of
    /// sessions that have rows.
    fn places_of(
        &mut self,
        sessions: &[SessionId],
        mut places: Places,
    ) -> Result<(Places, u64), VaultError> {
        self.tombstones.add(sessions)?;
        let mut found = BTreeSet::new();
        for kind in [Kind::Session, Kind::Owner] {
            for (at, (segment, row)) in self.locate_by(kind, sessions)? {
                found.insert(at);
                places.entry(segment).or_default().insert(row);
            }
        }
        Ok((places, wide(found.len())))
    }

    fn end_erasure(&self) -> Result<(), VaultError> {
        self.disk.remove(disk::ERASING)?;
        self.disk.sync_dir()
    }

    /// Erases rows: in each segment first the keys, then the rows, then the tokens.
    pub(crate) fn destroy_places(&mut self, places: &Places) -> Result<(), VaultError> {
        let segments = self.full.len();
        for (segment, rows) in places {
            if *segment == self.active.number {
                self.active.destroy(rows)?;
            } else if let Some(full) = self.full.get(segment) {
                match full.destroy(&self.disk, &self.keys, rows)? {
                    Some(left) => {
                        self.full.insert(*segment, left);
                    }
                    None => {
                        self.full.remove(segment);
                    }
                }
            }
        }
        // A removed index has tokens, so it must be removed before `erasing` is.
        if self.full.len() < segments {
            self.disk.sync_dir()?;
        }
        Ok(())
    }
}
