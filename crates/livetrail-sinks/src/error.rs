//! Why a sink could not be made or set up. What goes wrong while it runs is a `ReplicaError`.

use std::path::PathBuf;

use livetrail_replica::BoxError;
use livetrail_settings::SecretError;
use thiserror::Error;

/// Why a sink could not be made or set up. No message holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SinksError {
    /// This build does not have the kind of sink.
    #[error("this program was built without {kind}")]
    NotBuilt {
        /// The kind, which is also the name of the feature.
        kind: &'static str,
    },
    /// The settings have no table for a kind.
    #[error("it is of no kind")]
    NoKind,
    /// This kind of sink cannot have what the settings ask for of personal data.
    #[error("personal {what}")]
    Personal {
        /// What is wrong, and what is allowed.
        what: String,
    },
    /// A secret cannot be read from its file or environment variable.
    #[error("{key}")]
    Secret {
        /// The key that names the file or the variable.
        key: String,
        /// The cause.
        source: SecretError,
    },
    /// A secret is not given, or given in several ways.
    #[error(transparent)]
    NoSecret(SecretError),
    /// The value of a header cannot be read from its file or environment variable.
    #[error("header {name:?}")]
    HeaderValue {
        /// The name of the header.
        name: String,
        /// The cause.
        source: Box<Self>,
    },
    /// The address is invalid. The error does not repeat it, because it may have a password in it.
    #[error("the address of sink kind {kind} cannot be understood: it has the form {form}")]
    Address {
        /// The kind of sink.
        kind: &'static str,
        /// The form of a valid address.
        form: &'static str,
    },
    /// A broker's address is invalid. The error does not repeat it, because it may have a password
    /// in it.
    #[cfg(feature = "kafka")]
    #[error("broker {number} is not of the form HOST:PORT")]
    Broker {
        /// The position of the broker in the list, from 1.
        number: usize,
    },
    /// Kafka does not accept the topic's name.
    #[cfg(feature = "kafka")]
    #[error(
        "{topic:?} is not a name for the topic: expected letters, digits, `.`, `-` and `_`, at most 249 of them, and for openings another topic than for entries"
    )]
    Topic {
        /// The topic's name in the settings.
        topic: String,
    },
    /// A file with keys or certificates cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file has no key or no certificate in it, or one that cannot be used.
    #[error("{}: {what}", path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] BoxError),
    /// The receiver is not on this machine, and the settings have no TLS.
    #[cfg(any(feature = "otlp", feature = "syslog"))]
    #[error(
        "{place} is not on this machine, and without TLS anybody on the way can read and change what is sent: use TLS, or say insecure = true for a network that you trust"
    )]
    Insecure {
        /// The receiver.
        place: String,
    },
    /// The settings of a web service's address, files or key are invalid.
    #[cfg(feature = "webhook")]
    #[error(transparent)]
    Request(#[from] livetrail_request::RequestError),
    /// A header that cannot be sent. The error does not repeat its value.
    #[cfg(feature = "otlp")]
    #[error(
        "the header {name:?} cannot be sent: check its name and its value, of which there must be one line, and that there are at most 32"
    )]
    Header {
        /// The name of the header.
        name: String,
    },
    /// Syslog has no such facility.
    #[cfg(feature = "syslog")]
    #[error("{facility} is no facility of syslog: 0 to 23, of which 13 is log audit")]
    Facility {
        /// The number of the facility.
        facility: u8,
    },
    /// The system cannot start a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The destination cannot be reached.
    #[error("cannot connect to {place}")]
    Connect {
        /// The destination.
        place: String,
        /// The cause.
        source: BoxError,
    },
    /// A step of the set-up failed. The earlier steps of the same version were undone.
    #[error("cannot {step} at {place}")]
    Setup {
        /// The step.
        step: String,
        /// The destination.
        place: String,
        /// The cause.
        source: BoxError,
    },
    /// A question to the destination failed.
    #[error("cannot {step} at {place}")]
    Read {
        /// What was asked.
        step: String,
        /// The destination.
        place: String,
        /// The cause, without the values of rows.
        source: BoxError,
    },
    /// A question about persons selects too much.
    #[error("more than {most} openings match: give another condition")]
    TooManyPersons {
        /// The bound.
        most: usize,
    },
    /// A setting of a bucket is out of bounds.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(#[from] crate::s3::S3OptionsError),
    /// The settings of a bucket, its region or its server are invalid.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Bucket(#[from] livetrail_s3::Error),
    /// A later version of this program set up the destination.
    #[error(
        "{place} has schema version {found}, and this program knows up to {known}: use the newer program"
    )]
    NewerSchema {
        /// The destination.
        place: String,
        /// The schema version of the destination.
        found: i32,
        /// The newest version that this program supports.
        known: i32,
    },
}

impl From<SecretError> for SinksError {
    fn from(source: SecretError) -> Self {
        match source.key().map(str::to_owned) {
            Some(key) => Self::Secret { key, source },
            None => Self::NoSecret(source),
        }
    }
}
