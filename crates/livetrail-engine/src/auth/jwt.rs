//! JSON Web Tokens in their compact form (RFC 7515 section 7.1, RFC 7519): taken apart, and not
//! verified. Who verifies them has the keys: [`SignedTokens`](super::SignedTokens), or an
//! authenticator outside.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, de::DeserializeOwned};

/// A token that nobody has verified. Nothing in it may be believed before
/// [`signature`](Self::signature) has been verified over [`signed`](Self::signed) with a key that
/// is meant for [`algorithm`](Self::algorithm).
///
/// ```
/// use livetrail_engine::UntrustedToken;
///
/// let text = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
/// let token = UntrustedToken::parse(text).expect("three parts");
/// assert_eq!((token.algorithm(), token.key_id()), ("none", None));
/// assert_eq!(token.signed(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9");
/// assert!(token.signature().is_empty());
/// ```
pub struct UntrustedToken<'a> {
    header: Header,
    signed: &'a str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    /// Extensions that a reader must know. This one knows none.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
    /// The type of the claims. Only JSON is read.
    #[serde(default)]
    cty: Option<String>,
}

impl<'a> UntrustedToken<'a> {
    /// The maximum length of a token that is parsed, in bytes.
    pub const MAX_BYTES: usize = 8_192;

    /// Takes a token apart. `None` if it is not one, is longer than [`MAX_BYTES`](Self::MAX_BYTES),
    /// or has a header that demands an extension (`crit`).
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > Self::MAX_BYTES {
            return None;
        }
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let header = decode(header)?;
        // A list would be read as the fields in their order.
        let is_object = header.trim_ascii_start().starts_with(b"{");
        let header: Header = serde_json::from_slice(&header).ok()?;
        if !is_object {
            return None;
        }
        let is_json = |cty: &str| cty.eq_ignore_ascii_case("json");
        if header.crit.is_some() || !header.cty.as_deref().is_none_or(is_json) {
            return None;
        }
        Some(Self {
            header,
            signed,
            claims: decode(claims)?,
            signature: decode(signature)?,
        })
    }

    /// Whether a part of the text looks like a token: three parts of base64url, the first a JSON
    /// object. For [`Authenticator::secret_in`](crate::Authenticator::secret_in).
    #[must_use]
    pub fn is_in(text: &str) -> bool {
        let is_part = |part: &str| {
            part.chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        text.match_indices("eyJ").any(|(at, _)| {
            let rest = text.get(at..).unwrap_or_default();
            let end = rest.find(|c: char| !(is_part(c.encode_utf8(&mut [0; 4])) || c == '.'));
            let token = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let mut parts = token.split('.');
            matches!(
                (parts.next(), parts.next(), parts.next()),
                (Some(_), Some(claims), Some(signature)) if !claims.is_empty() && signature.len() >= 20
            )
        })
    }

    /// The algorithm that the token names, such as `ES256`. The token's sender has chosen it, so it
    /// must be compared with the key's.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// The name of its key at the issuer (`kid`).
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The text that is signed: header and claims as they were sent.
    #[must_use]
    pub fn signed(&self) -> &'a str {
        self.signed
    }

    /// The signature, decoded.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Reads the claims. `None` if they are not of this type.
    #[must_use]
    pub fn claims<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.claims).ok()
    }
}

/// Hides the signature, with which the token could be used.
impl std::fmt::Debug for UntrustedToken<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UntrustedToken")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

/// A time in a token (RFC 7519 section 2, `NumericDate`): seconds since 1970, which may have a
/// fraction.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Deserialize)]
#[serde(transparent)]
pub struct NumericDate(f64);

impl NumericDate {
    /// In milliseconds since 1970. A time before 1970 is 0, and one that is too large is
    /// `u64::MAX`.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        // The conversion saturates.
        (self.0 * 1_000.0) as u64
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(header: &str, claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        format!("{}.{}.{}", encode(header), encode(claims), encode("sig"))
    }

    #[test]
    fn a_header_that_demands_an_extension_is_not_read() {
        let reads = |header: &str| UntrustedToken::parse(&text(header, "{}")).is_some();
        assert!(reads(r#"{"alg":"HS256","typ":"JWT","x":[1]}"#));
        assert!(reads(r#"{"alg":"HS256","cty":"JSON"}"#));
        assert!(!reads(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#));
        assert!(!reads(r#"{"alg":"HS256","cty":"JWT"}"#));
        for header in [
            "",
            "{}",
            "[]",
            r#"["a"]"#,
            r#"{"alg":1}"#,
            r#"{"alg":"a","kid":1}"#,
        ] {
            assert!(!reads(header), "{header}");
        }
    }

    #[test]
    fn a_token_has_three_parts_in_the_one_spelling() {
        let good = text(r#"{"alg":"HS256","kid":"k"}"#, r#"{"exp":1}"#);
        let token = UntrustedToken::parse(&good).unwrap();
        assert_eq!(token.key_id(), Some("k"));
        assert!(!format!("{token:?}").contains("sig"));
        let long = "x".repeat(UntrustedToken::MAX_BYTES + 1);
        for bad in [
            format!("{good}."),
            format!("{good}="),
            format!(" {good}"),
            good.replace('.', ""),
            format!("a.{good}"),
            long,
        ] {
            assert!(UntrustedToken::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn times_are_seconds_with_or_without_a_fraction() {
        let ms = |json: &str| serde_json::from_str::<NumericDate>(json).map(NumericDate::unix_ms);
        assert_eq!(ms("1300819380").unwrap(), 1_300_819_380_000);
        assert_eq!(ms("1.5").unwrap(), 1_500);
        assert_eq!(ms("-1").unwrap(), 0);
        assert_eq!(ms("1e300").unwrap(), u64::MAX);
        assert!(ms("\"1\"").is_err() && ms("null").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9_.=-]{0,200}") {
            if let Some(token) = UntrustedToken::parse(&text) {
                let _ = token.claims::<serde_json::Value>();
                prop_assert!(text.starts_with(token.signed()));
            }
        }
    }
}
