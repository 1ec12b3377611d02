//! A trail in a directory of this machine.

use std::path::PathBuf;
use std::{fs, io};

use crate::sources::{Source, SourceError, read_at_most};

/// A directory.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The trail in this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Source for Directory {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        read_file(&self.0.join(path), most)
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        let listed = match fs::read_dir(self.0.join(dir)) {
            Ok(listed) => listed,
            Err(error) if is_absent(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        for entry in listed {
            let entry = entry?;
            each(
                &entry.file_name().to_string_lossy(),
                entry.file_type()?.is_dir(),
            );
        }
        Ok(true)
    }

    fn lists(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

/// Reads a file of at most `most` bytes. Checks its type before opening it, because opening a pipe
/// would block forever.
fn read_file(path: &std::path::Path, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !meta.is_file() {
        return Err(SourceError::NotAFile);
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    read_at_most(file, length, most).map(Some)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
