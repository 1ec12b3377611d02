//! The lines of a batch, and the files that they belong in.

use std::ops::Range;

use bytes::Bytes;
use livetrail_record::AuditRecord;
use livetrail_replica::{Gap, HandOver, SealedRange};
use livetrail_tlog::Hash;

use super::cursor::Cursor;
use super::{Format, Rotation, line};

/// Lines to append, with what is needed to spread them over files.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) first: u64,
    text: String,
    lines: Vec<Line>,
    /// The signed checkpoint of the batch, and the number of entries that it covers.
    checkpoint: Option<(u64, Bytes)>,
    hand_overs: Vec<HandOver>,
}

#[derive(Debug)]
struct Line {
    /// The end of the line in the text.
    end: usize,
    /// The index after the line.
    next: u64,
    leaf: Option<Hash>,
    ts_ms: Option<u64>,
}

/// The lines of a batch that belong in one file.
pub(super) struct Piece<'a> {
    /// The beginning of a new file: the tree of the entries before it. Empty if the lines are not
    /// the file's first ones.
    pub(super) head: String,
    pub(super) text: &'a str,
    /// The cursor after the lines.
    pub(super) cursor: Cursor,
    /// The number of lines of the batch that are written with this piece.
    pub(super) done: usize,
}

impl Batch {
    pub(super) fn of_range(range: &SealedRange, format: Format) -> Self {
        let mut text = String::with_capacity(range.entry_bytes().saturating_mul(3) / 2);
        let mut lines = Vec::with_capacity(range.len());
        for (index, entry, leaf) in range.iter() {
            let opening = range.opening(index);
            let record = line::entry(&mut text, format, index, leaf, entry, opening);
            lines.push(Line {
                end: text.len(),
                next: index.saturating_add(1),
                leaf: Some(*leaf),
                ts_ms: record.as_ref().map(|record: &AuditRecord| record.ts_ms),
            });
        }
        Self {
            first: range.first(),
            text,
            lines,
            checkpoint: Some((range.checkpoint().head().size, range.note().clone())),
            hand_overs: range.hand_overs().to_vec(),
        }
    }

    pub(super) fn of_gap(gap: &Gap, format: Format) -> Self {
        let mut text = String::new();
        line::gap(&mut text, format, gap);
        let only = Line {
            end: text.len(),
            next: gap.missing.end,
            leaf: None,
            ts_ms: None,
        };
        Self {
            first: gap.missing.start,
            text,
            lines: vec![only],
            checkpoint: None,
            hand_overs: Vec::new(),
        }
    }

    /// The number of lines.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The lines from number `done` on that belong in the cursor's file. `None` if the next line
    /// starts another file.
    pub(super) fn piece(
        &self,
        done: usize,
        cursor: &Cursor,
        rotation: Rotation,
    ) -> Option<Piece<'_>> {
        let start = done.checked_sub(1).map_or(0, |last| self.lines[last].end);
        let mut behind = cursor.clone();
        let mut head = String::new();
        if cursor.bytes == 0
            && cursor.next > 0
            && let Some(tree) = &cursor.tree
        {
            line::tree(&mut head, tree);
            behind.bytes = u64::try_from(head.len()).unwrap_or(u64::MAX);
        }
        let mut end = start;
        let mut count = 0;
        for line in &self.lines[done..] {
            let bytes = u64::try_from(line.end - end).unwrap_or(u64::MAX);
            if rotation.begins_another(&behind, bytes, line.ts_ms) {
                break;
            }
            behind.bytes = behind.bytes.saturating_add(bytes);
            behind.since_ms = behind.since_ms.or(line.ts_ms);
            behind.next = line.next;
            behind.last_leaf = line.leaf;
            // A line without a leaf stands for entries that are missing for good.
            behind.tree = behind.tree.and_then(|mut tree| {
                let appended = tree.append(line.leaf?);
                appended.ok().map(|()| tree)
            });
            end = line.end;
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let done = done + count;
        if done == self.len() {
            self.keep_checkpoint(&mut behind);
        }
        Some(Piece {
            head,
            text: &self.text[Range { start, end }],
            cursor: behind,
            done,
        })
    }

    /// Keeps the checkpoint when all of the batch is written. Now the entries that it covers may be
    /// there.
    fn keep_checkpoint(&self, cursor: &mut Cursor) {
        cursor.hand_overs = std::mem::take(&mut cursor.hand_overs).and(&self.hand_overs);
        match &self.checkpoint {
            Some((size, note)) if *size <= cursor.next => {
                cursor.checkpoint = Some(note.clone());
                cursor.ahead = None;
            }
            Some((_, note)) => cursor.ahead = Some(note.clone()),
            None => {}
        }
    }
}

impl Rotation {
    /// Whether a line of this length and time must not follow the cursor in its file.
    fn begins_another(self, cursor: &Cursor, bytes: u64, ts_ms: Option<u64>) -> bool {
        // The first line of a file always belongs there.
        if cursor.next == cursor.first {
            return false;
        }
        let is_full = self
            .max_bytes
            .is_some_and(|max| cursor.bytes.saturating_add(bytes) > max);
        let period = |ms: u64| {
            let every = u64::try_from(self.every?.as_millis()).unwrap_or(u64::MAX);
            ms.checked_div(every)
        };
        let is_later = match (cursor.since_ms.and_then(period), ts_ms.and_then(period)) {
            (Some(since), Some(now)) => now > since,
            _ => false,
        };
        is_full || is_later
    }
}
