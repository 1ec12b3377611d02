//! Operations on personal data: their requests and results.

use std::{fmt, net::IpAddr};

use anyhow::ensure;
use livetrail_vault::{Request, Selection, SessionId, Subject};
use serde::{Deserialize, Serialize};

/// The longest number of a request, and the longest name of a hold.
pub const MAX_REQUEST_BYTES: usize = 64;

/// The longest legal basis.
pub const MAX_BASIS_BYTES: usize = 32;

/// The longest name of who asks.
const MAX_BY_BYTES: usize = 128;

/// The basis of what retention erases. No request can have it.
pub(crate) const RETENTION: &str = "retention";

/// Whose openings are erased. `Debug` shows no personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Whose {
    /// Those of this principal.
    Principal(String),
    /// Those of peers in this network.
    Network {
        /// Any address in the network.
        address: IpAddr,
        /// The length of its prefix.
        bits: u8,
    },
    /// Those of these sessions, also of ones that the vault does not know. Later openings of them
    /// are refused.
    Sessions(Vec<SessionId>),
    /// Those that are older.
    Older {
        /// The time before which they began, in milliseconds since 1970.
        before_ms: u64,
        /// Only those of this application.
        app: Option<String>,
    },
}

/// What a hold keeps. `Debug` shows no personal data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum HoldOn {
    /// Sessions of this stream, now and later.
    Stream {
        /// The application.
        app: String,
        /// The stream's name in it.
        name: String,
    },
    /// These sessions.
    Sessions(Vec<SessionId>),
    /// Sessions of this principal, now and later.
    Principal(String),
    /// Sessions that begin in this time, in milliseconds since 1970.
    Times {
        /// The first moment.
        from_ms: u64,
        /// The moment after the last.
        until_ms: u64,
    },
}

macro_rules! hidden {
    ($($name:ident)*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

hidden!(Whose HoldOn);

/// A request to erase openings.
///
/// ```
/// use livetrail_trail::personal::{ErasureRequest, Whose};
///
/// let alice = Whose::Principal("alice".into());
/// let request = ErasureRequest::new("2026-17", "art17", "local:0", alice.clone())?;
/// assert!(!format!("{request:?}").contains("alice"));
/// // The number of a request is on record for ever.
/// assert!(ErasureRequest::new("of-alice", "art17", "local:0", alice).is_err());
/// # Ok::<(), livetrail_trail::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ErasureRequest {
    /// The operator's number of the request. It is on record.
    pub id: String,
    /// The legal basis, such as `art17`. It is on record.
    pub basis: String,
    /// Who asks: the configured name of a token, or the number of a local user. It is on record.
    pub by: String,
    /// Whose openings.
    pub whose: Whose,
}

impl ErasureRequest {
    /// A request.
    ///
    /// # Errors
    /// The number is not 1 to 64 letters, digits, `-`, `_` and `.`, or contains the name whose
    /// openings are to be erased; the basis is not 1 to 32 of the same, or is `retention`; `by` has
    /// more than 128 bytes.
    pub fn new(
        id: impl Into<String>,
        basis: impl Into<String>,
        by: impl Into<String>,
        whose: Whose,
    ) -> Result<Self, crate::Error> {
        let request = Self {
            id: id.into(),
            basis: basis.into(),
            by: by.into(),
            whose,
        };
        request.check()?;
        Ok(request)
    }

    /// Checks a request that was read from a file.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let (id, basis) = (&self.id, &self.basis);
        ensure!(
            is_word(id, MAX_REQUEST_BYTES),
            "the number of a request has 1 to {MAX_REQUEST_BYTES} letters, digits, `-`, `_` and `.`, such as 2026-17"
        );
        ensure!(
            is_word(basis, MAX_BASIS_BYTES),
            "the basis has 1 to {MAX_BASIS_BYTES} letters, digits, `-`, `_` and `.`, such as art17"
        );
        ensure!(
            basis != RETENTION,
            "the basis {RETENTION} is that of openings that expire: give the legal basis of the request, such as art17"
        );
        check_by(&self.by)?;
        if let Whose::Principal(name) = &self.whose {
            ensure!(!name.is_empty(), "the principal is empty");
            check_names_nobody("number of the request", id, name)?;
            check_names_nobody("basis", basis, name)?;
        }
        Ok(())
    }

    /// The request as the vault has it. Its name also has what the records of it need, because a
    /// request that waits for a hold can run years later.
    pub(crate) fn for_vault(&self) -> Request {
        let subject = |subject| Selection::Subject(subject);
        Request {
            id: format!("{}\n{}\n{}", self.id, self.basis, self.by),
            selection: match &self.whose {
                Whose::Principal(name) => subject(Subject::Principal(name.clone())),
                Whose::Network { address, bits } => subject(Subject::Network {
                    address: *address,
                    bits: *bits,
                }),
                Whose::Sessions(sessions) => Selection::Sessions(sessions.clone()),
                Whose::Older { before_ms, app } => Selection::OlderThan {
                    app: app.clone(),
                    time_ms: *before_ms,
                },
            },
        }
    }

    /// What the vault would erase.
    #[must_use]
    pub fn selection(&self) -> Selection {
        self.for_vault().selection
    }
}

/// The words of a request that are on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Words {
    pub(crate) request: String,
    pub(crate) basis: String,
    pub(crate) by: String,
}

impl Words {
    pub(crate) fn of(request: &ErasureRequest) -> Self {
        Self {
            request: request.id.clone(),
            basis: request.basis.clone(),
            by: request.by.clone(),
        }
    }

    /// The words in the name that a request has in the vault. A request of another writer has its
    /// whole name as its number.
    pub(crate) fn parse(name: &str) -> Self {
        let mut parts = name.splitn(3, '\n').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            request: next(),
            basis: next(),
            by: next(),
        }
    }
}

/// The result of a request to erase.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErasureReport {
    /// The operator's number of the request.
    pub request: String,
    /// Openings that were erased.
    pub erased: u64,
    /// Openings that holds keep. The request waits for these.
    pub held: u64,
    /// The holds that keep them.
    pub holds: Vec<String>,
    /// Listed sessions that the vault does not know. Later openings of them are refused.
    pub unknown: u64,
    /// Rows of the vault that cannot be read, so it is unknown whether the request concerns them.
    pub damaged: u64,
    /// Whether it is on record as completed. If not, it waits for a hold, or for a sink that has
    /// openings.
    pub completed: bool,
}

/// The result of setting a hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HoldReport {
    /// The hold's name.
    pub hold: String,
    /// The first entry that it keeps, together with all later ones.
    pub from: u64,
    /// The number of sessions that it covers now.
    pub sessions: u64,
}

/// Checks the name of a hold.
pub(crate) fn check_hold(name: &str, on: &HoldOn) -> anyhow::Result<()> {
    ensure!(
        is_word(name, MAX_REQUEST_BYTES) && !name.contains('.'),
        "the name of a hold has 1 to {MAX_REQUEST_BYTES} letters, digits, `-` and `_`"
    );
    match on {
        HoldOn::Principal(who) => {
            ensure!(!who.is_empty(), "the principal is empty");
            check_names_nobody("name of the hold", name, who)
        }
        HoldOn::Times { from_ms, until_ms } => {
            ensure!(
                from_ms < until_ms,
                "the hold ends before it begins: give a later end"
            );
            Ok(())
        }
        HoldOn::Sessions(sessions) => {
            ensure!(!sessions.is_empty(), "the hold names no session");
            Ok(())
        }
        HoldOn::Stream { .. } => Ok(()),
    }
}

pub(crate) fn check_by(by: &str) -> anyhow::Result<()> {
    ensure!(
        by.len() <= MAX_BY_BYTES && !by.contains('\n'),
        "the name of who asks has more than {MAX_BY_BYTES} bytes, or a line feed"
    );
    Ok(())
}

/// What is on record for ever must not have the name that is to be forgotten.
fn check_names_nobody(what: &str, text: &str, name: &str) -> anyhow::Result<()> {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    ensure!(
        !text.contains(&name),
        "the {what} contains the principal, and is on record for ever: choose one that names nobody, such as a number"
    );
    Ok(())
}

fn is_word(text: &str, most: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=most).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, basis: &str, whose: Whose) -> Result<ErasureRequest, crate::Error> {
        ErasureRequest::new(id, basis, "local:0", whose)
    }

    #[test]
    fn what_is_on_record_for_ever_is_a_plain_word_that_names_nobody() {
        let alice = || Whose::Principal("Alice".to_owned());
        assert!(of("2026-17", "art17", alice()).is_ok());
        for (id, basis, words) in [
            ("", "art17", "1 to 64"),
            ("a b", "art17", "1 to 64"),
            ("a\nb", "art17", "1 to 64"),
            (&"x".repeat(65), "art17", "1 to 64"),
            ("1", "retention", "legal basis"),
            ("1", "a/b", "1 to 32"),
            ("for-alice", "art17", "names nobody"),
            ("1", "alice", "names nobody"),
        ] {
            let refused = of(id, basis, alice()).unwrap_err().to_string();
            assert!(refused.contains(words), "{id} {basis}: {refused}");
        }
        let held = HoldOn::Principal("alice".to_owned());
        assert!(check_hold("case-17", &held).is_ok());
        assert!(check_hold("case-alice", &held).is_err());
        assert!(check_hold("case.17", &held).is_err());
        let never = HoldOn::Times {
            from_ms: 5,
            until_ms: 5,
        };
        assert!(check_hold("case-17", &never).is_err());
    }

    #[test]
    fn the_name_in_the_vault_has_what_later_records_need() {
        let request = of("2026-17", "art17", Whose::Sessions(vec![[1; 16]])).unwrap();
        let name = request.for_vault().id;
        assert_eq!(Words::parse(&name), Words::of(&request));
        assert!(name.len() <= livetrail_vault::MAX_NAME_BYTES);
        assert_eq!(Words::parse("other").request, "other");
    }
}
