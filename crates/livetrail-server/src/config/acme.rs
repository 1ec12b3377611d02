//! The section `[tls.acme]`: a certificate from an authority that speaks ACME.

use std::path::{Path, PathBuf};

use livetrail_acme::{AcmeSettings, LETS_ENCRYPT};
use serde::Deserialize;

use super::{Config, section::Wrong, tls::ClientCertificates};

/// The names, and the authority.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acme {
    pub(crate) names: Vec<String>,
    pub(crate) contact: Option<String>,
    #[serde(default = "directory")]
    pub(crate) directory: String,
    pub(crate) directory_ca: Option<PathBuf>,
}

fn directory() -> String {
    LETS_ENCRYPT.to_owned()
}

impl Acme {
    /// Makes a path that is relative to the configuration's file absolute.
    pub(super) fn resolve(&mut self, base: &Path) {
        if let Some(path) = &mut self.directory_ca {
            *path = base.join(&*path);
        }
    }

    /// The library's settings.
    pub(crate) fn settings(&self) -> AcmeSettings {
        let mut settings = AcmeSettings::new(self.names.clone());
        self.directory.clone_into(&mut settings.directory);
        settings.directory_ca.clone_from(&self.directory_ca);
        settings.contact.clone_from(&self.contact);
        settings
    }
}

impl Config {
    /// The authority proves the names at the listener for HTTPS.
    pub(super) fn check_acme(&self) -> Result<(), Wrong> {
        let Some(acme) = &self.tls.acme else {
            return Ok(());
        };
        if self.http.tls_listen.is_none() {
            let problem =
                "needs http.tls_listen: the authority proves the names there, on port 443";
            return Err(Wrong::new("tls.acme", problem));
        }
        if self.http.client_certificates == ClientCertificates::Require {
            let problem = "the authority proves the names at http.tls_listen, and has no certificate of a client; set \
                           http.client_certificates to \"request\" or \"off\"";
            return Err(Wrong::new("tls.acme", problem));
        }
        let checked = acme.settings().check();
        checked.map_err(|error| Wrong::new("tls.acme", error.to_string()))
    }
}
