//! AWS Signature Version 4, in the `Authorization` header, including the hash of the body.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::credentials::Credentials;
use crate::error::Error;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The signed parts of a request.
pub(crate) struct Canonical<'a> {
    pub(crate) method: &'a str,
    /// Percent-encoded, from `/` on.
    pub(crate) path: &'a str,
    /// Percent-encoded, sorted by name.
    pub(crate) query: &'a str,
    /// Names in lower case and sorted, including `host` and `x-amz-date`.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body_sha256: &'a str,
}

/// The `Authorization` header.
pub(crate) fn authorization(
    request: &Canonical<'_>,
    credentials: &Credentials,
    region: &str,
    date_time: &str,
) -> String {
    let names = request
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect::<Vec<_>>()
        .join(";");
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in request.headers {
        let _ = writeln!(text, "{name}:{}", value.trim());
    }
    let _ = write!(text, "\n{names}\n{}", request.body_sha256);
    let date = date_time.get(..8).unwrap_or(date_time);
    let scope = format!("{date}/{region}/s3/aws4_request");
    let to_sign = format!(
        "{ALGORITHM}\n{date_time}\n{scope}\n{}",
        hex(&Sha256::digest(text))
    );
    let key = signing_key(credentials.secret_access_key(), date, region);
    let signature = hex(&hmac_sha256(&key[..], to_sign.as_bytes())[..]);
    let id = credentials.access_key_id();
    format!("{ALGORITHM} Credential={id}/{scope},SignedHeaders={names},Signature={signature}")
}

fn signing_key(secret: &str, date: &str, region: &str) -> Zeroizing<[u8; 32]> {
    let first = Zeroizing::new(format!("AWS4{secret}"));
    let mut key = hmac_sha256(first.as_bytes(), date.as_bytes());
    for part in [region, "s3", "aws4_request"] {
        key = hmac_sha256(&key[..], part.as_bytes());
    }
    key
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn hmac_sha256(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// `20130524T000000Z`.
pub(crate) fn amz_date(unix_s: u64) -> Result<String, Error> {
    Ok(timestamp(unix_s)?.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// `2013-05-24T00:00:00Z`.
pub(crate) fn rfc3339(unix_s: u64) -> Result<String, Error> {
    Ok(timestamp(unix_s)?
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string())
}

fn timestamp(unix_s: u64) -> Result<Timestamp, Error> {
    let error = Error::Time { seconds: unix_s };
    let Ok(seconds) = i64::try_from(unix_s) else {
        return Err(error);
    };
    Timestamp::from_second(seconds).map_err(|_| error)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Percent-encodes everything except letters, digits, `-`, `.`, `_`, `~` and, with `slash`, `/`.
pub(crate) fn percent_encode(text: &str, slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || (slash && byte == b'/');
        if plain {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_s3_wants_them() {
        assert_eq!(amz_date(1_369_353_600).unwrap(), "20130524T000000Z");
        assert_eq!(rfc3339(1_369_353_661).unwrap(), "2013-05-24T00:01:01Z");
        assert!(matches!(amz_date(u64::MAX), Err(Error::Time { .. })));
    }

    #[test]
    fn what_is_not_plain_is_percent_encoded() {
        assert_eq!(percent_encode("a b/ü+~", true), "a%20b/%C3%BC%2B~");
        assert_eq!(percent_encode("a/b", false), "a%2Fb");
    }
}
