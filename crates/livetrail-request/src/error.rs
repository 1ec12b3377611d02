//! Errors of a client's configuration.

use std::path::PathBuf;

/// A client of a service cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is not the address of a service. It is not shown, because it may have a password.
    #[error("not an address of the form https://HOST[:PORT]/PATH")]
    Address,
    /// The address has no TLS and is on another machine.
    #[error("{place}: requests would leave this machine in clear; use https, or set insecure")]
    Insecure {
        /// The address, without its query.
        place: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not have what it should.
    #[error("{}: {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The key that signs requests is too short.
    #[error(
        "the key that signs requests needs at least {} bytes",
        crate::sign::MIN_KEY_BYTES
    )]
    ShortKey,
}
