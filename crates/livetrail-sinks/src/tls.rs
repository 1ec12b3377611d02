//! TLS for clients: trusted authorities, our certificate, and errors that a person must fix.

use std::error::Error as StdError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, RootCertStore};

use crate::error::SinksError;

/// A configuration that trusts these authorities and presents the certificate in these PEM files:
/// its chain and its key.
pub(crate) fn client_config(
    roots: RootCertStore,
    certificate: Option<(&Path, &Path)>,
) -> Result<ClientConfig, SinksError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SinksError::Tls(error.into()))?
        .with_root_certificates(roots);
    match certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain)?, private_key(key)?)
            .map_err(|error| SinksError::Tls(error.into())),
    }
}

/// The authorities in this PEM file only, or the system's.
pub(crate) fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SinksError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca_file {
        for certificate in certificates(path)? {
            roots
                .add(certificate)
                .map_err(|error| unusable(path, error))?;
        }
        return Ok(roots);
    }
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        return Err(SinksError::Tls(
            "this system has no certificate authorities; name a file with them".into(),
        ));
    }
    Ok(roots)
}

/// The TLS error inside a network error, if TLS failed.
pub(crate) fn error_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref() {
            return Some(tls);
        }
        // An I/O error does not report the error that it wraps as its source. It may also wrap
        // another I/O error.
        let wrapped = found
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => found.source(),
        };
    }
    None
}

/// Whether the error is about a certificate. Either we do not trust the server's, or the server
/// does not accept ours.
pub(crate) const fn is_about_certificates(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => !matches!(
            alert,
            AlertDescription::InternalError | AlertDescription::UserCanceled
        ),
        _ => false,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SinksError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(path, "no certificate in it")),
        Err(error) => Err(unusable(path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, SinksError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| unusable(path, error))
}

fn read(path: &Path) -> Result<Vec<u8>, SinksError> {
    std::fs::read(path).map_err(|source| SinksError::File {
        path: path.to_owned(),
        source,
    })
}

fn unusable(path: &Path, what: impl fmt::Display) -> SinksError {
    SinksError::Pem {
        path: path.to_owned(),
        what: what.to_string(),
    }
}
