//! A refused attempt, with the properties that distinguish kinds.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use livetrail_record::{AuditAction, AuditRecord, Reason};
use uuid::Uuid;

use crate::pipeline::intake::{Offered, What};

/// The addresses of one party: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressGroup(IpAddr);

impl From<IpAddr> for AddressGroup {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl std::fmt::Display for AddressGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

/// The refused action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    Publish,
    Play,
    Admin,
}

impl Refused {
    pub(crate) const ALL: [Self; 3] = [Self::Publish, Self::Play, Self::Admin];

    pub(crate) fn of(action: &AuditAction) -> Option<Self> {
        match action {
            AuditAction::PublishDenied => Some(Self::Publish),
            AuditAction::PlayDenied => Some(Self::Play),
            AuditAction::AdminDenied => Some(Self::Admin),
            _ => None,
        }
    }

    pub(super) const fn action(self) -> AuditAction {
        match self {
            Self::Publish => AuditAction::PublishDenied,
            Self::Play => AuditAction::PlayDenied,
            Self::Admin => AuditAction::AdminDenied,
        }
    }

    /// Whether the record of such a refusal is a session of its own.
    pub(crate) const fn has_session(self) -> bool {
        matches!(self, Self::Publish | Self::Play)
    }
}

/// One refused attempt, or several that the host counted.
pub(super) struct Attempt<'a> {
    pub(super) what: Refused,
    pub(super) app: &'a str,
    pub(super) stream: Option<&'a str>,
    pub(super) protocol: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) peer: Option<IpAddr>,
    pub(super) principal: Option<&'a str>,
    pub(super) session: Option<Uuid>,
    pub(super) count: u64,
    pub(super) first_ts_ms: u64,
    pub(super) last_ts_ms: u64,
}

impl<'a> Attempt<'a> {
    /// `None` if the offer is not a refusal.
    pub(super) fn of(offered: &'a Offered) -> Option<Self> {
        let ts_ms = offered.ts_ms;
        match &offered.what {
            What::Transition { kind, context, .. } => {
                let (what, reason) = kind.refusal()?;
                Some(Self {
                    what,
                    app: context.key.app.as_str(),
                    stream: Some(context.key.stream_id.as_str()),
                    protocol: Some(context.protocol),
                    reason: Some(reason),
                    peer: context.peer.map(|peer| peer.ip()),
                    principal: context.principal.as_deref(),
                    session: Some(context.session.as_uuid()),
                    count: 1,
                    first_ts_ms: ts_ms,
                    last_ts_ms: ts_ms,
                })
            }
            What::Record(record) => Some(Self {
                what: Refused::of(&record.action)?,
                app: &record.app,
                stream: record.stream.as_deref(),
                protocol: record.protocol.as_deref(),
                reason: record.reason.as_ref().map(Reason::label),
                peer: peer_of(record),
                principal: record.principal.as_ref().map(|text| text.expose()),
                session: record.session,
                count: record.count.unwrap_or(1).max(1),
                first_ts_ms: record.first_ts_ms.unwrap_or(ts_ms),
                last_ts_ms: record.last_ts_ms.unwrap_or(ts_ms),
            }),
        }
    }

    pub(super) fn group(&self) -> Option<AddressGroup> {
        self.peer.map(AddressGroup::from)
    }

    /// The application, if it distinguishes kinds. All unknown applications are one kind, and so
    /// are all invalid names. Otherwise anyone could make a new kind with each attempt.
    pub(super) fn app_of_kind(&self) -> Option<&'a str> {
        let any = matches!(self.reason, Some("app_not_found" | "bad_name"));
        (!any).then_some(self.app)
    }
}

/// The address in a record's `peer`, with or without its port.
pub(crate) fn peer_of(record: &AuditRecord) -> Option<IpAddr> {
    let text = record.peer.as_ref()?.expose();
    text.parse::<SocketAddr>()
        .map(|peer| peer.ip())
        .or_else(|_| text.parse())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_counts_as_one_address_and_a_mapped_one_as_what_it_is() {
        let group = |text: &str| AddressGroup::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(group("2001:db8:0:1::7"), group("2001:db8:0:1:ffff::"));
        assert_ne!(group("2001:db8:0:1::7"), group("2001:db8:0:2::7"));
        assert_eq!(group("::ffff:192.0.2.7"), group("192.0.2.7"));
        assert_eq!(group("2001:db8:0:1::7").to_string(), "2001:db8:0:1::/64");
        assert_eq!(group("192.0.2.7").to_string(), "192.0.2.7");
    }

    #[test]
    fn a_records_peer_is_an_address_with_or_without_port() {
        let record = AuditRecord::new(AuditAction::AdminDenied, "");
        let of = |peer: &str| peer_of(&record.clone().with_peer(peer));
        assert_eq!(of("192.0.2.7:80"), "192.0.2.7".parse().ok());
        assert_eq!(of("[2001:db8::1]:80"), "2001:db8::1".parse().ok());
        assert_eq!(of("2001:db8::1"), "2001:db8::1".parse().ok());
        assert_eq!((of("nobody"), peer_of(&record)), (None, None));
    }
}
