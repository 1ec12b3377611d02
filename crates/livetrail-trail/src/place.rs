//! Paths: the trail in the data directory, its keys, and the file with its verifier keys.

use std::path::{Path, PathBuf};

use super::Settings;

/// The trail's directory in the data directory.
const TRAIL_DIRECTORY: &str = "trail";

/// The directory in the data directory with the vault.
const PERSONAL_DIRECTORY: &str = "personal";

/// The file in the data directory with the verifier keys. It is for auditors, and not secret.
const VKEY_FILE: &str = "trail.vkey";

/// The file in the data directory with the retired keys and their hand-overs. It is for auditors,
/// and not secret.
const RETIRED_FILE: &str = "trail.retired";

/// The file in the data directory that is the trail of an earlier version. It has lines.
const OLD_TRAIL_FILE: &str = "trail.tsv";

/// Files that only a trail's directory has. A server's trail has a private part, a copy has a
/// checkpoint.
const MARKS: [&str; 2] = ["private/log.json", "checkpoint"];

/// The trail in this data directory.
#[must_use]
pub fn trail_directory(data: &Path) -> PathBuf {
    data.join(TRAIL_DIRECTORY)
}

/// The directory of the trail's vault of personal data: the configured one, or `personal` in the
/// data directory.
#[must_use]
pub fn personal_directory(settings: &Settings) -> PathBuf {
    let configured = settings.personal.clone();
    configured.unwrap_or_else(|| settings.data.join(PERSONAL_DIRECTORY))
}

/// The file with the verifier keys of this data directory's trail.
#[must_use]
pub fn vkey_file(data: &Path) -> PathBuf {
    data.join(VKEY_FILE)
}

/// The file with the keys that this data directory's trail gave up.
#[must_use]
pub fn retired_file(data: &Path) -> PathBuf {
    data.join(RETIRED_FILE)
}

/// The keys in a trail's directory, for when no others are configured: first the key that signs,
/// then the key that cosigns.
pub(super) fn own_keys(trail: &Path) -> [PathBuf; 2] {
    let keys = trail.join("private").join("keys");
    [keys.join("signer"), keys.join("cosigner")]
}

/// A trail that a command will read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrailPlace {
    /// A ledger, and the file with its verifier keys if there is one.
    Ledger {
        /// The trail's directory.
        directory: PathBuf,
        /// The file with its verifier keys, as the operator of the trail gives them.
        vkeys: Option<PathBuf>,
    },
    /// A file of lines.
    File(PathBuf),
}

impl TrailPlace {
    /// Finds the trail of a path: a data directory, a trail's directory in it or elsewhere, or a
    /// file of lines. A path without any of them means the trail of a data directory, so that the
    /// error names what is missing.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if path.is_file() {
            return Self::File(path.to_owned());
        }
        let old = path.join(OLD_TRAIL_FILE);
        if is_trail(path) {
            let beside = path.parent().map(vkey_file);
            let vkeys = [Some(vkey_file(path)), beside];
            Self::Ledger {
                directory: path.to_owned(),
                vkeys: vkeys.into_iter().flatten().find(|file| file.is_file()),
            }
        } else if !is_trail(&trail_directory(path)) && old.is_file() {
            Self::File(old)
        } else {
            Self::Ledger {
                directory: trail_directory(path),
                vkeys: Some(vkey_file(path)).filter(|file| file.is_file()),
            }
        }
    }
}

fn is_trail(directory: &Path) -> bool {
    MARKS.iter().any(|mark| directory.join(mark).is_file())
}

/// A file of lines from an earlier version, if there is one.
pub(super) fn old_trail(data: &Path) -> Option<PathBuf> {
    Some(data.join(OLD_TRAIL_FILE)).filter(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_path_means_the_trail_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        let ledger = |directory: PathBuf, vkeys| TrailPlace::Ledger { directory, vkeys };
        let trail = trail_directory(data);
        assert_eq!(TrailPlace::of(data), ledger(trail.clone(), None));
        let old = data.join(OLD_TRAIL_FILE);
        fs::write(&old, "").unwrap();
        assert_eq!(TrailPlace::of(data), TrailPlace::File(old.clone()));
        fs::create_dir(&trail).unwrap();
        fs::write(trail.join("checkpoint"), "").unwrap();
        assert_eq!(TrailPlace::of(data), ledger(trail.clone(), None));
        assert_eq!(TrailPlace::of(&old), TrailPlace::File(old));
        let vkeys = vkey_file(data);
        fs::write(&vkeys, "").unwrap();
        for path in [data, &trail] {
            assert_eq!(
                TrailPlace::of(path),
                ledger(trail.clone(), Some(vkeys.clone()))
            );
        }
    }
}
