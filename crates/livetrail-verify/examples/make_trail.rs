//! Makes a trail of any number of records in a directory, to measure the verifier with:
//!
//! ```console
//! $ cargo run --release -p livetrail-verify --example make_trail -- big-trail 10000000
//! $ time cargo run --release -p livetrail-verify -- big-trail --vkey big-trail/trail.vkey
//! ```
//!
//! The records are those of viewers who come and go, about 290 bytes each as the server writes
//! them. The keys are public.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to people"
)]

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use livetrail_record::{
    AuditAction, AuditRecord, Outcome, Reason, Uuid, encode_canonical, encode_canonical_into,
};
use livetrail_tlog::{
    Bundle, Checkpoint, CosignatureSigner, Ed25519Signer, KeyName, Note, Tile, TileBuilder,
    encode_entry_into, leaf_hash,
};

const USAGE: &str = "\
Makes a trail of this many records in a directory.

Usage: make_trail DIR RECORDS

  -h, --help  Print this";

const ORIGIN: &str = "example.com/measured";

fn main() -> Result<()> {
    let given: Vec<_> = std::env::args_os().skip(1).collect();
    if given.iter().any(|word| word == "-h" || word == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let size = given.get(1).and_then(|size| size.to_str()?.parse().ok());
    let ([dir, _], Some(size)) = (given.as_slice(), size) else {
        eprintln!("error: which directory, and how many records?\n\n{USAGE}");
        std::process::exit(2);
    };
    let dir = Path::new(dir);
    let mut builder = TileBuilder::new();
    let (mut bundle, mut entry) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for index in 0..size {
        entry.clear();
        encode_canonical_into(&record(index), &mut entry)?;
        bytes += entry.len();
        encode_entry_into(&mut bundle, &entry)?;
        let mut full: Vec<(Tile, Vec<u8>)> = Vec::new();
        builder.append(leaf_hash(&entry), |tile, hashes| {
            full.extend(tile.encode(hashes).map(|bytes| (tile, bytes)));
        })?;
        for (tile, bytes) in full {
            write(&dir.join(tile.to_string()), &bytes)?;
        }
        if (index + 1) % 256 == 0 {
            write(
                &dir.join(Bundle::new(index / 256, 256)?.to_string()),
                &bundle,
            )?;
            bundle.clear();
        }
    }
    for (tile, hashes) in builder.partial_tiles() {
        write(&dir.join(tile.to_string()), &tile.encode(hashes)?)?;
    }
    if let Some(last) = livetrail_tlog::partial_bundle(size) {
        write(&dir.join(last.to_string()), &bundle)?;
    }
    let signer = Ed25519Signer::from_seed(KeyName::new(ORIGIN)?, &[1; 32]);
    let second =
        CosignatureSigner::from_seed(KeyName::new(format!("{ORIGIN}/cosigner"))?, &[2; 32]);
    let text = Checkpoint::new(ORIGIN, builder.head())?.encode();
    let note = Note::sign(text, &[&signer, &second.at(1_763_805_600)])?;
    write(&dir.join("checkpoint"), note.encode().as_bytes())?;
    let keys = format!("{}\n{}\n", signer.verifier_key(), second.verifier_key());
    write(&dir.join("trail.vkey"), keys.as_bytes())?;
    println!("{size} records, {bytes} bytes, one of them:");
    println!("{}", String::from_utf8(encode_canonical(&record(1))?)?);
    Ok(())
}

/// Viewers who join, and leave 1,000 records later.
fn record(index: u64) -> AuditRecord {
    let boot = Uuid::from_u128(0x0199_aaaa_0000_7000_8000_0000_0000_0001);
    let session = |number: u64| {
        Uuid::from_u128(0x0199_bbbb_0000_7000_8000_0000_0000_0000 + u128::from(number))
    };
    let record = match index {
        0 => AuditRecord::new(AuditAction::ServerStarted, ""),
        n if n % 2 == 1 || n < 1_000 => AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_stream("cam")
            .with_session(session(n)),
        n => AuditRecord::new(AuditAction::PlayEnded, "live")
            .with_stream("cam")
            .with_session(session(n - 999))
            .with_outcome(Outcome::Success)
            .with_reason(Reason::ClientClosed),
    };
    record
        .with_boot(boot)
        .with_node("n1")
        .with_seq(index)
        .with_mono_ms(index / 100)
        .with_nonce([7; 16])
        .with_ts_ms(1_763_805_600_000 + index / 100)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(path, bytes).with_context(|| path.display().to_string())
}
