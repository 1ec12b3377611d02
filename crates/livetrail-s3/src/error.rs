//! What can be wrong with a place, with credentials, or with an answer.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a request cannot be made or an answer not be read. No message holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is no address of a server.
    #[error("{endpoint:?} is no endpoint: {what}; write it as https://host[:port]")]
    Endpoint {
        /// What was given, without any user and password.
        endpoint: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The region is none.
    #[error("{region:?} is no region: letters, digits and `-`, such as eu-central-1")]
    Region {
        /// What was given, cut to 80 characters.
        region: String,
    },
    /// The bucket's name is none.
    #[error("{name:?} is no name of a bucket: 3 to 63 small letters, digits, `-` and `.`")]
    BucketName {
        /// What was given, cut to 80 characters.
        name: String,
    },
    /// No credentials where they were looked for.
    #[error("no credentials in {place}: {what}")]
    NoCredentials {
        /// Where they were looked for.
        place: String,
        /// What is missing there.
        what: &'static str,
    },
    /// A file with credentials cannot be read.
    #[error("cannot read the credentials in {path}")]
    CredentialsFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or token has characters that no header may have.
    #[error("the {what} in {place} has characters that a key cannot have")]
    CredentialsText {
        /// Where it is from.
        place: String,
        /// Which of them.
        what: &'static str,
    },
    /// The time is beyond what can be written.
    #[error("{seconds} seconds after 1970 is no time that a request can have")]
    Time {
        /// The time.
        seconds: u64,
    },
    /// The server's answer is not what was asked for.
    #[error("the answer to {asked} cannot be read: {what}")]
    Answer {
        /// What was asked.
        asked: &'static str,
        /// What is wrong with it.
        what: String,
    },
}
