//! Parts of a report from keys, checkpoints and signatures.

use livetrail_tlog::{Checkpoint, VerifiedSignature, VerifierKey};

use crate::report::{CheckpointReport, CosignatureReport, KeysReport};
use crate::trust::Trust;

pub(crate) fn keys_report(trust: &Trust, from_trail: bool) -> KeysReport {
    let policy = trust.policy();
    let witnesses = policy.witnesses.iter();
    let now = |keys: &[VerifierKey]| {
        let now = keys.iter().filter(|key| trust.bound_of(key.id()).is_none());
        now.map(ToString::to_string).collect()
    };
    KeysReport {
        from_trail,
        log: now(&policy.log),
        log_cosigners: now(&policy.own),
        retired: trust.retired().map(|key| key.to_string()).collect(),
        witnesses: witnesses.map(|(_, key)| key.to_string()).collect(),
    }
}

pub(crate) fn checkpoint_report(
    stated: &Checkpoint,
    verified: Option<&livetrail_tlog::VerifiedCheckpoint>,
) -> CheckpointReport {
    CheckpointReport {
        origin: stated.origin().to_owned(),
        size: stated.head().size,
        root: stated.head().root.to_string(),
        verified: verified.is_some(),
        signed_by: verified.map_or_else(Vec::new, |checkpoint| {
            checkpoint.log_signatures().iter().map(signer).collect()
        }),
        log_cosigned: verified.map_or_else(Vec::new, |checkpoint| {
            cosignatures(checkpoint.log_cosignatures())
        }),
        witnessed: verified.map_or_else(Vec::new, |checkpoint| {
            cosignatures(checkpoint.cosignatures())
        }),
    }
}

fn signer(line: &VerifiedSignature) -> String {
    format!("{}+{}", line.name, line.key_id)
}

pub(crate) fn cosignatures(lines: &[VerifiedSignature]) -> Vec<CosignatureReport> {
    lines
        .iter()
        .map(|line| CosignatureReport {
            by: signer(line),
            time_s: line.timestamp_s.unwrap_or(0),
        })
        .collect()
}
