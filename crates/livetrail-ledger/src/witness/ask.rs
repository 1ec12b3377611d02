//! One request: the proof, the bytes, the answer.

use std::time::Duration;

use livetrail_tlog::{AddCheckpoint, VerifiedCheckpoint, WitnessAnswer};

use super::{Witness, WitnessTransport};
use crate::read::reader::Reader;

/// Shows a witness a published checkpoint, with the proof that it continues the tree of size `old`;
/// without a proof from 0.
///
/// The proof is checked here first: so if a witness refuses it, the witness has seen another tree,
/// and the mistake is not ours.
pub(super) fn ask(
    transport: &dyn WitnessTransport,
    witness: &Witness,
    reader: &Reader,
    checkpoint: &VerifiedCheckpoint,
    old: u64,
    timeout: Duration,
) -> Result<WitnessAnswer, String> {
    let ours = |error: &dyn std::fmt::Display| format!("no proof can be made for it: {error}");
    let head = checkpoint.head();
    let proof = if old == 0 {
        Vec::new()
    } else {
        let made = reader.consistency_proof(old, head.size);
        let (older, proof) = made.map_err(|error| ours(&error))?;
        head.verify_consistency(&older, &proof)
            .map_err(|error| ours(&error))?;
        proof
    };
    let request = AddCheckpoint::new(old, proof, checkpoint.note().clone());
    let request = request.map_err(|error| ours(&error))?;
    let url = format!("{}/add-checkpoint", witness.url());
    let answer = transport.post(&url, &request.encode(), timeout)?;
    WitnessAnswer::parse(answer.status, answer.content_type.as_deref(), &answer.body)
        .map_err(|error| format!("cannot parse its answer: {error}"))
}
