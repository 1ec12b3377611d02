//! The crate's errors: of connections, and of certificates.

use std::{io, path::PathBuf};

/// Why a connection cannot go on. Each means that it must be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handshake failed. The other side may have got an alert that says why.
    #[error("TLS handshake failed: {0}")]
    Handshake(rustls::Error),
    /// The other side sent more than a handshake may have.
    #[error("TLS handshake of more than {limit} bytes")]
    HandshakeTooLong {
        /// The limit.
        limit: usize,
    },
    /// The name of the server is not a host name or address.
    #[error("not a name of a server")]
    ServerName,
    /// The header of a record has an unknown type or version.
    #[error("not a TLS record")]
    NotARecord,
    /// A record that is longer than the protocol allows.
    #[error("TLS record of {bytes} bytes; at most {limit} are allowed")]
    RecordTooLong {
        /// The announced length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A record that was changed on its way, or encrypted with another key.
    #[error("TLS record cannot be decrypted")]
    Decrypt,
    /// A record without a type, or one that cannot come after the handshake.
    #[error("TLS record of unexpected content")]
    UnexpectedContent,
    /// The other side asked for another handshake on this connection, which this side never does.
    #[error("TLS renegotiation is not supported")]
    Renegotiation,
    /// Many records in a row that carry no data.
    #[error("more than {limit} TLS records in a row without data")]
    TooManyEmptyRecords {
        /// The limit.
        limit: u32,
    },
    /// The other side ended the connection with an alert.
    #[error("the other side sent the TLS alert {0}")]
    Alert(u8),
    /// The keys of a TLS 1.2 connection have encrypted as much as is safe.
    #[error("the keys of the TLS 1.2 connection are used up")]
    KeysUsedUp,
    /// The keys cannot be used. A fault of the library.
    #[error("the TLS library refused the keys")]
    Keys,
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// What is wrong with a certificate or its key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path}: cannot read: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// A file is longer than a certificate chain or a key can be.
    #[error("{path}: more than {limit} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A file is not in PEM form, or has an unfinished block.
    #[error("{path}: not valid PEM", path = path.display())]
    Pem {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate in the file.
    #[error("{path}: no certificate in it", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key in the file.
    #[error("{path}: no private key in it", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate cannot be parsed.
    #[error("{path}: certificate {number} cannot be parsed", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its number in the file, from 1.
        number: usize,
    },
    /// A certificate of the chain has expired.
    #[error("{path}: certificate {number} has expired", path = path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// Its number in the file, from 1.
        number: usize,
    },
    /// A certificate of the chain is not valid yet.
    #[error("{path}: certificate {number} is not valid yet", path = path.display())]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// Its number in the file, from 1.
        number: usize,
    },
    /// The kind of key is not supported.
    #[error("{path}: a private key of a kind that is not supported", path = path.display())]
    UnsupportedKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is not that of the certificate.
    #[error("{path}: not the key of the certificate in {certificate}", path = path.display(), certificate = certificate.display())]
    Mismatch {
        /// The file with the key.
        path: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// The file's certificates cannot be used as authorities.
    #[error("{path}: its certificates cannot be used as authorities", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
}
