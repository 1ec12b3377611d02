//! A trail in a directory of this machine.

use std::path::PathBuf;
use std::{fs, io};

use crate::sources::{Source, SourceError};

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
        let mut bytes = Vec::new();
        Ok(self.read_into(path, most, &mut bytes)?.then_some(bytes))
    }

    fn read_into(&self, path: &str, most: usize, into: &mut Vec<u8>) -> Result<bool, SourceError> {
        read_file(&self.0.join(path), most, into)
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
fn read_file(path: &std::path::Path, most: usize, into: &mut Vec<u8>) -> Result<bool, SourceError> {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if !meta.is_file() {
        return Err(SourceError::NotAFile);
    }
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let length = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    read_all(file, length, most, into)?;
    Ok(true)
}

/// Reads all of `from`, which has `length` bytes as far as known, with one call for its contents
/// and one for its end.
fn read_all(
    mut from: impl io::Read,
    length: usize,
    most: usize,
    into: &mut Vec<u8>,
) -> Result<(), SourceError> {
    let mut filled = 0_usize;
    // Only memory that was not used before is set to zero.
    into.resize(length.min(most).saturating_add(1), 0);
    loop {
        let free = into.get_mut(filled..).unwrap_or_default();
        match from.read(free) {
            Ok(0) => break,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if filled > most {
            return Err(SourceError::TooLong { most });
        }
        if filled == into.len() {
            // The file has grown.
            let larger = filled.saturating_mul(2).min(most.saturating_add(1));
            into.resize(larger, 0);
        }
    }
    into.truncate(filled);
    Ok(())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most three bytes at a time, and is interrupted before each.
    struct Slow<'a>(&'a [u8], bool);

    impl io::Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = into.len().min(3);
            io::Read::read(&mut self.0, &mut into[..most])
        }
    }

    #[test]
    fn a_file_is_read_whole_whatever_its_length_was_and_whatever_the_memory_held() {
        let contents: Vec<u8> = (0..=40).collect();
        for length in [0, 1, 39, 40, 41, 42, 1_000] {
            for used in [0, 5, 100] {
                let mut into = vec![0xff; used];
                read_all(Slow(&contents, false), length, 41, &mut into).unwrap();
                assert_eq!(into, contents, "{length}, {used}");
                let error = read_all(Slow(&contents, false), length, 40, &mut into).unwrap_err();
                assert!(matches!(error, SourceError::TooLong { most: 40 }));
            }
        }
        let mut into = vec![1];
        read_all(Slow(b"", false), 0, 0, &mut into).unwrap();
        assert_eq!(into, b"");
    }
}
