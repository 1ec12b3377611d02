//! The two-level commitment to personal fields.
//!
//! ```text
//! salt of a field    s = SHA-256("livetrail salt 1\0" || salt || name), its first 16 bytes
//! digest of a field  d = SHA-256("livetrail field 1\0" || s || u8 length of name || name || value)
//! commitment             SHA-256("livetrail personal 1\0" || session
//!                                || for each field in order of name: u8 length of name || name || d)
//! ```
//!
//! `salt` and `session` have 16 bytes each. The salt is secret, so nobody can confirm a guess of a
//! value. SHA-256 binds: no other fields have the same commitment. The session is part of the hash,
//! so that nobody can present the opening of one session as that of another.
//!
//! A field is disclosed with its value, its own salt and the digests of the other fields. Anyone
//! can compute the commitment from these. They reveal nothing about the other values, because each
//! field has a salt of its own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const SALT_DOMAIN: &[u8] = b"livetrail salt 1\0";
const FIELD_DOMAIN: &[u8] = b"livetrail field 1\0";
const PERSONAL_DOMAIN: &[u8] = b"livetrail personal 1\0";

/// The salt of one field.
pub(super) fn salt_of(salt: &[u8; 16], name: &str) -> [u8; 16] {
    first_half(&sha256(&[SALT_DOMAIN, salt, name.as_bytes()]))
}

/// The digest of one field.
pub(super) fn digest_of(salt: &[u8; 16], name: &str, value: &str) -> [u8; 32] {
    let length = [length(name)];
    sha256(&[
        FIELD_DOMAIN,
        salt,
        &length,
        name.as_bytes(),
        value.as_bytes(),
    ])
}

/// The commitment to the fields of a session. The fields are in order of their names.
pub(super) fn commit<'a>(
    session: Uuid,
    digests: impl Iterator<Item = (&'a str, [u8; 32])>,
) -> [u8; 32] {
    let mut message = Vec::with_capacity(SHORT_BYTES);
    message.extend_from_slice(PERSONAL_DOMAIN);
    message.extend_from_slice(session.as_bytes());
    for (name, digest) in digests {
        message.push(length(name));
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(&digest);
    }
    sha256(&[&message])
}

/// The maximum number of bytes, with padding, of a message that [`sha256`] pads itself.
const SHORT_BYTES: usize = 256;

/// The initial state of SHA-256 (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// SHA-256 of the joined parts.
///
/// Nearly every message here is short. With the streaming interface a commitment to three fields
/// costs a fifth more, so this function pads a short message itself (FIPS 180-4, section 5.1.1).
fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut blocks = [[0; 64]; SHORT_BYTES / 64];
    match pad(blocks.as_flattened_mut(), parts) {
        Some(used) => {
            let mut state = INITIAL;
            compress256(&mut state, blocks.get(..used).unwrap_or_default());
            let mut hash = [0; 32];
            let (words, _) = hash.as_chunks_mut::<4>();
            for (bytes, word) in words.iter_mut().zip(state) {
                *bytes = word.to_be_bytes();
            }
            hash
        }
        None => {
            let mut hash = Sha256::new();
            parts.iter().for_each(|part| hash.update(part));
            hash.finalize().into()
        }
    }
}

/// Joins the parts with their padding in `room`, which is zero. Returns the number of blocks, or
/// `None` if there is not enough room.
fn pad(room: &mut [u8], parts: &[&[u8]]) -> Option<usize> {
    let mut length = 0_usize;
    for part in parts {
        let end = length.checked_add(part.len())?;
        room.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    *room.get_mut(length)? = 0x80;
    // One byte ends the message, and eight bytes hold its length in bits.
    let used = length.checked_add(9)?.div_ceil(64);
    let (_, last) = room
        .get_mut(..used.checked_mul(64)?)?
        .split_last_chunk_mut::<8>()?;
    *last = u64::try_from(length).ok()?.checked_mul(8)?.to_be_bytes();
    Some(used)
}

/// The 16 bytes that stand for the session in a record that belongs to no session: the first 16
/// bytes of SHA-256(`boot` ‖ `seq`), with `seq` as 64 bits, most significant byte first.
#[must_use]
pub fn session_of(boot: Uuid, seq: u64) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(boot.as_bytes());
    hash.update(seq.to_be_bytes());
    Uuid::from_bytes(first_half(&hash.finalize().into()))
}

/// A commitment or another digest as entries contain it: 44 characters of base64.
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
    // The decoder needs room for the bytes that 44 characters without padding would give.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_has_the_hash_that_the_streaming_interface_gives() {
        for length in 0..=SHORT_BYTES + 64 {
            let message: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let (first, second) = message.split_at(length / 3);
            let wanted: [u8; 32] = Sha256::digest(&message).into();
            assert_eq!(sha256(&[first, &[], second]), wanted, "{length}");
        }
    }
}
