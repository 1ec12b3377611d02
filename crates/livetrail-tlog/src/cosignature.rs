//! Timestamped cosignatures of checkpoints, type 0x04 (tlog-cosignature).
//!
//! ```text
//! signature in the line:  time u64 BE, seconds since 1970 │ Ed25519 signature, 64 bytes
//! what Ed25519 signs:     "cosignature/v1" LF "time <seconds>" LF <checkpoint's text>
//! ```

use std::fmt;

use zeroize::Zeroizing;

use crate::checkpoint::Checkpoint;
use crate::ed25519::{PublicKey, SecretKey};
use crate::error::Error;
use crate::key::{KeyId, KeyName, KeyType, VerifierKey};
use crate::note::{Signer, Verifier};

/// The largest time that a cosignature may have, in seconds since 1970: 2^63 - 1.
pub const MAX_TIMESTAMP_S: u64 = i64::MAX.unsigned_abs();

/// The bytes that Ed25519 signs in a cosignature, for signers whose key is elsewhere. `text` is the
/// checkpoint's.
///
/// # Errors
/// [`Error::CosignatureTime`] beyond [`MAX_TIMESTAMP_S`].
pub fn cosignature_message(timestamp_s: u64, text: &str) -> Result<Vec<u8>, Error> {
    if timestamp_s > MAX_TIMESTAMP_S {
        return Err(Error::CosignatureTime { timestamp_s });
    }
    Ok(format!("cosignature/v1\ntime {timestamp_s}\n{text}").into_bytes())
}

/// The signature in a cosignature's line, from its time and the 64 bytes of Ed25519's signature of
/// [`cosignature_message`].
#[must_use]
pub fn cosignature_blob(timestamp_s: u64, signature: &[u8; 64]) -> Vec<u8> {
    let mut blob = timestamp_s.to_be_bytes().to_vec();
    blob.extend_from_slice(signature);
    blob
}

/// The time in a cosignature, in seconds since 1970. Trust it only after the cosignature is
/// verified.
///
/// # Errors
/// [`Error::CosignatureLength`], [`Error::CosignatureTime`].
pub fn cosignature_timestamp_s(blob: &[u8]) -> Result<u64, Error> {
    split(blob).map(|(timestamp_s, _)| timestamp_s)
}

fn split(blob: &[u8]) -> Result<(u64, &[u8]), Error> {
    let (time, signature) = blob
        .split_first_chunk()
        .filter(|(_, signature)| signature.len() == 64)
        .ok_or(Error::CosignatureLength { bytes: blob.len() })?;
    let timestamp_s = u64::from_be_bytes(*time);
    if timestamp_s > MAX_TIMESTAMP_S {
        return Err(Error::CosignatureTime { timestamp_s });
    }
    Ok((timestamp_s, signature))
}

/// Cosigns checkpoints. The caller supplies the time: [`at`](Self::at) gives a [`Signer`] for one
/// moment.
///
/// `Debug` shows name and id, never the seed; dropping it wipes the seed. One Ed25519 key must not
/// cosign under two names, because the signed bytes do not include the name.
pub struct CosignatureSigner(SecretKey);

impl CosignatureSigner {
    /// A cosigner from the 32 secret bytes of RFC 8032.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        Self(SecretKey::new(name, KeyType::COSIGNATURE, seed))
    }

    /// Reads `PRIVATE+KEY+<name>+<8 hex>+<base64(0x04 || seed)>`, without an LF.
    ///
    /// # Errors
    /// As for a [`VerifierKey`], and [`Error::KeyType`], [`Error::KeyLength`]. No error contains
    /// any part of the secret.
    pub fn parse(text: &str) -> Result<Self, Error> {
        SecretKey::parse(text, KeyType::COSIGNATURE).map(Self)
    }

    /// The key as [`parse`](Self::parse) reads it. A secret: wiped when dropped.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text()
    }

    /// The public key that verifies its cosignatures.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        self.0.verifier_key()
    }

    /// The signer for one moment, in seconds since 1970.
    #[must_use]
    pub const fn at(&self, timestamp_s: u64) -> TimedCosigner<'_> {
        TimedCosigner {
            key: &self.0,
            timestamp_s,
        }
    }
}

impl fmt::Debug for CosignatureSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("CosignatureSigner", f)
    }
}

/// A cosigner at one moment.
pub struct TimedCosigner<'a> {
    key: &'a SecretKey,
    timestamp_s: u64,
}

impl Signer for TimedCosigner<'_> {
    fn name(&self) -> &KeyName {
        self.key.name()
    }

    fn key_id(&self) -> KeyId {
        self.key.key_id()
    }

    /// # Errors
    /// Those of [`Checkpoint::parse`], because only checkpoints are cosigned;
    /// [`Error::CosignatureTime`].
    fn sign(&self, text: &str) -> Result<Vec<u8>, Error> {
        Checkpoint::parse(text)?;
        let message = cosignature_message(self.timestamp_s, text)?;
        Ok(cosignature_blob(self.timestamp_s, &self.key.sign(&message)))
    }
}

impl fmt::Debug for TimedCosigner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt_as("TimedCosigner", f)?;
        write!(f, " at {}", self.timestamp_s)
    }
}

/// Verifies cosignatures of type 0x04, strictly, and returns their time. The caller decides whether
/// that time is plausible.
#[derive(Clone, Debug)]
pub struct CosignatureVerifier(PublicKey);

impl CosignatureVerifier {
    /// # Errors
    /// [`Error::KeyType`] when it is not of type 0x04, [`Error::KeyLength`], [`Error::KeyInvalid`],
    /// [`Error::KeyWeak`].
    pub fn new(key: &VerifierKey) -> Result<Self, Error> {
        PublicKey::new(key, KeyType::COSIGNATURE).map(Self)
    }
}

impl Verifier for CosignatureVerifier {
    fn name(&self) -> &KeyName {
        self.0.name()
    }

    fn key_id(&self) -> KeyId {
        self.0.key_id()
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
        let (timestamp_s, signature) = split(signature)?;
        let message = cosignature_message(timestamp_s, text)?;
        self.0.verify(&message, signature)?;
        Ok(Some(timestamp_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreeHead;

    fn text() -> String {
        Checkpoint::new("log.example", TreeHead::EMPTY)
            .unwrap()
            .encode()
    }

    fn cosigner() -> CosignatureSigner {
        CosignatureSigner::from_seed(KeyName::new("w.example").unwrap(), &[7; 32])
    }

    #[test]
    fn a_cosignature_verifies_and_has_its_time() {
        let verifier = CosignatureVerifier::new(&cosigner().verifier_key()).unwrap();
        for time in [0, 1, 1_700_000_000, MAX_TIMESTAMP_S] {
            let blob = cosigner().at(time).sign(&text()).unwrap();
            assert_eq!(blob.len(), 72);
            assert_eq!(cosignature_timestamp_s(&blob), Ok(time));
            assert_eq!(verifier.verify(&text(), &blob), Ok(Some(time)));
            let mut later = blob;
            later[7] ^= 1;
            assert!(matches!(
                verifier.verify(&text(), &later),
                Err(Error::SignatureInvalid { .. })
            ));
        }
    }

    #[test]
    fn a_time_beyond_the_bound_is_neither_made_nor_read() {
        let timestamp_s = MAX_TIMESTAMP_S + 1;
        let error = Error::CosignatureTime { timestamp_s };
        assert_eq!(cosigner().at(timestamp_s).sign(&text()), Err(error.clone()));
        let mut blob = timestamp_s.to_be_bytes().to_vec();
        blob.extend([0; 64]);
        let verifier = CosignatureVerifier::new(&cosigner().verifier_key()).unwrap();
        assert_eq!(verifier.verify(&text(), &blob), Err(error));
    }

    #[test]
    fn nothing_but_a_checkpoint_is_cosigned() {
        assert_eq!(
            cosigner().at(1).sign("any text\n"),
            Err(Error::CheckpointLines)
        );
    }

    #[test]
    fn a_cosignature_of_another_length_has_its_own_error() {
        let verifier = CosignatureVerifier::new(&cosigner().verifier_key()).unwrap();
        for bytes in [0, 7, 8, 64, 71, 73] {
            assert_eq!(
                verifier.verify(&text(), &vec![0; bytes]),
                Err(Error::CosignatureLength { bytes })
            );
        }
    }

    #[test]
    fn the_two_types_of_key_do_not_stand_for_each_other() {
        let key = cosigner().verifier_key();
        assert_eq!(
            crate::Ed25519Verifier::new(&key).unwrap_err(),
            Error::KeyType {
                wanted: KeyType::ED25519,
                found: KeyType::COSIGNATURE
            }
        );
        let text = cosigner().to_text();
        assert_eq!(
            CosignatureSigner::parse(&text).unwrap().to_text(),
            cosigner().to_text()
        );
        assert_eq!(
            format!("{:?}", cosigner().at(3)),
            format!("TimedCosigner(w.example+{}) at 3", key.id())
        );
    }
}
