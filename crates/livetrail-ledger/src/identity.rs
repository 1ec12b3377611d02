//! A log's identity: its origin, the signing key and the cosigning key; and key files.

use std::{fmt, io, sync::Arc};

use livetrail_tlog::{
    CheckpointVerifier, CosignatureSigner, CosignatureVerifier, Ed25519Signer, Ed25519Verifier,
    Error, KeyName, Note, RetiredKey, Signer, VerifiedCheckpoint, VerifierKey,
};
use zeroize::Zeroizing;

use crate::{error::LedgerError, store::read_key_file, store::write_key_file};

/// The 32 secret bytes of an Ed25519 key; wiped when dropped.
pub type Seed = Zeroizing<[u8; 32]>;

/// Cosigns checkpoints at a time that the ledger chooses. The key may be in a file, in a PKCS#11
/// token or in a key service.
///
/// ```
/// use std::sync::Arc;
/// use livetrail_ledger::{Cosigner, Identity, Ledger, MemStore, Reader, SharedStore};
/// use livetrail_tlog::{CosignatureSigner, Ed25519Signer, Error, KeyName, Note, VerifierKey};
///
/// /// Refuses times before a moment, such as those of a clock that was set back.
/// struct NotBefore {
///     key: CosignatureSigner,
///     unix_s: u64,
/// }
///
/// impl Cosigner for NotBefore {
///     fn verifier_key(&self) -> VerifierKey {
///         self.key.verifier_key()
///     }
///
///     fn cosign(&self, note: &mut Note, unix_s: u64) -> Result<(), Error> {
///         if unix_s < self.unix_s {
///             return Err(Error::Signer {
///                 name: "example.com/audit/cosigner".to_owned(),
///                 reason: "the clock was set back".to_owned(),
///             });
///         }
///         note.add_signature_of(&self.key.at(unix_s))
///     }
/// }
///
/// let signer = Ed25519Signer::from_seed(KeyName::new("example.com/audit")?, &[1; 32]);
/// let name = KeyName::new("example.com/audit/cosigner")?;
/// let key = CosignatureSigner::from_seed(name, &[2; 32]);
/// let cosigner = Arc::new(NotBefore { key, unix_s: 1_700_000_000 });
/// let signer_key = signer.verifier_key();
/// let identity =
///     Identity::with_signers("example.com/audit", Arc::new(signer), signer_key, cosigner)?;
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// Ledger::create(&store, &identity)?;
/// assert_eq!(Reader::open(store)?.checkpoint()?.log_cosignatures().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Cosigner: Send + Sync {
    /// The public key, of type 0x04.
    fn verifier_key(&self) -> VerifierKey;

    /// Adds the cosignature for this time, in seconds since 1970, to a checkpoint. The same note
    /// and time must give the same line.
    ///
    /// # Errors
    /// The reason why it cannot sign.
    fn cosign(&self, note: &mut Note, unix_s: u64) -> Result<(), Error>;
}

impl Cosigner for CosignatureSigner {
    fn verifier_key(&self) -> VerifierKey {
        Self::verifier_key(self)
    }

    fn cosign(&self, note: &mut Note, unix_s: u64) -> Result<(), Error> {
        note.add_signature_of(&self.at(unix_s))
    }
}

/// Origin and keys of a log.
#[derive(Clone)]
pub struct Identity {
    origin: String,
    signer: Arc<dyn Signer>,
    signer_key: VerifierKey,
    cosigner: Arc<dyn Cosigner>,
    cosigner_key: VerifierKey,
}

impl Identity {
    /// An identity from the origin, the key that signs checkpoints (0x01), and the second key,
    /// which cosigns them with the time (0x04).
    ///
    /// # Errors
    /// When the origin is invalid, or the keys are not of these types.
    pub fn new(
        origin: impl Into<String>,
        signer: Ed25519Signer,
        cosigner: CosignatureSigner,
    ) -> Result<Self, LedgerError> {
        let key = signer.verifier_key();
        Self::with_signers(origin, Arc::new(signer), key, Arc::new(cosigner))
    }

    /// The same with keys that are kept elsewhere. `signer_key` is the signer's public key.
    /// Signatures must be deterministic, like Ed25519's: after a crash the same checkpoint is
    /// signed again.
    ///
    /// # Errors
    /// When the origin is invalid, or the keys are not of these types.
    pub fn with_signers(
        origin: impl Into<String>,
        signer: Arc<dyn Signer>,
        signer_key: VerifierKey,
        cosigner: Arc<dyn Cosigner>,
    ) -> Result<Self, LedgerError> {
        let cosigner_key = cosigner.verifier_key();
        let identity = Self {
            origin: origin.into(),
            signer,
            signer_key,
            cosigner,
            cosigner_key,
        };
        livetrail_tlog::Checkpoint::new(identity.origin.as_str(), livetrail_tlog::TreeHead::EMPTY)?;
        identity.verifier()?;
        Ok(identity)
    }

    /// The same with both keys from their seeds. The first key is named as the origin, the second
    /// `<origin>/cosigner`.
    ///
    /// # Errors
    /// When the origin cannot be the name of a key.
    pub fn from_seeds(
        origin: impl Into<String>,
        signer: &Seed,
        cosigner: &Seed,
    ) -> Result<Self, LedgerError> {
        let origin = origin.into();
        let name = KeyName::new(origin.as_str())?;
        let second = KeyName::new(format!("{origin}/cosigner"))?;
        Self::new(
            origin,
            Ed25519Signer::from_seed(name, signer),
            CosignatureSigner::from_seed(second, cosigner),
        )
    }

    /// The log's name in its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The public key for the signatures.
    #[must_use]
    pub const fn signer_key(&self) -> &VerifierKey {
        &self.signer_key
    }

    /// The public key for the self-cosignatures.
    #[must_use]
    pub const fn cosigner_key(&self) -> &VerifierKey {
        &self.cosigner_key
    }

    /// The verifier for this log's checkpoints, with both signatures.
    pub(crate) fn verifier(&self) -> Result<OwnVerifier, LedgerError> {
        OwnVerifier::new(&self.origin, &self.signer_key, &self.cosigner_key)
    }

    /// Signs and cosigns a checkpoint's text. The same text and time give the same bytes.
    pub(crate) fn sign(&self, text: &str, unix_s: u64) -> Result<Note, Error> {
        let mut note = Note::sign(text, &[self.signer.as_ref()])?;
        self.cosigner.cosign(&mut note, unix_s)?;
        Ok(note)
    }
}

/// Verifies a log's own checkpoints: signed with its key, and cosigned with its second one.
#[derive(Debug)]
pub(crate) struct OwnVerifier(CheckpointVerifier);

impl OwnVerifier {
    pub(crate) fn new(
        origin: &str,
        signer: &VerifierKey,
        cosigner: &VerifierKey,
    ) -> Result<Self, LedgerError> {
        Self::with_retired(origin, signer, cosigner, &[])
    }

    /// The same, also with retired keys: each counts up to its hand-over.
    pub(crate) fn with_retired(
        origin: &str,
        signer: &VerifierKey,
        cosigner: &VerifierKey,
        retired: &[RetiredKey],
    ) -> Result<Self, LedgerError> {
        let signer = Ed25519Verifier::new(signer)?;
        let cosigner = CosignatureVerifier::new(cosigner)?;
        let mut verifier = CheckpointVerifier::new(origin, signer).with_log_cosigner(cosigner);
        for key in retired {
            verifier = verifier.with_retired(key)?;
        }
        Ok(Self(verifier))
    }

    pub(crate) fn verify(&self, bytes: &[u8]) -> Result<VerifiedCheckpoint, Error> {
        self.verify_note(Note::parse(bytes)?)
    }

    pub(crate) fn verify_note(&self, note: Note) -> Result<VerifiedCheckpoint, Error> {
        let verified = self.0.verify_note(note)?;
        if verified.log_cosignatures().is_empty() {
            return Err(Error::Quorum {
                wanted: 1,
                found: 0,
            });
        }
        Ok(verified)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("origin", &self.origin)
            .field("signer", &self.signer_key.to_string())
            .field("cosigner", &self.cosigner_key.to_string())
            .finish_non_exhaustive()
    }
}

/// A new secret from the operating system's source of randomness.
///
/// # Errors
/// When the system has no randomness.
pub fn generate_seed() -> Result<Seed, LedgerError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut())
        .map_err(|error| LedgerError::io("get randomness for", "a key", io::Error::other(error)))?;
    Ok(seed)
}

/// Writes a secret to a new file that only its owner may read (0600): one line of 64 hexadecimal
/// digits; synced, with its directory.
///
/// # Errors
/// When the file exists already: a key is never overwritten. Or an error of the system.
pub fn write_seed(path: &std::path::Path, seed: &Seed) -> Result<(), LedgerError> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in seed.iter() {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    write_key_file(path, text.as_bytes())
}

/// Reads a secret that [`write_seed`] wrote.
///
/// # Errors
/// [`LedgerError::KeyMode`] when others than the owner may read or write the file,
/// [`LedgerError::KeyMissing`], [`LedgerError::KeyFile`], or an error of the system.
pub fn read_seed(path: &std::path::Path) -> Result<Seed, LedgerError> {
    let bytes = Zeroizing::new(read_key_file(path)?);
    let not_one = || LedgerError::KeyFile {
        path: path.display().to_string(),
    };
    let text = str::from_utf8(&bytes).map_err(|_| not_one())?;
    let (digits, _) = text.trim_end().as_bytes().as_chunks::<2>();
    let mut seed = Zeroizing::new([0; 32]);
    if text.trim_end().len() != 64 {
        return Err(not_one());
    }
    for (byte, digits) in seed.iter_mut().zip(digits) {
        let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
        let (high, low) = high.zip(low).ok_or_else(not_one)?;
        *byte = u8::try_from(high << 4 | low).unwrap_or_default();
    }
    Ok(seed)
}
