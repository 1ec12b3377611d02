//! The section `[tls]`: the certificates of all listeners that speak TLS.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use livetrail_settings::Bounds;
use livetrail_tls::CertificateFiles;
use serde::Deserialize;

use super::{
    Acme, Config, Span,
    section::{DAY_S, Section, Wrong},
};

/// The certificates, and how long a handshake may take.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) handshake_timeout: Span,
    pub(crate) expiry_warning: Span,
    /// The authorities that sign the certificates of clients.
    pub(crate) client_ca: Option<PathBuf>,
    pub(crate) certificate: Vec<Certificate>,
    /// A certificate that an authority issues.
    pub(crate) acme: Option<Acme>,
}

/// Whether a listener with TLS asks its clients for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    /// It does not ask.
    #[default]
    Off,
    /// It asks. A client may have none.
    Request,
    /// It refuses clients without one.
    Require,
}

impl ClientCertificates {
    /// Whether clients are asked.
    pub(crate) fn are_asked(self) -> bool {
        self != Self::Off
    }
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
            client_ca: None,
            certificate: Vec::new(),
            acme: None,
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
        if let Some(path) = &mut self.client_ca {
            *path = base.join(&*path);
        }
        if let Some(acme) = &mut self.acme {
            acme.resolve(base);
        }
    }

    /// Everything but the certificates, which a reload can change.
    pub(crate) fn fixed(&self) -> Self {
        Self {
            certificate: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether listeners have a certificate to serve.
    pub(crate) fn has_certificates(&self) -> bool {
        !self.certificate.is_empty() || self.acme.is_some()
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

    /// Whether clients of the API can show a certificate.
    pub(super) fn api_asks_for_certificates(&self) -> bool {
        match self.api.listen {
            Some(_) => self.api.client_certificates.are_asked(),
            None => self.http.client_certificates.are_asked(),
        }
    }

    /// Listeners ask for certificates of clients only over TLS, and by authorities. Rules for
    /// clients with certificates need a listener that asks.
    pub(super) fn check_client_certificates(&self) -> Result<(), Wrong> {
        for (section, asks, with_tls, tls) in [
            (
                "rtmp",
                self.rtmp.client_certificates,
                self.rtmp.tls_listen.is_some(),
                "tls_listen",
            ),
            (
                "http",
                self.http.client_certificates,
                self.http.tls_listen.is_some(),
                "tls_listen",
            ),
            ("api", self.api.client_certificates, self.api.tls, "tls"),
        ] {
            if !asks.are_asked() {
                continue;
            }
            let key = format!("{section}.client_certificates");
            if !with_tls {
                return Err(Wrong::new(key, format!("needs {section}.{tls}")));
            }
            if self.tls.client_ca.is_none() {
                let problem = "needs tls.client_ca: the authorities that sign these certificates";
                return Err(Wrong::new(key, problem));
            }
        }
        let streams = [
            &self.rtmp.client_certificates,
            &self.http.client_certificates,
        ];
        if !self.auth.certificate.is_empty() && !streams.iter().any(|asks| asks.are_asked()) {
            let problem = "no client is asked for a certificate; set rtmp.client_certificates or \
                           http.client_certificates to \"request\" or \"require\"";
            return Err(Wrong::new("auth.certificate[0]", problem));
        }
        if !self.api.certificate.is_empty() && !self.api_asks_for_certificates() {
            let problem = "no client of the API is asked for a certificate; set api.client_certificates, or \
                           http.client_certificates if there is no api.listen, to \"request\" or \"require\"";
            return Err(Wrong::new("api.certificate[0]", problem));
        }
        Ok(())
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
