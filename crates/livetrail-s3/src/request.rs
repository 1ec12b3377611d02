//! A request before and after it is signed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::credentials::Credentials;
use crate::error::Error;
use crate::lock::ObjectLock;
use crate::sign::{Canonical, amz_date, authorization, hex, percent_encode};

/// The action of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Reads.
    Get,
    /// Asks whether the object exists.
    Head,
    /// Writes.
    Put,
    /// Deletes.
    Delete,
}

impl Method {
    /// The name in HTTP.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// A request before it is signed. [`Bucket`](crate::Bucket) makes it.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) region: String,
    /// Percent-encoded, from `/` on.
    pub(crate) path: String,
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Request {
    /// Writes only if there is no object at this key; otherwise the server answers with 412.
    #[must_use]
    pub fn if_absent(mut self) -> Self {
        self.headers.push(("if-none-match", "*".to_owned()));
        self
    }

    /// Adds the body's SHA-256, which the server checks and keeps. Object Lock requires such a
    /// checksum.
    #[must_use]
    pub fn checksummed(mut self) -> Self {
        let checksum = BASE64.encode(Sha256::digest(&self.body));
        self.headers.push(("x-amz-checksum-sha256", checksum));
        self
    }

    /// Adds retention and legal hold.
    ///
    /// # Errors
    /// [`Error::Time`].
    pub fn locked(mut self, lock: &ObjectLock) -> Result<Self, Error> {
        self.headers.extend(lock.headers()?);
        Ok(self)
    }

    /// Adds a content type for readers over the web.
    #[must_use]
    pub fn typed(mut self, content_type: &str) -> Self {
        self.headers.push(("content-type", content_type.to_owned()));
        self
    }

    /// Signs it as of `now_s`, in seconds after 1970. Servers accept the signature for some 15
    /// minutes.
    ///
    /// # Errors
    /// [`Error::Time`].
    pub fn sign(self, credentials: &Credentials, now_s: u64) -> Result<SignedRequest, Error> {
        let date_time = amz_date(now_s)?;
        let body_sha256 = hex(&Sha256::digest(&self.body));
        let mut headers: Vec<(String, String)> = self
            .headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        headers.push(("host".to_owned(), self.host.clone()));
        headers.push(("x-amz-content-sha256".to_owned(), body_sha256.clone()));
        headers.push(("x-amz-date".to_owned(), date_time.clone()));
        if let Some(token) = credentials.session_token() {
            headers.push(("x-amz-security-token".to_owned(), token.to_owned()));
        }
        headers.sort();
        let mut query = self.query;
        query.sort();
        let query = query
            .iter()
            .map(|(name, value)| format!("{name}={}", percent_encode(value, false)))
            .collect::<Vec<_>>()
            .join("&");
        let canonical = Canonical {
            method: self.method.as_str(),
            path: &self.path,
            query: &query,
            headers: &headers,
            body_sha256: &body_sha256,
        };
        let authorization = authorization(&canonical, credentials, &self.region, &date_time);
        // The sender writes the host, from the address.
        headers.retain(|(name, _)| name != "host");
        headers.push(("authorization".to_owned(), authorization));
        let question_mark = if query.is_empty() { "" } else { "?" };
        Ok(SignedRequest {
            method: self.method,
            url: format!(
                "{}://{}{}{question_mark}{query}",
                self.scheme, self.host, self.path
            ),
            headers,
            body: self.body,
        })
    }

    /// The method and address, for people; contains no secret.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} {}{}", self.method.as_str(), self.host, self.path)
    }
}

/// A request to send as it is.
#[derive(Clone)]
#[non_exhaustive]
pub struct SignedRequest {
    /// The method.
    pub method: Method,
    /// The address; contains no secret.
    pub url: String,
    /// All headers except `host` and `content-length`, which follow from the address and the body.
    /// Secret: they contain the signature, and a session's token.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRequest")
            .field("method", &self.method)
            .field("url", &self.url)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bucket, Endpoint, LockMode};

    /// 2013-05-24, the day of the examples in the specification.
    const DAY: u64 = 1_369_353_600;

    fn credentials() -> Credentials {
        Credentials::new(
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        )
        .unwrap()
    }

    fn bucket() -> Bucket {
        let endpoint = Endpoint::new("https://s3.amazonaws.com", "us-east-1", false).unwrap();
        Bucket::new(endpoint, "examplebucket").unwrap()
    }

    fn header(signed: &SignedRequest, name: &str) -> String {
        let found = signed.headers.iter().find(|(has, _)| has == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn signature(request: Request) -> String {
        let signed = request.sign(&credentials(), DAY).unwrap();
        let (_, signature) = header(&signed, "authorization")
            .rsplit_once('=')
            .map(|(all, signature)| (all.to_owned(), signature.to_owned()))
            .unwrap();
        signature
    }

    #[test]
    fn signatures_are_those_of_the_specification() {
        let mut get = bucket().get("test.txt");
        get.headers.push(("range", "bytes=0-9".to_owned()));
        assert_eq!(
            signature(get),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let mut put = bucket().put("test$file.text", "Welcome to Amazon S3.");
        put.headers
            .push(("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()));
        put.headers
            .push(("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()));
        assert_eq!(
            signature(put),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
        let mut lifecycle = bucket().get("");
        lifecycle.query.push(("lifecycle", String::new()));
        assert_eq!(
            signature(lifecycle),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        let mut list = bucket().get("");
        list.query.push(("max-keys", "2".to_owned()));
        list.query.push(("prefix", "J".to_owned()));
        assert_eq!(
            signature(list),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn a_put_that_is_kept_has_all_its_headers_signed() {
        let lock = ObjectLock {
            retain: Some((LockMode::Governance, DAY)),
            legal_hold: false,
        };
        let token = Credentials::new("id", "secret", Some("token")).unwrap();
        let put = bucket().put("tile/0/000", "x").if_absent().checksummed();
        let signed = put.locked(&lock).unwrap().sign(&token, DAY).unwrap();
        assert_eq!(
            signed.url,
            "https://examplebucket.s3.amazonaws.com/tile/0/000"
        );
        assert!(header(&signed, "authorization").contains(
            "SignedHeaders=host;if-none-match;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date;\
             x-amz-object-lock-mode;x-amz-object-lock-retain-until-date;x-amz-security-token,"
        ));
        // SHA-256 of "x".
        assert_eq!(
            header(&signed, "x-amz-checksum-sha256"),
            "LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE="
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let token = Credentials::new("id", "hunter2", Some("token-of-a-session")).unwrap();
        let signed = bucket().get("x").sign(&token, DAY).unwrap();
        let shown = format!("{signed:?} {token:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("token-of-a-session"));
        assert!(!shown.contains("Signature"), "{shown}");
    }
}
