//! Witnesses: third parties who cosign that the log has only grown (C2SP tlog-witness v1,
//! ledger-format §1).
//!
//! | task | where |
//! |---|---|
//! | a witness, and how to ask it | [`Witness`], [`WitnessOptions`], [`WitnessTransport`] |
//! | asking while the log runs | [`Witnesses`], [`WitnessStatus`], [`WitnessEvent`] |
//! | asking before it runs | [`WitnessFloor`] |
//! | over HTTP, with feature `witness-http` | `HttpTransport` |
//!
//! Each witness has its own thread, so that one that hangs delays neither the trail nor the others.
//! A state machine without I/O, the exchange, decides what to send when; the code around it makes
//! proofs and moves bytes.
//!
//! If an answer means that a witness has seen more of the log than exists here, or another tree,
//! that is never an accident of the network: it stops the log. The signed checkpoint proves who
//! asked, and a consistency proof that was checked here proves which tree it is.

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

/// The maximum number of witnesses of a log. A note has at most 64 lines, two of them the log's
/// own.
pub const MAX_WITNESSES: usize = 32;

/// The longest answer that is read: the lines of a witness with several keys, or an error page,
/// which is not used.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A witness: its address, and the key that verifies its cosignatures.
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

    /// Its name, which is that of its key.
    #[must_use]
    pub fn name(&self) -> &str {
        self.verifier.name().as_str()
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The time when it cosigned this note, in seconds since 1970, or `None` if it has not.
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

/// The times when witnesses are asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WitnessOptions {
    /// A log that grew is shown this long after the last answer. At least 10 ms.
    pub interval: Duration,
    /// The longest time of one request in total. At least 10 ms.
    pub timeout: Duration,
    /// A witness that has not cosigned for this long, although there is something to cosign, is
    /// [`WitnessEvent::Overdue`].
    pub overdue_after: Duration,
    /// The longest pause between two attempts.
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

/// Refuses more witnesses than a note has space for, and one that is given twice.
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

/// An answer, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawAnswer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, if there was one.
    pub content_type: Option<String>,
    /// At most [`MAX_ANSWER_BYTES`].
    pub body: Vec<u8>,
}

/// Carries requests to a witness. Several threads use it at once.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use livetrail_ledger::{
///     Class, Identity, Ledger, MemStore, RawAnswer, SharedStore, Witness, WitnessFloor,
///     WitnessOptions, WitnessTransport, generate_seed,
/// };
/// use livetrail_tlog::{AddCheckpoint, CosignatureSigner, KeyName};
///
/// /// A witness in this process, for a test. It cosigns everything; a real witness verifies the
/// /// log's signature and the consistency proof first.
/// struct Local(CosignatureSigner);
///
/// impl WitnessTransport for Local {
///     fn post(&self, _url: &str, body: &str, _: Duration) -> Result<RawAnswer, String> {
///         let request = AddCheckpoint::parse(body.as_bytes()).map_err(|error| error.to_string())?;
///         let mut note = request.checkpoint().clone();
///         let cosigned = note.add_signature_of(&self.0.at(1_700_000_000));
///         cosigned.map_err(|error| error.to_string())?;
///         let line = note.signatures().last().ok_or("no signature")?;
///         let body = format!("{line}\n").into_bytes();
///         Ok(RawAnswer { status: 200, content_type: None, body })
///     }
/// }
///
/// let store: SharedStore = Arc::new(MemStore::new());
/// let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
/// Ledger::create(&store, &identity)?;
/// let (ledger, _) = Ledger::builder(store.clone(), identity.clone()).open()?;
/// ledger.append(Class::Strict, &["a record"])?;
/// ledger.close()?;
///
/// let local = Local(CosignatureSigner::from_seed(KeyName::new("witness.example")?, &[7; 32]));
/// let witnesses = vec![Witness::new("https://witness.example", local.0.verifier_key())?];
/// let options = WitnessOptions::default();
/// let floor = WitnessFloor::new(store.clone(), witnesses, options, Arc::new(local))?;
/// let (_ledger, report) = Ledger::builder(store, identity).floor(floor).open()?;
/// assert_eq!(report.floors, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait WitnessTransport: Send + Sync {
    /// `POST`s `body` to `url`, and returns the answer, whatever its status. Must return within
    /// `timeout`.
    ///
    /// # Errors
    /// The reason why there is no answer, as text.
    fn post(&self, url: &str, body: &str, timeout: Duration) -> Result<RawAnswer, String>;
}
