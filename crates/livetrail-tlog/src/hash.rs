//! The tree's hashes (RFC 6962 §2.1): leaves, nodes, the root of a list.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::text;

/// Length of a hash in bytes.
pub const HASH_BYTES: usize = 32;

/// A SHA-256 hash of the tree: of a leaf, of a node, or a root.
///
/// `Display` and `Debug` write it as the text formats do, in standard base64 with padding (44
/// characters).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The root of the tree without leaves: the hash of no bytes.
    pub const EMPTY_TREE: Self = Self([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);

    /// A hash from its bytes.
    #[must_use]
    pub const fn new(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// Reads standard base64 with padding, 44 characters and nothing else.
    ///
    /// # Errors
    /// [`Error::Base64`] when it is not canonical base64, [`Error::HashLength`] when it is not 32
    /// bytes.
    pub fn parse(base64: &str) -> Result<Self, Error> {
        let bytes = text::base64_decode(base64)?;
        Self::try_from(bytes.as_slice())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Error> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| Error::HashLength { bytes: bytes.len() })
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::base64_encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The hash of a leaf: `SHA-256(0x00 || entry)`. `entry` is the entry's bytes without any length
/// prefix.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x00]);
    sha.update(entry);
    Hash(sha.finalize().into())
}

/// The hash of a node: `SHA-256(0x01 || left || right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut sha = Sha256::new();
    sha.update([0x01]);
    sha.update(left.0);
    sha.update(right.0);
    Hash(sha.finalize().into())
}

/// The root over a list of hashes, taken as leaves: RFC 6962's `MTH`, which splits at the largest
/// power of two below the length. The root of no hashes is [`Hash::EMPTY_TREE`], the root of one is
/// itself.
///
/// For the 256 hashes of a full tile this is the hash in the tile above.
#[must_use]
pub fn tree_root(hashes: &[Hash]) -> Hash {
    // Halves the list level by level: hashes each pair, and passes an odd last one up unchanged.
    // That gives the same tree, because every left subtree in RFC 6962 is full.
    let mut level = Vec::with_capacity(hashes.len().div_ceil(2));
    halve(hashes, |node| level.push(node));
    while level.len() > 1 {
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        halve(&level, |node| above.push(node));
        level = above;
    }
    level.first().copied().unwrap_or(Hash::EMPTY_TREE)
}

fn halve(level: &[Hash], mut node: impl FnMut(Hash)) {
    for pair in level.chunks(2) {
        match pair {
            [left, right] => node(node_hash(left, right)),
            [alone] => node(*alone),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_tree_is_the_hash_of_nothing() {
        assert_eq!(Hash::EMPTY_TREE.0, <[u8; 32]>::from(Sha256::digest(b"")));
        assert_eq!(tree_root(&[]), Hash::EMPTY_TREE);
    }

    #[test]
    fn a_leaf_and_a_node_never_hash_alike() {
        let (left, right) = (leaf_hash(b"l"), leaf_hash(b"r"));
        let mut entry = left.0.to_vec();
        entry.extend(right.0);
        assert_ne!(leaf_hash(&entry), node_hash(&left, &right));
    }

    #[test]
    fn a_list_of_one_is_its_own_root() {
        let leaf = leaf_hash(b"");
        assert_eq!(tree_root(&[leaf]), leaf);
    }

    #[test]
    fn text_is_base64_of_32_bytes_and_nothing_else() {
        let hash = leaf_hash(b"entry-0");
        assert_eq!(
            hash.to_string(),
            "QHZrIDNCkCb1PVRQJnmoOXBrR0H43K86i7pfQbX/4HU="
        );
        assert_eq!(Hash::parse(&hash.to_string()), Ok(hash));
        assert_eq!(Hash::parse("AAAA"), Err(Error::HashLength { bytes: 3 }));
        for bad in [
            "",
            "QHZrIDNCkCb1PVRQJnmoOXBrR0H43K86i7pfQbX/4HU",
            "QHZrIDNCkCb1PVRQJnmoOXBrR0H43K86i7pfQbX/4HV=",
            " QHZrIDNCkCb1PVRQJnmoOXBrR0H43K86i7pfQbX/4HU=",
        ] {
            assert!(Hash::parse(bad).is_err(), "{bad:?}");
        }
    }
}
