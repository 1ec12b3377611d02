//! The target: the collector, how to connect to it, and the resource's attributes.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use rustls::{ClientConfig, RootCertStore};

use crate::error::SinksError;
use crate::settings::{Compression, DEFAULT_SERVICE_NAME};
use crate::tls;

/// The form of a valid endpoint.
const FORM: &str = "http(s)://HOST:PORT, or with a path where that is not /v1/logs";

/// The path at which collectors accept logs (OTLP/HTTP).
const DEFAULT_PATH: &str = "/v1/logs";

/// The maximum number of headers of the settings.
const MAX_HEADERS: usize = 32;

/// A collector.
#[derive(Clone)]
pub struct OtlpTarget {
    uri: Uri,
    host: String,
    insecure: bool,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    headers: Vec<(HeaderName, HeaderValue)>,
    compresses: bool,
    service_name: String,
}

impl OtlpTarget {
    /// Reads an endpoint: `https://HOST:PORT`, to which this adds `/v1/logs`, or a URL with its own
    /// path. The endpoint must not have a password in it.
    ///
    /// # Errors
    /// [`SinksError::Address`].
    pub fn parse(endpoint: &str) -> Result<Self, SinksError> {
        let refused = || SinksError::Address {
            kind: "otlp",
            form: FORM,
        };
        let given: Uri = endpoint.trim().parse().map_err(|_| refused())?;
        let authority = given.authority().ok_or_else(refused)?;
        let scheme = given
            .scheme_str()
            .filter(|scheme| matches!(*scheme, "http" | "https"));
        let scheme = scheme.ok_or_else(refused)?;
        if authority.as_str().contains('@') {
            return Err(refused());
        }
        let path = match given.path() {
            "" | "/" => DEFAULT_PATH,
            path => path,
        };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority.as_str())
            .path_and_query(path)
            .build()
            .map_err(|_| refused())?;
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            uri,
            insecure: false,
            ca_file: None,
            certificate: None,
            headers: Vec::new(),
            compresses: Compression::default() == Compression::Gzip,
            service_name: DEFAULT_SERVICE_NAME.to_owned(),
        })
    }

    /// Trusts only the authorities in this PEM file.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Presents this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((chain.into(), key.into()));
        self
    }

    /// Sends this header with each request. Its value is a secret: nothing shows it.
    ///
    /// # Errors
    /// [`SinksError::Header`], also if there are already 32 headers.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, SinksError> {
        let refused = || SinksError::Header {
            name: name.to_owned(),
        };
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        if self.headers.len() >= MAX_HEADERS {
            return Err(refused());
        }
        self.headers.push((known, value));
        Ok(self)
    }

    /// Sends requests without compression.
    #[must_use]
    pub const fn uncompressed(mut self) -> Self {
        self.compresses = false;
        self
    }

    /// Sets the resource's `service.name`. The default is `livetrail`.
    #[must_use]
    pub fn with_service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = name.into();
        self
    }

    /// Allows a connection without TLS to another machine.
    #[must_use]
    pub const fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The endpoint, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.uri.to_string()
    }

    pub(super) const fn uri(&self) -> &Uri {
        &self.uri
    }

    pub(super) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(super) const fn compresses(&self) -> bool {
        self.compresses
    }

    pub(super) fn service_name(&self) -> &str {
        &self.service_name
    }

    pub(super) fn tls(&self) -> Result<ClientConfig, SinksError> {
        let encrypted = self.uri.scheme_str() == Some("https");
        if !encrypted && !self.insecure && !is_loopback(&self.host) {
            return Err(SinksError::Insecure {
                place: self.place(),
            });
        }
        let roots = match encrypted {
            true => tls::roots(self.ca_file.as_deref())?,
            false => RootCertStore::empty(),
        };
        let certificate = self.certificate.as_ref();
        let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
        tls::client_config(roots, certificate)
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Prints the target without the headers' values.
impl fmt::Debug for OtlpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("OtlpTarget")
            .field("place", &self.place())
            .field("headers", &headers)
            .field("ca_file", &self.ca_file)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_server_or_a_path_of_its_own() {
        for (endpoint, wanted) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/logs"),
            ("https://a.example.com/", "https://a.example.com/v1/logs"),
            (
                "https://a.example.com/otlp/v1/logs",
                "https://a.example.com/otlp/v1/logs",
            ),
        ] {
            assert_eq!(OtlpTarget::parse(endpoint).unwrap().place(), wanted);
        }
        for endpoint in [
            "",
            "a.example.com:4318",
            "grpc://a",
            "https://u:hunter2@a",
            "/v1/logs",
        ] {
            let error = OtlpTarget::parse(endpoint).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn no_header_is_shown_and_a_wrong_one_is_named_alone() {
        let target = OtlpTarget::parse("https://a").unwrap();
        let shown = target.clone().with_header("api-key", "hunter2").unwrap();
        assert!(!format!("{shown:?} {:?}", shown.headers()).contains("hunter2"));
        for (name, value) in [("a b", "hunter2"), ("api-key", "hunter2\n")] {
            let error = target.clone().with_header(name, value).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn without_tls_it_stays_on_this_machine_unless_configured() {
        let target = |endpoint| OtlpTarget::parse(endpoint).unwrap();
        for near in [
            "http://127.0.0.1:4318",
            "http://[::1]:4318",
            "http://localhost",
        ] {
            assert!(target(near).tls().is_ok(), "{near}");
        }
        let far = target("http://10.0.0.1:4318");
        assert!(far.tls().unwrap_err().to_string().contains("insecure"));
        assert!(far.insecure().tls().is_ok());
    }
}
