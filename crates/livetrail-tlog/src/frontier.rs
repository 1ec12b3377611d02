//! The frontier: the part of a tree that must be kept so that it can grow.

use crate::error::Error;
use crate::hash::{HASH_BYTES, Hash, node_hash};
use crate::tree::TreeHead;

/// The maximum number of hashes in a frontier: one for each bit of the size.
pub const MAX_FRONTIER_HASHES: usize = 64;

/// The roots of a tree's full subtrees, largest (leftmost) first: one for each 1 bit of its size.
///
/// Appending costs two hashes on average (not counting the leaf's own), the root at most 63.
///
/// ```text
/// serialised:  size u64 BE │ count(size's 1 bits) × 32 bytes, largest subtree first
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// As many as `size` has 1 bits.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier from its parts, largest subtree first.
    ///
    /// # Errors
    /// [`Error::FrontierHashes`] unless there are as many `peaks` as `size` has 1 bits.
    pub fn from_peaks(size: u64, peaks: Vec<Hash>) -> Result<Self, Error> {
        let wanted = size.count_ones();
        if usize::try_from(wanted) != Ok(peaks.len()) {
            return Err(Error::FrontierHashes {
                size,
                wanted,
                found: peaks.len(),
            });
        }
        Ok(Self { size, peaks })
    }

    /// Reads the output of [`encode`](Self::encode). Only the root shows whether the hashes are
    /// right.
    ///
    /// # Errors
    /// [`Error::FrontierLength`] or [`Error::FrontierHashes`] when the length does not match the
    /// size.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let length = || Error::FrontierLength { bytes: bytes.len() };
        let (size, rest) = bytes.split_first_chunk().ok_or_else(length)?;
        let (peaks, []) = rest.as_chunks::<HASH_BYTES>() else {
            return Err(length());
        };
        if peaks.len() > MAX_FRONTIER_HASHES {
            return Err(length());
        }
        let peaks = peaks.iter().copied().map(Hash::new).collect();
        Self::from_peaks(u64::from_be_bytes(*size), peaks)
    }

    /// Appends a leaf's hash; its index is the size before.
    ///
    /// # Errors
    /// [`Error::TreeFull`] at `u64::MAX` leaves; the frontier is then unchanged.
    pub fn append(&mut self, leaf: Hash) -> Result<(), Error> {
        let size = self.size.checked_add(1).ok_or(Error::TreeFull)?;
        let mut node = leaf;
        // Each 1 bit at the low end is a full subtree as large as the new one: the two merge into
        // one of twice the size.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size = size;
        Ok(())
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the full subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The tree's current root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or(Hash::EMPTY_TREE)
    }

    /// The current size and root.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: self.root(),
        }
    }

    /// Its bytes: 8, and 32 for each 1 bit of the size; at most 2,056.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::{leaf_hash, tree_root};

    #[test]
    fn its_root_is_the_roots_of_the_list_at_every_size_and_it_survives_a_round_trip() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        for i in 0..600_u32 {
            assert_eq!(frontier.root(), tree_root(&leaves), "size {i}");
            assert_eq!(frontier.size(), u64::from(i));
            assert_eq!(
                Frontier::parse(&frontier.encode()),
                Ok(frontier.clone()),
                "size {i}"
            );
            let leaf = leaf_hash(&i.to_be_bytes());
            frontier.append(leaf).unwrap();
            leaves.push(leaf);
        }
    }

    #[test]
    fn a_wrong_number_of_hashes_is_refused() {
        let mut bytes = Frontier::new().encode();
        bytes.push(0);
        assert_eq!(
            Frontier::parse(&bytes),
            Err(Error::FrontierLength { bytes: 9 })
        );
        assert_eq!(
            Frontier::parse(&[0; 7]),
            Err(Error::FrontierLength { bytes: 7 })
        );
        assert_eq!(
            Frontier::parse(&3_u64.to_be_bytes()),
            Err(Error::FrontierHashes {
                size: 3,
                wanted: 2,
                found: 0
            })
        );
        let endless = [0; 8 + 32 * 65];
        assert_eq!(
            Frontier::parse(&endless),
            Err(Error::FrontierLength {
                bytes: endless.len()
            })
        );
    }

    #[test]
    fn the_largest_tree_takes_no_further_leaf() {
        let full = Frontier::from_peaks(u64::MAX, vec![Hash::EMPTY_TREE; 64]).unwrap();
        let mut tree = full.clone();
        assert_eq!(tree.append(Hash::EMPTY_TREE), Err(Error::TreeFull));
        assert_eq!(tree, full);
    }
}
