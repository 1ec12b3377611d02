//! `[sink.otlp]`: a collector of OpenTelemetry.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::load::beside;
use super::{Secret, SecretText, TlsFiles};

/// A collector.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Otlp {
    pub(crate) endpoint: String,
    #[serde(default)]
    pub(crate) insecure: bool,
    #[serde(default)]
    pub(crate) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) key_file: Option<PathBuf>,
    #[serde(default)]
    pub(crate) compression: OtlpCompression,
    #[serde(default = "service_name")]
    pub(crate) service_name: String,
    #[serde(default)]
    pub(crate) header: Vec<OtlpHeader>,
}

/// How requests are packed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OtlpCompression {
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// A header of each request, whose value is a secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OtlpHeader {
    pub(crate) name: String,
    #[serde(default)]
    value: Option<SecretText>,
    #[serde(default)]
    value_file: Option<PathBuf>,
    #[serde(default)]
    value_env: Option<String>,
}

fn service_name() -> String {
    "livetrail".to_owned()
}

impl Otlp {
    pub(super) fn resolve(&mut self, base: &Path) {
        beside(
            base,
            [
                &mut self.ca_file,
                &mut self.certificate_file,
                &mut self.key_file,
            ],
        );
        let headers = self.header.iter_mut();
        beside(base, headers.map(|header| &mut header.value_file));
    }

    pub(super) fn has_a_secret_inside(&self) -> bool {
        self.header.iter().any(|header| header.value.is_some())
    }

    pub(super) fn value_files(&self) -> impl Iterator<Item = &Option<PathBuf>> {
        self.header.iter().map(|header| &header.value_file)
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        if let Some(problem) = self.tls().wrong() {
            return Some(("otlp", problem.to_owned()));
        }
        self.header.iter().find_map(|header| {
            let error = header.secret().check().err()?;
            Some(("otlp", format!("header {:?}: {error}", header.name)))
        })
    }

    /// Its files.
    pub(crate) fn tls(&self) -> TlsFiles<'_> {
        let (chain, key) = (&self.certificate_file, &self.key_file);
        TlsFiles::new(self.ca_file.as_ref(), chain.as_ref(), key.as_ref())
    }
}

impl OtlpHeader {
    /// Its value.
    pub(crate) fn secret(&self) -> Secret<'_> {
        Secret::of("value")
            .itself(self.value.as_ref())
            .file(self.value_file.as_deref())
            .variable(self.value_env.as_deref())
    }
}
