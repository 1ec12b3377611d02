//! The decision whether a signed checkpoint is trusted.

pub(crate) mod key_file;
pub(crate) mod policy;

use std::collections::{BTreeMap, BTreeSet};

use livetrail_tlog::{
    Checkpoint, CheckpointVerifier, CosignatureVerifier, Ed25519Verifier, Error, KeyId, Note,
    RetiredKey, TreeHead, VerifiedCheckpoint, VerifierKey,
};

use crate::error::VerifyError;
use crate::finding::{Class, Finding};
use crate::trust::policy::Policy;

/// The trusted keys at this point of the check. Rotations on record in the trail add keys.
pub(crate) struct Trust {
    policy: Policy,
    origin: String,
    /// The tree under which a key was retired: it counts for that one and smaller ones. The lowest
    /// one seen.
    bounds: BTreeMap<KeyId, TreeHead>,
    /// Retired keys whose tree is not known yet.
    unbounded: BTreeSet<KeyId>,
    /// Keys that were retired at their bound or before: no hand-over states the size.
    loose: BTreeSet<KeyId>,
    verifier: CheckpointVerifier,
}

/// The result of checking a signed checkpoint.
pub(crate) enum Signed {
    /// Signed by a trusted key.
    Good(Box<VerifiedCheckpoint>),
    /// Well formed, of this origin, without a line of a trusted key: a later rotation may still
    /// vouch for one.
    UnknownKey(Box<Checkpoint>),
    /// The only trusted keys that have signed were retired before.
    GivenUp(Box<Checkpoint>, GivenUp),
    /// Not trusted.
    Bad(Finding),
}

/// A key that was retired before a tree had the size in question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GivenUp {
    key: KeyId,
    /// The size of the tree under which it was retired, if known.
    until: Option<u64>,
}

impl GivenUp {
    /// Whether that size is known.
    pub(crate) const fn is_certain(&self) -> bool {
        self.until.is_some()
    }
}

impl std::fmt::Display for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = self.key;
        match self.until {
            Some(until) => write!(
                f,
                "signed only with the key {key}, which was given up at {until} entries: anyone with its secret can sign a larger tree, and only \
                 its successor counts there"
            ),
            None => write!(
                f,
                "signed only with the key {key}, which was given up, and nothing here says at how many entries: give the file trail.retired with --vkey"
            ),
        }
    }
}

impl Trust {
    pub(crate) fn new(policy: Policy, origin: String) -> Result<Self, VerifyError> {
        let mut bounds: BTreeMap<KeyId, TreeHead> = BTreeMap::new();
        for retired in &policy.retired {
            lower(&mut bounds, retired.key().id(), retired.until());
        }
        let given_up = policy.given_up.iter().map(VerifierKey::id);
        let unbounded = given_up.filter(|key| !bounds.contains_key(key)).collect();
        let verifier = verifier(&policy, &origin, &bounds)?;
        Ok(Self {
            policy,
            origin,
            bounds,
            unbounded,
            loose: BTreeSet::new(),
            verifier,
        })
    }

    /// Records that a key was retired under this tree, as a trusted checkpoint shows, or somewhere
    /// below it if it is not the hand-over. The lowest bound counts.
    pub(crate) fn bound(&mut self, key: KeyId, head: TreeHead, is_hand_over: bool) {
        self.unbounded.remove(&key);
        if is_hand_over {
            self.loose.remove(&key);
        } else if !self.bounds.contains_key(&key) {
            self.loose.insert(key);
        }
        if !lower(&mut self.bounds, key, head) {
            return;
        }
        // A key that is not known yet gets its bound when it is added.
        if let Ok(verifier) = verifier(&self.policy, &self.origin, &self.bounds) {
            self.verifier = verifier;
        }
    }

    /// Whether the keys that signed this may have been retired before.
    pub(crate) fn is_in_doubt(&self, checkpoint: &VerifiedCheckpoint) -> bool {
        let mut lines = checkpoint.log_signatures().iter();
        lines.all(|line| self.loose.contains(&line.key_id))
    }

    /// Known retired keys, each with its bound.
    pub(crate) fn retired(&self) -> impl Iterator<Item = RetiredKey> {
        let known = self.policy.log.iter().chain(&self.policy.own);
        known.filter_map(|key| {
            let until = self.bounds.get(&key.id())?;
            Some(RetiredKey::new(key.clone(), *until))
        })
    }

    /// The size of the tree under which this key was retired, if known.
    pub(crate) fn bound_of(&self, key: KeyId) -> Option<u64> {
        self.bounds.get(&key).map(|head| head.size)
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Adds a key of the log that a record under a trusted checkpoint vouches for. Returns `false`
    /// for a key of another type.
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
        match verifier(&policy, &self.origin, &self.bounds) {
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
            Ok(verified) => match self.unbounded_alone(&verified) {
                Some(given_up) => Signed::GivenUp(Box::new(checkpoint), given_up),
                None => Signed::Good(Box::new(verified)),
            },
            Err(Error::KeyGivenUp { key_id, until, .. }) => {
                let until = Some(until);
                Signed::GivenUp(Box::new(checkpoint), GivenUp { key: key_id, until })
            }
            Err(Error::NoVerifiedSignature | Error::NoLogSignature) => {
                Signed::UnknownKey(Box::new(checkpoint))
            }
            Err(error) => Signed::Bad(Finding::failure(Class::Signature, error.to_string())),
        }
    }

    /// The log's second key, if one is known, must have cosigned.
    pub(crate) fn check_second(&self, checkpoint: &VerifiedCheckpoint) -> Option<Finding> {
        let counts = |key: &VerifierKey| {
            let bound = self.bounds.get(&key.id());
            bound.is_none_or(|until| RetiredKey::new(key.clone(), *until).covers(checkpoint.head()))
        };
        let missing =
            checkpoint.log_cosignatures().is_empty() && self.policy.own.iter().any(counts);
        missing.then(|| {
            Finding::failure(
                Class::Signature,
                "no cosignature of the log's own second key",
            )
        })
    }

    /// The key, if all signing keys were retired and nothing states under which tree.
    fn unbounded_alone(&self, checkpoint: &VerifiedCheckpoint) -> Option<GivenUp> {
        let mut lines = checkpoint.log_signatures().iter();
        let all = lines
            .clone()
            .all(|line| self.unbounded.contains(&line.key_id));
        let key = lines.next().filter(|_| all)?.key_id;
        Some(GivenUp { key, until: None })
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
                    "{} of the witnesses cosigned, but not those that the policy requires",
                    checkpoint.cosignatures().len()
                ),
            )
        })
    }
}

/// Keeps the lower of two bounds. Returns `false` when nothing has changed.
fn lower(bounds: &mut BTreeMap<KeyId, TreeHead>, key: KeyId, head: TreeHead) -> bool {
    if bounds
        .get(&key)
        .is_some_and(|known| known.size <= head.size)
    {
        return false;
    }
    bounds.insert(key, head);
    true
}

fn verifier(
    policy: &Policy,
    origin: &str,
    bounds: &BTreeMap<KeyId, TreeHead>,
) -> Result<CheckpointVerifier, VerifyError> {
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
    for key in policy.log.iter().chain(&policy.own) {
        if let Some(until) = bounds.get(&key.id()) {
            verifier = verifier
                .with_retired(&RetiredKey::new(key.clone(), *until))
                .map_err(|error| refused(key, error))?;
        }
    }
    Ok(verifier)
}
