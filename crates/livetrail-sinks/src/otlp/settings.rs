//! `[sink.otlp]`.

use std::path::{Path, PathBuf};

use livetrail_settings::{Secret, SecretText, beside};
use serde::Deserialize;

use crate::settings::Settings;

/// The default of the resource's `service.name`.
pub(crate) const DEFAULT_SERVICE_NAME: &str = "livetrail";

with_tls_files! {
    /// A collector of OpenTelemetry.
    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[non_exhaustive]
    pub struct Otlp {
        /// The collector's URL.
        pub endpoint: String,
        /// Whether the sink may send to another machine without TLS.
        #[serde(default)]
        pub insecure: bool,
        ..tls_files,
        /// The compression of requests.
        #[serde(default)]
        pub compression: Compression,
        /// `service.name` of the resource.
        #[serde(default = "service_name")]
        pub service_name: String,
        /// Headers of each request.
        #[serde(default)]
        pub header: Vec<Header>,
    }
}

/// The compression of requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Requests are compressed with gzip.
    #[default]
    Gzip,
    /// Requests are not compressed.
    None,
}

/// A header of each request. Its value is a secret, given in one of three ways.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Header {
    /// The header's name.
    pub name: String,
    /// The value itself.
    #[serde(default)]
    pub value: Option<SecretText>,
    /// The file with the value.
    #[serde(default)]
    pub value_file: Option<PathBuf>,
    /// The environment variable with the value.
    #[serde(default)]
    pub value_env: Option<String>,
}

fn service_name() -> String {
    DEFAULT_SERVICE_NAME.to_owned()
}

impl Header {
    /// The value of the header.
    pub(crate) fn secret(&self) -> Secret<'_> {
        Secret::of("value")
            .itself(self.value.as_ref())
            .file(self.value_file.as_deref())
            .variable(self.value_env.as_deref())
    }
}

impl Settings for Otlp {
    fn resolve(&mut self, base: &Path) {
        let values = self.header.iter_mut().map(|header| &mut header.value_file);
        beside(base, values);
        self.resolve_tls(base);
    }

    fn problem(&self) -> Option<String> {
        if let Some(problem) = self.tls().wrong() {
            return Some(problem.to_owned());
        }
        self.header.iter().find_map(|header| {
            let error = header.secret().check().err()?;
            Some(format!("header {:?}: {error}", header.name))
        })
    }

    fn has_a_secret_inside(&self) -> bool {
        self.header.iter().any(|header| header.value.is_some())
    }

    fn secret_files(&self) -> Vec<&PathBuf> {
        let values = self.header.iter().map(|header| &header.value_file);
        values.chain([&self.key_file]).flatten().collect()
    }
}
