//! Ed25519 keys: signatures of a note's text (type 0x01), and the code that cosignatures (0x04)
//! share.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::key::{KeyId, KeyName, KeyType, VerifierKey, check_id, parse_key_text};
use crate::note::{Signer, Verifier};
use crate::text::base64_encode;

/// The prefix of a signing key's text.
const PRIVATE: &str = "PRIVATE+KEY+";

/// Signs notes with Ed25519 (type 0x01).
///
/// `Debug` shows name and id, never the seed; dropping it wipes the seed.
pub struct Ed25519Signer(SecretKey);

impl Ed25519Signer {
    /// A signer from the 32 secret bytes of RFC 8032.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
        Self(SecretKey::new(name, KeyType::ED25519, seed))
    }

    /// Reads `PRIVATE+KEY+<name>+<8 hex>+<base64(0x01 || seed)>`, without an LF.
    ///
    /// # Errors
    /// As for a [`VerifierKey`], and [`Error::KeyType`], [`Error::KeyLength`]. No error contains
    /// any part of the secret.
    pub fn parse(text: &str) -> Result<Self, Error> {
        SecretKey::parse(text, KeyType::ED25519).map(Self)
    }

    /// The key as [`parse`](Self::parse) reads it. A secret: wiped when dropped.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        self.0.to_text()
    }

    /// The public key that verifies its signatures.
    #[must_use]
    pub fn verifier_key(&self) -> VerifierKey {
        self.0.verifier_key()
    }
}

impl Signer for Ed25519Signer {
    fn name(&self) -> &KeyName {
        self.0.name()
    }

    fn key_id(&self) -> KeyId {
        self.0.key_id()
    }

    fn sign(&self, text: &str) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(text.as_bytes()).to_vec())
    }
}

impl fmt::Debug for Ed25519Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("Ed25519Signer", f)
    }
}

/// Verifies notes signed with Ed25519 (type 0x01), strictly: it refuses a second encoding of a
/// signature or key, and keys of small order.
#[derive(Clone, Debug)]
pub struct Ed25519Verifier(PublicKey);

impl Ed25519Verifier {
    /// # Errors
    /// [`Error::KeyType`] when it is not of type 0x01, [`Error::KeyLength`], [`Error::KeyInvalid`],
    /// [`Error::KeyWeak`].
    pub fn new(key: &VerifierKey) -> Result<Self, Error> {
        PublicKey::new(key, KeyType::ED25519).map(Self)
    }
}

impl Verifier for Ed25519Verifier {
    fn name(&self) -> &KeyName {
        self.0.name()
    }

    fn key_id(&self) -> KeyId {
        self.0.key_id()
    }

    fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, Error> {
        self.0.verify(text.as_bytes(), signature)?;
        Ok(None)
    }
}

/// A secret key with its name and type.
pub(crate) struct SecretKey {
    name: KeyName,
    key_type: KeyType,
    key_id: KeyId,
    key: SigningKey,
}

impl SecretKey {
    pub(crate) fn new(name: KeyName, key_type: KeyType, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let key_id = KeyId::of(&name, key_type, key.verifying_key().as_bytes());
        Self {
            name,
            key_type,
            key_id,
            key,
        }
    }

    pub(crate) fn parse(text: &str, wanted: KeyType) -> Result<Self, Error> {
        let rest = text.strip_prefix(PRIVATE).ok_or(Error::KeyText)?;
        let (name, id, secret) = parse_key_text(rest)?;
        let secret = Zeroizing::new(secret);
        let (key_type, seed) = secret.split_first().ok_or(Error::KeyText)?;
        if KeyType(*key_type) != wanted {
            return Err(Error::KeyType {
                wanted,
                found: KeyType(*key_type),
            });
        }
        let seed = seed
            .try_into()
            .map_err(|_| Error::KeyLength { bytes: seed.len() })?;
        let key = Self::new(name, wanted, seed);
        check_id(id, key.key_id)?;
        Ok(key)
    }

    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        let mut secret = Zeroizing::new(Vec::with_capacity(33));
        secret.push(self.key_type.0);
        secret.extend_from_slice(self.key.as_bytes());
        let secret = Zeroizing::new(base64_encode(&secret));
        Zeroizing::new(format!(
            "{PRIVATE}{}+{}+{}",
            self.name,
            self.key_id,
            secret.as_str()
        ))
    }

    pub(crate) fn verifier_key(&self) -> VerifierKey {
        let public = self.key.verifying_key();
        VerifierKey::new(
            self.name.clone(),
            self.key_type,
            public.as_bytes().as_slice(),
        )
    }

    pub(crate) const fn name(&self) -> &KeyName {
        &self.name
    }

    pub(crate) const fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }

    pub(crate) fn fmt_as(&self, kind: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{kind}({}+{})", self.name, self.key_id)
    }
}

/// A public key that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct PublicKey {
    name: KeyName,
    key_id: KeyId,
    key: VerifyingKey,
}

impl PublicKey {
    pub(crate) fn new(key: &VerifierKey, wanted: KeyType) -> Result<Self, Error> {
        let bytes = key.ed25519_bytes(wanted)?;
        let point = VerifyingKey::from_bytes(bytes).map_err(|_| Error::KeyInvalid)?;
        // A coordinate that is not below the field's prime decodes, but has a second encoding.
        if point.to_edwards().compress().as_bytes() != bytes {
            return Err(Error::KeyInvalid);
        }
        if point.is_weak() {
            return Err(Error::KeyWeak);
        }
        Ok(Self {
            name: key.name().clone(),
            key_id: key.id(),
            key: point,
        })
    }

    pub(crate) const fn name(&self) -> &KeyName {
        &self.name
    }

    pub(crate) const fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let signature: &[u8; 64] = signature.try_into().map_err(|_| Error::SignatureLength {
            name: self.name.to_string(),
            bytes: signature.len(),
        })?;
        self.key
            .verify_strict(message, &Signature::from_bytes(signature))
            .map_err(|_| Error::SignatureInvalid {
                name: self.name.to_string(),
                key_id: self.key_id,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "PRIVATE+KEY+example.com/audit+29b87bfc+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";

    fn key(bytes: [u8; 32]) -> Result<Ed25519Verifier, Error> {
        let name = KeyName::new("k").unwrap();
        Ed25519Verifier::new(&VerifierKey::new(name, KeyType::ED25519, bytes))
    }

    #[test]
    fn a_signing_key_is_read_and_written_and_never_shown() {
        let signer = Ed25519Signer::parse(TEXT).unwrap();
        assert_eq!(signer.to_text().as_str(), TEXT);
        assert_eq!(
            signer.verifier_key().to_string(),
            "example.com/audit+29b87bfc+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
        );
        assert_eq!(
            format!("{signer:?}"),
            "Ed25519Signer(example.com/audit+29b87bfc)"
        );
    }

    #[test]
    fn a_signing_key_of_another_kind_or_length_is_refused() {
        let parse = |text: &str| Ed25519Signer::parse(text).map(|_| ());
        assert_eq!(
            parse("example.com/audit+29b87bfc+AQAB"),
            Err(Error::KeyText)
        );
        assert_eq!(
            parse("PRIVATE+KEY+a+29b87bfc+BAAB"),
            Err(Error::KeyType {
                wanted: KeyType::ED25519,
                found: KeyType::COSIGNATURE
            })
        );
        assert_eq!(
            parse("PRIVATE+KEY+a+29b87bfc+AQAB"),
            Err(Error::KeyLength { bytes: 2 })
        );
        assert!(matches!(
            parse(&TEXT.replace("29b8", "29b9")),
            Err(Error::KeyIdMismatch { .. })
        ));
    }

    #[test]
    fn keys_of_small_order_and_second_encodings_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(key(identity).unwrap_err(), Error::KeyWeak);
        assert_eq!(key([0; 32]).unwrap_err(), Error::KeyWeak);
        // y = p + 1, which is 1 again.
        let mut second = [0xff; 32];
        (second[0], second[31]) = (0xee, 0x7f);
        assert_eq!(key(second).unwrap_err(), Error::KeyInvalid);
        // y = p + 3: on the curve or not, it is not below p.
        second[0] = 0xf0;
        assert_eq!(key(second).unwrap_err(), Error::KeyInvalid);
        let mut off_curve = [0; 32];
        off_curve[0] = 2;
        assert_eq!(key(off_curve).unwrap_err(), Error::KeyInvalid);
    }

    #[test]
    fn a_signature_with_s_beyond_the_group_order_is_refused() {
        let signer = Ed25519Signer::parse(TEXT).unwrap();
        let verifier = Ed25519Verifier::new(&signer.verifier_key()).unwrap();
        let mut signature = signer.sign("text\n").unwrap();
        assert_eq!(verifier.verify("text\n", &signature), Ok(None));
        // S + L, little endian: the same scalar, another signature.
        let order = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + add + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert_eq!(carry, 0);
        assert!(matches!(
            verifier.verify("text\n", &signature),
            Err(Error::SignatureInvalid { .. })
        ));
    }

    #[test]
    fn a_signature_of_another_length_has_its_own_error() {
        let signer = Ed25519Signer::parse(TEXT).unwrap();
        let verifier = Ed25519Verifier::new(&signer.verifier_key()).unwrap();
        for bytes in [1, 63, 65, 72] {
            assert!(matches!(
                verifier.verify("text\n", &vec![0; bytes]),
                Err(Error::SignatureLength { bytes: found, .. }) if found == bytes
            ));
        }
    }
}
