//! `[sink.otlp]`: a collector of OpenTelemetry.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SecretText;

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
        let headers = self.header.iter_mut().map(|header| &mut header.value_file);
        for file in headers.chain([
            &mut self.ca_file,
            &mut self.certificate_file,
            &mut self.key_file,
        ]) {
            *file = file.take().map(|file| base.join(file));
        }
    }

    pub(super) fn wrong(&self) -> Option<(&'static str, String)> {
        let mut headers = self.header.iter();
        let problem = if self.certificate_file.is_some() != self.key_file.is_some() {
            "needs both of certificate_file and key_file, or none"
        } else if headers.any(|header| header.sources() != 1) {
            "has a header that needs one of value, value_file and value_env"
        } else {
            return None;
        };
        Some(("otlp", problem.to_owned()))
    }
}

impl OtlpHeader {
    fn sources(&self) -> usize {
        let sources = [
            self.value.is_some(),
            self.value_file.is_some(),
            self.value_env.is_some(),
        ];
        sources.into_iter().filter(|there| *there).count()
    }

    /// The value, from where it is kept.
    ///
    /// # Errors
    /// The file or the variable is not there.
    #[cfg(feature = "otlp")]
    pub(crate) fn secret(&self) -> anyhow::Result<SecretText> {
        let (file, variable) = (self.value_file.as_deref(), self.value_env.as_deref());
        super::secret::secret_from("header's value", self.value.as_ref(), file, variable)
    }
}
