//! Certificates that prove to an authority that a name leads here (RFC 8737). They are served to
//! nobody else.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    server::ClientHello,
    sign::CertifiedKey,
};

use super::{Arc, CertificateStore};
use crate::{
    Error,
    server::{ACME_TLS_1, provider},
};

/// The certificates, by the name that they prove. An order has few of them.
#[derive(Default)]
pub(super) struct Challenges(Mutex<HashMap<String, Arc<CertifiedKey>>>);

/// A certificate is served as long as this exists.
#[must_use = "dropping it ends the challenge"]
pub struct ChallengeGuard {
    store: CertificateStore,
    name: String,
}

impl Challenges {
    pub(super) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.all().get(&name?.to_ascii_lowercase()).cloned()
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the client is an authority that checks a name: it offers that protocol and no other.
pub(super) fn is_asked(hello: &ClientHello<'_>) -> bool {
    let mut offered = hello.alpn().into_iter().flatten();
    offered.next() == Some(ACME_TLS_1.as_bytes()) && offered.next().is_none()
}

impl CertificateStore {
    /// Serves a certificate to the authority that checks this name, until the guard is dropped.
    /// Both are in DER form, the key as PKCS #8.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn challenge(
        &self,
        name: &str,
        certificate: Vec<u8>,
        key: Vec<u8>,
    ) -> Result<ChallengeGuard, Error> {
        let key = PrivateKeyDer::Pkcs8(key.into());
        let key = provider().key_provider.load_private_key(key);
        let chain = vec![CertificateDer::from(certificate)];
        let certified = CertifiedKey::new(chain, key.map_err(Error::Handshake)?);
        let name = name.to_ascii_lowercase();
        let mut all = self.0.challenges.all();
        all.insert(name.clone(), Arc::new(certified));
        drop(all);
        Ok(ChallengeGuard {
            store: self.clone(),
            name,
        })
    }
}

impl Drop for ChallengeGuard {
    fn drop(&mut self) {
        self.store.0.challenges.all().remove(&self.name);
    }
}

impl fmt::Debug for ChallengeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeGuard")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
