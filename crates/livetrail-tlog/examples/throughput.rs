//! Measures how fast one core hashes and integrates entries of 200 bytes, and checks proofs and
//! signatures.
//!
//! `cargo run --release --package livetrail-tlog --example throughput`

#![allow(clippy::print_stdout, reason = "it prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use livetrail_tlog::{
    Checkpoint, CheckpointVerifier, Ed25519Signer, Ed25519Verifier, Error, Note, TileBuilder,
    encode_entry_into, leaf_hash, tree_root,
};

const ENTRIES: u32 = 2_000_000;

fn main() -> Result<(), Error> {
    let entry = |i: u32| {
        let mut entry = [b'.'; 200];
        entry[..4].copy_from_slice(&i.to_be_bytes());
        entry
    };

    let start = processor_time();
    for i in 0..ENTRIES {
        black_box(leaf_hash(&entry(i)));
    }
    report("leaf hashes", ENTRIES, processor_time() - start);

    let mut tiles = TileBuilder::new();
    let mut bundle = Vec::new();
    let mut written_bytes = 0;
    let start = processor_time();
    for i in 0..ENTRIES {
        let entry = entry(i);
        encode_entry_into(&mut bundle, &entry)?;
        tiles.append(leaf_hash(&entry), |tile, hashes| {
            let contents = tile.encode(hashes).unwrap_or_default();
            written_bytes += black_box(contents).len();
        })?;
        if bundle.len() >= 256 * 202 {
            written_bytes += black_box(&bundle).len();
            bundle.clear();
        }
    }
    black_box(tiles.head());
    report(
        "hashed, bundled and integrated",
        ENTRIES,
        processor_time() - start,
    );
    println!("{:>12} bytes of tiles and bundles", written_bytes);

    let rounds = 20_000;
    let start = processor_time();
    for _ in 0..rounds {
        black_box(tiles.head());
    }
    report("heads", rounds, processor_time() - start);

    let leaves: Vec<_> = (0..256).map(|i| leaf_hash(&entry(i))).collect();
    let start = processor_time();
    for _ in 0..rounds {
        black_box(tree_root(black_box(&leaves)));
    }
    report("roots of full tiles", rounds, processor_time() - start);

    let signer = Ed25519Signer::from_seed("example.com/log".parse()?, &[7; 32]);
    let key = Ed25519Verifier::new(&signer.verifier_key())?;
    let verifier = CheckpointVerifier::new("example.com/log", key);
    let text = Checkpoint::new("example.com/log", tiles.head())?.encode();
    let start = processor_time();
    for _ in 0..rounds {
        black_box(Note::sign(text.as_str(), &[&signer])?);
    }
    report("checkpoints signed", rounds, processor_time() - start);
    let note = Note::sign(text, &[&signer])?.encode();
    let start = processor_time();
    for _ in 0..rounds {
        black_box(verifier.verify(note.as_bytes())?);
    }
    report("checkpoints verified", rounds, processor_time() - start);
    Ok(())
}

/// The time that this thread has run on a core, so that other load does not count; wall time where
/// the system does not report it.
fn processor_time() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let since_start = START.elapsed();
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|stat| stat.split(' ').next()?.parse().ok())
        .map_or(since_start, Duration::from_nanos)
}

fn report(what: &str, count: u32, took: Duration) {
    let each = took / count;
    let a_second = f64::from(count) / took.as_secs_f64();
    println!("{a_second:>12.0} a second, {each:>10.0?} each: {what}");
}
