//! `[sink.postgres]`.

use std::path::{Path, PathBuf};

use livetrail_replica::PersonalMode;
use livetrail_settings::{Secret, SecretText, beside};
use serde::Deserialize;

use crate::settings::{Personal, Settings};

with_tls_files! {
    /// A table of PostgreSQL. Its address is a secret, given in one of three ways.
    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[non_exhaustive]
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
        ..tls_files,
    }
}

impl Postgres {
    /// The address, including its secrets.
    pub(crate) fn address(&self) -> Secret<'_> {
        Secret::of("url")
            .itself(self.url.as_ref())
            .file(self.url_file.as_deref())
            .variable(self.url_env.as_deref())
    }
}

impl Settings for Postgres {
    fn resolve(&mut self, base: &Path) {
        beside(base, [&mut self.url_file]);
        self.resolve_tls(base);
    }

    fn problem(&self) -> Option<String> {
        match self.address().check() {
            Err(error) => Some(error.to_string()),
            Ok(()) => self.tls().wrong().map(str::to_owned),
        }
    }

    /// A table can be erased from, and its views show the names. So `clear` is the same.
    fn personal(&self, asked: Personal, _accept_unerasable: bool) -> Result<PersonalMode, String> {
        Ok(match asked {
            Personal::None => PersonalMode::None,
            Personal::Opening | Personal::Clear => PersonalMode::Opening,
        })
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
