//! Opens the active segment, after a crash and after a clean end in the same way, and rebuilds a
//! lost index.

use zeroize::Zeroizing;

use super::active::{Active, Apps};
use crate::{
    disk::{self, Disk, Open},
    error::VaultError,
    format::{
        count,
        index::Entry,
        narrow,
        row::{self, At, Found, Scan},
        slots, wide,
    },
    key::Keys,
};

/// What recovery found in a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Rows of the last batch, whose write was not finished.
    pub(crate) dropped: u64,
    /// Rows whose key was overwritten, but whose bytes were not.
    pub(crate) finished: u64,
    /// Rows that were synced, but cannot be read.
    pub(crate) damaged: u64,
}

/// Whether a segment is opened to write, or only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// With this many slots, if it has to be created.
    Write { new_slots: u32 },
    /// Nothing is created, repaired or written again.
    Read,
}

impl Mode {
    fn open(self, disk: &Disk, path: &str) -> Result<Open, VaultError> {
        match self {
            Self::Write { .. } => disk.open(path),
            Self::Read => disk.open_to_read(path),
        }
    }
}

/// Opens a segment to append to it. Slots, rows and index agree afterwards, on the disk as well.
pub(crate) fn open(
    disk: &Disk,
    number: u64,
    keys: &Keys,
    mode: Mode,
) -> Result<(Active, Recovered), VaultError> {
    let key_bytes = Zeroizing::new(disk.read(&disk::keys(number))?.unwrap_or_default());
    let row_bytes = disk.read(&disk::rows(number))?.unwrap_or_default();
    let slots = slots::parse(&key_bytes, number).map(<[_]>::to_vec);
    let slots = slots.map(Zeroizing::new);
    let most = slots.as_ref().map_or(u32::MAX, |slots| count(slots.len()));
    let scan = row::scan(&row_bytes, number, most);
    let (mut slots, scan) = match (slots, scan) {
        (Some(slots), Some(scan)) => (slots, scan),
        // The segment was being created: it has no rows.
        (_, None) if wide(row_bytes.len()) <= row::ALIGN => {
            return Ok((Active::begin(disk, number, mode)?, Recovered::default()));
        }
        // The same, or its rows were all erased and it was being removed.
        (None, Some(scan)) if scan.rows.iter().all(Found::is_erased) => {
            return Ok((Active::begin(disk, number, mode)?, Recovered::default()));
        }
        (None, Some(_)) => {
            return Err(VaultError::damaged(
                &disk::keys(number),
                "its header is invalid",
            ));
        }
        (_, None) => {
            return Err(VaultError::damaged(
                &disk::rows(number),
                "its header is invalid",
            ));
        }
    };
    let mut active = Active {
        number,
        slots: count(slots.len()),
        keys: mode.open(disk, &disk::keys(number))?,
        rows: mode.open(disk, &disk::rows(number))?,
        end: scan.end,
        entries: Vec::new(),
        live: Vec::new(),
        apps: Apps::default(),
        pairs: Default::default(),
        synced: 0,
        refusals: 0,
    };
    let mut recovered = Recovered::default();
    for (found, number) in scan.rows.iter().zip(0_u32..) {
        let Some(slot) = slots.get_mut(narrow(u64::from(number))) else {
            break;
        };
        let left = active.settle(keys, &row_bytes, *found, &scan, slot, &mut recovered);
        if let (Some(erased), Mode::Write { .. }) = (left, mode) {
            active.rows.write_at(found.offset, &erased)?;
        }
    }
    for slot in slots.iter_mut().skip(scan.rows.len()) {
        *slot = [0; 32];
    }
    if let Mode::Write { .. } = mode {
        active.harden(&row_bytes, &scan, &slots)?;
    }
    Ok((active, recovered))
}

impl Active {
    /// A segment without rows.
    pub(crate) fn begin(disk: &Disk, number: u64, mode: Mode) -> Result<Self, VaultError> {
        if let Mode::Write { new_slots } = mode {
            return Self::create(disk, number, new_slots);
        }
        Ok(Self {
            number,
            slots: 0,
            // Nothing is read from the files of a segment without rows.
            keys: disk.open_to_read(disk::VAULT)?,
            rows: disk.open_to_read(disk::VAULT)?,
            end: row::ALIGN,
            entries: Vec::new(),
            live: Vec::new(),
            apps: Apps::default(),
            pairs: Default::default(),
            synced: 0,
            refusals: 0,
        })
    }

    /// Adds one found row to the index, or returns the bytes that erase what is left of it.
    fn settle(
        &mut self,
        keys: &Keys,
        file: &[u8],
        found: Found,
        scan: &Scan,
        slot: &mut [u8; 32],
        recovered: &mut Recovered,
    ) -> Option<Vec<u8>> {
        let row = self.rows();
        let at = At {
            segment: self.number,
            row,
        };
        let from = narrow(found.offset);
        let frame = file.get(from..from.saturating_add(narrow(found.frame_bytes)));
        let opened = frame.and_then(|frame| row::open_frame(frame, at, keys, slot));
        if let Some(opened) = opened {
            self.note(keys, &opened, found.offset);
            return None;
        }
        let gone = *slot == [0; 32];
        let erased = found.header.is_some_and(|header| header.erased);
        // Rows before the last batch were synced: if such a row has a key and does not open, it is
        // damaged, and a person decides.
        let damaged = !gone && !erased && row < scan.batch;
        self.entries.push(Entry {
            offset: found.offset,
            unreadable: true,
            ..Entry::default()
        });
        self.live.push(damaged);
        if damaged {
            recovered.damaged = recovered.damaged.saturating_add(1);
            return None;
        }
        *slot = [0; 32];
        if erased {
            return None;
        }
        let count = if gone && row < scan.batch {
            &mut recovered.finished
        } else {
            &mut recovered.dropped
        };
        *count = count.saturating_add(1);
        let header = found.header?;
        Some(row::erased_frame(found.frame_bytes, row, header.batch))
    }

    /// Writes the last batch and all slots again, and syncs: an earlier sync may have failed, and
    /// then what a read returns need not be on the disk.
    fn harden(&mut self, file: &[u8], scan: &Scan, slots: &[[u8; 32]]) -> Result<(), VaultError> {
        if wide(file.len()) > scan.end {
            self.rows.set_len(scan.end)?;
        }
        let last = (0_u32..)
            .zip(&scan.rows)
            .filter(|(row, _)| *row >= scan.batch);
        for (row, found) in last {
            let kept = self.live.get(narrow(u64::from(row))) == Some(&true);
            let from = narrow(found.offset);
            let frame = file.get(from..from.saturating_add(narrow(found.frame_bytes)));
            if let (true, Some(frame)) = (kept, frame) {
                self.rows.write_at(found.offset, frame)?;
            }
        }
        let mut bytes = Zeroizing::new(slots::file_header(self.number, self.slots));
        bytes.extend(slots.iter().flatten());
        self.keys.write_at(0, &bytes)?;
        self.sync()
    }
}
