//! Witnesses: strangers who cosign that the log has only grown (C2SP tlog-witness v1, ledger-format §1).
//!
//! | what | where |
//! |---|---|
//! | who is asked, and how | [`Witness`], [`WitnessOptions`], [`WitnessTransport`] |
//! | asking while the log runs | [`Witnesses`], [`WitnessStatus`], [`WitnessEvent`] |
//! | asking before it runs | [`WitnessFloor`] |
//! | over HTTP, with feature `witness-http` | `HttpTransport` |
//!
//! Each witness has a thread of its own, so that one that hangs delays neither the trail nor the others. What is said when is decided by a
//! state machine without I/O, the exchange; a gateway around it makes proofs and moves bytes.
//!
//! An answer that says that a witness has seen more of the log than is here, or another tree, is never an accident of the wire: it stops the
//! log. The signed checkpoint proves who asked, and a consistency proof that was checked here proves what the tree is.

mod ask;
mod exchange;
mod floor;
mod follow;
#[cfg(feature = "witness-http")]
mod http;
mod known;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use livetrail_tlog::{CosignatureVerifier, Note, Verifier as _, VerifierKey};

pub use floor::WitnessFloor;
pub use follow::{WitnessEvent, WitnessStatus, Witnesses};
#[cfg(feature = "witness-http")]
pub use http::HttpTransport;

use crate::error::LedgerError;

/// The most witnesses of a log. A note has 64 lines at most, two of them the log's own.
pub const MAX_WITNESSES: usize = 32;

/// The longest answer that is read: the lines of a witness with several keys, or an error page that nobody reads.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A witness: where it is asked, and the key that its cosignatures are verified with.
#[derive(Clone, Debug)]
pub struct Witness {
    url: String,
    key: VerifierKey,
    verifier: CosignatureVerifier,
}

impl Witness {
    /// The witness with this key at this address. `/add-checkpoint` is appended to `url`.
    ///
    /// # Errors
    /// [`LedgerError::WitnessUrl`], or [`LedgerError::Log`] when the key is not of type 0x04.
    pub fn new(url: impl Into<String>, key: VerifierKey) -> Result<Self, LedgerError> {
        let url = url.into();
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"));
        let refused = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@');
        if rest.is_none_or(|rest| rest.is_empty() || rest.contains(refused)) {
            return Err(LedgerError::WitnessUrl { url });
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            verifier: CosignatureVerifier::new(&key)?,
            key,
        })
    }

    /// Its name: that of its key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name().as_str()
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When it cosigned this note, in seconds since 1970; `None` when it has not.
    #[must_use]
    pub fn cosigned_at_s(&self, note: &Note) -> Option<u64> {
        let lines = note.signatures().iter();
        let mut own = lines.filter(|line| {
            line.name() == self.verifier.name() && line.key_id() == self.verifier.key_id()
        });
        own.find_map(|line| self.verifier.verify(note.text(), line.signature()).ok()?)
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the witness {} ({})", self.name(), self.url)
    }
}

/// When witnesses are asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WitnessOptions {
    /// A log that grew is shown so long after the last answer. At least 10 ms.
    pub interval: Duration,
    /// How long one request may take, all in all. At least 10 ms.
    pub timeout: Duration,
    /// A witness that has not cosigned for so long although there is something to cosign is [`WitnessEvent::Overdue`].
    pub overdue_after: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
}

impl Default for WitnessOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            overdue_after: Duration::from_secs(60),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl WitnessOptions {
    fn check(&self) -> Result<(), LedgerError> {
        for (what, value) in [
            ("the witness interval", self.interval),
            ("the witness timeout", self.timeout),
        ] {
            if value < Duration::from_millis(10) {
                return Err(LedgerError::Options {
                    what: format!("{what} is {value:?} and must be at least 10 ms"),
                });
            }
        }
        Ok(())
    }
}

/// Refuses more witnesses than a note has room for, and one that is named twice.
fn check_all(witnesses: &[Witness]) -> Result<(), LedgerError> {
    let refuse = |what: String| Err(LedgerError::Options { what });
    if witnesses.len() > MAX_WITNESSES {
        return refuse(format!(
            "{} witnesses are given and {MAX_WITNESSES} is the most",
            witnesses.len()
        ));
    }
    for (at, witness) in witnesses.iter().enumerate() {
        if witnesses
            .iter()
            .skip(at)
            .skip(1)
            .any(|other| other.key == witness.key)
        {
            return refuse(format!("{witness} is given twice"));
        }
    }
    Ok(())
}

/// An answer as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, if there was one.
    pub content_type: Option<String>,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// Carries requests to a witness. Used by several threads at once.
pub trait WitnessTransport: Send + Sync {
    /// `POST`s `body` to `url`, and gives the answer whatever its status. Returns, one way or the other, within `timeout`.
    ///
    /// # Errors
    /// Why there is no answer, in words.
    fn post(&self, url: &str, body: &str, timeout: Duration) -> Result<RawAnswer, String>;
}
