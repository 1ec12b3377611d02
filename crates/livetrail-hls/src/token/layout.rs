//! The bytes of claims, before they are sealed.
//!
//! ```text
//! kind u8 │ id [16] │ stream [16] │ expires u64 │ flags u8 │ node u8 length + bytes
//!   │ principal u8 length + bytes   (flag 1)
//!   │ share [16]                    (flag 2)
//!   │ sessions u32                  (flag 4)
//!   │ bits per second u64           (flag 8)
//!   │ zeros up to the next length   (flag 16: a session ends when the token expires)
//! stream = SHA-256( u16 length of the application │ application │ stream )[0..16]
//! ```
//!
//! Numbers are big-endian.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Claims, Kind, SealError, TokenError};

/// The bytes around the claims: version, key id, nonce, tag.
pub(super) const AROUND: usize = 45;

/// The lengths of tokens in bytes. Each is a multiple of three, so that base64 has no spare bits,
/// and a token has exactly one form.
const LENGTHS: [usize; 5] = [120, 180, 240, 300, 450];

/// The length of the shortest token in characters.
pub(super) const MIN_CHARACTERS: usize = 160;

const MAX_NODE: usize = 64;

/// The most bytes of claims: all fields at their longest have 391.
const MAX_PLAIN: usize = 405;

/// Whether a text can be a token by its length.
pub(super) fn is_length(characters: usize) -> bool {
    let bytes = characters.saturating_mul(3) / 4;
    characters.is_multiple_of(4) && LENGTHS.contains(&bytes)
}

/// A stream's names, as a token has them.
fn stream(application: &str, stream: &str) -> [u8; 16] {
    let length = u16::try_from(application.len()).unwrap_or(u16::MAX);
    let mut hash = Sha256::new();
    hash.update(length.to_be_bytes());
    hash.update(application);
    hash.update(stream);
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

/// Writes claims.
pub(super) fn write(kind: Kind, claims: &Claims) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let node = claims.node.as_bytes();
    let node_len = u8::try_from(node.len())
        .ok()
        .filter(|len| usize::from(*len) <= MAX_NODE);
    let node_len = node_len.ok_or(SealError::LongNode { len: node.len() })?;
    // One allocation, which is wiped when it is dropped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PLAIN));
    bytes.push(match kind {
        Kind::Viewing => 1,
        Kind::Share => 2,
    });
    bytes.extend_from_slice(&claims.id);
    bytes.extend_from_slice(&stream(&claims.application, &claims.stream));
    bytes.extend_from_slice(&claims.expires_unix_ms.to_be_bytes());
    let flags = [
        claims.principal.is_some(),
        claims.share.is_some(),
        claims.max_sessions.is_some(),
        claims.viewer_bits_per_second.is_some(),
        claims.ends_at_expiry,
    ];
    let flags = flags
        .iter()
        .rev()
        .fold(0u8, |bits, flag| bits << 1 | u8::from(*flag));
    bytes.push(flags);
    bytes.push(node_len);
    bytes.extend_from_slice(node);
    if let Some(principal) = &claims.principal {
        let len = principal.len();
        bytes.push(u8::try_from(len).map_err(|_| SealError::LongPrincipal { len })?);
        bytes.extend_from_slice(principal.as_bytes());
    }
    if let Some(share) = claims.share {
        bytes.extend_from_slice(&share);
    }
    if let Some(sessions) = claims.max_sessions {
        bytes.extend_from_slice(&sessions.to_be_bytes());
    }
    if let Some(bits) = claims.viewer_bits_per_second {
        bytes.extend_from_slice(&bits.to_be_bytes());
    }
    let padded = LENGTHS
        .iter()
        .filter_map(|length| length.checked_sub(AROUND))
        .find(|length| *length >= bytes.len());
    bytes.resize(padded.ok_or(SealError::Cipher)?, 0);
    Ok(bytes)
}

/// Reads claims for a stream. `now_unix_ms` is the time.
pub(super) fn read(
    kind: Kind,
    bytes: &[u8],
    application: &str,
    name: &str,
    now_unix_ms: u64,
) -> Result<Claims, TokenError> {
    let mut rest = Rest(bytes);
    let found = match rest.array()? {
        [1] => Kind::Viewing,
        [2] => Kind::Share,
        _ => return Err(TokenError::Forged),
    };
    let id = rest.array()?;
    let of = rest.array()?;
    let mut claims = Claims::new(id, application, name, u64::from_be_bytes(rest.array()?));
    let [flags] = rest.array()?;
    let has = |bit: u8| flags & bit != 0;
    claims.node = rest.text()?.into();
    if has(1) {
        claims.principal = Some(rest.text()?.into());
    }
    if has(2) {
        claims.share = Some(rest.array()?);
    }
    if has(4) {
        claims.max_sessions = Some(u32::from_be_bytes(rest.array()?));
    }
    if has(8) {
        claims.viewer_bits_per_second = Some(u64::from_be_bytes(rest.array()?));
    }
    claims.ends_at_expiry = has(16);
    if flags > 31 || rest.0.iter().any(|byte| *byte != 0) {
        return Err(TokenError::Forged);
    }
    if found != kind {
        return Err(TokenError::OtherKind { found });
    }
    if of != stream(application, name) {
        return Err(TokenError::OtherStream);
    }
    match now_unix_ms.checked_sub(claims.expires_unix_ms) {
        Some(ago_ms) => Err(TokenError::Expired { ago_ms, id }),
        None => Ok(claims),
    }
}

/// What is still to be read. Whatever is missing counts as forged: only we seal.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TokenError::Forged)?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self) -> Result<&'a str, TokenError> {
        let [len] = self.array()?;
        let (text, rest) = self
            .0
            .split_at_checked(len.into())
            .ok_or(TokenError::Forged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| TokenError::Forged)
    }
}
