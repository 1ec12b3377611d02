//! Pending output of a socket: a short queue of shared buffers, written many at a time.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Bytes, BytesMut};
use livetrail_egress::Unsent;

use crate::protocol::FrameChunks;

/// Unwritten bytes, in order. The owner bounds it: it appends only while the queue is short.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// Bytes of the first item that are written already.
    written: usize,
    /// All unwritten bytes.
    pending_bytes: usize,
    /// Unwritten bytes of items that are not frames.
    answer_bytes: usize,
}

#[derive(Debug)]
enum Item {
    Bytes(Bytes),
    Chunks(FrameChunks),
}

impl Item {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Chunks(chunks) => chunks.len(),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (bytes, chunks) = match self {
            Self::Bytes(bytes) => (Some(&bytes[..]), None),
            Self::Chunks(chunks) => (None, Some(chunks)),
        };
        bytes
            .into_iter()
            .chain(chunks.into_iter().flat_map(FrameChunks::parts))
    }
}

impl Outbox {
    pub(crate) fn push_bytes(&mut self, bytes: Bytes) {
        self.answer_bytes = self.answer_bytes.saturating_add(bytes.len());
        self.push(Item::Bytes(bytes));
    }

    pub(crate) fn push_chunks(&mut self, chunks: FrameChunks) {
        self.push(Item::Chunks(chunks));
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Unwritten bytes that are not frames: answers that the peer has requested.
    pub(crate) fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// All unwritten bytes in one buffer, for another writer. Copies unless they are in one buffer
    /// already.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        if let (0, 1, Some(Item::Bytes(bytes))) =
            (self.written, self.items.len(), self.items.front_mut())
        {
            return std::mem::take(bytes);
        }
        let mut all = BytesMut::with_capacity(self.pending_bytes);
        let mut skip = self.written;
        for part in self.items.iter().flat_map(Item::parts) {
            all.extend_from_slice(part.get(skip..).unwrap_or_default());
            skip = skip.saturating_sub(part.len());
        }
        all.freeze()
    }

    fn push(&mut self, item: Item) {
        let len = item.len();
        if len > 0 {
            self.pending_bytes = self.pending_bytes.saturating_add(len);
            self.items.push_back(item);
        }
    }
}

impl Unsent for Outbox {
    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut count = 0_usize;
        let parts = self.items.iter().flat_map(Item::parts);
        let left = parts.filter_map(|part| {
            let rest = part.get(skip..);
            skip = skip.saturating_sub(part.len());
            rest.filter(|rest| !rest.is_empty())
        });
        for (place, part) in slices.iter_mut().zip(left) {
            *place = IoSlice::new(part);
            count = count.saturating_add(1);
        }
        count
    }

    fn advance(&mut self, written: usize) {
        self.pending_bytes = self.pending_bytes.saturating_sub(written);
        self.written = self.written.saturating_add(written);
        while let Some(len) = self.items.front().map(Item::len) {
            if self.written < len {
                break;
            }
            self.written = self.written.saturating_sub(len);
            if let Some(Item::Bytes(bytes)) = self.items.pop_front() {
                self.answer_bytes = self.answer_bytes.saturating_sub(bytes.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_byte_goes_out_once_and_in_order_however_the_socket_takes_them(
            sizes in prop::collection::vec(0usize..300, 0..40),
            takes in prop::collection::vec(1usize..700, 1..20),
        ) {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for (at, size) in sizes.iter().enumerate() {
                let payload = Bytes::from(vec![at as u8; *size]);
                if at % 2 == 0 {
                    expected.extend_from_slice(&payload);
                    outbox.push_bytes(payload);
                } else {
                    let frame = MediaFrame::audio(CodecId::Aac, 7, FrameFlags::NONE, payload);
                    let chunks = FrameChunks::new(&frame, 1, 64).unwrap();
                    chunks.parts().for_each(|part| expected.extend_from_slice(part));
                    outbox.push_chunks(chunks);
                }
            }
            let mut sent = Vec::new();
            for take in takes.iter().cycle() {
                prop_assert_eq!(outbox.pending_bytes(), expected.len() - sent.len());
                if outbox.is_empty() {
                    prop_assert_eq!(outbox.answer_bytes(), 0);
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 5];
                let count = outbox.fill(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
                prop_assert!(!all.is_empty());
                let taken = all.len().min(*take);
                sent.extend_from_slice(&all[..taken]);
                outbox.advance(taken);
            }
            prop_assert_eq!(sent, expected);
        }
    }

    #[test]
    fn what_is_left_goes_over_to_another_writer() {
        let mut outbox = Outbox::default();
        outbox.push_bytes(Bytes::from_static(b"answer"));
        assert_eq!(&std::mem::take(&mut outbox).into_bytes()[..], b"answer");
        outbox.push_bytes(Bytes::from_static(b"one"));
        outbox.push_bytes(Bytes::from_static(b"two"));
        outbox.advance(2);
        assert_eq!(&outbox.into_bytes()[..], b"etwo");
    }
}
