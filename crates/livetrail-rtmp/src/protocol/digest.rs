//! The digest scheme of the handshake: HMAC-SHA-256 with well-known keys, at an offset that the
//! packet itself defines.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of C1, C2, S1 and S2.
pub(crate) const PACKET_BYTES: usize = 1536;

pub(crate) type Packet = [u8; PACKET_BYTES];

const DIGEST_BYTES: usize = 32;
/// Bytes of S2 before its signature.
const SIGNED_BYTES: usize = PACKET_BYTES - DIGEST_BYTES;

pub(super) type Digest = [u8; DIGEST_BYTES];

/// The key of a client's digest in C1.
pub(super) const CLIENT_KEY: &[u8] = b"Genuine Adobe Flash Player 001";
/// The key of a server's digest in S1: the text at the beginning of the full key.
pub(super) const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// The key from which the key of S2's signature is made.
pub(super) const SERVER_KEY_FULL: &[u8] = b"Genuine Adobe Flash Media Server 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// The position of the four bytes whose sum is the offset of the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// At byte 772: the key comes first, then the digest.
    KeyFirst,
    /// At byte 8: the digest comes first.
    DigestFirst,
}

impl Scheme {
    fn digest_at(self, packet: &Packet) -> usize {
        let pointer: usize = match self {
            Self::KeyFirst => 772,
            Self::DigestFirst => 8,
        };
        let sum: usize = packet
            .iter()
            .skip(pointer)
            .take(4)
            .map(|byte| usize::from(*byte))
            .sum();
        pointer.saturating_add(4).saturating_add(sum % 728)
    }
}

/// Finds a digest with `key` in the packet. Returns it and its position.
pub(super) fn find(packet: &Packet, key: &[u8]) -> Option<(Digest, Scheme)> {
    [Scheme::KeyFirst, Scheme::DigestFirst]
        .into_iter()
        .find_map(|scheme| {
            let at = scheme.digest_at(packet);
            let (before, digest, after) = split(packet, at)?;
            (hmac(key, &[before, after]) == *digest).then_some((*digest, scheme))
        })
}

/// Writes the packet's digest with `key` at the position of `scheme`.
pub(super) fn place(packet: &mut Packet, scheme: Scheme, key: &[u8]) {
    let at = scheme.digest_at(packet);
    let Some((before, _, after)) = split(packet, at) else {
        return;
    };
    let digest = hmac(key, &[before, after]);
    if let Some(place) = packet.get_mut(at..at.saturating_add(DIGEST_BYTES)) {
        place.copy_from_slice(&digest);
    }
}

/// Writes the signature at the end of the packet. Its key is made of the other side's digest.
pub(super) fn sign(packet: &mut Packet, their_digest: &Digest, key: &[u8]) {
    let key = hmac(key, &[their_digest]);
    if let Some((signed, place)) = packet.split_at_mut_checked(SIGNED_BYTES) {
        place.copy_from_slice(&hmac(&key, &[signed]));
    }
}

fn split(packet: &Packet, at: usize) -> Option<(&[u8], &Digest, &[u8])> {
    let (before, rest) = packet.split_at_checked(at)?;
    let (digest, after) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    Some((before, digest, after))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Digest {
    // HMAC accepts keys of any length (RFC 2104), so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; DIGEST_BYTES];
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The check that a client of the digest scheme does on S1 and S2. Our client uses the simple
/// scheme, so only tests need this.
#[cfg(test)]
pub(super) fn verify_signature(packet: &Packet, our_digest: &Digest) -> bool {
    let mut again = *packet;
    sign(&mut again, our_digest, SERVER_KEY_FULL);
    again == *packet
}
