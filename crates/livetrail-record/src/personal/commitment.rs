//! The two-level commitment to personal fields.
//!
//! ```text
//! salt of a field    s = SHA-256("livetrail salt 1\0" || salt || name), its first 16 bytes
//! digest of a field  d = SHA-256("livetrail field 1\0" || s || u8 length of name || name || value)
//! commitment             SHA-256("livetrail personal 1\0" || session
//!                                || for each field in order of name: u8 length of name || name || d)
//! ```
//!
//! `salt` and `session` have 16 bytes each. The salt is secret, and hides the values from guesses.
//! SHA-256 binds: no other fields have the same commitment. The session is part of the hash, so
//! that nobody can present the opening of one session as that of another.
//!
//! A field is disclosed with its value, its own salt and the digests of the other fields. From
//! these anyone computes the commitment. They say nothing about the other values, because each
//! field has a salt of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::opening::MAX_FIELD_NAME_BYTES;

const SALT_DOMAIN: &[u8] = b"livetrail salt 1\0";
const FIELD_DOMAIN: &[u8] = b"livetrail field 1\0";
const PERSONAL_DOMAIN: &[u8] = b"livetrail personal 1\0";

/// Most bytes of what stands before a value in its hash: domain, salt, and name with its length.
const MAX_PREFIX_BYTES: usize = 18 + 16 + 1 + MAX_FIELD_NAME_BYTES;

/// The salt of one field.
pub(super) fn salt_of(salt: &[u8; 16], name: &str) -> [u8; 16] {
    let message = Prefix::of(&[SALT_DOMAIN, salt, name.as_bytes()]);
    first_half(&Sha256::digest(message.bytes()).into())
}

/// The digest of one field.
pub(super) fn digest_of(salt: &[u8; 16], name: &str, value: &str) -> [u8; 32] {
    let prefix = Prefix::of(&[FIELD_DOMAIN, salt, &[length(name)], name.as_bytes()]);
    let mut hash = Sha256::new();
    hash.update(prefix.bytes());
    hash.update(value);
    hash.finalize().into()
}

/// The commitment to the fields of a session. The fields are in order of their names.
pub(super) fn commit<'a>(
    session: Uuid,
    digests: impl Iterator<Item = (&'a str, [u8; 32])>,
) -> [u8; 32] {
    // One call of the hash for all fields costs less than three for each of them.
    let mut message = Vec::with_capacity(256);
    message.extend_from_slice(PERSONAL_DOMAIN);
    message.extend_from_slice(session.as_bytes());
    for (name, digest) in digests {
        message.push(length(name));
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&digest);
    }
    Sha256::digest(&message).into()
}

/// A few bytes, joined so that the hash is called once for all of them.
struct Prefix {
    bytes: [u8; MAX_PREFIX_BYTES],
    length: usize,
}

impl Prefix {
    /// Joins parts that fit by the bound of a field's name.
    fn of(parts: &[&[u8]]) -> Self {
        let mut bytes = [0; MAX_PREFIX_BYTES];
        let mut length = 0_usize;
        for part in parts {
            let end = length.saturating_add(part.len());
            let Some(room) = bytes.get_mut(length..end) else {
                debug_assert!(false, "a field's name is longer than it may be");
                continue;
            };
            room.copy_from_slice(part);
            length = end;
        }
        Self { bytes, length }
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The 16 bytes that take the session's place in a record that belongs to no session: the first 16
/// bytes of SHA-256(`boot` ‖ `seq`), with `seq` as 64 bits, most significant byte first.
#[must_use]
pub fn session_of(boot: Uuid, seq: u64) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(boot.as_bytes());
    hash.update(seq.to_be_bytes());
    Uuid::from_bytes(first_half(&hash.finalize().into()))
}

/// The 44 characters of base64 in which an entry has a commitment or another digest.
#[must_use]
pub fn digest_to_base64(digest: &[u8; 32]) -> String {
    STANDARD.encode(digest)
}

/// Reads 44 characters of base64. Each digest has exactly one spelling.
#[must_use]
pub fn digest_from_base64(text: &str) -> Option<[u8; 32]> {
    if text.len() != 44 {
        return None;
    }
    // The decoder wants room for what 44 characters could be without padding.
    let mut bytes = [0; 33];
    let length = STANDARD.decode_slice(text, &mut bytes).ok()?;
    bytes.get(..length)?.try_into().ok()
}

/// The length of a name in one byte. Names have at most 32 bytes.
fn length(name: &str) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let (halves, _) = hash.as_chunks::<16>();
    halves.first().copied().unwrap_or_default()
}
