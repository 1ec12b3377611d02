//! The spare segment: zeros written ahead, so that the next rotation finds blocks that are written already. Syncs of it then need no journal
//! commit and take half the time.

use std::io;

use crate::{
    layout,
    store::{File, SharedStore},
};

/// Zeros are written in pieces of this size. Linux keeps what one call wrote in large pages of up to that size, and counts a whole
/// one as written for each small batch that falls into it: with pieces of 1 MiB an idle log seems to write a megabyte with each heartbeat.
const ZEROS: [u8; 16 << 10] = [0; 16 << 10];

/// A spare segment in the making. Dropped before it is whole, it leaves a file that the next one replaces and the next start removes.
///
/// It is of no use to anybody before [`finish`](Self::finish) has given it its name. *Crash before that: the next start removes it. After
/// it: the next start uses it.*
#[derive(Debug)]
pub(crate) struct Spare {
    store: SharedStore,
    file: Box<dyn File>,
    /// So many bytes of zeros are written.
    made: u64,
    len: u64,
}

impl Spare {
    /// Reserves a file for a segment of `len` bytes; `None` when there is a spare one.
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

    /// Writes zeros up to byte `to`, or to the end, and has them begin their way to the disk: what is there when it is finished is not in the way
    /// of the log's own syncs all at once.
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

    /// Whether all of it is written.
    pub(crate) const fn is_whole(&self) -> bool {
        self.made == self.len
    }

    /// Makes it durable, and the spare one.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync()?;
        self.store.rename(layout::WAL_SPARE_NEW, layout::WAL_SPARE)
    }
}

/// Makes a spare segment at once. Does nothing when there is one.
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
    // Left over: it costs room, and the next start removes it.
    let _ = store.remove(layout::WAL_SPARE_NEW);
}
