//! Why a trail could not be checked at all.

use thiserror::Error;

/// What kept the verifier from giving an answer. What is wrong *with a trail* is no error but a [`Finding`](crate::Finding).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Reading failed.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// There is no trail in that place.
    #[error(
        "there is no trail in {place}: neither `checkpoint` nor `private/log.json` nor `tile/`"
    )]
    NoTrail {
        /// The place.
        place: String,
    },
    /// A file in which no line is a record: it is something else.
    #[error("{path} is not a trail: none of its lines is a record")]
    NotATrail {
        /// The file.
        path: String,
    },
    /// Nobody said with which key the trail must be signed.
    #[error("no key to verify with: give the trail's verifier key with --vkey or --policy")]
    NoKey,
    /// A sink's cursor has no checkpoint yet that covers nothing but what the sink has.
    #[error(
        "{path} has no signed checkpoint over what is there: the sink has not caught up yet, or the file is damaged; give one with --checkpoint"
    )]
    NoCheckpoint {
        /// Which file.
        path: String,
    },
    /// A key cannot be understood.
    #[error(
        "{text:?} is not a verifier key (<name>+<8 hex digits>+<base64>), nor a file with such lines"
    )]
    Key {
        /// What was given.
        text: String,
        /// Which rule it breaks.
        source: livetrail_tlog::Error,
    },
    /// A policy file has a line that cannot be understood.
    #[error("line {line} of the policy: {what}")]
    Policy {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// An older checkpoint, given to compare with, is none.
    #[error("{path} is not a signed checkpoint")]
    Older {
        /// Which file.
        path: String,
        /// Which rule it breaks.
        source: livetrail_tlog::Error,
    },
    /// The address is not one that can be read.
    #[error("{url}: {what}")]
    Url {
        /// The address.
        url: String,
        /// Why.
        what: &'static str,
    },
    /// A bucket, its server or the credentials for it.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(#[from] livetrail_s3::Error),
    /// A token for a site cannot be one.
    #[error("the token for the site is empty, or has white space or characters that are not ASCII")]
    Token,
    /// A database cannot be read.
    #[error("cannot {what} in the database: {why}")]
    Database {
        /// What was tried.
        what: String,
        /// Why.
        why: String,
    },
    /// A worker thread could not be started.
    #[error("cannot start a thread")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
}
