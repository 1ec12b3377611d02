//! RFC 6962 §2.1 transcribed literally, slow and recursive; the crate must agree with it.

use std::collections::BTreeMap;

use livetrail_tlog::{
    Error, Frontier, Hash, MAX_PROOF_HASHES, TileTree, TreeHead, consistency_proof,
    inclusion_proof, tree_root,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use crate::support::{files, leaves};

fn sha256(parts: &[&[u8]]) -> Hash {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update(part);
    }
    Hash::new(sha.finalize().into())
}

/// The definition over leaf hashes. Caches subtrees, since all sizes up to 600 are needed.
struct Definition {
    leaves: Vec<Hash>,
    known: BTreeMap<(usize, usize), Hash>,
}

impl Definition {
    fn new(leaves: Vec<Hash>) -> Self {
        Self {
            leaves,
            known: BTreeMap::new(),
        }
    }

    fn mth(&mut self, start: usize, end: usize) -> Hash {
        match end - start {
            0 => return sha256(&[]),
            1 => return self.leaves[start],
            _ => {}
        }
        if let Some(hash) = self.known.get(&(start, end)) {
            return *hash;
        }
        let k = largest_power_below(end - start);
        let (left, right) = (self.mth(start, start + k), self.mth(start + k, end));
        let hash = sha256(&[&[1], left.as_ref(), right.as_ref()]);
        self.known.insert((start, end), hash);
        hash
    }

    fn path(&mut self, m: usize, start: usize, end: usize) -> Vec<Hash> {
        if end - start == 1 {
            return Vec::new();
        }
        let k = largest_power_below(end - start);
        let (mut path, sibling) = if m < k {
            (self.path(m, start, start + k), self.mth(start + k, end))
        } else {
            (self.path(m - k, start + k, end), self.mth(start, start + k))
        };
        path.push(sibling);
        path
    }

    fn subproof(&mut self, m: usize, start: usize, end: usize, known: bool) -> Vec<Hash> {
        if m == end - start {
            return if known {
                Vec::new()
            } else {
                vec![self.mth(start, end)]
            };
        }
        let k = largest_power_below(end - start);
        let (mut proof, sibling) = if m <= k {
            (
                self.subproof(m, start, start + k, known),
                self.mth(start + k, end),
            )
        } else {
            (
                self.subproof(m - k, start + k, end, false),
                self.mth(start, start + k),
            )
        };
        proof.push(sibling);
        proof
    }
}

fn largest_power_below(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn head(definition: &mut Definition, size: usize) -> TreeHead {
    TreeHead {
        size: size as u64,
        root: definition.mth(0, size),
    }
}

#[test]
fn roots_frontiers_and_proofs_of_every_size_up_to_600_are_those_of_the_definition() {
    let mut definition = Definition::new(leaves(600));
    let all = definition.leaves.clone();
    let mut frontier = Frontier::new();
    for size in 0..=600 {
        let tree = &all[..size];
        let head = head(&mut definition, size);
        assert_eq!(tree_root(tree), head.root, "size {size}");
        assert_eq!(frontier.head(), head, "size {size}");
        if size < 600 {
            frontier.append(all[size]).unwrap();
        }
        // Every index and old size in small trees; in larger ones those at the edges and some
        // between.
        let step = if size <= 70 { 1 } else { 37 };
        let edges = [
            size.saturating_sub(2),
            size.saturating_sub(1),
            255,
            256,
            257,
        ];
        for m in (0..size).step_by(step).chain(edges).filter(|m| *m < size) {
            let proof = inclusion_proof(tree, m as u64).unwrap();
            assert_eq!(proof, definition.path(m, 0, size), "{m} in {size}");
            assert_eq!(head.verify_inclusion(m as u64, &all[m], &proof), Ok(()));
        }
        for m in (1..=size)
            .step_by(step)
            .chain(edges)
            .filter(|m| (1..=size).contains(m))
        {
            let proof = consistency_proof(tree, m as u64).unwrap();
            assert_eq!(
                proof,
                definition.subproof(m, 0, size, true),
                "{m} to {size}"
            );
            let old = self::head(&mut definition, m);
            assert_eq!(
                head.verify_consistency(&old, &proof),
                Ok(()),
                "{m} to {size}"
            );
        }
    }
}

#[test]
fn every_old_and_new_size_up_to_70_consistent_and_no_other_root_is() {
    let mut definition = Definition::new(leaves(71));
    let heads: Vec<_> = (0..=71).map(|size| head(&mut definition, size)).collect();
    for (size, new) in heads.iter().enumerate() {
        for (old_size, old) in heads.iter().enumerate().take(size + 1) {
            let proof = consistency_proof(&definition.leaves[..size], old_size as u64).unwrap();
            assert_eq!(new.verify_consistency(old, &proof), Ok(()));
            if old_size == 0 || old_size == size {
                assert!(proof.is_empty());
            }
            // The roots of all other sizes, presented as roots of these.
            for other in &heads {
                let claimed_old = TreeHead {
                    root: other.root,
                    ..*old
                };
                let claimed_new = TreeHead {
                    root: other.root,
                    ..*new
                };
                if other.size != old.size {
                    assert!(new.verify_consistency(&claimed_old, &proof).is_err());
                }
                // Every tree has grown from the empty tree: there only the old root can be wrong.
                if other.size != new.size && old_size != 0 {
                    assert!(claimed_new.verify_consistency(old, &proof).is_err());
                }
            }
        }
    }
}

#[test]
fn a_proof_of_another_length_or_for_another_place_is_refused() {
    let all = leaves(71);
    for size in 1..=71_u64 {
        let tree = &all[..usize::try_from(size).unwrap()];
        let head = TreeHead {
            size,
            root: tree_root(tree),
        };
        for index in 0..size {
            let leaf = tree[usize::try_from(index).unwrap()];
            let proof = inclusion_proof(tree, index).unwrap();
            let wanted = proof.len();
            let mut longer = proof.clone();
            longer.push(leaf);
            let found = longer.len();
            assert_eq!(
                head.verify_inclusion(index, &leaf, &longer),
                Err(Error::ProofLength { wanted, found })
            );
            if let Some((_, shorter)) = proof.split_last() {
                assert_eq!(
                    head.verify_inclusion(index, &leaf, shorter),
                    Err(Error::ProofLength {
                        wanted,
                        found: shorter.len()
                    })
                );
            }
            for other in (0..size + 3).filter(|other| *other != index) {
                assert!(head.verify_inclusion(other, &leaf, &proof).is_err());
            }
            assert_eq!(
                head.verify_inclusion(size, &leaf, &proof),
                Err(Error::IndexBeyondTree { index: size, size })
            );
        }
        for old_size in 0..=size {
            let old = TreeHead {
                size: old_size,
                root: tree_root(&tree[..usize::try_from(old_size).unwrap()]),
            };
            let proof = consistency_proof(tree, old_size).unwrap();
            let mut longer = proof.clone();
            longer.push(head.root);
            assert!(matches!(
                head.verify_consistency(&old, &longer),
                Err(Error::ProofLength { .. })
            ));
            if let Some((_, shorter)) = proof.split_last() {
                assert!(matches!(
                    head.verify_consistency(&old, shorter),
                    Err(Error::ProofLength { .. })
                ));
            }
            if old_size != size {
                assert_eq!(
                    old.verify_consistency(&head, &proof),
                    Err(Error::OldSizeBeyondTree {
                        old_size: size,
                        size: old_size
                    })
                );
            }
        }
    }
}

#[test]
fn empty_and_equal_trees() {
    let leaf = leaves(1)[0];
    let one = TreeHead {
        size: 1,
        root: leaf,
    };
    let forked = TreeHead {
        size: 1,
        root: Hash::EMPTY_TREE,
    };
    let impossible = TreeHead {
        size: 0,
        root: leaf,
    };
    assert_eq!(
        TreeHead::EMPTY.verify_consistency(&TreeHead::EMPTY, &[]),
        Ok(())
    );
    assert_eq!(one.verify_consistency(&TreeHead::EMPTY, &[]), Ok(()));
    assert_eq!(one.verify_consistency(&one, &[]), Ok(()));
    assert_eq!(
        one.verify_consistency(&forked, &[]),
        Err(Error::SameSizeOtherRoot { size: 1 })
    );
    assert_eq!(
        one.verify_consistency(&impossible, &[]),
        Err(Error::EmptyTreeRoot)
    );
    assert_eq!(
        one.verify_consistency(&TreeHead::EMPTY, &[leaf]),
        Err(Error::ProofLength {
            wanted: 0,
            found: 1
        })
    );
    assert_eq!(one.verify_inclusion(0, &leaf, &[]), Ok(()));
    assert_eq!(
        TreeHead::EMPTY.verify_inclusion(0, &leaf, &[]),
        Err(Error::IndexBeyondTree { index: 0, size: 0 })
    );
}

#[test]
fn through_tiles_come_the_same_proofs() {
    for size in [1, 2, 255, 256, 257, 511, 512, 513, 600, 66_000] {
        let (files, builder) = files(size);
        let all = leaves(size);
        let tree = TileTree::new(&files, builder.head());
        assert_eq!(builder.head().root, tree_root(&all));
        assert_eq!(tree.computed_root(), Ok(builder.head().root));
        let step = usize::try_from(if size < 1_000 { size / 40 + 1 } else { 13_007 }).unwrap();
        for index in (0..size).step_by(step).chain([size - 1]) {
            let proof = inclusion_proof(&all, index).unwrap();
            assert_eq!(
                tree.inclusion_proof(index),
                Ok((all[usize::try_from(index).unwrap()], proof))
            );
            let old_size = index + 1;
            let old = TreeHead {
                size: old_size,
                root: tree_root(&all[..usize::try_from(old_size).unwrap()]),
            };
            let proof = consistency_proof(&all, old_size).unwrap();
            assert_eq!(tree.consistency_proof(old_size), Ok((old, proof)));
        }
        assert_eq!(tree.consistency_proof(0), Ok((TreeHead::EMPTY, Vec::new())));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_larger_trees_agree_with_the_definition(size in 601_usize..5000, m in 0.0..1.0, n in 0.0..1.0) {
        let mut definition = Definition::new(leaves(size as u64));
        let all = definition.leaves.clone();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = |share: f64| (share * size as f64) as usize % size;
        let (index, old_size) = (at(m), at(n) + 1);
        let head = head(&mut definition, size);
        let proof = inclusion_proof(&all, index as u64).unwrap();
        prop_assert_eq!(&proof, &definition.path(index, 0, size));
        prop_assert_eq!(head.verify_inclusion(index as u64, &all[index], &proof), Ok(()));
        let proof = consistency_proof(&all, old_size as u64).unwrap();
        prop_assert_eq!(&proof, &definition.subproof(old_size, 0, size, true));
        let old = self::head(&mut definition, old_size);
        prop_assert_eq!(head.verify_consistency(&old, &proof), Ok(()));
    }

    #[test]
    fn checking_any_numbers_and_hashes_ends_without_a_panic(
        size: u64, old_size: u64, index: u64, length in 0..=MAX_PROOF_HASHES + 1, root: [u8; 32],
    ) {
        let head = TreeHead { size, root: Hash::new(root) };
        let old = TreeHead { size: old_size, root: Hash::new(root) };
        let proof = vec![Hash::new(root); length];
        prop_assert!(head.verify_inclusion(index, &Hash::new(root), &proof).is_err());
        if size != old_size {
            prop_assert!(head.verify_consistency(&old, &proof).is_err());
        }
    }
}
