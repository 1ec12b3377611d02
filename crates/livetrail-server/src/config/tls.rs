//! The section `[tls]`: the certificates of all listeners that speak TLS.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use livetrail_settings::Bounds;
use livetrail_tls::CertificateFiles;
use serde::Deserialize;

use super::{
    Config, Span,
    section::{DAY_S, Section, Wrong},
};

/// The certificates, and how long a handshake may take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) handshake_timeout: Span,
    pub(crate) expiry_warning: Span,
    pub(crate) certificate: Vec<Certificate>,
}

/// A certificate and its key, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            handshake_timeout: Span::secs(10),
            expiry_warning: Span::secs(14 * DAY_S),
            certificate: Vec::new(),
        }
    }
}

impl Tls {
    /// Makes paths that are relative to the configuration's file absolute.
    pub(super) fn resolve(&mut self, base: &Path) {
        for certificate in &mut self.certificate {
            for path in [&mut certificate.chain, &mut certificate.key] {
                *path = base.join(&*path);
            }
        }
    }

    /// The files with private keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &PathBuf> {
        self.certificate.iter().map(|pair| &pair.key)
    }

    /// The pairs in the form that the store takes.
    pub(crate) fn files(&self) -> Vec<CertificateFiles> {
        let pairs = self.certificate.iter();
        pairs
            .map(|pair| CertificateFiles::new(&pair.chain, &pair.key))
            .collect()
    }
}

impl Config {
    /// Whether any listener speaks TLS.
    pub(crate) fn speaks_tls(&self) -> bool {
        self.rtmp.tls_listen.is_some() || self.http.tls_listen.is_some() || self.api.tls
    }

    /// The addresses of the API: its own, or those of HTTP.
    pub(crate) fn api_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let of_http = [Some(self.http.listen), self.http.tls_listen];
        let all = match self.api.listen {
            Some(own) => [Some(own), None],
            None => of_http,
        };
        all.into_iter().flatten()
    }
}

impl Section for Tls {
    fn bounds(&self, list: &mut Bounds) {
        list.span("handshake_timeout", self.handshake_timeout, 1, 3_600);
        list.span("expiry_warning", self.expiry_warning, 0, 3_650 * DAY_S);
        let read = ": their files are read every second";
        list.number("certificate", self.certificate.len(), 0, 1_000, read);
    }

    fn check(&self) -> Result<(), Wrong> {
        for (i, pair) in self.certificate.iter().enumerate() {
            let before = self.certificate.iter().take(i);
            if before.into_iter().any(|before| before == pair) {
                let problem = "is given twice";
                return Err(Wrong::new(format!("certificate[{i}]"), problem));
            }
        }
        Ok(())
    }
}
