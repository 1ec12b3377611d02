//! A listener's side.

use std::{fmt, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::{
    CertificateError, Error,
    handshake::Handshake,
    store::{CertificateStore, read_certificates},
};

/// The application protocol in which an authority checks a name (RFC 8737). A listener that names
/// any protocol answers it; the connection has no other use.
pub const ACME_TLS_1: &str = "acme-tls/1";

/// Which authorities sign the certificates of clients. The file is read again when its contents
/// change: see [`CertificateStore::reload`]. Cloning gives another handle to the same.
#[derive(Debug, Clone)]
pub struct ClientAuthorities(pub(crate) Arc<Authorities>);

#[derive(Debug)]
pub(crate) struct Authorities {
    pub(crate) path: PathBuf,
    verifier: ArcSwap<Verifier>,
}

#[derive(Debug)]
struct Verifier {
    contents: Vec<u8>,
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthorities {
    /// Reads the certificates of authorities, in PEM form, from a file.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate that can be used.
    pub fn load(path: impl Into<PathBuf>) -> Result<Self, CertificateError> {
        let path = path.into();
        let verifier = Verifier::read(&path, None)?;
        let verifier =
            verifier.ok_or_else(|| CertificateError::NoCertificate { path: path.clone() })?;
        Ok(Self(Arc::new(Authorities {
            path,
            verifier: ArcSwap::from_pointee(verifier),
        })))
    }

    /// Reads the file again. True if it has other contents, which are now in force.
    ///
    /// # Errors
    /// As for [`load`](Self::load). The authorities stay as they were.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        let before = self.0.verifier.load();
        let read = Verifier::read(&self.0.path, Some(&before.contents))?;
        let is_new = read.is_some();
        if let Some(verifier) = read {
            self.0.verifier.store(Arc::new(verifier));
        }
        Ok(is_new)
    }
}

impl Verifier {
    /// `None` if the file has the same contents as before.
    fn read(
        path: &std::path::Path,
        before: Option<&[u8]>,
    ) -> Result<Option<Self>, CertificateError> {
        let (contents, certificates) = read_certificates(path)?;
        if before.is_some_and(|before| before == contents) {
            return Ok(None);
        }
        let unusable = || CertificateError::Authorities {
            path: path.to_owned(),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|_| unusable())?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        Ok(Some(Self {
            contents,
            inner: verifier.map_err(|_| unusable())?,
        }))
    }
}

/// Verifies by the authorities that are in force now.
struct Current {
    authorities: ClientAuthorities,
    required: bool,
}

impl Current {
    fn inner(&self) -> Arc<dyn ClientCertVerifier> {
        self.authorities.0.verifier.load().inner.clone()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current")
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

impl ClientCertVerifier for Current {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// No hints: the authorities may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.inner()
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner().verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner().verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner().supported_verify_schemes()
    }
}

/// The TLS of one listener. Its certificates are those of the store, at each moment.
///
/// TLS 1.3 and 1.2. A client may resume an earlier connection by a ticket, whose keys change every
/// few hours, unless clients show certificates: each connection then verifies its own. There is no
/// early data (0-RTT). Cloning gives another handle to the same.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// The TLS of a listener with these certificates. `protocols` are the names of its application
    /// protocols (ALPN), the preferred one first; without any, whatever a client names is ignored.
    ///
    /// With `authorities`, clients are asked for a certificate. Those that show one must have it
    /// from these authorities; with `required`, those that show none are refused, too.
    ///
    /// # Errors
    /// [`Error::Handshake`]: the library cannot be set up.
    pub fn new(
        store: &CertificateStore,
        protocols: &[&str],
        authorities: Option<(ClientAuthorities, bool)>,
    ) -> Result<Self, Error> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(Error::Handshake)?;
        let is_asked = authorities.is_some();
        let builder = match authorities {
            None => builder.with_no_client_auth(),
            Some((authorities, required)) => builder.with_client_cert_verifier(Arc::new(Current {
                authorities,
                required,
            })),
        };
        let mut config = builder.with_cert_resolver(Arc::new(store.clone()));
        let challenge = (!protocols.is_empty()).then_some(ACME_TLS_1);
        config.alpn_protocols = protocols
            .iter()
            .copied()
            .chain(challenge)
            .map(|name| name.as_bytes().to_vec())
            .collect();
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
        // Tickets hold the state, so the server keeps none.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if is_asked {
            config.send_tls13_tickets = 0;
        } else {
            config.ticketer = aws_lc_rs::Ticketer::new().map_err(Error::Handshake)?;
            config.send_tls13_tickets = 1;
        }
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// Begins the handshake of one connection.
    ///
    /// # Errors
    /// [`Error::Handshake`]: the library cannot be set up.
    pub fn handshake(&self) -> Result<Handshake, Error> {
        Handshake::server(self.config.clone())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
