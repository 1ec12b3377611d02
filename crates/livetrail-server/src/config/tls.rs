//! The files of a TLS client, which several kinds of sink have: whom it believes, and what it shows of itself.

use std::path::{Path, PathBuf};

/// What `ca_file`, `certificate_file` and `key_file` say. A view, as [`Secret`](super::Secret) is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TlsFiles<'a> {
    authorities: Option<&'a Path>,
    certificate: Option<&'a Path>,
    key: Option<&'a Path>,
}

impl<'a> TlsFiles<'a> {
    /// These.
    pub(crate) fn new(
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

    /// Whether there is any.
    pub(crate) const fn are_given(self) -> bool {
        self.authorities.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    /// What is wrong with them.
    pub(crate) fn wrong(self) -> Option<&'static str> {
        (self.certificate.is_some() != self.key.is_some())
            .then_some("needs both of certificate_file and key_file, or none")
    }

    /// Gives them to who uses them.
    #[cfg(any(
        feature = "kafka",
        feature = "otlp",
        feature = "postgres",
        feature = "syslog"
    ))]
    pub(crate) fn onto<T>(
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
