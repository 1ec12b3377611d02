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

const SALT_DOMAIN: &[u8] = b"livetrail salt 1\0";
const FIELD_DOMAIN: &[u8] = b"livetrail field 1\0";
const PERSONAL_DOMAIN: &[u8] = b"livetrail personal 1\0";

/// The salt of one field.
pub(super) fn salt_of(salt: &[u8; 16], name: &str) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(SALT_DOMAIN);
    hash.update(salt);
    hash.update(name);
    first_half(&hash.finalize().into())
}

/// The digest of one field.
pub(super) fn digest_of(salt: &[u8; 16], name: &str, value: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(FIELD_DOMAIN);
    hash.update(salt);
    hash.update([length(name)]);
    hash.update(name);
    hash.update(value);
    hash.finalize().into()
}

/// The commitment to the fields of a session. The fields are in order of their names.
pub(super) fn commit<'a>(
    session: Uuid,
    digests: impl Iterator<Item = (&'a str, [u8; 32])>,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(PERSONAL_DOMAIN);
    hash.update(session.as_bytes());
    for (name, digest) in digests {
        hash.update([length(name)]);
        hash.update(name);
        hash.update(digest);
    }
    hash.finalize().into()
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
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// The length of a name in one byte. Names have at most 32 bytes.
fn length(name: &str) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

fn first_half(hash: &[u8; 32]) -> [u8; 16] {
    let (halves, _) = hash.as_chunks::<16>();
    halves.first().copied().unwrap_or_default()
}
