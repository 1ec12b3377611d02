//! The files of a configuration that contain a secret.

use std::path::{Path, PathBuf};

use livetrail_settings::readable_by_others;

use super::Config;

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
    /// The files that contain a secret, and the configuration's own file if it contains one. The
    /// trail's own keys are not among them.
    pub(super) fn files_with_secrets(&self, file: Option<&Path>, base: &Path) -> Vec<PathBuf> {
        let (auth, tokens) = (&self.auth, self.api.token.iter());
        let secrets = (auth
            .token_key
            .iter()
            .map(|key| (&key.secret, &key.secret_file)))
        .chain(tokens.map(|token| (&token.secret, &token.secret_file)))
        .chain(auth.key.iter().map(|key| (&key.secret, &key.secret_file)))
        .chain(
            auth.callback
                .iter()
                .map(|service| (&service.secret, &service.secret_file)),
        );
        let mut inside = false;
        let mut files = Vec::new();
        for (secret, path) in secrets {
            inside |= secret.is_some() && path.is_none();
            files.extend(path.as_ref().map(|path| base.join(path)));
        }
        for sink in &self.sink {
            inside |= sink.has_a_secret_inside();
            files.extend(sink.files_with_secrets().cloned());
        }
        files.extend(file.filter(|_| inside).map(Path::to_owned));
        files.sort();
        files.dedup();
        files
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

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
}
