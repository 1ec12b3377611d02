//! Checks which users may read and write a file with a secret.

use std::path::Path;
use std::{fs, io};

use crate::sys;

/// The bits that allow the group and others to write.
const WRITABLE: u32 = 0o022;
/// The bits that allow the group and others to read.
const READABLE: u32 = 0o044;

/// The mode of a file that other users may write. Any of them could put another secret there.
/// `None` if no other user may write.
///
/// # Errors
/// The system's error for the file.
pub fn writable_by_others(path: &Path) -> io::Result<Option<u32>> {
    Ok(mode(path)?.filter(|mode| mode & WRITABLE != 0))
}

/// The mode of a file that other users may read. `None` if no other user may read.
///
/// # Errors
/// The system's error for the file.
pub fn readable_by_others(path: &Path) -> io::Result<Option<u32>> {
    Ok(mode(path)?.filter(|mode| mode & READABLE != 0))
}

/// The mode of a regular file. `None` for a pipe or a descriptor under `/dev`, which belongs to the
/// process that provided it, and on a system without modes.
fn mode(path: &Path) -> io::Result<Option<u32>> {
    let metadata = fs::metadata(path)?;
    Ok(sys::mode(&metadata).filter(|_| metadata.is_file()))
}

/// Tells the user what to do about a file that other users may write.
#[must_use]
pub fn refusal(path: &Path, mode: u32) -> String {
    format!(
        "{} has mode {mode:04o}: others could put a secret of their own there; `chmod 600` it, and ask who has written to it",
        path.display()
    )
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
            let seen = readable_by_others(&path).unwrap();
            assert_eq!(seen, readable.then_some(mode), "{mode:o}");
        }
        assert!(writable_by_others(&dir.path().join("none")).is_err());
        assert_eq!(writable_by_others(Path::new("/dev/null")).unwrap(), None);
    }
}
