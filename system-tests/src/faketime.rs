//! A wall clock that a test sets, for one process: libfaketime in front of it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian has the library, by processor.
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// Makes `command` see the time that is in the file `time` whenever it reads the clock: `+3600` is
/// an hour ahead, `2026-01-01 12:00:00` stands still there. The monotonic clock is not changed.
///
/// # Panics
/// When libfaketime is not installed; the message names the Debian package.
#[track_caller]
pub fn apply(command: &mut Command, time: &Path) {
    let library = LIBRARIES.iter().map(PathBuf::from).find(|at| at.is_file());
    let library = library.unwrap_or_else(|| {
        panic!(
            "libfaketime is not installed. It is in Debian's package `faketime`; `cargo xtask test --only packages` installs it"
        )
    });
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", time)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        // The times of files must not show a step.
        .env("NO_FAKE_STAT", "1")
        .env("TZ", "UTC");
}

/// Writes the file with the time.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn set(path: &Path, time: &str) {
    // The file is replaced as a whole, because it is read at any moment.
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{time}\n")).expect("a file with a time");
    std::fs::rename(new, path).expect("its place");
}
