//! Bodies of the fuzz targets: the properties that hold for any bytes.

use std::sync::LazyLock;

use crate::bundle::{encode_bundle, parse_bundle};
use crate::checkpoint::Checkpoint;
use crate::cosignature::{CosignatureSigner, CosignatureVerifier};
use crate::ed25519::{Ed25519Signer, Ed25519Verifier};
use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::key::{KeyName, VerifierKey};
use crate::note::Note;
use crate::path::TilePath;
use crate::proof_file::ProofFile;
use crate::tile::Bundle;
use crate::verified::CheckpointVerifier;
use crate::witness::{AddCheckpoint, WITNESS_SIZE_TYPE, WitnessAnswer};

/// Notes, checkpoints and keys: parsed input encodes to the same bytes, and no signature verifies
/// by chance.
///
/// # Panics
/// When a property is violated; the fuzzer looks for that.
#[doc(hidden)]
pub fn fuzz_note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.encode().as_bytes(), data);
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.encode(), note.text());
        }
    }
    if let (Some(verifier), Ok(verified)) = (VERIFIER.as_ref(), Note::parse(data)) {
        // The fuzzer has no secret key: the maker of the seeds signed every note that verifies, and
        // signs only checkpoints.
        if let Ok(verified) = verifier.verify_note(verified) {
            assert!(!verified.log_signatures().is_empty());
        }
    }
    if let Ok(key) = std::str::from_utf8(data)
        .unwrap_or_default()
        .parse::<VerifierKey>()
    {
        assert_eq!(key.to_string().parse(), Ok(key));
    }
    if let Ok(frontier) = Frontier::parse(data) {
        assert_eq!(frontier.encode(), data);
        let _ = frontier.root();
    }
}

/// The text of a checkpoint, without signatures: parsed input encodes to the same bytes, also once
/// signed.
///
/// # Panics
/// When a property is violated.
#[doc(hidden)]
pub fn fuzz_checkpoint(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(checkpoint) = Checkpoint::parse(text) else {
        return;
    };
    assert_eq!(checkpoint.encode(), text);
    let Ok(name) = KeyName::new("example.com/audit") else {
        return;
    };
    let signer = Ed25519Signer::from_seed(name, &counting(0));
    let Ok(note) = Note::sign(text.to_owned(), &[&signer]) else {
        return;
    };
    assert_eq!(Note::parse(note.encode().as_bytes()).as_ref(), Ok(&note));
    if let Some(verifier) = VERIFIER.as_ref() {
        // A tree without entries has one root: any other is refused, with any signature.
        if let Ok(verified) = verifier.verify_note(note) {
            assert_eq!(verified.head(), checkpoint.head());
            assert_eq!(checkpoint.origin(), "example.com/audit");
        }
    }
}

/// Paths: there is one spelling.
///
/// # Panics
/// When there are two.
#[doc(hidden)]
pub fn fuzz_tile_path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match text.parse::<TilePath>() {
        Ok(path) => {
            assert_eq!(path.to_string(), text);
            assert!(!text.contains("..") && !text.contains('%'));
        }
        Err(error) => assert!(error.to_string().len() < 1024),
    }
}

/// Bundles: the first byte is the width, the rest the contents; parsed input encodes to the same
/// bytes.
///
/// # Panics
/// When a property is violated.
#[doc(hidden)]
pub fn fuzz_bundle(data: &[u8]) {
    let Some((width, contents)) = data.split_first() else {
        return;
    };
    let Ok(bundle) = Bundle::new(0, u16::from(*width)) else {
        return;
    };
    if let Ok(entries) = parse_bundle(bundle, contents) {
        assert_eq!(entries.len(), usize::from(*width));
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(contents));
    }
    if let Ok(hashes) = bundle.tile().parse(contents) {
        assert_eq!(bundle.tile().encode(&hashes).as_deref(), Ok(contents));
    }
}

/// Proof files: parsed input encodes to the same bytes, and verification terminates.
///
/// # Panics
/// When a property is violated.
#[doc(hidden)]
pub fn fuzz_proof_file(data: &[u8]) {
    let Ok(file) = ProofFile::parse(data) else {
        return;
    };
    assert_eq!(file.encode().as_bytes(), data);
    if let Some(verifier) = VERIFIER.as_ref() {
        let verified = file.verify(&Hash::EMPTY_TREE, verifier);
        assert!(verified.is_err(), "no entry has this leaf hash");
    }
    if let Ok(checkpoint) = Checkpoint::parse(file.checkpoint().text()) {
        let head = checkpoint.head();
        let _ = head.verify_inclusion(file.index(), &Hash::EMPTY_TREE, file.proof());
        let _ = head.verify_consistency(&crate::TreeHead::EMPTY, file.proof());
    }
}

/// Requests to a witness and its answers: parsed input encodes to the same bytes.
///
/// # Panics
/// When a property is violated.
#[doc(hidden)]
pub fn fuzz_witness(data: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(request.encode().as_bytes(), data);
        if let Ok(checkpoint) = Checkpoint::parse(request.checkpoint().text()) {
            let older = crate::TreeHead {
                size: request.old_size(),
                root: checkpoint.head().root,
            };
            let _ = checkpoint
                .head()
                .verify_consistency(&older, request.proof());
        }
    }
    for status in [200, 409] {
        if let Ok(answer) = WitnessAnswer::parse(status, Some(WITNESS_SIZE_TYPE), data) {
            assert_eq!(answer.encode().as_bytes(), data);
        }
    }
}

/// Knows the log and the witness of the fuzzer's seeds, whose secret keys are public.
static VERIFIER: LazyLock<Option<CheckpointVerifier>> = LazyLock::new(verifier);

fn verifier() -> Option<CheckpointVerifier> {
    let log = Ed25519Signer::from_seed(KeyName::new("example.com/audit").ok()?, &counting(0));
    let witness =
        CosignatureSigner::from_seed(KeyName::new("witness.example/w1").ok()?, &counting(32));
    let log = Ed25519Verifier::new(&log.verifier_key()).ok()?;
    let witness = CosignatureVerifier::new(&witness.verifier_key()).ok()?;
    Some(CheckpointVerifier::new("example.com/audit", log).with_cosigner(witness))
}

/// 32 bytes that count up from `first`.
fn counting(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip(first..) {
        *byte = value;
    }
    bytes
}
