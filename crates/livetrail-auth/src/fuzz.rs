//! The fuzz bodies: they accept any bytes and check the invariants.

use livetrail_engine::UntrustedToken;

use crate::{
    callback::fuzz_answer,
    jwks::{Check, Claims, KeySet},
};

/// A set of keys and, behind a zero byte, a token. No value makes the parsers panic, and no token
/// is valid, because nobody has signed it.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_jwks(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let set = KeySet::parse(parts.next().unwrap_or_default());
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let Some(token) = UntrustedToken::parse(&text) else {
        return;
    };
    assert!(text.starts_with(token.signed()) && text.len() > token.signed().len());
    let _ = Claims::read(&token, Some("mediamtx_permissions"));
    if let Ok(set) = set {
        assert_ne!(set.check(&token), Check::Valid, "nobody signed it");
    }
}

/// The body of a service's answer. No value makes the parser panic, and terms that are accepted
/// name no principal that a reader does not see.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_callback_answer(bytes: &[u8]) {
    fuzz_answer(bytes);
}
