//! Verified checkpoints: a token that functions take which rely on a tree.

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::hash::Hash;
use crate::key::KeyType;
use crate::note::{Note, VerifiedSignature, Verifier};
use crate::retired::{self, RetiredKey};
use crate::tree::TreeHead;

/// The conditions for a [`VerifiedCheckpoint`]: an origin, the keys of its log, and those of
/// cosigners.
pub struct CheckpointVerifier {
    origin: String,
    log: Vec<Box<dyn Verifier>>,
    log_cosigners: Vec<Box<dyn Verifier>>,
    cosigners: Vec<Box<dyn Verifier>>,
    retired: Vec<RetiredKey>,
    quorum: usize,
}

impl CheckpointVerifier {
    /// Accepts checkpoints of this origin that a key of the log has signed. The methods below add
    /// further keys of the log (after a rotation) and cosigners.
    pub fn new(origin: impl Into<String>, log: impl Verifier + 'static) -> Self {
        Self {
            origin: origin.into(),
            log: vec![Box::new(log)],
            log_cosigners: Vec::new(),
            cosigners: Vec::new(),
            retired: Vec::new(),
            quorum: 0,
        }
    }

    /// Adds a key of the log: a signature of any one of the log's keys is enough.
    #[must_use]
    pub fn with_log_key(mut self, key: impl Verifier + 'static) -> Self {
        self.log.push(Box::new(key));
        self
    }

    /// Adds a key with which the log cosigns its own checkpoints, so that they have a time. It
    /// counts neither as the log's signature nor as a witness.
    #[must_use]
    pub fn with_log_cosigner(mut self, key: impl Verifier + 'static) -> Self {
        self.log_cosigners.push(Box::new(key));
        self
    }

    /// Adds a retired key of the log, of either kind: its lines count up to its hand-over. That
    /// holds also when the same key was added as one without a bound. The lowest of several bounds
    /// counts.
    ///
    /// # Errors
    /// [`Error::KeyType`], [`Error::KeyInvalid`] or [`Error::KeyWeak`] for an unusable key.
    pub fn with_retired(mut self, retired: &RetiredKey) -> Result<Self, Error> {
        let verifier = retired::verifier(retired.key())?;
        let keys = if retired.key().key_type() == KeyType::COSIGNATURE {
            &mut self.log_cosigners
        } else {
            &mut self.log
        };
        let (id, name) = (verifier.key_id(), verifier.name());
        if !keys
            .iter()
            .any(|known| known.key_id() == id && known.name() == name)
        {
            keys.push(verifier);
        }
        self.retired.push(retired.clone());
        Ok(self)
    }

    /// Adds a cosigner, that is a witness. Its lines are verified, and returned with their times.
    #[must_use]
    pub fn with_cosigner(mut self, key: impl Verifier + 'static) -> Self {
        self.cosigners.push(Box::new(key));
        self
    }

    /// The number of cosigners that must have signed; 0 by default. The log's own do not count.
    #[must_use]
    pub const fn with_quorum(mut self, cosigners: usize) -> Self {
        self.quorum = cosigners;
        self
    }

    /// The origin that it accepts.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads and verifies a signed checkpoint.
    ///
    /// # Errors
    /// Those of [`Note::parse`] and of [`verify_note`](Self::verify_note).
    pub fn verify(&self, bytes: &[u8]) -> Result<VerifiedCheckpoint, Error> {
        self.verify_note(Note::parse(bytes)?)
    }

    /// Verifies a signed checkpoint: first the signatures, then the text, then the origin.
    ///
    /// # Errors
    /// Those of [`Note::verify`], [`Error::NoLogSignature`] when only cosigners have signed, those
    /// of [`Checkpoint::parse`], [`Error::OriginMismatch`], [`Error::EmptyTreeRoot`],
    /// [`Error::KeyGivenUp`] when all the log's signatures are of keys that were retired before,
    /// [`Error::Quorum`].
    pub fn verify_note(&self, note: Note) -> Result<VerifiedCheckpoint, Error> {
        let keys: Vec<&dyn Verifier> = self.keys().collect();
        let signatures = note.verify(&keys)?;
        let of = |keys: &[Box<dyn Verifier>]| -> Vec<_> {
            let by_them = |signature: &&VerifiedSignature| is_by_any(signature, keys);
            signatures.iter().filter(by_them).cloned().collect()
        };
        let mut log_signatures = of(&self.log);
        let Some(first) = log_signatures.first().map(|line| line.key_id) else {
            return Err(Error::NoLogSignature);
        };
        let mut log_cosignatures = of(&self.log_cosigners);
        let cosignatures = of(&self.cosigners);
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != self.origin {
            return Err(Error::OriginMismatch {
                wanted: self.origin.clone(),
                found: crate::text::shortened(checkpoint.origin()),
            });
        }
        let head = checkpoint.head();
        head.check_empty_root()?;
        let passed = |line: &VerifiedSignature| self.bound_below(line, head).is_none();
        if let Some(until) = log_signatures
            .first()
            .and_then(|line| self.bound_below(line, head))
            && !log_signatures.iter().any(passed)
        {
            return Err(Error::KeyGivenUp {
                key_id: first,
                until: until.size,
                size: head.size,
            });
        }
        log_signatures.retain(passed);
        log_cosignatures.retain(passed);
        let cosigners = self
            .cosigners
            .iter()
            .filter(|key| cosignatures.iter().any(|line| is_by(line, &***key)))
            .count();
        if cosigners < self.quorum {
            return Err(Error::Quorum {
                wanted: self.quorum,
                found: cosigners,
            });
        }
        Ok(VerifiedCheckpoint {
            checkpoint,
            note,
            log_signatures,
            log_cosignatures,
            cosignatures,
        })
    }

    /// The lowest bound of this line's key, if the tree is beyond it.
    fn bound_below(&self, line: &VerifiedSignature, head: TreeHead) -> Option<TreeHead> {
        self.retired
            .iter()
            .filter(|retired| {
                let key = retired.key();
                line.key_id == key.id() && line.name == *key.name()
            })
            .filter(|retired| !retired.covers(head))
            .map(RetiredKey::until)
            .min_by_key(|until| until.size)
    }

    fn keys(&self) -> impl Iterator<Item = &dyn Verifier> {
        self.log
            .iter()
            .chain(&self.log_cosigners)
            .chain(&self.cosigners)
            .map(|key| &**key)
    }
}

impl std::fmt::Debug for CheckpointVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<_> = self
            .keys()
            .map(|key| format!("{}+{}", key.name(), key.key_id()))
            .collect();
        f.debug_struct("CheckpointVerifier")
            .field("origin", &self.origin)
            .field("keys", &keys)
            .field("quorum", &self.quorum)
            .finish()
    }
}

fn is_by_any(signature: &VerifiedSignature, keys: &[Box<dyn Verifier>]) -> bool {
    keys.iter().any(|key| is_by(signature, &**key))
}

fn is_by(signature: &VerifiedSignature, key: &dyn Verifier) -> bool {
    signature.key_id == key.key_id() && signature.name == *key.name()
}

/// A checkpoint whose origin and signatures were verified. Only a [`CheckpointVerifier`] can make
/// one, so its holder need not verify again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
    log_signatures: Vec<VerifiedSignature>,
    log_cosignatures: Vec<VerifiedSignature>,
    cosignatures: Vec<VerifiedSignature>,
}

impl VerifiedCheckpoint {
    /// The checkpoint.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        self.checkpoint.head()
    }

    /// The verified note, with all its lines, also those of unknown keys.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The log's verified signatures, at least one.
    #[must_use]
    pub fn log_signatures(&self) -> &[VerifiedSignature] {
        &self.log_signatures
    }

    /// The log's own verified cosignatures. They give the time of signing, as far as the log is
    /// trusted.
    #[must_use]
    pub fn log_cosignatures(&self) -> &[VerifiedSignature] {
        &self.log_cosignatures
    }

    /// The cosigners' verified signatures, in the order of the lines.
    #[must_use]
    pub fn cosignatures(&self) -> &[VerifiedSignature] {
        &self.cosignatures
    }

    /// Checks that the entry with this leaf hash is at `index`.
    ///
    /// # Errors
    /// Those of [`TreeHead::verify_inclusion`].
    pub fn verify_inclusion(&self, index: u64, leaf: &Hash, proof: &[Hash]) -> Result<(), Error> {
        self.head().verify_inclusion(index, leaf, proof)
    }

    /// Checks that this tree is `older` with entries appended.
    ///
    /// # Errors
    /// [`Error::OriginMismatch`] when they are of different logs, and those of
    /// [`TreeHead::verify_consistency`].
    pub fn verify_consistency(&self, older: &Self, proof: &[Hash]) -> Result<(), Error> {
        if self.checkpoint.origin() != older.checkpoint.origin() {
            return Err(Error::OriginMismatch {
                wanted: self.checkpoint.origin().to_owned(),
                found: older.checkpoint.origin().to_owned(),
            });
        }
        self.head().verify_consistency(&older.head(), proof)
    }
}
