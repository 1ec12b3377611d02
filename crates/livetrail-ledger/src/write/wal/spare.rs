//! The spare segment: zeros written in advance, so that the next segment uses blocks that are
//! already written. Its syncs then need no journal commit and take half the time.

use std::io;

use crate::{
    layout,
    store::{File, SharedStore},
};

/// Zeros are written in pieces of this size. Linux keeps the data of one call in large pages of up
/// to that size, and counts a whole page as written for each small batch in it: with pieces of 1
/// MiB an idle log seems to write a megabyte per heartbeat.
const ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// A spare segment under construction. If dropped before it is complete, it leaves a file that the
/// next one replaces and the next start removes.
///
/// Nothing uses it before [`finish`](Self::finish) has given it its name. *Crash before that: the
/// next start removes it. After it: the next start uses it.*
#[derive(Debug)]
pub(crate) struct Spare {
    store: SharedStore,
    file: Box<dyn File>,
    /// The number of zeros written.
    made: u64,
    len: u64,
}

impl Spare {
    /// Reserves a file for a segment of `len` bytes. Returns `None` if there is a spare segment
    /// already.
    pub(crate) fn begin(store: &SharedStore, len: u64) -> io::Result<Option<Self>> {
        if store.exists(layout::WAL_SPARE)? {
            return Ok(None);
        }
        let file = store.preallocate(layout::WAL_SPARE_NEW, len)?;
        Ok(Some(Self {
            store: store.clone(),
            file,
            made: 0,
            len,
        }))
    }

    /// Writes zeros up to byte `to`, or to the end, and makes the system start writing them to the
    /// disk. So the final sync does not delay the log's own syncs all at once.
    pub(crate) fn extend(&mut self, to: u64) -> io::Result<()> {
        let (from, to) = (self.made, to.min(self.len));
        while self.made < to {
            let left = usize::try_from(to.saturating_sub(self.made)).unwrap_or(usize::MAX);
            let part = ZEROS.get(..left.min(ZEROS.len())).unwrap_or_default();
            self.file.write_at(self.made, part)?;
            self.made = self.made.saturating_add(part.len() as u64);
        }
        self.file.begin_sync(from, to.saturating_sub(from));
        Ok(())
    }

    /// Whether it is written completely.
    pub(crate) const fn is_whole(&self) -> bool {
        self.made == self.len
    }

    /// Makes it durable, and gives it the spare segment's name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync()?;
        self.store.rename(layout::WAL_SPARE_NEW, layout::WAL_SPARE)
    }
}

/// Makes a spare segment at once. Does nothing if there is one.
pub(crate) fn prepare_spare(store: &SharedStore, len: u64) -> io::Result<()> {
    let made = Spare::begin(store, len).and_then(|spare| {
        let Some(mut spare) = spare else {
            return Ok(());
        };
        spare.extend(len)?;
        spare.finish()
    });
    if made.is_err() {
        discard_spare(store);
    }
    made
}

/// Removes a spare segment that will not be finished.
pub(crate) fn discard_spare(store: &SharedStore) {
    // A leftover costs space, and the next start removes it.
    let _ = store.remove(layout::WAL_SPARE_NEW);
}
