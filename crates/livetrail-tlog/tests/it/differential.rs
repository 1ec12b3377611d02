//! Independent implementations agree: `ct-merkle` on trees, `tlog_tiles` on tiles and checkpoints,
//! `signed_note` on notes. They get only supported input: `tlog_tiles` has another path layout and
//! panics on hostile paths.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use livetrail_tlog::{
    Checkpoint, Hash, Note, TileTree, consistency_proof, inclusion_proof, leaf_hash, new_tiles,
    tree_root,
};
use sha2::Sha256;
use signed_note::{StandardVerifier, VerifierList};
use tlog_tiles::tlog;

use crate::support::{ORIGIN, entry, files, leaves, log_signer, text, vectors};

const SIZES: [u64; 14] = [1, 2, 3, 4, 5, 7, 8, 9, 127, 128, 129, 255, 256, 257];

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn theirs(hash: Hash) -> tlog::Hash {
    tlog::Hash(*hash.as_bytes())
}

#[test]
fn ct_merkle_has_the_same_roots_and_proofs() {
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for size in 1..=257_u64 {
        tree.push(entry(size - 1));
        if !SIZES.contains(&size) {
            continue;
        }
        let ours = leaves(size);
        assert_eq!(
            tree.root().as_bytes().as_slice(),
            tree_root(&ours).as_bytes(),
            "size {size}"
        );
        for index in 0..size {
            let at = usize::try_from(index).unwrap();
            let proof = inclusion_proof(&ours, index).unwrap();
            assert_eq!(
                tree.prove_inclusion(at).as_bytes(),
                bytes(&proof),
                "{index} in {size}"
            );
            if index > 0 {
                let additions = usize::try_from(size - index).unwrap();
                let proof = consistency_proof(&ours, index).unwrap();
                assert_eq!(
                    tree.prove_consistency(additions).as_bytes(),
                    bytes(&proof),
                    "{index} to {size}"
                );
            }
        }
    }
}

#[test]
fn tlog_tiles_checks_our_proofs() {
    for size in SIZES {
        let ours = leaves(size);
        let root = theirs(tree_root(&ours));
        for index in 0..size {
            let leaf = leaf_hash(&entry(index));
            assert_eq!(theirs(leaf), tlog::record_hash(&entry(index)));
            let proof: Vec<_> = inclusion_proof(&ours, index)
                .unwrap()
                .into_iter()
                .map(theirs)
                .collect();
            tlog::check_record(&proof, size, root, index, theirs(leaf)).unwrap();
            let old_size = index + 1;
            let old = tree_root(&ours[..usize::try_from(old_size).unwrap()]);
            let proof: Vec<_> = consistency_proof(&ours, old_size)
                .unwrap()
                .into_iter()
                .map(theirs)
                .collect();
            tlog::check_tree(&proof, size, root, old_size, theirs(old)).unwrap();
        }
    }
}

#[test]
fn tlog_tiles_has_the_same_tiles_with_the_same_hashes() {
    for (old_size, size) in [
        (0, 1),
        (0, 600),
        (255, 256),
        (256, 257),
        (5, 70_000),
        (65_535, 65_537),
    ] {
        let mut ours: Vec<_> = new_tiles(old_size, size)
            .map(|tile| (tile.level(), tile.index(), u32::from(tile.width())))
            .collect();
        let mut expected: Vec<_> = tlog_tiles::Tile::new_tiles(8, old_size, size)
            .iter()
            .map(|tile| (tile.level(), tile.level_index(), tile.width()))
            .collect();
        ours.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ours, expected, "{old_size} to {size}");
    }
    let (files, builder) = files(66_000);
    for tile in livetrail_tlog::tree_tiles(66_000).filter(|tile| tile.is_full()) {
        let contents = &files.0[&tile.to_string()];
        let hash = tree_root(&tile.parse(contents).unwrap());
        assert_eq!(
            tlog_tiles::Tile::subtree_hash(contents),
            theirs(hash),
            "{tile}"
        );
    }
    TileTree::new(&files, builder.head())
        .inclusion_proof(65_999)
        .unwrap();
}

#[test]
fn tlog_tiles_reads_our_checkpoints_and_refuses_what_we_refuse() {
    let (_, builder) = files(600);
    let ours = Checkpoint::new(ORIGIN, builder.head()).unwrap();
    let read = tlog_tiles::Checkpoint::from_bytes(ours.encode().as_bytes()).unwrap();
    assert_eq!(read.origin(), ORIGIN);
    assert_eq!(read.size(), 600);
    assert_eq!(*read.hash(), theirs(builder.head().root));
    for size in ["03", "-3", "+3", "", "3 ", "18446744073709551616"] {
        let text = format!("{ORIGIN}\n{size}\n{}\n", builder.head().root);
        assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        assert!(
            tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).is_err(),
            "{text:?}"
        );
    }
}

#[test]
fn signed_note_verifies_our_notes_and_signs_notes_that_we_verify() {
    let vectors = vectors();
    let key = text(&vectors["keys"]["log_vkey"]);
    let verifiers = || VerifierList::new(vec![Box::new(StandardVerifier::new(key).unwrap())]);
    for body in ["text\n", "a\n\nb\n", "é — \n"] {
        let ours = Note::sign(body, &[&log_signer()]).unwrap().encode();
        let read = signed_note::Note::from_bytes(ours.as_bytes()).unwrap();
        assert_eq!(read.text(), body.as_bytes());
        let (verified, _) = read.verify(&verifiers()).unwrap();
        assert_eq!(verified.len(), 1);

        let signer =
            signed_note::StandardSigner::new(text(&vectors["keys"]["log_skey_go"])).unwrap();
        let mut theirs = signed_note::Note::new(body.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&signer]).unwrap();
        assert_eq!(theirs.to_bytes(), ours.as_bytes());
    }
    for (name, note) in vectors["checkpoint_must_accept"].as_object().unwrap() {
        let read = signed_note::Note::from_bytes(text(note).as_bytes()).unwrap();
        assert!(read.verify(&verifiers()).is_ok(), "{name}");
    }
}
