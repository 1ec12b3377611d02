//! The fuzz bodies hold for the seeds, for the seeds with bytes changed, and for any bytes.

use std::sync::LazyLock;

use livetrail_tlog::{
    fuzz_bundle, fuzz_checkpoint, fuzz_note, fuzz_proof_file, fuzz_tile_path, fuzz_witness,
};
use proptest::prelude::*;

use crate::support::{files, text, vectors};

type Body = fn(&[u8]);

/// Each body with sound inputs for it.
fn seeds() -> &'static [(Body, Vec<u8>)] {
    static SEEDS: LazyLock<Vec<(Body, Vec<u8>)>> = LazyLock::new(make_seeds);
    &SEEDS
}

fn make_seeds() -> Vec<(Body, Vec<u8>)> {
    let vectors = vectors();
    let tiny = &vectors["tiny"];
    let bytes = |name: &str| text(&tiny[name]).as_bytes().to_vec();
    let (files, _) = files(300);
    let mut bundle = vec![44];
    bundle.extend(&files.0["tile/entries/001.p/44"]);
    let mut checkpoint = bytes("checkpoint");
    let end = checkpoint.windows(2).position(|two| two == b"\n\n");
    checkpoint.truncate(end.expect("an empty line") + 1);
    vec![
        (fuzz_note, bytes("checkpoint")),
        (fuzz_note, bytes("checkpoint_size0")),
        (fuzz_checkpoint, checkpoint),
        (
            fuzz_note,
            text(&vectors["keys"]["log_vkey"]).as_bytes().to_vec(),
        ),
        (fuzz_tile_path, b"tile/0/x001/x234/067.p/7".to_vec()),
        (fuzz_tile_path, b"tile/entries/000".to_vec()),
        (fuzz_bundle, bundle),
        (fuzz_proof_file, bytes("tlog_proof_index1")),
        (fuzz_witness, bytes("add_checkpoint_body_old2")),
        (fuzz_witness, b"12\n".to_vec()),
    ]
}

#[test]
fn the_seeds_hold() {
    for (body, seed) in seeds() {
        body(seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changed_seeds_hold(which in 0_usize..10, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let (body, mut seed) = seeds()[which].clone();
        let place = at.index(seed.len());
        seed[place] = byte;
        body(&seed);
        seed.truncate(cut.index(seed.len() + 1));
        body(&seed);
    }

    #[test]
    fn any_bytes_hold(data in prop::collection::vec(any::<u8>(), 0..200)) {
        for body in [fuzz_note, fuzz_checkpoint, fuzz_tile_path, fuzz_bundle, fuzz_proof_file, fuzz_witness] {
            body(&data);
        }
    }
}
