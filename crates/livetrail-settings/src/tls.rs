//! The files of a TLS client: the authorities that it trusts, and its own certificate.

use std::path::{Path, PathBuf};

/// The keys `ca_file`, `certificate_file` and `key_file`. This is a view, like
/// [`Secret`](crate::Secret).
#[derive(Debug, Clone, Copy)]
pub struct TlsFiles<'a> {
    authorities: Option<&'a Path>,
    certificate: Option<&'a Path>,
    key: Option<&'a Path>,
}

impl<'a> TlsFiles<'a> {
    /// The view of these files.
    #[must_use]
    pub fn new(
        authorities: Option<&'a PathBuf>,
        certificate: Option<&'a PathBuf>,
        key: Option<&'a PathBuf>,
    ) -> Self {
        Self {
            authorities: authorities.map(PathBuf::as_path),
            certificate: certificate.map(PathBuf::as_path),
            key: key.map(PathBuf::as_path),
        }
    }

    /// Whether any of the files is set.
    #[must_use]
    pub const fn are_given(self) -> bool {
        self.authorities.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    /// What is wrong with the files. `None` if nothing is wrong.
    #[must_use]
    pub fn wrong(self) -> Option<&'static str> {
        (self.certificate.is_some() != self.key.is_some())
            .then_some("needs both of certificate_file and key_file, or none")
    }

    /// Passes the files that are set to a target's methods.
    pub fn onto<T>(
        self,
        mut target: T,
        with_authorities: impl FnOnce(T, &'a Path) -> T,
        with_certificate: impl FnOnce(T, &'a Path, &'a Path) -> T,
    ) -> T {
        if let Some(file) = self.authorities {
            target = with_authorities(target, file);
        }
        match self.certificate.zip(self.key) {
            Some((chain, key)) => with_certificate(target, chain, key),
            None => target,
        }
    }
}
