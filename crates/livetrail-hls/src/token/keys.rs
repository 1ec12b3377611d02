//! The keys that seal tokens: the first one seals, all of them open.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce, aead::AeadInOut as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Claims, Kind, MAX_TOKEN_LEN, SealError, TokenError, layout};

const VERSION: u8 = 1;

/// The maximum number of keys.
const MAX_KEYS: usize = 8;

/// The maximum length of a file of keys in bytes.
const MAX_TEXT: usize = 4_096;

/// Eight digits that name a key and tell nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key that seals tokens: 32 secret random bytes. `Debug` shows its id alone.
#[derive(Clone)]
pub struct Key {
    secret: Zeroizing<[u8; 32]>,
    created_unix_s: u64,
    id: KeyId,
    nonces: Zeroizing<[u8; 32]>,
    cipher: XChaCha20Poly1305,
}

impl Key {
    /// A key from secret random bytes, made at a time in seconds since 1970 (UTC).
    #[must_use]
    pub fn new(secret: [u8; 32], created_unix_s: u64) -> Self {
        let secret = Zeroizing::new(secret);
        let id = derive(&secret, b"livetrail hls token 1 id");
        let [a, b, c, d, ..] = *id;
        Self {
            id: KeyId([a, b, c, d]),
            nonces: derive(&secret, b"livetrail hls token 1 nonce"),
            cipher: XChaCha20Poly1305::new(
                &(*derive(&secret, b"livetrail hls token 1 seal")).into(),
            ),
            secret,
            created_unix_s,
        }
    }

    /// The key's id, which each token that it seals begins with.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// When it was made, in seconds since 1970 (UTC).
    #[must_use]
    pub fn created_unix_s(&self) -> u64 {
        self.created_unix_s
    }

    fn about(&self) -> [u8; 5] {
        let KeyId([a, b, c, d]) = self.id;
        [VERSION, a, b, c, d]
    }

    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mac = mac(&self.nonces, plain);
        let nonce = mac.first_chunk::<24>().ok_or(SealError::Cipher)?;
        let about = self.about();
        let mut sealed = Vec::with_capacity(MAX_TOKEN_LEN);
        sealed.extend_from_slice(plain);
        self.cipher
            .encrypt_in_place(&XNonce::from(*nonce), &about, &mut sealed)
            .map_err(|_| SealError::Cipher)?;
        sealed.splice(0..0, about.into_iter().chain(*nonce));
        Ok(sealed)
    }

    fn open(&self, nonce: &[u8; 24], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(sealed.to_vec());
        self.cipher
            .decrypt_in_place(&XNonce::from(*nonce), &self.about(), &mut *bytes)
            .ok()?;
        Some(bytes)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// HMAC-SHA-256.
fn mac(key: &[u8; 32], message: &[u8]) -> Zeroizing<[u8; 32]> {
    // A key of HMAC is padded with zeros to the block of its hash (RFC 2104 section 2).
    let mut block = Zeroizing::new([0; 64]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

fn derive(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    mac(secret, purpose)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a set of keys is invalid. No error contains any of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// There is no key.
    #[error("there is no key")]
    None,
    /// There are more than eight.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
    /// The text is longer than 4 KiB.
    #[error("the text has more than {MAX_TEXT} bytes")]
    TooLong,
    /// A line is neither empty, nor a comment, nor a key.
    #[error("line {line}: expected seconds since 1970, a space, and 64 hexadecimal digits")]
    Line {
        /// The line, counted from one.
        line: usize,
    },
    /// A key is there twice.
    #[error("line {line}: the key is there twice")]
    Twice {
        /// The line of the second one, counted from one.
        line: usize,
    },
}

/// One to eight keys. The first one seals, all of them open: so a key is replaced without a viewer
/// who notices it.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// These keys. The first one seals.
    ///
    /// # Errors
    /// [`KeysError`]: no key, more than eight, or the same one twice.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeysError> {
        if keys.is_empty() {
            return Err(KeysError::None);
        }
        if keys.len() > MAX_KEYS {
            return Err(KeysError::TooMany);
        }
        for (at, key) in keys.iter().enumerate() {
            if keys.iter().take(at).any(|other| other.id == key.id) {
                let line = at.saturating_add(1);
                return Err(KeysError::Twice { line });
            }
        }
        Ok(Self(keys))
    }

    /// Reads the text of a file of keys: a line for each, with the time when it was made (seconds
    /// since 1970) and 64 hexadecimal digits. Lines that begin with `#` are comments.
    ///
    /// # Errors
    /// [`KeysError`] with the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, KeysError> {
        if text.len() > MAX_TEXT {
            return Err(KeysError::TooLong);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (at, text) in text.lines().enumerate() {
            let line = at.saturating_add(1);
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key = parse_key(text).ok_or(KeysError::Line { line })?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeysError::Twice { line });
            }
            keys.push(key);
        }
        Self::new(keys)
    }

    /// The text that [`parse`](Self::parse) reads. It is secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // A line has at most 86 bytes; the text is wiped, so it never moves.
        let mut text = Zeroizing::new(String::with_capacity(MAX_TEXT));
        text.push_str("# Keys that seal the tokens of viewers. The first one seals, all open.\n");
        for key in &self.0 {
            text.push_str(&key.created_unix_s.to_string());
            text.push(' ');
            for byte in key.secret.iter() {
                for digit in [byte >> 4, byte & 15] {
                    text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
                }
            }
            text.push('\n');
        }
        text
    }

    /// The keys with a new one in front, which seals from now on. The oldest ones beyond eight are
    /// dropped.
    #[must_use]
    pub fn rotated(&self, key: Key) -> Self {
        let others = self.0.iter().filter(|other| other.id != key.id).cloned();
        let others: Vec<Key> = others.take(MAX_KEYS - 1).collect();
        Self([vec![key], others].concat())
    }

    /// The keys without those behind the first one that seal nothing any more: their successor was
    /// made more than `lifetime_s` seconds ago, and no token lives longer than that.
    #[must_use]
    pub fn without_expired(&self, now_unix_s: u64, lifetime_s: u64) -> Self {
        let mut kept: Vec<Key> = Vec::new();
        for key in &self.0 {
            let successor = kept.last().map(|newer| newer.created_unix_s);
            let over = |made: u64| made.saturating_add(lifetime_s) < now_unix_s;
            if successor.is_some_and(over) {
                break;
            }
            kept.push(key.clone());
        }
        Self(kept)
    }

    /// The key that seals.
    #[must_use]
    pub fn sealing(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The keys' ids, the one that seals first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.0.iter().map(Key::id)
    }

    /// Seals claims. The token has at most [`MAX_TOKEN_LEN`] characters, all of which may be in a
    /// URL's path: letters, digits, `-` and `_`. Equal claims give equal tokens, so an id must not
    /// be used twice.
    ///
    /// # Errors
    /// [`SealError`]: the principal or the node's name is too long.
    pub fn seal(&self, kind: Kind, claims: &Claims) -> Result<String, SealError> {
        let key = self.sealing().ok_or(SealError::Cipher)?;
        let plain = layout::write(kind, claims)?;
        Ok(URL_SAFE_NO_PAD.encode(key.seal(&plain)?))
    }

    /// Opens a token of a kind for a stream. `now_unix_ms` is the time, in milliseconds since 1970
    /// (UTC).
    ///
    /// # Errors
    /// [`TokenError`] with the reason. A token whose only fault is that it has expired gives
    /// [`Expired`](TokenError::Expired).
    pub fn open(
        &self,
        kind: Kind,
        token: &str,
        application: &str,
        stream: &str,
        now_unix_ms: u64,
    ) -> Result<Claims, TokenError> {
        if !layout::is_length(token.len()) {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| TokenError::Malformed)?;
        let ([version, id @ ..], rest) = bytes
            .split_first_chunk::<5>()
            .ok_or(TokenError::Malformed)?;
        if *version != VERSION {
            return Err(TokenError::Version { version: *version });
        }
        let id = KeyId(*id);
        let key = self.0.iter().find(|key| key.id == id);
        let key = key.ok_or(TokenError::UnknownKey { key: id })?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(TokenError::Malformed)?;
        let plain = key.open(nonce, sealed).ok_or(TokenError::Forged)?;
        layout::read(kind, &plain, application, stream, now_unix_ms)
    }
}

fn parse_key(text: &str) -> Option<Key> {
    let (created, digits) = text.split_once(' ')?;
    let mut secret = Zeroizing::new([0u8; 32]);
    if digits.len() != 64 || !created.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|n| u8::try_from(n).ok())
        };
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(Key::new(*secret, created.parse().ok()?))
}
