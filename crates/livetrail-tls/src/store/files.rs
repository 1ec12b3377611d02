//! The files of certificates and keys, and what must be right before they are served.

use std::{fs::File, io::Read as _, path::Path, sync::Arc};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use sha2::{Digest as _, Sha256};

use super::CertificateFiles;
use crate::{
    CertificateError,
    certificate::{dns_names, validity},
    server::provider,
};

/// A file of certificates or a key is shorter. The bound is for wrong paths.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A digest of both files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Stands for files that could not be read.
    pub(super) fn unread(error: &CertificateError) -> Self {
        Self(Sha256::digest(error.to_string()).into())
    }
}

/// The contents of both files.
pub(super) struct Contents {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that may be served.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) names: Vec<String>,
    pub(super) valid_from: u64,
    pub(super) expires_at: u64,
    pub(super) digest: Digest,
}

impl Contents {
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        Ok(Self {
            chain: read(&files.chain)?,
            key: read(&files.key)?,
        })
    }

    pub(super) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(Sha256::digest(&self.chain));
        hash.update(Sha256::digest(&self.key));
        Digest(hash.finalize().into())
    }
}

impl Pair {
    /// Checks everything that a handshake would need: that the files can be parsed, that each
    /// certificate is valid now, and that the key is that of the first certificate.
    pub(super) fn new(
        files: &CertificateFiles,
        contents: Contents,
        now: u64,
    ) -> Result<Self, CertificateError> {
        let digest = contents.digest();
        let chain = certificates(&files.chain, &contents.chain)?;
        let key = private_key(&files.key, &contents.key)?;
        let (mut valid_from, mut expires_at) = (0, u64::MAX);
        for (at, certificate) in chain.iter().enumerate() {
            let (path, number) = (files.chain.clone(), at.saturating_add(1));
            let Some(times) = validity(certificate) else {
                return Err(CertificateError::Malformed { path, number });
            };
            if now < times.not_before {
                return Err(CertificateError::NotYetValid { path, number });
            }
            if now >= times.not_after {
                return Err(CertificateError::Expired { path, number });
            }
            valid_from = valid_from.max(times.not_before);
            expires_at = expires_at.min(times.not_after);
        }
        let malformed = || CertificateError::Malformed {
            path: files.chain.clone(),
            number: 1,
        };
        let names = chain.first().and_then(dns_names).ok_or_else(malformed)?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| {
            CertificateError::UnsupportedKey {
                path: files.key.clone(),
            }
        })?;
        let certified = CertifiedKey::new(chain, key);
        certified
            .keys_match()
            .map_err(|_| CertificateError::Mismatch {
                path: files.key.clone(),
                certificate: files.chain.clone(),
            })?;
        Ok(Self {
            certified: Arc::new(certified),
            names,
            valid_from,
            expires_at,
            digest,
        })
    }
}

/// The contents of a file, and the certificates in it: at least one.
pub(crate) fn read_certificates(
    path: &Path,
) -> Result<(Vec<u8>, Vec<CertificateDer<'static>>), CertificateError> {
    let contents = read(path)?;
    let certificates = certificates(path, &contents)?;
    Ok((contents, certificates))
}

/// A chain and its key, of which only the form is checked.
pub(crate) fn read_pair(
    chain: &Path,
    key: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), CertificateError> {
    let certificates = read_certificates(chain)?.1;
    Ok((certificates, private_key(key, &read(key)?)?))
}

fn certificates(
    path: &Path,
    contents: &[u8],
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let path = || path.to_owned();
    let all = CertificateDer::pem_slice_iter(contents).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|_| CertificateError::Pem { path: path() })?;
    if all.is_empty() {
        return Err(CertificateError::NoCertificate { path: path() });
    }
    Ok(all)
}

fn private_key(path: &Path, contents: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    use rustls::pki_types::pem::Error;
    let path = path.to_owned();
    PrivateKeyDer::from_pem_slice(contents).map_err(|error| match error {
        Error::NoItemsFound => CertificateError::NoKey { path },
        _ => CertificateError::Pem { path },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unread = |error| CertificateError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(unread)?;
    let mut contents = Vec::new();
    let mut limited = file.take(MAX_FILE_BYTES.saturating_add(1));
    let read = limited.read_to_end(&mut contents).map_err(unread)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(CertificateError::TooLong {
            path: path.to_owned(),
            limit: MAX_FILE_BYTES,
        });
    }
    Ok(contents)
}
