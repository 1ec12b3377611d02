//! The files of a configuration that contain a secret.

use std::path::{Path, PathBuf};

use livetrail_settings::readable_by_others;

use super::{Auth, Config};

/// The files with secrets of this configuration that others may read, each in words. The server
/// continues, because these modes may be intended.
pub(crate) fn readable_secrets(config: &Config) -> Vec<String> {
    let readable = |path: &PathBuf| {
        let mode = readable_by_others(path).ok().flatten()?;
        let path = path.display();
        Some(format!(
            "{path} has a secret in it and mode {mode:04o}: others can read it; `chmod 600` keeps it to its owner"
        ))
    };
    config.secret_files.iter().filter_map(readable).collect()
}

impl Config {
    /// The files that contain a secret, and `file`, which is the configuration's own file if it
    /// contains one. The trail's own keys are not among them.
    pub(super) fn files_with_secrets(&self, file: Option<&Path>, base: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = self
            .secrets()
            .filter_map(|(_, path)| path.map(|path| base.join(path)))
            .chain(
                self.sink
                    .iter()
                    .flat_map(|sink| sink.files_with_secrets().cloned()),
            )
            .chain(self.tls.keys().cloned())
            .chain(file.map(Path::to_owned))
            .collect();
        files.sort();
        files.dedup();
        files
    }

    /// Whether a secret is in the settings themselves, not in a file of its own.
    pub(super) fn has_a_secret_inside(&self) -> bool {
        self.secrets()
            .any(|(secret, path)| secret && path.is_none())
            || self.sink.iter().any(|sink| sink.has_a_secret_inside())
    }

    /// Each secret but those of the sinks: whether it is in the settings, and the file that it has.
    fn secrets(&self) -> impl Iterator<Item = (bool, Option<&PathBuf>)> {
        let Auth {
            token_key,
            key,
            callback,
            ..
        } = &self.auth;
        let tokens = self.api.token.iter();
        (tokens.map(|token| (token.secret.is_some(), token.secret_file.as_ref())))
            .chain(
                token_key
                    .iter()
                    .map(|key| (key.secret.is_some(), key.secret_file.as_ref())),
            )
            .chain(
                key.iter()
                    .map(|key| (key.secret.is_some(), key.secret_file.as_ref())),
            )
            .chain(
                callback
                    .iter()
                    .map(|service| (service.secret.is_some(), service.secret_file.as_ref())),
            )
            .chain(
                self.relay
                    .peers()
                    .map(|(_, peer)| (peer.secret.is_some(), peer.secret_file.as_ref())),
            )
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use livetrail_settings::SecretText;

    use super::*;
    use crate::config::load::{Overrides, load};

    #[test]
    fn a_secret_that_others_may_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "x").unwrap();
        for (mode, readable) in [(0o600, false), (0o640, true), (0o620, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let config = Config {
                secret_files: vec![path.clone()],
                ..Config::default()
            };
            assert_eq!(!readable_secrets(&config).is_empty(), readable, "{mode:o}");
        }
    }

    #[test]
    fn a_secret_in_a_variable_is_not_a_secret_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("livetrail.toml");
        let overrides = Overrides {
            api_token: Some(SecretText::new("a secret of the environment".to_owned())),
            ..Overrides::default()
        };
        for (text, named) in [
            ("", false),
            (
                "[[auth.key]]\nname = \"studio\"\nsecret = \"a secret of the file\"\n",
                true,
            ),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let config = load(Some(&path), [], &overrides).unwrap();
            assert_eq!(!readable_secrets(&config).is_empty(), named, "{text}");
        }
    }
}
