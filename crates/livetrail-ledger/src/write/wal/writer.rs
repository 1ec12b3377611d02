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

/// The end of the log. Owned by the committing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    store: SharedStore,
    log_id: LogId,
    /// Entries may have companions.
    companions: bool,
    current: Option<Segment>,
}

#[derive(Debug)]
struct Segment {
    file: Box<dyn File>,
    first_index: u64,
    /// The end of the last durable batch.
    offset: u64,
    /// The file's length, as reserved.
    len: u64,
}

impl Writer {
    /// A writer that begins a new segment with the first batch.
    pub(crate) fn new(store: SharedStore, log_id: LogId, companions: bool) -> Self {
        Self {
            store,
            log_id,
            companions,
            current: None,
        }
    }

    /// Makes a batch durable. `published` is the frontier of the published tree, for a new
    /// segment's header; `segment_bytes` gives the least length of a new segment.
    ///
    /// A crash before the sync returns leaves any part of the batch: it was not reported as
    /// durable, and recovery truncates an incomplete one. A crash after it leaves all of it,
    /// whether reported or not.
    ///
    /// After an error of a write or a sync that file is never synced again, because its pages count
    /// as clean. The batch goes into a new segment, once. If that fails too, the log stops, unless
    /// the error is one that passes.
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
            // The segment is abandoned. Truncating it only helps people who inspect it: its
            // successor's first index is decisive.
            let _ = segment.file.set_len(segment.offset);
            return Err(error);
        }
        segment.offset = segment.offset.saturating_add(length);
        self.current = Some(segment);
        Ok(())
    }

    /// Begins a segment: its header becomes durable first, then its name. A crash in between leaves
    /// a file that is not a segment.
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
            companions: self.companions,
        };
        let prepared = file
            .write_at(0, &header.encode())
            .and_then(|()| file.sync())
            .and_then(|()| store.rename(path, &layout::segment(first_index)))
            .and_then(|()| store.sync_dir(layout::WAL));
        if let Err(error) = prepared {
            // Never reused: after a failed sync its header may be on no disk.
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

    /// A new file for a segment; on a full disk one with just enough space for this batch.
    fn reserve(&self, batch: &Batch, segment_bytes: u64) -> io::Result<Box<dyn File>> {
        let least = (HEADER_BYTES as u64).saturating_add(batch.bytes().len() as u64);
        let wanted = segment_bytes.max(least);
        match self.store.preallocate(layout::WAL_NEW, wanted) {
            Err(error) if is_no_space(&error) => self.store.preallocate(layout::WAL_NEW, least),
            other => other,
        }
    }

    /// The first index of the current segment.
    pub(crate) fn segment(&self) -> Option<u64> {
        self.current.as_ref().map(|segment| segment.first_index)
    }

    /// The number of bytes written to that segment.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |segment| segment.offset)
    }

    /// Releases the space after the last record. Otherwise the next start does.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        let Some(mut segment) = self.current.take() else {
            return Ok(());
        };
        segment.file.set_len(segment.offset)?;
        segment.file.sync()
    }
}
