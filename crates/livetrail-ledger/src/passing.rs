//! Errors that pass: the system refuses an operation now, but may accept it in a moment.
//!
//! Examples are a full disk, too few file descriptors, too little memory, an interrupted call. The
//! failed step is tried again until it is done: the log waits, its status reports it
//! ([`Status::retrying`](crate::Status::retrying)), and nothing is lost. Every other error of the
//! store stops the log.

use std::io;

use crate::{
    error::{Fatal, LedgerError},
    store::sys::{OUT_OF_FILES, PASSING},
};

/// A step that the system refuses for now. The log tries it again.
#[derive(Debug, thiserror::Error)]
#[error("cannot {op} {path}")]
#[non_exhaustive]
pub struct Passing {
    /// The operation.
    pub op: &'static str,
    /// The file or directory.
    pub path: String,
    /// The system's error.
    pub source: io::Error,
}

impl Passing {
    /// Whether the cause is missing space on the disk.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }
}

/// Why a step did not complete.
#[derive(Debug)]
pub(crate) enum Blocked {
    /// Not now. The step may be tried again; nothing is lost.
    Passing(Passing),
    /// The log stops here.
    Fatal(Fatal),
}

impl Blocked {
    pub(crate) fn store(op: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        if is_passing(&source) {
            return Self::Passing(Passing {
                op,
                path: path.into(),
                source,
            });
        }
        Self::Fatal(Fatal::store(op, path, source))
    }
}

impl From<Fatal> for Blocked {
    fn from(fatal: Fatal) -> Self {
        Self::Fatal(fatal)
    }
}

/// For callers that do not retry: opening a trail, or handing it over.
impl From<Blocked> for LedgerError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::Passing(Passing { op, path, source }) => Self::Io { op, path, source },
            Blocked::Fatal(fatal) => Self::Stopped(fatal),
        }
    }
}

/// Whether an error ends by itself, or when space becomes free.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    is_no_space(error)
        || matches!(
            error.kind(),
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
        )
        || error
            .raw_os_error()
            .is_some_and(|code| PASSING.contains(&code))
}

/// Whether the error means missing space.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Whether the error means that this process or machine cannot open further files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| OUT_OF_FILES.contains(&code))
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn passing_errors_are_distinguished_from_lasting_ones() {
        for code in PASSING {
            assert!(is_passing(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [Errno::NOSPC, Errno::DQUOT] {
            assert!(is_passing(&code.into()), "{code:?}");
            assert!(is_no_space(&code.into()), "{code:?}");
        }
        for code in [
            Errno::IO,
            Errno::ROFS,
            Errno::ACCESS,
            Errno::NOENT,
            Errno::EXIST,
            Errno::BADF,
        ] {
            assert!(!is_passing(&code.into()), "{code:?}");
        }
    }
}
