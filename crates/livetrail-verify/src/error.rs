//! Why a trail could not be checked at all.

use thiserror::Error;

/// Why the verifier could not give an answer. A problem *of the trail* is not an error but a
/// [`Finding`](crate::Finding).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// Reading failed.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// There is no trail in this place.
    #[error(
        "there is no trail in {place}: neither `checkpoint` nor `private/log.json` nor `tile/`"
    )]
    NoTrail {
        /// The place.
        place: String,
    },
    /// None of the file's lines is a record, so it is not a trail.
    #[error("{path} is not a trail: none of its lines is a record")]
    NotATrail {
        /// The file.
        path: String,
    },
    /// No key was given with which the trail must be signed.
    #[error("no key to verify with: give the trail's verifier key with --vkey or --policy")]
    NoKey,
    /// A sink's cursor has no checkpoint yet that covers only entries that the sink has.
    #[error(
        "{path} has no signed checkpoint over its entries: the sink has not caught up yet, or the file is damaged; give one with --checkpoint"
    )]
    NoCheckpoint {
        /// The file.
        path: String,
    },
    /// A key is invalid.
    #[error(
        "{text:?} is not a verifier key (<name>+<8 hex digits>+<base64>), nor a file with such lines"
    )]
    Key {
        /// The value given.
        text: String,
        /// The broken rule.
        source: livetrail_tlog::Error,
    },
    /// A line of a policy file is invalid.
    #[error("line {line} of the policy: {what}")]
    Policy {
        /// The line, from 1.
        line: usize,
        /// The mistake in it.
        what: String,
    },
    /// An older checkpoint, given for comparison, is invalid.
    #[error("{path} is not a signed checkpoint")]
    Older {
        /// The file.
        path: String,
        /// The broken rule.
        source: livetrail_tlog::Error,
    },
    /// A file of openings is invalid.
    #[error("{path}:{line}: {what}")]
    Opening {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The mistake in it, without values of fields.
        what: String,
    },
    /// More openings and questions than can be answered.
    #[error("more than {} openings and questions", crate::MAX_OPENINGS)]
    TooManyOpenings,
    /// The address is invalid.
    #[error("{url}: {what}")]
    Url {
        /// The address.
        url: String,
        /// The reason.
        what: &'static str,
    },
    /// A bucket, its server or the credentials for it.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(#[from] livetrail_s3::Error),
    /// The token for a site is invalid.
    #[error("the token for the site is empty, or has white space or characters that are not ASCII")]
    Token,
    /// A database cannot be read.
    #[error("cannot {what} in the database: {why}")]
    Database {
        /// The operation.
        what: String,
        /// The reason.
        why: String,
    },
    /// A worker thread could not be started.
    #[error("cannot start a thread")]
    Thread {
        /// The system's error.
        source: std::io::Error,
    },
}
