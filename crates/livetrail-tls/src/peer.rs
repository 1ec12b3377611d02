//! The name in a client's certificate.

use std::{fmt, sync::Arc};

use rustls::pki_types::CertificateDer;

/// Names longer than this are not used.
const MAX_NAME_BYTES: usize = 255;

/// Who a client is, by its verified certificate: the first URI of its alternative names (such as
/// `spiffe://example.org/encoder/7`), otherwise the first DNS name, in lower case.
///
/// The common name is not used: authorities need not check it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PeerName(Arc<str>);

impl PeerName {
    /// The name in a certificate. `None` if it has neither a URI nor a DNS name of at most 255
    /// visible ASCII characters.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        let is_usable = |name: &&str| {
            name.len() <= MAX_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(uri) = parsed.valid_uri_names().find(is_usable) {
            return Some(Self(uri.into()));
        }
        let name = parsed.valid_dns_names().find(is_usable)?;
        Some(Self(name.to_ascii_lowercase().into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerName(…)")
    }
}

impl From<PeerName> for Arc<str> {
    fn from(name: PeerName) -> Self {
        name.0
    }
}
