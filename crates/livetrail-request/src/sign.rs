//! Signatures of requests.

use std::fmt;

use aws_lc_rs::hmac;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::error::RequestError;

/// The header with the time at which a request was signed, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "livetrail-timestamp";

/// The header with a request's signature: `v1=` and 64 hexadecimal digits.
pub const SIGNATURE_HEADER: &str = "livetrail-signature";

/// The minimum length of a key that signs requests, in bytes: that of the hash.
pub const MIN_KEY_BYTES: usize = 32;

/// A key that signs requests. Nothing shows it.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Makes a key of a secret of at least [`MIN_KEY_BYTES`].
    ///
    /// # Errors
    /// [`RequestError::ShortKey`].
    pub fn new(secret: &[u8]) -> Result<Self, RequestError> {
        if secret.len() < MIN_KEY_BYTES {
            return Err(RequestError::ShortKey);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The headers for a request with this body that is sent now. `unix_s` is the time in seconds
    /// since 1970.
    #[must_use]
    pub fn headers(&self, unix_s: u64, body: &[u8]) -> HeaderMap {
        let signature = self.signature(unix_s, body);
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(HeaderName::from_static(TIMESTAMP_HEADER), unix_s.into());
        // Hexadecimal digits are valid in a header.
        if let Ok(value) = HeaderValue::from_str(&signature) {
            headers.insert(HeaderName::from_static(SIGNATURE_HEADER), value);
        }
        headers
    }

    /// The value of [`SIGNATURE_HEADER`].
    #[must_use]
    pub fn signature(&self, unix_s: u64, body: &[u8]) -> String {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(unix_s.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        let mut text = String::from("v1=");
        for byte in mac.sign().as_ref() {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    /// Computed with Python's `hmac`.
    #[test]
    fn a_signature_is_that_of_another_implementation() {
        let key = SigningKey::new(SECRET).unwrap();
        let headers = key.headers(1_800_000_000, br#"{"action":"publish"}"#);
        assert_eq!(headers[TIMESTAMP_HEADER], "1800000000");
        assert_eq!(
            headers[SIGNATURE_HEADER],
            "v1=b400451ccbb1fe18acfe9d56fb07b1b67c75840190e69dc4c26cfd73fa31be48"
        );
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }

    #[test]
    fn a_short_key_is_refused() {
        let short = SigningKey::new(&SECRET[1..]);
        assert!(matches!(short, Err(RequestError::ShortKey)));
    }
}
