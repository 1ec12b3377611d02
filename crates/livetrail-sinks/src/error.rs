//! Why a sink could not be made or set up. What goes wrong while it runs is a `ReplicaError`.

use std::path::PathBuf;

use livetrail_replica::BoxError;
use livetrail_settings::SecretError;
use thiserror::Error;

/// Why a sink could not be made or set up. No message holds a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SinksError {
    /// This build leaves the kind of sink out.
    #[error("this program was built without {kind}")]
    NotBuilt {
        /// The kind, which is also the name of the feature.
        kind: &'static str,
    },
    /// The settings have no table of a kind.
    #[error("it is of no kind")]
    NoKind,
    /// A secret cannot be read from where it is kept.
    #[error("{key}")]
    Secret {
        /// The key that says where it is.
        key: String,
        /// Why.
        source: SecretError,
    },
    /// A secret is not given, or given in several ways.
    #[error(transparent)]
    NoSecret(SecretError),
    /// The value of a header cannot be read from where it is kept.
    #[error("header {name:?}")]
    HeaderValue {
        /// The header.
        name: String,
        /// Why.
        source: Box<Self>,
    },
    /// The address is none. It is not repeated here, because it may have a password in it.
    #[error("the address of sink kind {kind} cannot be understood: it has the form {form}")]
    Address {
        /// The kind of sink.
        kind: &'static str,
        /// What an address looks like.
        form: &'static str,
    },
    /// A broker's address is none. It is not repeated here, because it may have a password in it.
    #[cfg(feature = "kafka")]
    #[error("broker {number} is not of the form HOST:PORT")]
    Broker {
        /// Which of those that were told, from 1.
        number: usize,
    },
    /// A topic's name is none that Kafka takes.
    #[cfg(feature = "kafka")]
    #[error(
        "{topic:?} is no name of a topic: letters, digits, `.`, `-` and `_`, at most 249 of them"
    )]
    Topic {
        /// What was told.
        topic: String,
    },
    /// A file with keys or certificates cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file has no key or no certificate in it, or one that cannot be used.
    #[error("{}: {what}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] BoxError),
    /// A receiver beyond this machine, and no TLS to it.
    #[cfg(any(feature = "otlp", feature = "syslog"))]
    #[error(
        "{place} is not on this machine, and without TLS anybody on the way can read and change what is sent: use TLS, or say insecure = true for a network that you trust"
    )]
    Insecure {
        /// Where.
        place: String,
    },
    /// A header that cannot be sent. Its value is not repeated.
    #[cfg(feature = "otlp")]
    #[error(
        "the header {name:?} cannot be sent: check its name and its value, of which there must be one line, and that there are at most 32"
    )]
    Header {
        /// Its name.
        name: String,
    },
    /// There is no such facility of syslog.
    #[cfg(feature = "syslog")]
    #[error("{facility} is no facility of syslog: 0 to 23, of which 13 is log audit")]
    Facility {
        /// The number.
        facility: u8,
    },
    /// The system gives no thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The place cannot be reached.
    #[error("cannot connect to {place}")]
    Connect {
        /// Where.
        place: String,
        /// Why.
        source: BoxError,
    },
    /// A step of the set-up failed. What came before it in the same version was undone.
    #[error("cannot {step} at {place}")]
    Setup {
        /// What was tried.
        step: String,
        /// Where.
        place: String,
        /// Why.
        source: BoxError,
    },
    /// A setting of a bucket is out of its bounds.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    S3(#[from] crate::s3::S3OptionsError),
    /// A bucket, its region or its server cannot be.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Bucket(#[from] livetrail_s3::Error),
    /// The place was set up by a later version of this program.
    #[error(
        "{place} has schema version {found}, and this program knows up to {known}: use the newer program"
    )]
    NewerSchema {
        /// Where.
        place: String,
        /// What is there.
        found: i32,
        /// The newest that this program knows.
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
