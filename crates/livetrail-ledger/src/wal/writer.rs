//! Writing batches to the log.

use std::io;

use super::{
    batch::Batch,
    segment::{HEADER_BYTES, Header, LogId},
};
use crate::{
    error::Fatal,
    layout,
    passing::{Blocked, is_no_space, is_passing},
    store::{File, SharedStore},
};
use livetrail_tlog::Frontier;

/// The end of the log. Owned by the one thread that commits.
#[derive(Debug)]
pub(crate) struct Writer {
    store: SharedStore,
    log_id: LogId,
    current: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: Box<dyn File>,
    first_index: u64,
    /// Behind the last durable batch.
    offset: u64,
    /// Length of the file: what was reserved.
    len: u64,
}

impl Writer {
    /// A writer that begins a segment of its own with the first batch.
    pub(crate) fn new(store: SharedStore, log_id: LogId) -> Self {
        Self {
            store,
            log_id,
            current: None,
        }
    }

    /// Makes a batch durable. `published` is the frontier of the published tree, for a new segment's header; `segment_bytes` says how long a new
    /// segment is at least.
    ///
    /// A crash before the sync is back leaves any part of the batch: nobody was told that it is durable, and recovery cuts what is not
    /// whole. A crash after it leaves all of it, told or not.
    ///
    /// An error of a write or a sync is never followed by another sync of that file, because the pages count as clean after it: the
    /// batch goes into a new segment, once; if that fails too, the log stops, unless the error is one that passes.
    pub(crate) fn commit(
        &mut self,
        batch: &Batch,
        published: &Frontier,
        segment_bytes: impl Fn() -> u64,
    ) -> Result<(), Blocked> {
        if self.try_commit(batch, published, &segment_bytes).is_ok() {
            return Ok(());
        }
        self.try_commit(batch, published, &segment_bytes)
            .map_err(|error| {
                if is_passing(&error) {
                    // The same batch may be committed again.
                    return Blocked::store("write", layout::WAL, error);
                }
                Blocked::Fatal(Fatal::WalWrite {
                    index: batch.first_index(),
                    source: error,
                })
            })
    }

    fn try_commit(
        &mut self,
        batch: &Batch,
        published: &Frontier,
        segment_bytes: &impl Fn() -> u64,
    ) -> io::Result<()> {
        let length = batch.bytes().len() as u64;
        let room = |segment: &Segment| segment.len.saturating_sub(segment.offset);
        if self.current.as_ref().is_none_or(|s| room(s) < length) {
            self.current = None;
            self.current = Some(self.begin(batch, published, segment_bytes())?);
        }
        let Some(mut segment) = self.current.take() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = segment
            .file
            .write_at(segment.offset, batch.bytes())
            .and_then(|()| segment.file.sync());
        if let Err(error) = written {
            // The segment is left for good. Cutting it back is a courtesy to whoever looks at it: its successor's first index says what counts.
            let _ = segment.file.set_len(segment.offset);
            return Err(error);
        }
        segment.offset = segment.offset.saturating_add(length);
        self.current = Some(segment);
        Ok(())
    }

    /// Begins a segment: header durable first, then its name. A crash between leaves a file that is no segment.
    fn begin(
        &self,
        batch: &Batch,
        published: &Frontier,
        segment_bytes: u64,
    ) -> io::Result<Segment> {
        let store = self.store.as_ref();
        let first_index = batch.first_index();
        let (path, mut file) = if store.exists(layout::WAL_SPARE)? {
            (layout::WAL_SPARE, store.open(layout::WAL_SPARE, false)?)
        } else {
            (layout::WAL_NEW, self.reserve(batch, segment_bytes)?)
        };
        let len = file.byte_len()?;
        let header = Header {
            log_id: self.log_id,
            first_index,
            published: published.clone(),
        };
        let prepared = file
            .write_at(0, &header.encode())
            .and_then(|()| file.sync())
            .and_then(|()| store.rename(path, &layout::segment(first_index)))
            .and_then(|()| store.sync_dir(layout::WAL));
        if let Err(error) = prepared {
            // Never to be used again: a failed sync may have left its header on no disk.
            let _ = store.remove(path);
            return Err(error);
        }
        Ok(Segment {
            file,
            first_index,
            offset: HEADER_BYTES as u64,
            len,
        })
    }

    /// A new file for a segment; on a full disk one that holds just this batch.
    fn reserve(&self, batch: &Batch, segment_bytes: u64) -> io::Result<Box<dyn File>> {
        let least = (HEADER_BYTES as u64).saturating_add(batch.bytes().len() as u64);
        let wanted = segment_bytes.max(least);
        match self.store.preallocate(layout::WAL_NEW, wanted) {
            Err(error) if is_no_space(&error) => self.store.preallocate(layout::WAL_NEW, least),
            other => other,
        }
    }

    /// The first index of the segment that is being written.
    pub(crate) fn segment(&self) -> Option<u64> {
        self.current.as_ref().map(|segment| segment.first_index)
    }

    /// How many bytes of that segment are written.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |segment| segment.offset)
    }

    /// Gives back the space behind the last record. What is not done here a start does.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        let Some(mut segment) = self.current.take() else {
            return Ok(());
        };
        segment.file.set_len(segment.offset)?;
        segment.file.sync()
    }
}
