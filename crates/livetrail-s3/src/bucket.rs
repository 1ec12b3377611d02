//! A bucket's address, and the requests for it.

use bytes::Bytes;

use crate::error::Error;
use crate::request::{Method, Request};
use crate::sign::percent_encode;

/// The maximum number of keys in one listing.
pub const MAX_LISTED: u16 = 1_000;

/// A server that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static str,
    authority: String,
    region: String,
    path_style: bool,
}

impl Endpoint {
    /// The server at `url` (`https://host[:port]`), for requests of this region. With `path_style`
    /// the bucket's name is in the path, which most servers except Amazon's expect; otherwise it
    /// precedes the host.
    ///
    /// # Errors
    /// [`Error::Endpoint`], [`Error::Region`].
    pub fn new(url: &str, region: &str, path_style: bool) -> Result<Self, Error> {
        let refuse = |what| Error::Endpoint {
            // Only the part after an `@`, so that no password is shown.
            endpoint: url
                .rsplit('@')
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
            what,
        };
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => ("https", rest),
            Some(("http", rest)) => ("http", rest),
            _ => return Err(refuse("it must begin with https:// or http://")),
        };
        if rest.contains('@') {
            return Err(refuse("it contains a user; set the credentials separately"));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let plain = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
        };
        if authority.is_empty() || !authority.bytes().all(plain) {
            return Err(refuse(
                "the part after the scheme must be a host, with or without a port",
            ));
        }
        check_region(region)?;
        Ok(Self {
            scheme,
            authority: authority.to_ascii_lowercase(),
            region: region.to_owned(),
            path_style,
        })
    }

    /// Amazon's server in a region.
    ///
    /// # Errors
    /// [`Error::Region`].
    pub fn amazon(region: &str) -> Result<Self, Error> {
        check_region(region)?;
        Self::new(&format!("https://s3.{region}.amazonaws.com"), region, false)
    }

    /// Whether requests go over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    endpoint: Endpoint,
    name: String,
}

impl Bucket {
    /// The bucket of this name.
    ///
    /// # Errors
    /// [`Error::BucketName`].
    pub fn new(endpoint: Endpoint, name: &str) -> Result<Self, Error> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
        };
        if !(3..=63).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with('.') {
            let name = name.chars().take(80).collect();
            return Err(Error::BucketName { name });
        }
        Ok(Self {
            endpoint,
            name: name.to_owned(),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads an object's newest version.
    #[must_use]
    pub fn get(&self, key: &str) -> Request {
        self.request(Method::Get, key)
    }

    /// Reads one version of an object.
    #[must_use]
    pub fn get_version(&self, key: &str, version_id: &str) -> Request {
        let mut request = self.get(key);
        request.query.push(("versionId", version_id.to_owned()));
        request
    }

    /// Writes an object.
    #[must_use]
    pub fn put(&self, key: &str, body: impl Into<Bytes>) -> Request {
        let mut request = self.request(Method::Put, key);
        request.body = body.into();
        request
    }

    /// Deletes an object: a bucket with versioning adds a delete marker.
    #[must_use]
    pub fn delete(&self, key: &str) -> Request {
        self.request(Method::Delete, key)
    }

    /// Deletes one version of an object permanently, unless a lock or hold keeps it.
    #[must_use]
    pub fn delete_version(&self, key: &str, version_id: &str) -> Request {
        let mut request = self.delete(key);
        request.query.push(("versionId", version_id.to_owned()));
        request
    }

    /// Lists keys that begin with `prefix` and follow `after` in byte order; at most `most`, which
    /// is at most [`MAX_LISTED`].
    #[must_use]
    pub fn list(&self, prefix: &str, after: &str, most: u16) -> Request {
        let mut request = self.get("");
        request.query.push(("list-type", "2".to_owned()));
        request
            .query
            .push(("max-keys", most.min(MAX_LISTED).to_string()));
        request.query.push(("prefix", prefix.to_owned()));
        if !after.is_empty() {
            request.query.push(("start-after", after.to_owned()));
        }
        request
    }

    /// Lists all versions and delete markers of the keys that begin with `prefix`, from the end of
    /// the last answer on ([`Versions::next`](crate::answer::Versions)).
    #[must_use]
    pub fn list_versions(&self, prefix: &str, after: Option<&(String, String)>) -> Request {
        let mut request = self.get("");
        request.query.push(("versions", String::new()));
        request.query.push(("max-keys", MAX_LISTED.to_string()));
        request.query.push(("prefix", prefix.to_owned()));
        if let Some((key, version_id)) = after {
            request.query.push(("key-marker", key.clone()));
            if !version_id.is_empty() {
                request
                    .query
                    .push(("version-id-marker", version_id.clone()));
            }
        }
        request
    }

    /// Asks whether the bucket keeps versions.
    #[must_use]
    pub fn get_versioning(&self) -> Request {
        let mut request = self.get("");
        request.query.push(("versioning", String::new()));
        request
    }

    /// Asks whether the bucket has Object Lock.
    #[must_use]
    pub fn get_object_lock(&self) -> Request {
        let mut request = self.get("");
        request.query.push(("object-lock", String::new()));
        request
    }

    /// Creates the bucket, with or without Object Lock. Object Lock enables versioning.
    #[must_use]
    pub fn create(&self, object_lock: bool) -> Request {
        let mut request = self.request(Method::Put, "");
        if object_lock {
            let header = ("x-amz-bucket-object-lock-enabled", "true".to_owned());
            request.headers.push(header);
        }
        // S3's first region is the one that must not be named.
        let region = &self.endpoint.region;
        if region != "us-east-1" {
            request.body = format!(
                "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
            )
            .into();
        }
        request
    }

    fn request(&self, method: Method, key: &str) -> Request {
        let Endpoint {
            scheme,
            authority,
            region,
            path_style,
        } = &self.endpoint;
        let key = percent_encode(key, true);
        // A certificate of `*.host` does not cover a name with a dot.
        let (host, path) = if *path_style || self.name.contains('.') {
            let slash = if key.is_empty() { "" } else { "/" };
            (authority.clone(), format!("/{}{slash}{key}", self.name))
        } else {
            (format!("{}.{authority}", self.name), format!("/{key}"))
        };
        Request {
            method,
            scheme,
            host,
            region: region.clone(),
            path,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }
}

fn check_region(region: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=64).contains(&region.len()) && region.bytes().all(plain) {
        return Ok(());
    }
    let region = region.chars().take(80).collect();
    Err(Error::Region { region })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Credentials;

    fn url(request: Request) -> String {
        let credentials = Credentials::new("id", "secret", None).unwrap();
        request.sign(&credentials, 0).unwrap().url
    }

    #[test]
    fn a_bucket_is_in_the_path_or_in_front_of_the_host() {
        let local = Endpoint::new("http://127.0.0.1:4566/", "us-east-1", true).unwrap();
        let bucket = Bucket::new(local, "trail").unwrap();
        assert_eq!(
            url(bucket.get("a/tile/entries/x001/000.p/7")),
            "http://127.0.0.1:4566/trail/a/tile/entries/x001/000.p/7"
        );
        assert_eq!(
            url(bucket.list("a/", "a/b c", 7)),
            "http://127.0.0.1:4566/trail?list-type=2&max-keys=7&prefix=a%2F&start-after=a%2Fb%20c"
        );
        let amazon = Endpoint::amazon("eu-central-1").unwrap();
        assert!(amazon.is_tls());
        let dotted = Bucket::new(amazon.clone(), "trail.example.com").unwrap();
        assert_eq!(
            url(dotted.get("x")),
            "https://s3.eu-central-1.amazonaws.com/trail.example.com/x"
        );
        let bucket = Bucket::new(amazon, "trail").unwrap();
        assert_eq!(
            url(bucket.get_object_lock()),
            "https://trail.s3.eu-central-1.amazonaws.com/?object-lock="
        );
    }

    #[test]
    fn an_invalid_address_is_refused_and_no_password_shown() {
        for endpoint in [
            "",
            "ftp://x",
            "https://",
            "https://a/b",
            "https://a b",
            "s3.local",
        ] {
            let refused = Endpoint::new(endpoint, "r", true);
            assert!(matches!(refused, Err(Error::Endpoint { .. })), "{endpoint}");
        }
        let error = Endpoint::new("https://me:hunter2@x", "r", true).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
        for region in ["", "a/b", "a b"] {
            let refused = Endpoint::new("https://x", region, true);
            assert!(matches!(refused, Err(Error::Region { .. })), "{region}");
        }
        let endpoint = Endpoint::new("https://x", "r", true).unwrap();
        for name in ["", "ab", "Trail", "a/b", "a_b", "..."] {
            let refused = Bucket::new(endpoint.clone(), name);
            assert!(matches!(refused, Err(Error::BucketName { .. })), "{name}");
        }
    }
}
