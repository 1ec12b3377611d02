//! A tree's head, and the checks of proofs against it.

use crate::error::Error;
use crate::hash::{Hash, node_hash};
use crate::proof::{Side, consistency_path, inclusion_path};

/// Size and root: the statement of a checkpoint, and the basis for checking proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: u64,
    /// Root hash over them.
    pub root: Hash,
}

impl TreeHead {
    /// The head of the empty tree.
    pub const EMPTY: Self = Self {
        size: 0,
        root: Hash::EMPTY_TREE,
    };

    /// Checks that the leaf with this hash is at `index` (RFC 6962 §2.1.1).
    ///
    /// # Errors
    /// [`Error::IndexBeyondTree`], [`Error::ProofLength`], or [`Error::InclusionRoot`] when the
    /// proof leads to another root.
    pub fn verify_inclusion(&self, index: u64, leaf: &Hash, proof: &[Hash]) -> Result<(), Error> {
        let path = inclusion_path(index, self.size)?;
        check_length(path.steps.len(), proof.len())?;
        let root = path
            .steps
            .iter()
            .zip(proof)
            .fold(*leaf, |node, (step, sibling)| match step.side {
                Side::Left => node_hash(&node, sibling),
                Side::Right => node_hash(sibling, &node),
            });
        if root != self.root {
            return Err(Error::InclusionRoot {
                index,
                size: self.size,
            });
        }
        Ok(())
    }

    /// Checks that this tree is `older` with leaves appended (RFC 6962 §2.1.2). The proof is empty
    /// from the empty tree and from a tree of the same size; the roots are compared in any case.
    ///
    /// # Errors
    /// [`Error::OldSizeBeyondTree`], [`Error::ProofLength`], [`Error::ConsistencyOldRoot`] when the
    /// proof does not fit `older`, [`Error::ConsistencyRoot`] when it does not lead to this tree,
    /// [`Error::SameSizeOtherRoot`], [`Error::EmptyTreeRoot`] when an empty tree has a root that is
    /// not the empty tree's.
    pub fn verify_consistency(&self, older: &Self, proof: &[Hash]) -> Result<(), Error> {
        older.check_empty_root()?;
        self.check_empty_root()?;
        let path = consistency_path(older.size, self.size)?;
        check_length(path.hashes(), proof.len())?;
        if older.size == self.size && older.root != self.root {
            return Err(Error::SameSizeOtherRoot { size: self.size });
        }
        if older.size == 0 || older.size == self.size {
            return Ok(());
        }
        let mut hashes = proof.iter();
        let seed = match path.start {
            Some(_) => hashes.next().copied().unwrap_or(older.root),
            // The old tree is itself a full subtree on the left edge.
            None => older.root,
        };
        let (mut old, mut new) = (seed, seed);
        for (step, sibling) in path.steps.iter().zip(hashes) {
            match step.side {
                // Everything to the right of the path down was added after the old tree.
                Side::Left => new = node_hash(&new, sibling),
                Side::Right => {
                    old = node_hash(sibling, &old);
                    new = node_hash(sibling, &new);
                }
            }
        }
        if old != older.root {
            return Err(Error::ConsistencyOldRoot {
                old_size: older.size,
                size: self.size,
            });
        }
        if new != self.root {
            return Err(Error::ConsistencyRoot {
                old_size: older.size,
                size: self.size,
            });
        }
        Ok(())
    }

    /// An empty tree has one root.
    pub(crate) fn check_empty_root(&self) -> Result<(), Error> {
        if self.size == 0 && self.root != Hash::EMPTY_TREE {
            return Err(Error::EmptyTreeRoot);
        }
        Ok(())
    }
}

fn check_length(wanted: usize, found: usize) -> Result<(), Error> {
    if wanted != found {
        return Err(Error::ProofLength { wanted, found });
    }
    Ok(())
}
