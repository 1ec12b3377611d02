//! The folder with the account and the certificate.
//!
//! | file | what |
//! |---|---|
//! | `account.json` | the account's key and its address at the authority |
//! | `certificate.pem` | the private key, and after it the chain |
//! | `*.new` | a file that is being written |
//!
//! A file is written as a whole next to its place, synced, and renamed. A crash before that leaves
//! the file as it was; a crash after it leaves the new one. Key and chain are in one file, so that
//! they change at once.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::AcmeError;

/// Longer than either file. The bound is for wrong files.
const MAX_FILE_BYTES: u64 = 1 << 20;

#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder, which is created with mode 0700 if it does not exist.
    pub(crate) fn open(path: PathBuf) -> Result<Self, AcmeError> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(AcmeError::File { path, error });
            }
            _ => {}
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let metadata = fs::metadata(&path);
            let mode = metadata.map(|metadata| metadata.mode());
            match mode {
                Ok(mode) if mode & 0o077 == 0 => {}
                Ok(_) => return Err(AcmeError::Permissions { path }),
                Err(error) => return Err(AcmeError::File { path, error }),
            }
        }
        Ok(Self(path))
    }

    pub(crate) fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    /// Where a new certificate is checked before it takes its place.
    pub(crate) fn new_certificate(&self) -> PathBuf {
        self.0.join("certificate.pem.new")
    }

    /// Replaces a file.
    pub(crate) fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), AcmeError> {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        self.write(&new, contents)?;
        self.rename(&new, path)
    }

    /// Writes a file that nobody else reads yet, and syncs it.
    pub(crate) fn write(&self, path: &Path, contents: &[u8]) -> Result<(), AcmeError> {
        let failed = |error| AcmeError::File {
            path: path.to_owned(),
            error,
        };
        // One that a crash has left may have other permissions.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(contents).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    /// Puts a file that was written and synced into its place.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), AcmeError> {
        let failed = |error| AcmeError::File {
            path: to.to_owned(),
            error,
        };
        fs::rename(from, to).map_err(failed)?;
        // Elsewhere a folder cannot be synced.
        #[cfg(unix)]
        File::open(&self.0)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(())
    }

    /// The contents of a file; `None` if it does not exist.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, AcmeError> {
        let failed = |error| AcmeError::File {
            path: path.to_owned(),
            error,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut contents = Vec::new();
        let mut limited = file.take(MAX_FILE_BYTES.saturating_add(1));
        limited.read_to_end(&mut contents).map_err(failed)?;
        if u64::try_from(contents.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
            return Err(failed(io::Error::other("the file is too long")));
        }
        Ok(Some(contents))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_can_read_what_is_in_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("acme");
        let folder = Folder::open(path.clone()).unwrap();
        assert_eq!(mode(&path), 0o700);
        folder.replace(&folder.account(), b"key").unwrap();
        assert_eq!(mode(&folder.account()), 0o600);
        assert_eq!(folder.read(&folder.account()).unwrap().unwrap(), b"key");
        assert!(folder.read(&folder.certificate()).unwrap().is_none());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        let opened = Folder::open(path);
        assert!(matches!(opened, Err(AcmeError::Permissions { .. })));
    }

    #[test]
    fn an_unfinished_file_changes_nothing_and_is_replaced() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path().join("acme")).unwrap();
        let certificate = folder.certificate();
        folder.replace(&certificate, b"first").unwrap();
        // What a crash leaves, with permissions of its own.
        let new = folder.new_certificate();
        fs::write(&new, b"sec").unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(folder.read(&certificate).unwrap().unwrap(), b"first");
        folder.replace(&certificate, b"second").unwrap();
        assert_eq!(folder.read(&certificate).unwrap().unwrap(), b"second");
        assert_eq!(mode(&certificate), 0o600);
        assert!(!new.exists());
    }
}
