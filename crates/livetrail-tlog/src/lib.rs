//! The mathematics and the formats of a Merkle log, pure: bytes in, bytes out.
//!
//! The formats are those of C2SP (tlog-tiles, tlog-checkpoint, signed-note, tlog-cosignature,
//! tlog-witness, tlog-proof) over the tree of RFC 6962 with SHA-256. So any such tool can check a
//! log that this crate wrote.
//!
//! | what | where |
//! |---|---|
//! | hashes of leaves, nodes, roots | [`struct@Hash`], [`leaf_hash`], [`node_hash`], [`tree_root`] |
//! | a tree's size and root | [`TreeHead`] |
//! | appending with at most 64 hashes | [`Frontier`] |
//! | tiles: positions, paths, contents | [`Tile`], [`Bundle`], [`TilePath`] |
//! | the tiles of a tree, and of its growth | [`tree_tiles`], [`new_tiles`], [`partial_tiles`] |
//! | making tiles, reading a tree through them | [`TileBuilder`], [`TileReader`], [`TileTree`] |
//! | entry bundles | [`encode_entry_into`], [`parse_bundle`] |
//! | proofs from leaf hashes | [`inclusion_proof`], [`consistency_proof`] |
//! | checking any proof | [`TreeHead`] |
//! | signed notes | [`Note`], [`Signer`], [`Verifier`] |
//! | keys | [`VerifierKey`], [`Ed25519Signer`] |
//! | checkpoints | [`Checkpoint`] |
//! | the proof that one was verified | [`CheckpointVerifier`], [`VerifiedCheckpoint`] |
//! | retired keys, and the trees up to which they count | [`RetiredKey`] |
//! | timestamped cosignatures (0x04) | [`CosignatureSigner`], [`CosignatureVerifier`] |
//! | asking a witness | [`AddCheckpoint`], [`WitnessAnswer`] |
//! | a receipt that stands alone | [`ProofFile`] |
//!
//! Nothing here does I/O, reads a clock, makes a key or knows the meaning of an entry; writer and
//! verifier both link it. Any input gets an answer or an [`Error`], never a panic. No input makes
//! it reserve more memory than a small multiple of the input's length.
//!
//! ```
//! use livetrail_tlog::{TileBuilder, inclusion_proof, leaf_hash};
//!
//! let entries = ["first", "second", "third"];
//! let leaves: Vec<_> = entries.map(|entry| leaf_hash(entry.as_bytes())).into();
//! let mut tiles = TileBuilder::new();
//! for leaf in &leaves {
//!     tiles.append(*leaf, |_tile, _hashes| { /* a full tile: write it */ })?;
//! }
//! let head = tiles.head();
//! let proof = inclusion_proof(&leaves, 1)?;
//! head.verify_inclusion(1, &leaf_hash(b"second"), &proof)?;
//! assert!(head.verify_inclusion(1, &leaf_hash(b"secant"), &proof).is_err());
//! # Ok::<(), livetrail_tlog::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::arithmetic_side_effects
    )
)]

mod builder;
mod bundle;
mod checkpoint;
mod cosignature;
mod coverage;
mod ed25519;
mod error;
mod frontier;
mod fuzz;
mod hash;
mod key;
mod note;
mod path;
mod proof;
mod proof_file;
mod reader;
mod retired;
mod text;
mod tile;
mod tree;
mod verified;
mod witness;

pub use builder::TileBuilder;
pub use bundle::{MAX_ENTRY_BYTES, encode_bundle, encode_entry_into, parse_bundle};
pub use checkpoint::Checkpoint;
pub use cosignature::{
    CosignatureSigner, CosignatureVerifier, MAX_TIMESTAMP_S, TimedCosigner, cosignature_blob,
    cosignature_message, cosignature_timestamp_s,
};
pub use coverage::{
    new_bundles, new_tiles, partial_bundle, partial_tiles, tree_bundles, tree_tiles,
};
pub use ed25519::{Ed25519Signer, Ed25519Verifier};
pub use error::Error;
pub use frontier::{Frontier, MAX_FRONTIER_HASHES};
#[doc(hidden)]
pub use fuzz::{
    fuzz_bundle, fuzz_checkpoint, fuzz_note, fuzz_proof_file, fuzz_tile_path, fuzz_witness,
};
pub use hash::{HASH_BYTES, Hash, leaf_hash, node_hash, tree_root};
pub use key::{KeyId, KeyName, KeyType, MAX_KEY_TEXT_BYTES, VerifierKey};
pub use note::{
    MAX_NOTE_BYTES, MAX_SIGNATURE_LINE_BYTES, MAX_SIGNATURES, Note, NoteSignature, Signer,
    VerifiedSignature, Verifier,
};
pub use path::TilePath;
pub use proof::{MAX_PROOF_HASHES, consistency_proof, inclusion_proof};
pub use proof_file::{MAX_EXTRA_BYTES, MAX_PROOF_FILE_BYTES, ProofFile};
pub use reader::{TileReader, TileTree};
pub use retired::{MAX_RETIRED_KEYS, RetiredKey};
pub use tile::{Bundle, MAX_LEVEL, TILE_WIDTH, Tile};
pub use tree::TreeHead;
pub use verified::{CheckpointVerifier, VerifiedCheckpoint};
pub use witness::{AddCheckpoint, MAX_WITNESS_PROOF_HASHES, WITNESS_SIZE_TYPE, WitnessAnswer};
