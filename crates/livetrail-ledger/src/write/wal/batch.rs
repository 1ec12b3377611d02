//! A batch: the data that one commit writes and syncs.

use super::record::{HEAD_BYTES, Head, push_mark, push_record};
use crate::write::companion::Entry;

/// Records in the log's format, with the mark before them. Appenders fill it, the committer writes
/// it, then the integrator splits it: each record is framed once and never copied.
#[derive(Debug)]
pub(crate) struct Batch {
    first_index: u64,
    next_index: u64,
    bytes: Vec<u8>,
}

impl Batch {
    /// An empty batch that begins at `first_index`, in a buffer that may be reused.
    pub(crate) fn new(first_index: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        push_mark(&mut buffer, first_index);
        Self {
            first_index,
            next_index: first_index,
            bytes: buffer,
        }
    }

    /// Appends a record; the caller has checked the lengths.
    pub(crate) fn push(&mut self, entry: Entry<'_>) {
        push_record(&mut self.bytes, self.next_index, entry);
        self.next_index = self.next_index.saturating_add(1);
    }

    pub(crate) const fn first_index(&self) -> u64 {
        self.first_index
    }

    /// The index after its last record.
    pub(crate) const fn next_index(&self) -> u64 {
        self.next_index
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first_index == self.next_index
    }

    /// Its bytes, as in the log.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entries with their companions, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.bytes.get(HEAD_BYTES..).unwrap_or_default();
        std::iter::from_fn(move || {
            let head = Head::parse(rest)?;
            let (framed, after) = rest.split_at_checked(head.framed_bytes())?;
            rest = after;
            head.checked_entry(framed)
        })
    }

    /// Its buffer, for reuse.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_in_order_with_their_companions() {
        let mut batch = Batch::new(7, vec![1, 2, 3]);
        assert!(batch.is_empty());
        let entries = [
            (&b"a"[..], &b""[..]),
            (b"", b"of the empty one"),
            (b"", b""),
            (b"ccc", b"dddd"),
        ];
        let entries = entries.map(|(bytes, companion)| Entry { bytes, companion });
        for entry in entries {
            batch.push(entry);
        }
        assert_eq!((batch.first_index(), batch.next_index()), (7, 11));
        assert_eq!(batch.entries().collect::<Vec<_>>(), entries);
    }
}
