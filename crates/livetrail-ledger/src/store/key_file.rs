//! Files with secrets. They are as often outside a trail's directory as inside, so they do not go
//! through the [`Store`](super::Store).

use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use super::sys;
use crate::error::LedgerError;

/// A key file has 65 bytes; a file longer than this is not a key file.
const MAX_BYTES: u64 = 1024;

pub(crate) fn write_key_file(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::io("write the key file", path.display().to_string(), error);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    let mut file = sys::with_mode(&mut options, 0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    sys::open_dir(parent.unwrap_or(Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

pub(crate) fn read_key_file(path: &Path) -> Result<Vec<u8>, LedgerError> {
    let shown = || path.display().to_string();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => LedgerError::KeyMissing { path: shown() },
        _ => LedgerError::io("read the key file", shown(), error),
    };
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = sys::mode(&metadata);
    if mode & 0o077 != 0 {
        return Err(LedgerError::KeyMode {
            path: shown(),
            mode,
        });
    }
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(LedgerError::KeyFile { path: shown() });
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}
