//! The values of settings: time spans, sizes, secrets and their places, the files of a TLS client,
//! and bounds.
//!
//! Each kind of value has its own words for the allowed values. An error names the key. The program
//! that reads the configuration adds the file and the line.

mod bounds;
mod modes;
mod secret;
mod sys;
mod tls;
mod values;

use std::path::{Path, PathBuf};

pub use bounds::{Bound, Bounds, key_within};
pub use modes::{readable_by_others, refusal, writable_by_others};
pub use secret::{Secret, SecretError};
pub use tls::TlsFiles;
pub use values::{ByteSize, Parsed, SecretText, Span};

/// Resolves these paths relative to the directory of the configuration file.
pub fn beside<'a>(base: &Path, files: impl IntoIterator<Item = &'a mut Option<PathBuf>>) {
    for file in files {
        *file = file.take().map(|file| base.join(file));
    }
}
