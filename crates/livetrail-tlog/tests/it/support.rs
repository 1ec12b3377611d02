//! Shared by several tests: the vectors' keys, their entries, a tree in memory.

use std::collections::BTreeMap;

use livetrail_tlog::{
    Bundle, CheckpointVerifier, CosignatureSigner, CosignatureVerifier, Ed25519Signer,
    Ed25519Verifier, Error, Hash, Tile, TileBuilder, TileReader, encode_bundle, leaf_hash,
    tree_bundles,
};
use serde_json::Value;

pub(crate) const ORIGIN: &str = "example.com/audit";

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/merkle-log.json")).unwrap()
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn hash(value: &Value) -> Hash {
    Hash::try_from(hex(text(value)).as_slice()).unwrap()
}

pub(crate) fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

/// 32 bytes that count up: the vectors' seeds.
fn seed(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

pub(crate) fn log_signer() -> Ed25519Signer {
    Ed25519Signer::from_seed(ORIGIN.parse().unwrap(), &seed(0))
}

pub(crate) fn witness() -> CosignatureSigner {
    CosignatureSigner::from_seed("witness.example/w1".parse().unwrap(), &seed(32))
}

pub(crate) fn log_verifier() -> Ed25519Verifier {
    Ed25519Verifier::new(&log_signer().verifier_key()).unwrap()
}

pub(crate) fn witness_verifier() -> CosignatureVerifier {
    CosignatureVerifier::new(&witness().verifier_key()).unwrap()
}

/// Knows the log alone.
pub(crate) fn log_only() -> CheckpointVerifier {
    CheckpointVerifier::new(ORIGIN, log_verifier())
}

/// Knows the log and the witness.
pub(crate) fn with_witness() -> CheckpointVerifier {
    log_only().with_cosigner(witness_verifier())
}

/// Entry `i` of rule A.
pub(crate) fn entry(i: u64) -> Vec<u8> {
    format!("entry-{i}").into_bytes()
}

pub(crate) fn leaves(size: u64) -> Vec<Hash> {
    (0..size).map(|i| leaf_hash(&entry(i))).collect()
}

/// All files of a tree by path, as a log would have written them.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl TileReader for Files {
    type Error = Error;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        Ok(self.0[&tile.to_string()].clone())
    }
}

/// The files of a tree of rule A, and its builder.
pub(crate) fn files(size: u64) -> (Files, TileBuilder) {
    let mut files = Files::default();
    let mut builder = TileBuilder::new();
    for leaf in leaves(size) {
        builder
            .append(leaf, |tile, hashes| write(&mut files, tile, hashes))
            .unwrap();
    }
    for (tile, hashes) in builder.partial_tiles() {
        write(&mut files, tile, hashes);
    }
    for bundle in tree_bundles(size) {
        let bytes = encode_bundle(&entries_of(bundle)).unwrap();
        files.0.insert(bundle.to_string(), bytes);
    }
    (files, builder)
}

fn write(files: &mut Files, tile: Tile, hashes: &[Hash]) {
    let contents = tile.encode(hashes).unwrap();
    files.0.insert(tile.to_string(), contents);
}

fn entries_of(bundle: Bundle) -> Vec<Vec<u8>> {
    let first = bundle.first_entry().unwrap();
    (first..first + u64::from(bundle.width()))
        .map(entry)
        .collect()
}
