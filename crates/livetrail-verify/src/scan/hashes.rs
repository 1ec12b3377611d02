//! The hashes of a bundle's entries and of the nodes above them, many at once.
//!
//! They are those of [`leaf_hash`](livetrail_tlog::leaf_hash) and
//! [`tree_root`](livetrail_tlog::tree_root). A test compares them.

use livetrail_lanes::hash_all;
use livetrail_tlog::Hash;

/// The byte before an entry, and before the two hashes of a node (RFC 6962 §2.1).
const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The leaf hash of each entry.
pub(crate) fn leaf_hashes(entries: &[&[u8]]) -> Vec<Hash> {
    let hashes = hash_all(LEAF, entries);
    hashes.into_iter().map(Hash::new).collect()
}

/// The root over these leaf hashes. See [`tree_root`](livetrail_tlog::tree_root).
pub(crate) fn root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let (pairs, alone) = level.as_chunks::<2>();
        let pairs: Vec<[u8; 64]> = pairs.iter().map(joined).collect();
        let nodes = hash_all(NODE, &pairs).into_iter().map(Hash::new);
        // An odd last hash moves up unchanged.
        level = nodes.chain(alone.iter().copied()).collect();
    }
    level.first().copied().unwrap_or(Hash::EMPTY_TREE)
}

fn joined([left, right]: &[Hash; 2]) -> [u8; 64] {
    let mut both = [0; 64];
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(left.as_bytes());
    second.copy_from_slice(right.as_bytes());
    both
}

#[cfg(test)]
mod tests {
    use livetrail_tlog::{leaf_hash, tree_root};

    use super::*;

    #[test]
    fn they_are_those_of_the_log_for_any_number_of_entries() {
        let entries: Vec<Vec<u8>> = (0..=256).map(|at| vec![at as u8; at * 3]).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        for count in 0..=entries.len() {
            let some = &entries[..count];
            let slow: Vec<Hash> = some.iter().map(|entry| leaf_hash(entry)).collect();
            assert_eq!(leaf_hashes(some), slow, "{count}");
            assert_eq!(root(&slow), tree_root(&slow), "{count}");
        }
    }
}
