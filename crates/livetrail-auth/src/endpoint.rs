//! The address of a service, and how to connect to it.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper::Uri;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::error::AuthError;

/// The address of a service: `https://HOST[:PORT]/PATH`, or `http://…` on this machine.
#[derive(Clone)]
pub struct Endpoint {
    uri: Uri,
    host: String,
    insecure: bool,
    ca_file: Option<PathBuf>,
}

impl Endpoint {
    /// Reads an address. It must not have a user or a password in it.
    ///
    /// # Errors
    /// [`AuthError::Address`].
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let uri: Uri = text.trim().parse().map_err(|_| AuthError::Address)?;
        let authority = uri.authority().ok_or(AuthError::Address)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.as_str().contains('@') {
            return Err(AuthError::Address);
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            uri,
            insecure: false,
            ca_file: None,
        })
    }

    /// Trusts only the authorities in this PEM file, in place of the system's.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Allows `http://` to another machine.
    #[must_use]
    pub fn insecure(mut self, allowed: bool) -> Self {
        self.insecure = allowed;
        self
    }

    /// The address without its query, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let authority = self
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let scheme = self.uri.scheme_str().unwrap_or_default();
        format!("{scheme}://{authority}{}", self.uri.path())
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The configuration of connections.
    pub(crate) fn tls(&self) -> Result<ClientConfig, AuthError> {
        let is_encrypted = self.uri.scheme_str() == Some("https");
        if !is_encrypted && !self.insecure && !is_this_machine(&self.host) {
            return Err(AuthError::Insecure {
                place: self.place(),
            });
        }
        let roots = match (is_encrypted, &self.ca_file) {
            (false, _) => RootCertStore::empty(),
            (true, Some(path)) => authorities(path)?,
            (true, None) => system_authorities()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| AuthError::Tls(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("place", &self.place())
            .field("ca_file", &self.ca_file)
            .finish_non_exhaustive()
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn system_authorities() -> Result<RootCertStore, AuthError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(AuthError::Tls(
            "this system has no certificate authorities; name a file with them".into(),
        ));
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, AuthError> {
    let unusable = |what: &dyn fmt::Display| AuthError::Pem {
        path: path.to_owned(),
        what: what.to_string(),
    };
    let pem = std::fs::read(path).map_err(|source| AuthError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"no certificate in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_no_password() {
        for text in [
            "http://127.0.0.1:1/auth",
            "https://a.example.com/x?key=hunter2",
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert!(text.starts_with(&endpoint.place()));
            assert!(!format!("{endpoint:?}").contains("hunter2"));
        }
        for text in ["", "a", "/auth", "ftp://a/", "https://u:hunter2@a/"] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn credentials_leave_this_machine_encrypted_alone() {
        for near in [
            "http://localhost/a",
            "http://[::1]:1/a",
            "http://127.0.0.9/a",
        ] {
            assert!(Endpoint::parse(near).unwrap().tls().is_ok(), "{near}");
        }
        let far = Endpoint::parse("http://192.0.2.1/a").unwrap();
        assert!(matches!(far.tls(), Err(AuthError::Insecure { .. })));
        assert!(far.insecure(true).tls().is_ok());
    }
}
