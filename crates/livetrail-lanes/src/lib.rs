//! SHA-256 of many messages at once.
//!
//! A processor with AVX-512 hashes sixteen messages side by side, one in each 32-bit lane of its
//! registers. That takes less than half of the time that its own instructions for SHA-256 need for
//! one message after the other. On other processors [`hash_all`] hashes one after the other, with
//! the `sha2` crate.
//!
//! ```
//! let hashes = livetrail_lanes::hash_all(0, &[b"one".as_slice(), b"two"]);
//! assert_eq!(hashes.len(), 2);
//! ```
//!
//! The unsafe code is in one module. It calls a function that needs AVX-512, after it has asked the
//! processor, and it copies arrays of 64 bytes into registers and back.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod groups;

use sha2::{Digest, Sha256};

/// The SHA-256 hash of each message, with the byte `first` before it. The hashes are in the order
/// of the messages.
///
/// The time is best when many messages have the same number of blocks of 64 bytes.
#[must_use]
pub fn hash_all<M: AsRef<[u8]>>(first: u8, messages: &[M]) -> Vec<[u8; 32]> {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = avx512::Lanes::of_this_processor() {
        return groups::hash_all(lanes, first, messages);
    }
    one_by_one(first, messages)
}

fn one_by_one<M: AsRef<[u8]>>(first: u8, messages: &[M]) -> Vec<[u8; 32]> {
    let hashes = messages.iter().map(|message| hash(first, message.as_ref()));
    hashes.collect()
}

/// The hash of one message.
fn hash(first: u8, message: &[u8]) -> [u8; 32] {
    let sha = Sha256::new().chain_update([first]).chain_update(message);
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Compared with the `sha2` crate.
    fn agrees(first: u8, messages: &[Vec<u8>]) {
        assert_eq!(hash_all(first, messages), one_by_one(first, messages));
    }

    /// A message of this length. Two of different length have few bytes in common.
    fn of(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + length * 7) as u8).collect()
    }

    #[test]
    fn a_known_hash() {
        // SHA-256 of `abc`, the first example of the standard.
        let abc = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        for count in [0, 1, 5, 6, 15, 16, 17, 33] {
            assert_eq!(hash_all(b'a', &vec![b"bc"; count]), vec![abc; count]);
            assert_eq!(one_by_one(b'a', &vec![b"bc"; count]), vec![abc; count]);
        }
    }

    #[test]
    fn each_length_around_the_ends_of_blocks_among_messages_of_other_lengths() {
        agrees(0, &(0..700).map(of).collect::<Vec<_>>());
        agrees(0, &(0..700).rev().map(of).collect::<Vec<_>>());
        for length in 0..200 {
            let mut messages = vec![of(length); 16];
            agrees(1, &messages);
            messages.push(of(1_000));
            messages.swap(3, 16);
            agrees(1, &messages);
        }
    }

    #[test]
    fn messages_of_the_largest_entries_and_above() {
        let mut messages = vec![of(65_535); 17];
        messages.push(of(100_000));
        messages.push(of(4_100));
        messages.swap(1, 18);
        agrees(0, &messages);
    }

    proptest! {
        #[test]
        fn as_one_after_the_other(
            first in any::<u8>(),
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
        ) {
            agrees(first, &messages);
        }
    }
}
