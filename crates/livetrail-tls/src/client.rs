//! A client's side.

use std::{fmt, path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, client::Resumption};

use crate::{
    CertificateError, Error,
    handshake::Handshake,
    server::provider,
    store::{read_certificates, read_pair},
};

/// The TLS of a client: whom it trusts, and the certificate that it shows. Cloning gives another
/// handle to the same.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// A client that trusts the system's authorities, and those in the file `authorities` (PEM).
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate that can be used.
    pub fn new(authorities: Option<&Path>, protocols: &[&str]) -> Result<Self, CertificateError> {
        Self::with(authorities, None, protocols)
    }

    /// The same, with a certificate (chain and key, PEM files) that it shows if it is asked.
    ///
    /// # Errors
    /// A file cannot be read, or the pair is not valid: see [`CertificateError`].
    pub fn with_certificate(
        authorities: Option<&Path>,
        (chain, key): (&Path, &Path),
        protocols: &[&str],
    ) -> Result<Self, CertificateError> {
        Self::with(authorities, Some((chain, key)), protocols)
    }

    fn with(
        authorities: Option<&Path>,
        pair: Option<(&Path, &Path)>,
        protocols: &[&str],
    ) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = authorities {
            let unusable = || CertificateError::Authorities {
                path: path.to_owned(),
            };
            for certificate in read_certificates(path)?.1 {
                roots.add(certificate).map_err(|_| unusable())?;
            }
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_root_certificates(roots));
        // The provider has suites for both versions.
        let Ok(builder) = builder else {
            unreachable!("the provider has cipher suites for TLS 1.3 and 1.2")
        };
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let unsupported = || CertificateError::UnsupportedKey {
                    path: key.to_owned(),
                };
                let (certificates, secret) = read_pair(chain, key)?;
                builder
                    .with_client_auth_cert(certificates, secret)
                    .map_err(|_| unsupported())?
            }
        };
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config.enable_secret_extraction = true;
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Begins the handshake of one connection to the server of this name or address.
    ///
    /// # Errors
    /// [`Error::ServerName`] if it is neither.
    pub fn handshake(&self, name: &str) -> Result<Handshake, Error> {
        Handshake::client(self.config.clone(), name)
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}
