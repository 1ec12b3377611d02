//! From keys to the answer whether a signed checkpoint may be believed.

use livetrail_tlog::{
    Checkpoint, CheckpointVerifier, CosignatureVerifier, Ed25519Verifier, Error, Note,
    VerifiedCheckpoint, VerifierKey,
};

use crate::error::VerifyError;
use crate::finding::{Class, Finding};
use crate::policy::Policy;

/// The keys that are trusted at this point of the check. It grows by rotations that the trail has on record.
pub(crate) struct Trust {
    policy: Policy,
    origin: String,
    verifier: CheckpointVerifier,
}

/// What became of a signed checkpoint.
pub(crate) enum Signed {
    /// Signed by a trusted key.
    Good(Box<VerifiedCheckpoint>),
    /// Well formed, of this origin, and no line is of a trusted key: a later rotation may still vouch for one.
    UnknownKey(Box<Checkpoint>),
    /// Not to be believed.
    Bad(Finding),
}

impl Trust {
    pub(crate) fn new(policy: Policy, origin: String) -> Result<Self, VerifyError> {
        let verifier = verifier(&policy, &origin)?;
        Ok(Self {
            policy,
            origin,
            verifier,
        })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A further key of the log, vouched for by a record under a checkpoint that is trusted. `false` when it is none.
    pub(crate) fn add(&mut self, key: &VerifierKey) -> bool {
        let mut policy = self.policy.clone();
        let keys = match key.key_type() {
            livetrail_tlog::KeyType::ED25519 => &mut policy.log,
            livetrail_tlog::KeyType::COSIGNATURE => &mut policy.own,
            _ => return false,
        };
        if keys.contains(key) {
            return true;
        }
        keys.push(key.clone());
        match verifier(&policy, &self.origin) {
            Ok(verifier) => {
                self.policy = policy;
                self.verifier = verifier;
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn check(&self, bytes: &[u8]) -> Signed {
        let note = match Note::parse(bytes) {
            Ok(note) => note,
            Err(error) => {
                return Signed::Bad(Finding::failure(
                    Class::Checkpoint,
                    format!("not a signed checkpoint: {error}"),
                ));
            }
        };
        let checkpoint = match Checkpoint::parse(note.text()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                return Signed::Bad(Finding::failure(
                    Class::Checkpoint,
                    format!("not a checkpoint: {error}"),
                ));
            }
        };
        if checkpoint.origin() != self.origin {
            return Signed::Bad(Finding::failure(
                Class::Origin,
                format!(
                    "a checkpoint of {:?}, not of {:?}",
                    checkpoint.origin(),
                    self.origin
                ),
            ));
        }
        match self.verifier.verify_note(note) {
            Ok(verified) => Signed::Good(Box::new(verified)),
            Err(Error::NoVerifiedSignature | Error::NoLogSignature) => {
                Signed::UnknownKey(Box::new(checkpoint))
            }
            Err(error) => Signed::Bad(Finding::failure(Class::Signature, error.to_string())),
        }
    }

    /// The log's second key, if one is known, must have cosigned.
    pub(crate) fn check_second(&self, checkpoint: &VerifiedCheckpoint) -> Option<Finding> {
        let missing = !self.policy.own.is_empty() && checkpoint.log_cosignatures().is_empty();
        missing.then(|| {
            Finding::failure(
                Class::Signature,
                "no cosignature of the log's own second key",
            )
        })
    }

    pub(crate) fn check_quorum(&self, checkpoint: &VerifiedCheckpoint) -> Option<Finding> {
        let cosigned = |key: &VerifierKey| {
            checkpoint
                .cosignatures()
                .iter()
                .any(|line| line.name == *key.name() && line.key_id == key.id())
        };
        (!self.policy.quorum_reached(cosigned)).then(|| {
            Finding::failure(
                Class::Signature,
                format!(
                    "{} of the witnesses cosigned: not those that the policy asks for",
                    checkpoint.cosignatures().len()
                ),
            )
        })
    }
}

fn verifier(policy: &Policy, origin: &str) -> Result<CheckpointVerifier, VerifyError> {
    let refused = |key: &VerifierKey, source| VerifyError::Key {
        text: key.to_string(),
        source,
    };
    let (first, others) = policy.log.split_first().ok_or(VerifyError::NoKey)?;
    let log = |key: &VerifierKey| Ed25519Verifier::new(key).map_err(|error| refused(key, error));
    let second =
        |key: &VerifierKey| CosignatureVerifier::new(key).map_err(|error| refused(key, error));
    let mut verifier = CheckpointVerifier::new(origin, log(first)?);
    for key in others {
        verifier = verifier.with_log_key(log(key)?);
    }
    for key in &policy.own {
        verifier = verifier.with_log_cosigner(second(key)?);
    }
    for (_, key) in &policy.witnesses {
        verifier = verifier.with_cosigner(second(key)?);
    }
    Ok(verifier)
}
