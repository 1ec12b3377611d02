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
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::error::RequestError;

/// The address of a service: `https://HOST[:PORT]/PATH`, or `http://…` on this machine.
#[derive(Clone)]
pub struct Endpoint {
    uri: Uri,
    host: String,
    insecure: bool,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl Endpoint {
    /// Reads an address. It must not have a user or a password in it.
    ///
    /// # Errors
    /// [`RequestError::Address`].
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let uri: Uri = text.trim().parse().map_err(|_| RequestError::Address)?;
        let authority = uri.authority().ok_or(RequestError::Address)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.as_str().contains('@') {
            return Err(RequestError::Address);
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            uri,
            insecure: false,
            ca_file: None,
            certificate: None,
        })
    }

    /// Trusts only the authorities in this PEM file, in place of the system's.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Shows this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((chain.into(), key.into()));
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

    /// Checks without a request that a client could connect: the address has TLS where it needs
    /// it, and the files can be used.
    ///
    /// # Errors
    /// The first failed check.
    pub fn check(&self) -> Result<(), RequestError> {
        self.tls().map(drop)
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The configuration of connections.
    pub(crate) fn tls(&self) -> Result<ClientConfig, RequestError> {
        let is_encrypted = self.uri.scheme_str() == Some("https");
        if !is_encrypted && !self.insecure && !is_this_machine(&self.host) {
            return Err(RequestError::Insecure {
                place: self.place(),
            });
        }
        let roots = match (is_encrypted, &self.ca_file) {
            (false, _) => RootCertStore::empty(),
            (true, Some(path)) => authorities(path)?,
            (true, None) => system_authorities()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RequestError::Tls(error.into()))?
            .with_root_certificates(roots);
        match &self.certificate {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder
                .with_client_auth_cert(certificates(chain)?, private_key(key)?)
                .map_err(|error| RequestError::Tls(error.into())),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("place", &self.place())
            .field("ca_file", &self.ca_file)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn system_authorities() -> Result<RootCertStore, RequestError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(RequestError::Tls(
            "this system has no certificate authorities; name a file with them".into(),
        ));
    }
    Ok(roots)
}

fn authorities(path: &Path) -> Result<RootCertStore, RequestError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RequestError> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(path, &"no certificate in it")),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, RequestError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| unusable(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, RequestError> {
    std::fs::read(path).map_err(|source| RequestError::File {
        path: path.to_owned(),
        source,
    })
}

fn unusable(path: &Path, what: &dyn fmt::Display) -> RequestError {
    RequestError::Pem {
        path: path.to_owned(),
        what: what.to_string(),
    }
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
    fn requests_leave_this_machine_encrypted_alone() {
        for near in [
            "http://localhost/a",
            "http://[::1]:1/a",
            "http://127.0.0.9/a",
        ] {
            assert!(Endpoint::parse(near).unwrap().check().is_ok(), "{near}");
        }
        let far = Endpoint::parse("http://192.0.2.1/a").unwrap();
        assert!(matches!(far.check(), Err(RequestError::Insecure { .. })));
        assert!(far.insecure(true).check().is_ok());
    }

    #[test]
    fn files_without_certificate_or_key_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let own = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let chain = dir.path().join("chain.pem");
        std::fs::write(&chain, own.cert.pem()).unwrap();
        let key = dir.path().join("key.pem");
        std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
        let endpoint = Endpoint::parse("https://a/").unwrap().ca_file(&chain);
        assert!(endpoint.clone().certificate(&chain, &key).check().is_ok());
        for wrong in [
            endpoint.clone().ca_file(&empty),
            endpoint.clone().certificate(&empty, &key),
            endpoint.certificate(&chain, &empty),
        ] {
            let error = wrong.check().unwrap_err();
            assert!(error.to_string().contains("empty.pem"), "{error}");
        }
    }
}
