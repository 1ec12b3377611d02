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

use super::opening::MAX_FIELD_NAME_BYTES;
use crate::canonical::encode_base64;

const SALT_DOMAIN: &[u8] = b"livetrail salt 1\0";
const FIELD_DOMAIN: &[u8] = b"livetrail field 1\0";
const PERSONAL_DOMAIN: &[u8] = b"livetrail personal 1\0";

/// The name of a field, ready to be copied. Names have at most 32 bytes, so a copy of always 32
/// bytes has no loop and no call.
pub(super) struct Name<'a> {
    text: &'a str,
    /// The name, and zeros behind it.
    padded: [u8; MAX_FIELD_NAME_BYTES],
}

impl<'a> Name<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut padded = [0; MAX_FIELD_NAME_BYTES];
        if let Some(place) = padded.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
        }
        Self { text, padded }
    }

    /// The length in one byte.
    fn length(&self) -> [u8; 1] {
        [u8::try_from(self.text.len()).unwrap_or(u8::MAX)]
    }
}

/// The salt of one field.
pub(super) fn salt_of(salt: &[u8; 16], name: &Name<'_>) -> [u8; 16] {
    let mut message = Message::new();
    message.push(SALT_DOMAIN);
    message.push(salt);
    message.push_name(name);
    first_half(&message.hash())
}

/// The digest of one field.
pub(super) fn digest_of(salt: &[u8; 16], name: &Name<'_>, value: &str) -> [u8; 32] {
    let mut message = Message::new();
    message.push(FIELD_DOMAIN);
    message.push(salt);
    message.push(&name.length());
    message.push_name(name);
    message.push(value.as_bytes());
    message.hash()
}

/// The commitment to the fields of a session.
pub(super) struct Commitment(Message);

impl Commitment {
    #[inline(always)]
    pub(super) fn new(session: Uuid) -> Self {
        let mut message = Message::new();
        message.push(PERSONAL_DOMAIN);
        message.push(session.as_bytes());
        Self(message)
    }

    /// Adds a field. Fields come in order of their names.
    #[inline(always)]
    pub(super) fn add(&mut self, name: &Name<'_>, digest: &[u8; 32]) {
        self.0.push(&name.length());
        self.0.push_name(name);
        self.0.push(digest);
    }

    #[inline(always)]
    pub(super) fn finish(&mut self) -> [u8; 32] {
        self.0.hash()
    }
}

/// The maximum number of bytes, with padding, of a message that [`Message`] pads itself.
const SHORT_BYTES: usize = 256;

/// The bytes behind a message: one that ends it, and eight with its length in bits.
const PADDING_BYTES: usize = 9;

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

/// A message of which SHA-256 is computed.
///
/// Nearly every message here is short. With the streaming interface a commitment to three fields
/// costs two fifths more, so a short message is put together and padded here (FIPS 180-4,
/// section 5.1.1).
struct Message {
    /// The bytes of a short message, and zeros behind them.
    short: [u8; SHORT_BYTES],
    /// The number of these bytes; `usize::MAX` for a longer message.
    length: usize,
    /// A longer message.
    long: Option<Sha256>,
}

impl Message {
    #[inline(always)]
    const fn new() -> Self {
        Self {
            short: [0; SHORT_BYTES],
            length: 0,
            long: None,
        }
    }

    /// Adds bytes. If their number is known at compile time, they are copied without a call.
    #[inline(always)]
    fn push(&mut self, part: &[u8]) {
        let end = self.length.saturating_add(part.len());
        match self.short.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(part);
                self.length = end;
            }
            None => self.lengthen().update(part),
        }
    }

    #[inline(always)]
    fn push_name(&mut self, name: &Name<'_>) {
        let rest = self.short.get_mut(self.length..);
        match rest.and_then(|rest| rest.first_chunk_mut()) {
            Some(place) if name.text.len() <= MAX_FIELD_NAME_BYTES => {
                *place = name.padded;
                self.length = self.length.saturating_add(name.text.len());
            }
            _ => self.push(name.text.as_bytes()),
        }
    }

    /// The message is no longer a short one.
    #[cold]
    fn lengthen(&mut self) -> &mut Sha256 {
        let (short, length) = (&self.short, self.length);
        self.length = usize::MAX;
        self.long.get_or_insert_with(|| {
            let mut hash = Sha256::new();
            hash.update(short.get(..length).unwrap_or_default());
            hash
        })
    }

    #[inline(always)]
    fn hash(&mut self) -> [u8; 32] {
        let Some(blocks) = self.pad() else {
            return std::mem::take(self.lengthen()).finalize().into();
        };
        let mut state = INITIAL;
        let (all, _) = self.short.as_chunks::<64>();
        compress256(&mut state, all.get(..blocks).unwrap_or_default());
        let mut hash = [0; 32];
        let (words, _) = hash.as_chunks_mut::<4>();
        for (bytes, word) in words.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }

    /// Pads a short message. Returns the number of its blocks, or `None` if there is not enough
    /// room.
    #[inline(always)]
    fn pad(&mut self) -> Option<usize> {
        let blocks = self.length.checked_add(PADDING_BYTES)?.div_ceil(64);
        let end = blocks.checked_mul(64)?;
        let (_, last) = self.short.get_mut(..end)?.split_last_chunk_mut::<8>()?;
        let bits = u64::try_from(self.length).ok()?.checked_mul(8)?;
        *last = bits.to_be_bytes();
        *self.short.get_mut(self.length)? = 0x80;
        Some(blocks)
    }
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
    let text: [u8; 44] = encode_base64(digest);
    text.iter().copied().map(char::from).collect()
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
            let bytes: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            for name in ["", "peer", &"n".repeat(32), &"n".repeat(33)] {
                let (first, second) = bytes.split_at(length / 3);
                let wanted: [u8; 32] =
                    Sha256::digest([first, name.as_bytes(), second].concat()).into();
                let mut message = Message::new();
                message.push(first);
                message.push_name(&Name::new(name));
                message.push(&[]);
                message.push(second);
                assert_eq!(message.hash(), wanted, "{length} {name}");
            }
        }
    }
}
