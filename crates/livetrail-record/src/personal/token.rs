//! Tokens in place of names that are personal.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Bytes of a token: `s:` and 16 characters.
pub const NAME_TOKEN_BYTES: usize = 18;

/// The token that an entry has in place of a stream's name, if the names of the application are
/// personal: `s:` and the first 12 bytes of HMAC-SHA-256(`secret`, `name`) as 16 characters of
/// base64url.
///
/// The same name has the same token, so that a stream can still be followed. Only the holder of the
/// application's secret can compute the token of a name or confirm a guess.
///
/// ```
/// let token = livetrail_record::name_token(&[7; 32], "dr-smith-room");
/// assert!(token.starts_with("s:") && token.len() == livetrail_record::NAME_TOKEN_BYTES);
/// ```
#[must_use]
pub fn name_token(secret: &[u8; 32], name: &str) -> String {
    let mac = hmac(secret, name.as_bytes());
    let (twelves, _) = mac.as_chunks::<12>();
    let mut token = String::with_capacity(NAME_TOKEN_BYTES);
    token.push_str("s:");
    URL_SAFE_NO_PAD.encode_string(twelves.first().copied().unwrap_or_default(), &mut token);
    token
}

/// HMAC-SHA-256 (RFC 2104) with a key that is shorter than a block.
fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let keyed = |pad: u8| {
        let mut block = [pad; 64];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        let mut hash = Sha256::new();
        hash.update(block);
        hash
    };
    let mut inner = keyed(0x36);
    inner.update(message);
    let mut outer = keyed(0x5c);
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2: a shorter key is padded with zeros, so it can be given with them.
    #[test]
    fn the_published_vector_of_hmac_holds() {
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = hmac(&key, b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_token_depends_on_secret_and_name() {
        let token = name_token(&[1; 32], "cam");
        assert_eq!(token.len(), NAME_TOKEN_BYTES);
        assert_ne!(token, name_token(&[2; 32], "cam"));
        assert_ne!(token, name_token(&[1; 32], "cam2"));
    }
}
