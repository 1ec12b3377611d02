//! Errors in an address, in credentials, or in an answer.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a request cannot be made or an answer cannot be read. No message contains a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is not the address of a server.
    #[error("{endpoint:?} is not an endpoint: {what}; write it as https://host[:port]")]
    Endpoint {
        /// The value given, without user and password.
        endpoint: String,
        /// The mistake in it.
        what: &'static str,
    },
    /// The region's name is invalid.
    #[error("{region:?} is not a region: use letters, digits and `-`, as in eu-central-1")]
    Region {
        /// The value given, cut to 80 characters.
        region: String,
    },
    /// The bucket's name is invalid.
    #[error("{name:?} is not a bucket name: use 3 to 63 of a-z, 0-9, `-` and `.`")]
    BucketName {
        /// The value given, cut to 80 characters.
        name: String,
    },
    /// The source has no credentials.
    #[error("no credentials in {place}: {what}")]
    NoCredentials {
        /// The source.
        place: String,
        /// The missing part.
        what: &'static str,
    },
    /// A credentials file cannot be read.
    #[error("cannot read the credentials in {path}")]
    CredentialsFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A key or token has characters that a header cannot contain.
    #[error("the {what} in {place} has characters that a key cannot have")]
    CredentialsText {
        /// The source.
        place: String,
        /// The part with these characters.
        what: &'static str,
    },
    /// The time cannot be written as a date.
    #[error("{seconds} seconds after 1970 is not a valid time for a request")]
    Time {
        /// The time.
        seconds: u64,
    },
    /// The server's answer does not fit the request.
    #[error("the answer to {asked} cannot be read: {what}")]
    Answer {
        /// The subject of the request.
        asked: &'static str,
        /// The mistake in it.
        what: String,
    },
}
