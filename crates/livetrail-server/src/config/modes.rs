//! Who may read and write a file with a secret in it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::Config;

/// Group and others may write.
const WRITABLE: u32 = 0o022;
/// Group and others may read.
const READABLE: u32 = 0o044;

/// The mode of a file that others may write: anyone of them could put a secret of their own there. `None` when nobody else may.
///
/// # Errors
/// What the system says of the file.
pub(super) fn writable_by_others(path: &Path) -> io::Result<Option<u32>> {
    Ok(mode(path)?.filter(|mode| mode & WRITABLE != 0))
}

/// Of a plain file. A pipe or a descriptor under `/dev` belongs to the process that gave it.
fn mode(path: &Path) -> io::Result<Option<u32>> {
    let metadata = fs::metadata(path)?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(metadata.is_file().then_some(mode))
}

/// What to do about a file that others may write.
pub(super) fn refusal(path: &Path, mode: u32) -> String {
    format!(
        "{} has mode {mode:04o}: others could put a secret of their own there; `chmod 600` it, and ask who has written to it",
        path.display()
    )
}

/// The files of this configuration with secrets in them that others may read, each in words. The server goes on: they may be meant to.
pub(crate) fn readable_secrets(config: &Config) -> Vec<String> {
    let readable = |path: &PathBuf| {
        let mode = mode(path).ok().flatten()?;
        (mode & READABLE != 0).then(|| {
            let path = path.display();
            format!("{path} has a secret in it and mode {mode:04o}: others can read it; `chmod 600` keeps it to its owner")
        })
    };
    config.secret_files.iter().filter_map(readable).collect()
}

impl Config {
    /// Where secrets are, apart from the trail's own keys: files that have one in them, and the configuration itself if it has.
    pub(super) fn files_with_secrets(&self, file: Option<&Path>, base: &Path) -> Vec<PathBuf> {
        let named = self.auth.token_key.iter().chain(&self.api.token);
        let secrets = named.map(|key| (&key.secret, &key.secret_file)).chain(
            self.auth
                .key
                .iter()
                .map(|key| (&key.secret, &key.secret_file)),
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
    use super::*;

    #[test]
    fn what_others_may_do_with_a_file_is_seen_in_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "x").unwrap();
        for (mode, writable, readable) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o640, false, true),
            (0o644, false, true),
            (0o620, true, false),
            (0o666, true, true),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let seen = writable_by_others(&path).unwrap();
            assert_eq!(seen, writable.then_some(mode), "{mode:o}");
            let config = Config {
                secret_files: vec![path.clone()],
                ..Config::default()
            };
            assert_eq!(!readable_secrets(&config).is_empty(), readable, "{mode:o}");
        }
        assert!(writable_by_others(&dir.path().join("none")).is_err());
        assert_eq!(writable_by_others(Path::new("/dev/null")).unwrap(), None);
    }
}
