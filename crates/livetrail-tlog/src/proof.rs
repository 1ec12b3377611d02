//! Making inclusion and consistency proofs (RFC 6962 §2.1.1 and §2.1.2).
//! [`TreeHead`](crate::TreeHead) checks them.
//!
//! A proof is a path down from the root that notes the sibling at each turn. Its hashes are those
//! of the siblings, from the bottom up. Maker and checker walk the same path, so a proof has
//! exactly one correct length.

use std::ops::Range;

use crate::error::Error;
use crate::hash::{Hash, node_hash, tree_root};

/// The maximum number of hashes in any proof: one for each level of the largest tree, and one for
/// the start of a consistency proof.
pub const MAX_PROOF_HASHES: usize = 65;

/// The hashes that prove that leaf `index` is in the tree over `leaves`, from the leaf's sibling up
/// to the root's child.
///
/// # Errors
/// [`Error::IndexBeyondTree`].
pub fn inclusion_proof(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, Error> {
    let path = inclusion_path(index, size_of(leaves))?;
    path.resolve(&mut InMemory(leaves))
}

/// The hashes that prove that the tree over `leaves` begins with the tree over its first
/// `old_size`. Empty for 0 and for the whole tree.
///
/// # Errors
/// [`Error::OldSizeBeyondTree`].
pub fn consistency_proof(leaves: &[Hash], old_size: u64) -> Result<Vec<Hash>, Error> {
    let path = consistency_path(old_size, size_of(leaves))?;
    path.resolve(&mut InMemory(leaves))
}

/// The child to which the path down goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// One turn of the path down: its direction, and the leaves below the other child.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) side: Side,
    sibling: Range<u64>,
}

/// A path, from the bottom up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Path {
    /// In a consistency proof: the last subtree of the old tree, unless it is the old tree itself.
    pub(crate) start: Option<Range<u64>>,
    pub(crate) steps: Vec<Step>,
}

impl Path {
    /// The number of hashes in the proof.
    pub(crate) fn hashes(&self) -> usize {
        self.steps
            .len()
            .saturating_add(usize::from(self.start.is_some()))
    }

    /// Takes the proof's hashes from a tree.
    pub(crate) fn resolve<S: Subtrees>(self, subtrees: &mut S) -> Result<Vec<Hash>, S::Error> {
        self.start
            .into_iter()
            .chain(self.steps.into_iter().map(|step| step.sibling))
            .map(|range| range_root(range, subtrees))
            .collect()
    }
}

/// RFC 6962's `PATH(index, D[size])`.
pub(crate) fn inclusion_path(index: u64, size: u64) -> Result<Path, Error> {
    if index >= size {
        return Err(Error::IndexBeyondTree { index, size });
    }
    let mut here = 0..size;
    let mut steps = Vec::new();
    while let Some(middle) = split(&here) {
        steps.push(descend(&mut here, middle, index < middle));
    }
    steps.reverse();
    Ok(Path { start: None, steps })
}

/// RFC 6962's `PROOF(old_size, D[size])`.
pub(crate) fn consistency_path(old_size: u64, size: u64) -> Result<Path, Error> {
    if old_size > size {
        return Err(Error::OldSizeBeyondTree { old_size, size });
    }
    if old_size == 0 {
        return Ok(Path::default());
    }
    let mut here = 0..size;
    let mut steps = Vec::new();
    while here.end != old_size {
        let Some(middle) = split(&here) else {
            break;
        };
        steps.push(descend(&mut here, middle, old_size <= middle));
    }
    steps.reverse();
    // Without a turn to the right this subtree is the old tree, whose root the checker has.
    let start = (here.start != 0).then_some(here);
    Ok(Path { start, steps })
}

/// Goes to one child of `here`, which is split at `middle`.
fn descend(here: &mut Range<u64>, middle: u64, left: bool) -> Step {
    if left {
        let sibling = middle..here.end;
        here.end = middle;
        Step {
            side: Side::Left,
            sibling,
        }
    } else {
        let sibling = here.start..middle;
        here.start = middle;
        Step {
            side: Side::Right,
            sibling,
        }
    }
}

/// The position where RFC 6962 splits the tree over these leaves: after the largest power of two
/// strictly below their number. `None` for a single leaf.
fn split(here: &Range<u64>) -> Option<u64> {
    let last = here.end.checked_sub(here.start)?.checked_sub(1)?;
    let half = 1_u64.checked_shl(last.checked_ilog2()?)?;
    here.start.checked_add(half)
}

/// A source of the hashes of full subtrees.
pub(crate) trait Subtrees {
    type Error;

    /// The hash over the leaves `index·2^height .. (index+1)·2^height`, all of which are in the
    /// tree.
    fn subtree(&mut self, height: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over the leaves of `range`, which is aligned like the subtrees of a tree: it consists
/// of full subtrees, one for each 1 bit of its length, largest first.
pub(crate) fn range_root<S: Subtrees>(
    range: Range<u64>,
    subtrees: &mut S,
) -> Result<Hash, S::Error> {
    let mut peaks = Vec::new();
    for (height, index) in full_subtrees(range) {
        peaks.push(subtrees.subtree(height, index)?);
    }
    Ok(peaks
        .into_iter()
        .rev()
        .reduce(|right, left| node_hash(&left, &right))
        .unwrap_or(Hash::EMPTY_TREE))
}

/// Height and index of the full subtrees that `range` consists of, largest first.
fn full_subtrees(mut range: Range<u64>) -> impl Iterator<Item = (u32, u64)> {
    std::iter::from_fn(move || {
        let height = range.end.checked_sub(range.start)?.checked_ilog2()?;
        let index = range.start.checked_shr(height)?;
        range.start = range.start.checked_add(1_u64.checked_shl(height)?)?;
        Some((height, index))
    })
}

/// All leaf hashes, in memory.
struct InMemory<'a>(&'a [Hash]);

impl Subtrees for InMemory<'_> {
    type Error = Error;

    fn subtree(&mut self, height: u32, index: u64) -> Result<Hash, Error> {
        let beyond = Error::IndexBeyondTree {
            index,
            size: size_of(self.0),
        };
        let leaves = usize::try_from(index)
            .ok()
            .zip(1_usize.checked_shl(height))
            .and_then(|(index, width)| self.0.chunks_exact(width).nth(index));
        leaves.map(tree_root).ok_or(beyond)
    }
}

fn size_of(leaves: &[Hash]) -> u64 {
    u64::try_from(leaves.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_through_the_largest_tree_is_longer_than_the_bound() {
        for index in [0, 1, u64::MAX / 2, u64::MAX - 2, u64::MAX - 1] {
            let hashes = inclusion_path(index, u64::MAX).unwrap().hashes();
            assert!(hashes <= MAX_PROOF_HASHES, "index {index}: {hashes}");
            let hashes = consistency_path(index, u64::MAX).unwrap().hashes();
            assert!(hashes <= MAX_PROOF_HASHES, "old size {index}: {hashes}");
        }
    }

    #[test]
    fn beyond_the_tree_nothing_is_proved() {
        assert_eq!(
            inclusion_proof(&[], 0),
            Err(Error::IndexBeyondTree { index: 0, size: 0 })
        );
        assert_eq!(
            consistency_proof(&[Hash::EMPTY_TREE], 2),
            Err(Error::OldSizeBeyondTree {
                old_size: 2,
                size: 1
            })
        );
    }
}
