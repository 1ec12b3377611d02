//! `[sink.file]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use livetrail_settings::{Bounds, ByteSize, Span};
use serde::Deserialize;

use crate::settings::{DAY_S, Settings};

/// The smallest bounds for rotation. Lower values would make too many files.
const LEAST_ROTATE_BYTES: usize = 64 << 10;
const LEAST_ROTATE_EVERY: Duration = Duration::from_mins(1);

/// A file with one line per record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct File {
    /// The path of the file.
    pub path: PathBuf,
    /// The form of a line.
    #[serde(default)]
    pub format: Format,
    /// The longest length of a file.
    #[serde(default)]
    pub rotate_bytes: Option<ByteSize>,
    /// No file has records of two periods of this length.
    #[serde(default)]
    pub rotate_every: Option<Span>,
    /// The number of rotated files to keep. `None` keeps all.
    #[serde(default)]
    pub keep_files: Option<usize>,
}

/// The form of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// Tab-separated, for people and the tools of a shell. The lines have no leaf hashes.
    #[default]
    Lines,
    /// A JSON object per line, from which a reader can compute the log's leaves.
    Json,
}

impl File {
    const fn rotates(&self) -> bool {
        self.rotate_bytes.is_some() || self.rotate_every.is_some()
    }
}

impl Settings for File {
    fn resolve(&mut self, base: &Path) {
        self.path = base.join(&self.path);
    }

    fn problem(&self) -> Option<String> {
        let problem = if self.path.file_name().is_none() {
            "needs a path that ends with the name of a file"
        } else if self
            .rotate_bytes
            .is_some_and(|most| most.0 < LEAST_ROTATE_BYTES)
        {
            "needs rotate_bytes of at least 64KiB"
        } else if self
            .rotate_every
            .is_some_and(|every| every.0 < LEAST_ROTATE_EVERY)
        {
            "needs rotate_every of at least 1m"
        } else if self.keep_files == Some(0) {
            "needs keep_files of at least 1; without it all are kept"
        } else if self.keep_files.is_some() && !self.rotates() {
            "has keep_files and rotates nothing: set rotate_bytes or rotate_every"
        } else {
            return None;
        };
        Some(problem.to_owned())
    }

    fn bounds(&self, bounds: &mut Bounds) {
        if let Some(size) = self.rotate_bytes {
            bounds.bytes("rotate_bytes", size, 64 << 10, 16 << 40);
        }
        if let Some(every) = self.rotate_every {
            let most = 3_650 * DAY_S;
            bounds.span("rotate_every", every, 60_000, most);
        }
        if let Some(files) = self.keep_files {
            bounds.number("keep_files", files, 1, 1_000_000, "");
        }
    }

    fn collision(&self, _name: &str, other: &Self, _its: &str) -> Option<(&'static str, String)> {
        let taken = || format!("{} is another sink's file already", self.path.display());
        (self.path == other.path).then(|| (".path", taken()))
    }
}
