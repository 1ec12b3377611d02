//! Holds, and the requests that wait for them: one small sealed file. It contains no name of a
//! person in clear, and a principal or user agent only as a token.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    crypt,
    disk::{self, Disk},
    error::VaultError,
    find::Position,
    format::row::{Row, SessionId},
    key::{Keys, Kind, Token},
    selection::{HoldKind, HoldScope, Request, Selection, Subject, Target},
};

/// The maximum number of holds.
pub const MAX_HOLDS: usize = 1024;

/// The maximum number of requests that wait.
pub const MAX_WAITING: usize = 1024;

/// The maximum number of sessions that all holds and waiting requests list.
pub const MAX_LISTED_SESSIONS: usize = 262_144;

/// The maximum number of notes of the caller.
pub const MAX_NOTES: usize = 1024;

/// The maximum number of bytes of a note.
pub const MAX_NOTE_BYTES: usize = 1024;

/// The longest name of a hold or a request.
pub const MAX_NAME_BYTES: usize = 255;

const ABOUT: &[u8] = b"livetrail vault state 1";

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) holds: Vec<Hold>,
    pub(crate) waiting: Vec<Waiting>,
    /// The erasures of the log's entries before this one were replayed.
    pub(crate) replayed: u64,
    /// Texts of the caller.
    #[serde(default)]
    pub(crate) notes: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) name: String,
    scope: Scope,
    /// The caller has listed the sessions before this position: see
    /// [`Vault::held_sessions`](crate::Vault::held_sessions).
    #[serde(default)]
    pub(crate) listed: Position,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Scope {
    Sessions(BTreeSet<u128>),
    Principal(Token),
    Application(String),
    Stream(Token),
    Times { from_ms: u64, until_ms: u64 },
    Everything,
}

/// A request, without a principal in clear.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) id: String,
    /// Rows from this position on came after the request, and the request does not erase them.
    pub(crate) until: Position,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum What {
    Sessions(BTreeSet<u128>),
    Principal(Token),
    UserAgent(Token),
    Network(IpAddr, u8),
    Anyone,
    Older { app: Option<String>, time_ms: u64 },
}

impl Waiting {
    pub(crate) fn new(request: &Request, until: Position, keys: &Keys) -> Result<Self, VaultError> {
        let what = match &request.selection {
            Selection::Sessions(sessions) => What::Sessions(numbers(sessions)),
            Selection::Subject(Subject::Principal(name)) => What::Principal(keys.principal(name)),
            Selection::Subject(Subject::UserAgent(name)) => What::UserAgent(keys.user_agent(name)),
            Selection::Subject(Subject::Network { address, bits }) => {
                Target::check_network(*address, *bits)?;
                What::Network(address.to_canonical(), *bits)
            }
            Selection::Subject(Subject::Anyone) => What::Anyone,
            Selection::OlderThan { app, time_ms } => What::Older {
                app: app.clone(),
                time_ms: *time_ms,
            },
        };
        check_name("a request's identifier", &request.id)?;
        Ok(Self {
            id: request.id.clone(),
            until,
            what,
        })
    }
}

pub(crate) fn numbers(sessions: &[SessionId]) -> BTreeSet<u128> {
    sessions.iter().map(|id| u128::from_be_bytes(*id)).collect()
}

pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), VaultError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return Err(VaultError::Name {
            what,
            bytes: name.len(),
            most: MAX_NAME_BYTES,
        });
    }
    Ok(())
}

impl Hold {
    pub(crate) fn new(name: &str, scope: &HoldScope, keys: &Keys) -> Result<Self, VaultError> {
        check_name("a hold's name", name)?;
        Ok(Self {
            name: name.to_owned(),
            scope: match scope {
                HoldScope::Sessions(sessions) => Scope::Sessions(numbers(sessions)),
                HoldScope::Principal(name) => Scope::Principal(keys.principal(name)),
                HoldScope::Application(app) => Scope::Application(app.clone()),
                HoldScope::Stream { app, name } => Scope::Stream(keys.stream(app, name)),
                HoldScope::Times { from_ms, until_ms } => Scope::Times {
                    from_ms: *from_ms,
                    until_ms: *until_ms,
                },
                HoldScope::Everything => Scope::Everything,
            },
            listed: Position::default(),
        })
    }

    /// Adds sessions to a hold that lists sessions. Returns `false` for a hold of another kind.
    pub(crate) fn add(&mut self, sessions: &[SessionId]) -> bool {
        match &mut self.scope {
            Scope::Sessions(held) => {
                held.extend(numbers(sessions));
                true
            }
            _ => false,
        }
    }

    /// The kind of its scope.
    pub(crate) const fn kind(&self) -> HoldKind {
        match self.scope {
            Scope::Sessions(_) => HoldKind::Sessions,
            Scope::Principal(_) => HoldKind::Principal,
            Scope::Application(_) => HoldKind::Application,
            Scope::Stream(_) => HoldKind::Stream,
            Scope::Times { .. } => HoldKind::Times,
            Scope::Everything => HoldKind::Everything,
        }
    }

    /// The rows that it covers; `None` if it lists sessions.
    pub(crate) fn target(&self) -> Option<Target> {
        let all = Target::default();
        Some(match &self.scope {
            Scope::Sessions(_) => return None,
            Scope::Principal(token) => all.with_token(Kind::Principal, *token),
            Scope::Application(app) => all.with_app(app),
            Scope::Stream(token) => all.with_token(Kind::Stream, *token),
            Scope::Times { from_ms, until_ms } => all.with_times(*from_ms, *until_ms),
            Scope::Everything => all,
        })
    }

    /// Whether it covers the session. A row that cannot be read may be covered by any hold that
    /// does not list sessions.
    fn covers(&self, session: &SessionId, row: Option<&Row>) -> bool {
        match &self.scope {
            Scope::Sessions(held) => held.contains(&u128::from_be_bytes(*session)),
            Scope::Principal(token) => row.is_none_or(|row| row.principal.as_ref() == Some(token)),
            Scope::Application(app) => row.is_none_or(|row| row.app == *app),
            Scope::Stream(token) => row.is_none_or(|row| row.stream.as_ref() == Some(token)),
            Scope::Times { from_ms, until_ms } => {
                row.is_none_or(|row| (*from_ms..*until_ms).contains(&row.time_ms))
            }
            Scope::Everything => true,
        }
    }
}

impl State {
    /// The name of the first hold that covers the session.
    pub(crate) fn held(&self, session: &SessionId, row: Option<&Row>) -> Option<&str> {
        let hold = self.holds.iter().find(|hold| hold.covers(session, row));
        hold.map(|hold| hold.name.as_str())
    }

    /// The name of the first hold that lists the session.
    pub(crate) fn lists(&self, session: &SessionId) -> Option<&str> {
        let number = u128::from_be_bytes(*session);
        let lists =
            |hold: &&Hold| matches!(&hold.scope, Scope::Sessions(held) if held.contains(&number));
        self.holds.iter().find(lists).map(|hold| hold.name.as_str())
    }

    /// Checks the bounds.
    pub(crate) fn check(&self) -> Result<(), VaultError> {
        let full = |what, most| Err(VaultError::Full { what, most });
        if self.holds.len() > MAX_HOLDS {
            return full("holds", MAX_HOLDS);
        }
        if self.waiting.len() > MAX_WAITING {
            return full("waiting requests", MAX_WAITING);
        }
        if self.notes.len() > MAX_NOTES {
            return full("notes", MAX_NOTES);
        }
        let held = self.holds.iter().map(|hold| match &hold.scope {
            Scope::Sessions(sessions) => sessions.len(),
            _ => 0,
        });
        let waiting = self.waiting.iter().map(|waiting| match &waiting.what {
            What::Sessions(sessions) => sessions.len(),
            _ => 0,
        });
        if held.chain(waiting).sum::<usize>() > MAX_LISTED_SESSIONS {
            return full(
                "sessions in holds and waiting requests",
                MAX_LISTED_SESSIONS,
            );
        }
        Ok(())
    }

    pub(crate) fn read(disk: &Disk, key: &[u8; 32]) -> Result<Self, VaultError> {
        let Some(bytes) = disk.read(disk::STATE)? else {
            return Ok(Self::default());
        };
        Self::parse(&bytes, key).ok_or_else(|| {
            VaultError::damaged(disk::STATE, "it does not open: restore it from a back-up")
        })
    }

    pub(crate) fn parse(bytes: &[u8], key: &[u8; 32]) -> Option<Self> {
        let plain = crypt::open(key, ABOUT, bytes).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    pub(crate) fn seal(&self, key: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        let plain = Zeroizing::new(serde_json::to_vec(self).unwrap_or_default());
        let nonce = crypt::random::<24>()?;
        crypt::seal(key, &nonce, ABOUT, &plain)
    }

    /// Makes the state durable.
    pub(crate) fn write(&self, disk: &Disk, key: &[u8; 32]) -> Result<(), VaultError> {
        disk.replace(disk::STATE, &self.seal(key)?)
    }
}

impl What {
    /// The rows that are selected; `None` for a list of sessions.
    pub(crate) fn target(&self, keys: &Keys) -> Option<Target> {
        let target = Target::default();
        Some(match self {
            Self::Sessions(_) => return None,
            Self::Principal(token) => target.with_token(Kind::Principal, *token),
            Self::UserAgent(token) => target.with_token(Kind::UserAgent, *token),
            Self::Network(address, bits) => target.with_network(*address, *bits, keys),
            Self::Anyone => target,
            Self::Older { app, time_ms } => target.with_age(app.as_deref(), *time_ms),
        })
    }
}
