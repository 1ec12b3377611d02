//! Choosing rows: for a query, an erasure, a hold, an expiry.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use crate::{
    error::VaultError,
    format::row::{Row, SessionId},
    key::{Keys, Kind, Token, network},
};

/// Whose rows.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// Rows with exactly this principal.
    Principal(String),
    /// Rows with exactly this user agent, without white space around it.
    UserAgent(String),
    /// Rows whose peer is in this network. 32 or 128 bits are one address.
    ///
    /// Cost: a prefix of at least /16 (IPv4) or /48 (IPv6) is found by the token of a /24, /16, /64
    /// or /48. The rows found are decrypted and compared. A query for a shorter prefix decrypts all
    /// rows.
    Network {
        /// Any address in the network.
        address: IpAddr,
        /// The length of the prefix.
        bits: u8,
    },
    /// All rows.
    Anyone,
}

/// What to erase.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// These sessions and the rows that are parts of them; also unknown ones: openings of them that
    /// come later are refused.
    Sessions(Vec<SessionId>),
    /// All that the vault has of this subject now.
    Subject(Subject),
    /// Rows that are older than a time, of one application or of all.
    OlderThan {
        /// The application; `None`: all.
        app: Option<String>,
        /// In milliseconds since 1970. The row's time must be less.
        time_ms: u64,
    },
}

/// A request to erase. `Debug` shows no personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// The operator's name for it. It must not be personal: it goes on record.
    pub id: String,
    /// What to erase.
    pub selection: Selection,
}

/// What a hold covers, also in the future.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldScope {
    /// These sessions and the rows that they own; [`Vault::add_to_hold`](crate::Vault::add_to_hold)
    /// adds more.
    Sessions(Vec<SessionId>),
    /// Sessions of this principal.
    Principal(String),
    /// Sessions of this application.
    Application(String),
    /// Sessions of this stream.
    Stream {
        /// The application.
        app: String,
        /// The stream's name in it.
        name: String,
    },
    /// Sessions that began in this time, in milliseconds since 1970.
    Times {
        /// The first moment.
        from_ms: u64,
        /// The moment after the last.
        until_ms: u64,
    },
    /// Everything.
    Everything,
}

/// The kind of a [`HoldScope`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HoldKind {
    /// [`HoldScope::Sessions`].
    Sessions,
    /// [`HoldScope::Principal`].
    Principal,
    /// [`HoldScope::Application`].
    Application,
    /// [`HoldScope::Stream`].
    Stream,
    /// [`HoldScope::Times`].
    Times,
    /// [`HoldScope::Everything`].
    Everything,
}

/// What to look for.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// Whose rows.
    pub subject: Subject,
    /// Only rows of this application.
    pub app: Option<String>,
    /// Only rows from this time on, in milliseconds since 1970.
    pub from_ms: u64,
    /// Only rows before this time.
    pub until_ms: u64,
}

impl Query {
    /// All rows of a subject.
    #[must_use]
    pub const fn of(subject: Subject) -> Self {
        Self {
            subject,
            app: None,
            from_ms: 0,
            until_ms: u64::MAX,
        }
    }
}

macro_rules! hidden {
    ($($name:ident)*) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )*};
}

hidden!(Subject Selection Request HoldScope Query);

/// How long openings are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// For applications without a value of their own; `None`: forever.
    pub default: Option<Duration>,
    /// For these applications; `None`: forever.
    pub apps: BTreeMap<String, Option<Duration>>,
}

/// The rows that a query or a request selects.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) token: Option<(Kind, Token)>,
    network: Option<(IpAddr, u8)>,
    app: Option<String>,
    from_ms: u64,
    until_ms: u64,
    ages: Option<Ages>,
}

/// Rows of an application are selected before this time; 0 selects none.
#[derive(Clone, Debug)]
struct Ages {
    default_ms: u64,
    apps_ms: BTreeMap<String, u64>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            token: None,
            network: None,
            app: None,
            from_ms: 0,
            until_ms: u64::MAX,
            ages: None,
        }
    }
}

impl Target {
    pub(crate) fn of_query(query: &Query, keys: &Keys) -> Result<Self, VaultError> {
        let target = Self {
            app: query.app.clone(),
            from_ms: query.from_ms,
            until_ms: query.until_ms,
            ..Self::default()
        };
        Ok(match &query.subject {
            Subject::Principal(name) => target.with_token(Kind::Principal, keys.principal(name)),
            Subject::UserAgent(name) => target.with_token(Kind::UserAgent, keys.user_agent(name)),
            Subject::Network { address, bits } => {
                Self::check_network(*address, *bits)?;
                target.with_network(*address, *bits, keys)
            }
            Subject::Anyone => target,
        })
    }

    pub(crate) fn of_retention(retention: &Retention, now_ms: u64) -> Self {
        let before = |age: &Option<Duration>| {
            age.map_or(0, |age| {
                now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
            })
        };
        let apps = retention.apps.iter();
        Self {
            ages: Some(Ages {
                default_ms: before(&retention.default),
                apps_ms: apps.map(|(app, age)| (app.clone(), before(age))).collect(),
            }),
            ..Self::default()
        }
    }

    pub(crate) fn with_token(self, kind: Kind, token: Token) -> Self {
        Self {
            token: Some((kind, token)),
            ..self
        }
    }

    pub(crate) fn check_network(address: IpAddr, bits: u8) -> Result<(), VaultError> {
        let most = if address.to_canonical().is_ipv4() {
            32
        } else {
            128
        };
        if bits > most {
            return Err(VaultError::Prefix { bits });
        }
        Ok(())
    }

    pub(crate) fn with_network(self, address: IpAddr, bits: u8, keys: &Keys) -> Self {
        let address = address.to_canonical();
        let (near, wide) = if address.is_ipv4() {
            (24, 16)
        } else {
            (64, 48)
        };
        let kind = match bits {
            bits if bits >= near => Some(Kind::Near),
            bits if bits >= wide => Some(Kind::Wide),
            _ => None,
        };
        Self {
            token: kind.map(|kind| (kind, keys.network(kind, address))),
            network: Some((network(address, bits), bits)),
            ..self
        }
    }

    pub(crate) fn with_app(self, app: &str) -> Self {
        Self {
            app: Some(app.to_owned()),
            ..self
        }
    }

    pub(crate) fn with_times(self, from_ms: u64, until_ms: u64) -> Self {
        Self {
            from_ms,
            until_ms,
            ..self
        }
    }

    pub(crate) fn with_age(self, app: Option<&str>, time_ms: u64) -> Self {
        let ages = match app {
            None => Ages {
                default_ms: time_ms,
                apps_ms: BTreeMap::new(),
            },
            Some(app) => Ages {
                default_ms: 0,
                apps_ms: BTreeMap::from([(app.to_owned(), time_ms)]),
            },
        };
        Self {
            ages: Some(ages),
            ..self
        }
    }

    /// Rows of this application are selected before this time.
    pub(crate) fn until_ms(&self, app: &str) -> u64 {
        if self.app.as_deref().is_some_and(|only| only != app) {
            return 0;
        }
        self.ages.as_ref().map_or(self.until_ms, |ages| {
            let own = ages.apps_ms.get(app).copied();
            own.unwrap_or(ages.default_ms).min(self.until_ms)
        })
    }

    /// Rows at or after this time are not selected, whatever their application.
    pub(crate) fn latest_ms(&self) -> u64 {
        self.ages.as_ref().map_or(self.until_ms, |ages| {
            let latest = ages.apps_ms.values().copied().max().unwrap_or(0);
            latest.max(ages.default_ms).min(self.until_ms)
        })
    }

    pub(crate) fn earliest_ms(&self) -> u64 {
        self.from_ms
    }

    /// Whether the row is selected. This checks everything but the token, by which the row was
    /// found.
    pub(crate) fn matches(&self, row: &Row) -> bool {
        let token = self.token.is_none_or(|(kind, token)| match kind {
            Kind::Principal => row.principal == Some(token),
            Kind::UserAgent => row.user_agent == Some(token),
            Kind::Stream => row.stream == Some(token),
            Kind::Session | Kind::Near | Kind::Wide | Kind::Owner => true,
        });
        let peer = self.network.is_none_or(|(wanted, bits)| {
            let same =
                |peer: IpAddr| peer.is_ipv4() == wanted.is_ipv4() && network(peer, bits) == wanted;
            row.peer.is_some_and(same)
        });
        let time = (self.from_ms..self.until_ms(&row.app)).contains(&row.time_ms);
        token && peer && time
    }
}
