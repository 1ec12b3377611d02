//! Every flipped bit of signed or proven data is detected.

use livetrail_tlog::{
    AddCheckpoint, Checkpoint, Error, Hash, Note, ProofFile, TreeHead, consistency_proof,
    inclusion_proof, leaf_hash, tree_root,
};

use crate::support::{ORIGIN, leaves, log_only, log_signer, text, vectors, with_witness, witness};

/// `bytes` with each of its bits flipped, one at a time.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

#[test]
fn in_a_signed_checkpoint() {
    let vectors = vectors();
    for name in ["checkpoint_size0", "checkpoint"] {
        let note = text(&vectors["tiny"][name]).as_bytes();
        let sound = with_witness().verify(note).unwrap();
        let lines_at = sound.note().text().len();
        for (bit, flipped) in flips(note) {
            let Ok(verified) = with_witness().verify(&flipped) else {
                continue;
            };
            // A flip in the name or key id of a cosigner makes its key unknown, so the line is
            // ignored: the checkpoint remains valid, with fewer cosignatures. The text and the
            // log's line must be unchanged.
            assert!(bit / 8 > lines_at, "{name} bit {bit}");
            assert_eq!(verified.checkpoint(), sound.checkpoint());
            assert_eq!(verified.log_signatures(), sound.log_signatures());
            assert!(
                verified.cosignatures().len() < sound.cosignatures().len(),
                "{name} bit {bit}"
            );
        }
    }
}

#[test]
fn in_a_checkpoint_that_needs_its_witness_without_exception() {
    let vectors = vectors();
    let note = text(&vectors["tiny"]["checkpoint"]).as_bytes();
    let strict = with_witness().with_quorum(1);
    assert!(strict.verify(note).is_ok());
    for (bit, flipped) in flips(note) {
        assert!(strict.verify(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn in_a_checkpoint_of_the_log_alone_without_exception() {
    let head = TreeHead {
        size: 1_000,
        root: tree_root(&leaves(1_000)),
    };
    let checkpoint = Checkpoint::new(ORIGIN, head).unwrap().encode();
    let note = Note::sign(checkpoint, &[&log_signer()]).unwrap().encode();
    for (bit, flipped) in flips(note.as_bytes()) {
        assert!(log_only().verify(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn in_a_proof_file() {
    let vectors = vectors();
    let file = text(&vectors["tiny"]["tlog_proof_index1"]).as_bytes();
    let leaf = leaf_hash(b"entry-1");
    let verifier = with_witness().with_quorum(1);
    let verify = |bytes: &[u8]| ProofFile::parse(bytes)?.verify(&leaf, &verifier);
    assert!(verify(file).is_ok());
    for (bit, flipped) in flips(file) {
        assert!(verify(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn in_a_request_to_a_witness() {
    let vectors = vectors();
    let tiny = &vectors["tiny"];
    let body = text(&tiny["add_checkpoint_body_old2"]).as_bytes();
    let old = TreeHead {
        size: 2,
        root: tree_root(&leaves(2)),
    };
    // A witness's steps.
    let take = |body: &[u8]| {
        let request = AddCheckpoint::parse(body)?;
        let verified = log_only().verify_note(request.checkpoint().clone())?;
        let claimed = TreeHead {
            size: request.old_size(),
            ..old
        };
        if claimed != old {
            return Err(Error::OldSizeBeyondTree {
                old_size: request.old_size(),
                size: 2,
            });
        }
        verified.head().verify_consistency(&old, request.proof())
    };
    assert_eq!(take(body), Ok(()));
    for (bit, flipped) in flips(body) {
        assert!(take(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn in_any_hash_of_a_proof_in_the_leaf_and_in_a_root() {
    let all = leaves(600);
    let head = TreeHead {
        size: 600,
        root: tree_root(&all),
    };
    let flip = |hash: &Hash, bit: usize| {
        let mut bytes = *hash.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        Hash::new(bytes)
    };
    let proof = inclusion_proof(&all, 300).unwrap();
    let old = TreeHead {
        size: 333,
        root: tree_root(&all[..333]),
    };
    let consistency = consistency_proof(&all, 333).unwrap();
    head.verify_inclusion(300, &all[300], &proof).unwrap();
    head.verify_consistency(&old, &consistency).unwrap();
    for bit in 0..256 {
        for at in 0..proof.len() {
            let mut flipped = proof.clone();
            flipped[at] = flip(&flipped[at], bit);
            assert!(head.verify_inclusion(300, &all[300], &flipped).is_err());
        }
        for at in 0..consistency.len() {
            let mut flipped = consistency.clone();
            flipped[at] = flip(&flipped[at], bit);
            assert!(head.verify_consistency(&old, &flipped).is_err());
        }
        let leaf = flip(&all[300], bit);
        assert!(head.verify_inclusion(300, &leaf, &proof).is_err());
        let other = TreeHead {
            root: flip(&head.root, bit),
            ..head
        };
        assert!(other.verify_inclusion(300, &all[300], &proof).is_err());
        assert!(other.verify_consistency(&old, &consistency).is_err());
        let other = TreeHead {
            root: flip(&old.root, bit),
            ..old
        };
        assert!(head.verify_consistency(&other, &consistency).is_err());
    }
}

#[test]
fn a_cosignature_moved_to_another_checkpoint_or_another_time_is_refused() {
    let sign = |size: u64| {
        let head = TreeHead {
            size,
            root: tree_root(&leaves(size)),
        };
        let checkpoint = Checkpoint::new(ORIGIN, head).unwrap().encode();
        Note::sign(checkpoint, &[&log_signer(), &witness().at(1_700_000_000)]).unwrap()
    };
    let (three, four) = (sign(3), sign(4));
    let moved = Note::new(
        three.text(),
        vec![three.signatures()[0].clone(), four.signatures()[1].clone()],
    )
    .unwrap();
    assert!(matches!(
        with_witness().verify_note(moved),
        Err(Error::SignatureInvalid { .. })
    ));
}
