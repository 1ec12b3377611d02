//! Errors of a trail.

use std::fmt;

use livetrail_ledger::LedgerError;
use livetrail_vault::VaultError;

/// The reason why a trail cannot be created, opened, kept or changed. Its text says what to do. The
/// causes are its [`source`](std::error::Error::source)s.
pub struct Error(anyhow::Error);

impl Error {
    /// Whether the reason is that another process has opened the trail.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        let is_it = |cause: &(dyn std::error::Error + 'static)| {
            matches!(cause.downcast_ref(), Some(LedgerError::Locked { .. }))
                || matches!(cause.downcast_ref(), Some(VaultError::InUse { .. }))
        };
        self.0.chain().any(is_it)
    }
}

impl From<anyhow::Error> for Error {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}
