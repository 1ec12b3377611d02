//! Which sessions a request means: filters of lists, and what a kick ends.

use std::fmt;

use ipnet::IpNet;
use livetrail_engine::{Role, SessionContext};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{ApiError, token::Operator};
use crate::config::parse_network;

/// What a session does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum RoleName {
    Publish,
    Play,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Publish => Self::Publish,
            RoleName::Play => Self::Play,
        }
    }
}

/// Sessions with all of these properties. A property that is `None` is not asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    pub(super) app: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) role: Option<Role>,
    pub(super) protocol: Option<String>,
    pub(super) address: Option<IpNet>,
    pub(super) key: Option<String>,
}

impl Selection {
    /// The network of a request.
    ///
    /// # Errors
    /// The text is not one.
    pub(super) fn network(text: Option<&str>) -> Result<Option<IpNet>, ApiError> {
        let network = text.map(parse_network).transpose();
        network.map_err(|problem| ApiError::BadQuery(format!("address: {problem}")))
    }

    /// Whether a session has all of these properties.
    pub(super) fn fits(&self, session: &SessionContext) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let peer = session.peer.map(|peer| peer.ip().to_canonical());
        is(&self.app, Some(session.key.app.as_str()))
            && is(&self.stream, Some(session.key.stream_id.as_str()))
            && self.role.is_none_or(|role| session.role == role)
            && is(&self.protocol, Some(session.protocol))
            && is(&self.key, session.principal.as_deref())
            && self
                .address
                .is_none_or(|net| peer.is_some_and(|peer| net.contains(&peer)))
    }

    /// Whether the caller may ask for these properties. A caller who sees no persons could find one
    /// by asking.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn check(&self, operator: &Operator) -> Result<(), ApiError> {
        let of_persons = self.address.is_some() || self.key.is_some();
        if of_persons && !operator.sees_persons() {
            return Err(ApiError::RoleNotAllowed);
        }
        Ok(())
    }

    /// Whether it says of whom or of what: a role or a protocol alone does not.
    pub(super) fn is_specific(&self) -> bool {
        self.app.is_some() || self.stream.is_some() || self.address.is_some() || self.key.is_some()
    }
}

/// The properties that are asked for. Of those that may name a person there is no value: it goes on
/// record.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = self.role.map(|role| role.label().to_owned());
        let shown = [
            ("app", &self.app),
            ("role", &role),
            ("protocol", &self.protocol),
        ];
        let hidden = [
            ("stream", self.stream.is_some()),
            ("address", self.address.is_some()),
            ("key", self.key.is_some()),
        ];
        let shown = shown
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value.as_deref()?)));
        let hidden = hidden.into_iter().filter(|(_, asked)| *asked);
        let all = shown.chain(hidden.map(|(name, _)| name.to_owned()));
        f.write_str(&all.collect::<Vec<_>>().join(" "))
    }
}

/// The number of items of a page.
///
/// # Errors
/// It is 0, or more than a page may have.
pub(super) fn page_size(limit: Option<usize>, has_cursor: bool) -> Result<usize, ApiError> {
    const PAGE: usize = 100;
    const MOST: usize = 1_000;
    match limit {
        // A client that knows no pages gets everything.
        None if has_cursor => Ok(PAGE),
        None => Ok(usize::MAX),
        Some(limit @ 1..=MOST) => Ok(limit),
        Some(limit) => {
            let problem = format!("limit={limit}: allowed are 1 to {MOST}");
            Err(ApiError::BadQuery(problem))
        }
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{SessionId, StreamKey};

    use super::*;

    #[test]
    fn a_session_fits_if_it_has_every_property_that_is_asked_for() {
        let key = StreamKey::parse("live", "cam").unwrap();
        let mut session = SessionContext::new(SessionId::at(1), Role::Play, key);
        session.protocol = "rtmp";
        session.principal = Some("alice".into());
        session.peer = Some("[::ffff:192.0.2.7]:5000".parse().unwrap());
        let text = |text: &str| Some(text.to_owned());
        let net = |text: &str| Selection::network(Some(text)).unwrap();
        let all = Selection {
            app: text("live"),
            stream: text("cam"),
            role: Some(Role::Play),
            protocol: text("rtmp"),
            address: net("192.0.2.0/24"),
            key: text("alice"),
        };
        assert!(all.fits(&session) && Selection::default().fits(&session));
        assert_eq!(
            all.to_string(),
            "app=live role=play protocol=rtmp stream address key"
        );
        for other in [
            Selection {
                app: text("vod"),
                ..all.clone()
            },
            Selection {
                stream: text("c"),
                ..all.clone()
            },
            Selection {
                role: Some(Role::Publish),
                ..all.clone()
            },
            Selection {
                protocol: text("http-flv"),
                ..all.clone()
            },
            Selection {
                address: net("192.0.2.8"),
                ..all.clone()
            },
            Selection {
                key: text("bob"),
                ..all.clone()
            },
        ] {
            assert!(!other.fits(&session), "{other}");
        }
        assert!(Selection::network(Some("192.0.2.0/33")).is_err());
        let narrow = Selection {
            role: Some(Role::Play),
            protocol: text("rtmp"),
            ..Selection::default()
        };
        assert!(all.is_specific() && !narrow.is_specific());
    }

    #[test]
    fn a_page_has_a_bound_and_a_client_without_pages_gets_everything() {
        assert_eq!(page_size(None, false), Ok(usize::MAX));
        assert_eq!(page_size(None, true), Ok(100));
        assert_eq!(page_size(Some(1_000), true), Ok(1_000));
        assert!(page_size(Some(0), false).is_err() && page_size(Some(1_001), true).is_err());
    }
}
