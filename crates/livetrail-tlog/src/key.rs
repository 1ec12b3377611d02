//! Names and ids of keys, and verifier keys as text (signed-note, "Signatures" and "Verifier
//! keys").

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::text::{base64_decode, base64_encode, shortened};

/// The longest text of a key, with room for several kilobytes of a post-quantum key.
pub const MAX_KEY_TEXT_BYTES: usize = 16 * 1024;

/// The name in a signature line: not empty, without white space (as Unicode defines it), `+` and
/// control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// A checked name.
    ///
    /// # Errors
    /// [`Error::KeyName`].
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        let refused = |c: char| c.is_whitespace() || c == '+' || c < ' ';
        if name.is_empty() || name.contains(refused) {
            return Err(Error::KeyName {
                name: shortened(&name),
            });
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of signature a key makes: a byte in the key's text and in its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyType(pub u8);

impl KeyType {
    /// Ed25519 over the note's text.
    pub const ED25519: Self = Self(0x01);
    /// Timestamped Ed25519 cosignature of a checkpoint.
    pub const COSIGNATURE: Self = Self(0x04);
    /// ML-DSA-44 cosignature of a checkpoint. Not implemented here; implement
    /// [`Verifier`](crate::Verifier) for it.
    pub const ML_DSA_44: Self = Self(0x06);
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)
    }
}

/// The four bytes that, together with the name, identify the key of a signature. Not a strong hash:
/// it identifies, but proves nothing.
///
/// `Display` writes eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// `SHA-256(name || LF || type || public key)[:4]`.
    #[must_use]
    pub fn of(name: &KeyName, key_type: KeyType, public_key: &[u8]) -> Self {
        let mut sha = Sha256::new();
        sha.update(name.as_str());
        sha.update([b'\n', key_type.0]);
        sha.update(public_key);
        let [a, b, c, d, ..] = <[u8; 32]>::from(sha.finalize());
        Self([a, b, c, d])
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits
            .then(|| u32::from_str_radix(text, 16).ok())
            .flatten()
            .map(|id| Self(id.to_be_bytes()))
            .ok_or(Error::KeyIdText)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

/// A public key with its name: `<name>+<8 hex>+<base64(type || public key)>`.
///
/// It may be of any type; [`Ed25519Verifier`](crate::Ed25519Verifier) and
/// [`CosignatureVerifier`](crate::CosignatureVerifier) take those that they understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    key_type: KeyType,
    public_key: Vec<u8>,
}

impl VerifierKey {
    /// A key from its parts. The bytes are not checked here; the verifier for this type checks
    /// them.
    pub fn new(name: KeyName, key_type: KeyType, public_key: impl Into<Vec<u8>>) -> Self {
        Self {
            name,
            key_type,
            public_key: public_key.into(),
        }
    }

    /// The key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The kind of signatures that it verifies.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The key itself, without the type byte.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.name, self.key_type, &self.public_key)
    }

    /// The 32 bytes of an Ed25519 public key, if it is of this type.
    pub(crate) fn ed25519_bytes(&self, wanted: KeyType) -> Result<&[u8; 32], Error> {
        if self.key_type != wanted {
            return Err(Error::KeyType {
                wanted,
                found: self.key_type,
            });
        }
        self.public_key
            .as_slice()
            .try_into()
            .map_err(|_| Error::KeyLength {
                bytes: self.public_key.len(),
            })
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    /// # Errors [`Error::KeyTextTooLong`], [`Error::KeyText`], [`Error::KeyName`],
    /// [`Error::KeyIdText`], [`Error::Base64`], and [`Error::KeyIdMismatch`] when the id does not
    /// match name, type and key.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, id, mut key) = parse_key_text(text)?;
        if key.is_empty() {
            return Err(Error::KeyText);
        }
        let key_type = KeyType(key.remove(0));
        let parsed = Self::new(name, key_type, key);
        check_id(id, parsed.id())?;
        Ok(parsed)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.key_type.0];
        key.extend_from_slice(&self.public_key);
        write!(f, "{}+{}+{}", self.name, self.id(), base64_encode(&key))
    }
}

/// Splits `<name>+<8 hex>+<base64>`; the base64 may also contain a `+`.
pub(crate) fn parse_key_text(text: &str) -> Result<(KeyName, KeyId, Vec<u8>), Error> {
    if text.len() > MAX_KEY_TEXT_BYTES {
        return Err(Error::KeyTextTooLong { bytes: text.len() });
    }
    let (name, rest) = text.split_once('+').ok_or(Error::KeyText)?;
    let (id, key) = rest.split_once('+').ok_or(Error::KeyText)?;
    Ok((KeyName::new(name)?, KeyId::parse(id)?, base64_decode(key)?))
}

pub(crate) fn check_id(written: KeyId, computed: KeyId) -> Result<(), Error> {
    if written != computed {
        return Err(Error::KeyIdMismatch { written, computed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "example.com/audit+29b87bfc+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4";

    #[test]
    fn a_key_is_read_and_written() {
        let key: VerifierKey = LOG.parse().unwrap();
        assert_eq!(key.name().as_str(), "example.com/audit");
        assert_eq!(key.key_type(), KeyType::ED25519);
        assert_eq!(key.public_key().len(), 32);
        assert_eq!(key.id(), KeyId([0x29, 0xb8, 0x7b, 0xfc]));
        assert_eq!(key.to_string(), LOG);
    }

    #[test]
    fn the_type_space_is_open() {
        let name = KeyName::new("pq.example").unwrap();
        let key = VerifierKey::new(name, KeyType::ML_DSA_44, vec![7; 1312]);
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn each_violation_has_its_error() {
        let parse = |text: &str| text.parse::<VerifierKey>();
        assert_eq!(parse(""), Err(Error::KeyText));
        assert_eq!(parse("a+29b87bfc"), Err(Error::KeyText));
        assert_eq!(parse("a+29b87bfc+"), Err(Error::KeyText));
        assert_eq!(
            parse(&LOG.replace("29b87bfc", "29b87bfd")),
            Err(Error::KeyIdMismatch {
                written: KeyId([0x29, 0xb8, 0x7b, 0xfd]),
                computed: KeyId([0x29, 0xb8, 0x7b, 0xfc]),
            })
        );
        for id in ["29b87bf", "29b87bfcc", "+9b87bfc", "29b87bfg", ""] {
            assert_eq!(
                parse(&LOG.replace("29b87bfc", id)),
                Err(Error::KeyIdText),
                "{id:?}"
            );
        }
        assert_eq!(parse(&format!("{LOG}\n")), Err(Error::Base64));
        assert_eq!(
            parse(&LOG.replace("example", "exam ple")),
            Err(Error::KeyName {
                name: "exam ple.com/audit".to_owned()
            })
        );
        assert_eq!(
            parse(&"a".repeat(MAX_KEY_TEXT_BYTES + 1)),
            Err(Error::KeyTextTooLong {
                bytes: MAX_KEY_TEXT_BYTES + 1
            })
        );
    }

    #[test]
    fn names_without_space_plus_or_control() {
        for good in ["a", "example.com/audit", "é", "oid/1.2.3", "—"] {
            assert!(KeyName::new(good).is_ok(), "{good:?}");
        }
        for bad in [
            "",
            " ",
            "a b",
            "a+b",
            "a\n",
            "a\tb",
            "a\u{a0}b",
            "a\u{2003}b",
            "a\u{85}b",
            "a\u{1}b",
        ] {
            assert!(KeyName::new(bad).is_err(), "{bad:?}");
        }
    }
}
