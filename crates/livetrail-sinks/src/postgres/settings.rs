//! `[sink.postgres]`.

use std::path::{Path, PathBuf};

use livetrail_settings::{Secret, SecretText, TlsFiles, beside};
use serde::Deserialize;

use crate::settings::Settings;

/// A table of PostgreSQL. Its address is a secret, given in one of three ways.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The address itself.
    #[serde(default)]
    pub url: Option<SecretText>,
    /// The file with the address.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// The environment variable with the address.
    #[serde(default)]
    pub url_env: Option<String>,
    /// The authorities to trust, in PEM. `None` means the system's authorities.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its chain, in PEM.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The key of our certificate, in PEM.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
}

impl Postgres {
    /// The address, including its secrets.
    pub(crate) fn address(&self) -> Secret<'_> {
        Secret::of("url")
            .itself(self.url.as_ref())
            .file(self.url_file.as_deref())
            .variable(self.url_env.as_deref())
    }

    /// The files for TLS.
    pub(crate) fn tls(&self) -> TlsFiles<'_> {
        let (chain, key) = (&self.certificate_file, &self.key_file);
        TlsFiles::new(self.ca_file.as_ref(), chain.as_ref(), key.as_ref())
    }
}

impl Settings for Postgres {
    fn resolve(&mut self, base: &Path) {
        let Self {
            url: _,
            url_file,
            url_env: _,
            ca_file,
            certificate_file,
            key_file,
        } = self;
        beside(base, [url_file, ca_file, certificate_file, key_file]);
    }

    fn problem(&self) -> Option<String> {
        match self.address().check() {
            Err(error) => Some(error.to_string()),
            Ok(()) => self.tls().wrong().map(str::to_owned),
        }
    }

    fn has_a_secret_inside(&self) -> bool {
        self.url.is_some()
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        [&self.url_file, &self.key_file]
            .into_iter()
            .flatten()
            .collect()
    }
}
