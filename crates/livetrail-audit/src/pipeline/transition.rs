//! A transition of the engine as the queue keeps it, in as few bytes as possible: to move it costs
//! more than everything else that an offer does.

use std::time::Duration;

use livetrail_engine::{Detail, Reason, Role, SessionTotals, StreamEventKind};

use super::{convert, intake::Part, refusals::Refused};

/// A [`StreamEventKind`] in 56 bytes instead of 72. It keeps whole milliseconds, as records do.
#[derive(Debug)]
pub(crate) enum Transition {
    PublishStarted,
    PlayStarted,
    Ended {
        reason: Reason,
        bytes: u64,
        frames: u64,
        dropped_frames: u64,
        /// The duration in milliseconds, and in the lowest bit whether it was a publish.
        millis_and_publish: u64,
        detail: Option<Detail>,
    },
    Denied {
        publish: bool,
        reason: Reason,
        detail: Option<Detail>,
    },
    Lagged {
        skipped: u64,
    },
    Evicted {
        lag: u64,
    },
    RateLimited {
        count: u64,
    },
    Reaped {
        idle: Duration,
    },
    Truncated {
        frames: u64,
        bytes: u64,
        count: u64,
    },
    /// The end of a viewer of many requests. This allocates, and few of such ends are reported at
    /// once.
    Left(Box<Left>),
    Shared {
        peers: u32,
    },
    Revoked {
        expires_unix_ms: u64,
    },
    /// A kind of a later engine. This allocates.
    Other(Box<StreamEventKind>),
}

/// The end of a viewer of many requests.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) reason: Reason,
    pub(crate) totals: SessionTotals,
    pub(crate) detail: Option<Detail>,
}

impl Transition {
    #[inline]
    pub(crate) fn of(kind: &StreamEventKind) -> Self {
        use StreamEventKind as Kind;
        match kind {
            Kind::PublishStarted => Self::PublishStarted,
            Kind::PlayStarted => Self::PlayStarted,
            Kind::PublishEnded {
                reason,
                totals,
                detail,
            } => Self::ended(true, reason, totals, detail),
            Kind::PlayEnded {
                reason,
                totals,
                detail,
            } if totals.requests.is_some() => Self::Left(Box::new(Left {
                reason: reason.clone(),
                totals: *totals,
                detail: detail.clone(),
            })),
            Kind::PlayEnded {
                reason,
                totals,
                detail,
            } => Self::ended(false, reason, totals, detail),
            Kind::PublishDenied { reason, detail } => Self::denied(true, reason, detail),
            Kind::PlayDenied { reason, detail } => Self::denied(false, reason, detail),
            Kind::SubscriberLagged { skipped } => Self::Lagged { skipped: *skipped },
            Kind::SubscriberEvicted { lag } => Self::Evicted { lag: *lag },
            Kind::RateLimited { count } => Self::RateLimited { count: *count },
            Kind::StreamReaped { idle } => Self::Reaped { idle: *idle },
            Kind::GopTruncated {
                frames,
                bytes,
                count,
            } => Self::Truncated {
                frames: *frames,
                bytes: *bytes,
                count: *count,
            },
            Kind::TokenShared { peers } => Self::Shared { peers: *peers },
            Kind::TokenRevoked { expires_unix_ms } => Self::Revoked {
                expires_unix_ms: *expires_unix_ms,
            },
            other => Self::Other(Box::new(other.clone())),
        }
    }

    fn ended(
        publish: bool,
        reason: &Reason,
        totals: &SessionTotals,
        detail: &Option<Detail>,
    ) -> Self {
        let millis = u64::try_from(totals.duration.as_millis()).unwrap_or(u64::MAX);
        Self::Ended {
            reason: reason.clone(),
            bytes: totals.bytes,
            frames: totals.frames,
            dropped_frames: totals.dropped_frames,
            millis_and_publish: (millis << 1) | u64::from(publish),
            detail: detail.clone(),
        }
    }

    fn denied(publish: bool, reason: &Reason, detail: &Option<Detail>) -> Self {
        Self::Denied {
            publish,
            reason: reason.clone(),
            detail: detail.clone(),
        }
    }

    /// The kind from which it was made, with its durations in whole milliseconds.
    pub(crate) fn kind(&self) -> StreamEventKind {
        use StreamEventKind as Kind;
        match self {
            Self::PublishStarted => Kind::PublishStarted,
            Self::PlayStarted => Kind::PlayStarted,
            Self::Ended {
                reason,
                bytes,
                frames,
                dropped_frames,
                millis_and_publish,
                detail,
            } => {
                let mut totals = SessionTotals::default();
                totals.duration = Duration::from_millis(millis_and_publish >> 1);
                totals.bytes = *bytes;
                totals.frames = *frames;
                totals.dropped_frames = *dropped_frames;
                let role = role(millis_and_publish & 1 == 1);
                Kind::ended(role, reason.clone(), totals, detail.clone())
            }
            Self::Denied {
                publish,
                reason,
                detail,
            } => Kind::denied(role(*publish), reason.clone(), detail.clone()),
            Self::Lagged { skipped } => Kind::SubscriberLagged { skipped: *skipped },
            Self::Evicted { lag } => Kind::SubscriberEvicted { lag: *lag },
            Self::RateLimited { count } => Kind::RateLimited { count: *count },
            Self::Reaped { idle } => Kind::StreamReaped { idle: *idle },
            Self::Truncated {
                frames,
                bytes,
                count,
            } => Kind::GopTruncated {
                frames: *frames,
                bytes: *bytes,
                count: *count,
            },
            Self::Left(left) => Kind::ended(
                Role::Play,
                left.reason.clone(),
                left.totals,
                left.detail.clone(),
            ),
            Self::Shared { peers } => Kind::TokenShared { peers: *peers },
            Self::Revoked { expires_unix_ms } => Kind::TokenRevoked {
                expires_unix_ms: *expires_unix_ms,
            },
            Self::Other(kind) => StreamEventKind::clone(kind),
        }
    }

    /// The part that it has in its session.
    pub(crate) fn part(&self) -> Part {
        match self {
            Self::PublishStarted => Part::Begin {
                role: Role::Publish,
            },
            Self::PlayStarted => Part::Begin { role: Role::Play },
            Self::Ended { .. } | Self::Left(_) => Part::End,
            Self::Denied { publish: true, .. } => Part::Refusal(Refused::Publish),
            Self::Denied { .. } => Part::Refusal(Refused::Play),
            Self::Evicted { .. } | Self::Reaped { .. } | Self::Revoked { .. } => Part::Cause,
            Self::Lagged { .. }
            | Self::RateLimited { .. }
            | Self::Truncated { .. }
            | Self::Shared { .. } => Part::Remark,
            Self::Other(kind) => convert::part_of_event(kind),
        }
    }

    /// Whether it is the end of a publisher's session.
    pub(crate) fn is_publish(&self) -> bool {
        matches!(self, Self::Ended { millis_and_publish, .. } if millis_and_publish & 1 == 1)
    }

    /// The refused action and the reason, if it is a refusal.
    pub(crate) fn refusal(&self) -> Option<(Refused, &str)> {
        match self {
            Self::Denied {
                publish: true,
                reason,
                ..
            } => Some((Refused::Publish, reason.label())),
            Self::Denied { reason, .. } => Some((Refused::Play, reason.label())),
            _ => None,
        }
    }
}

const fn role(publish: bool) -> Role {
    if publish { Role::Publish } else { Role::Play }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_and_takes_few_bytes() {
        use StreamEventKind as Kind;
        let mut totals = SessionTotals::default();
        totals.duration = Duration::from_millis(90_061_001);
        (totals.bytes, totals.frames, totals.dropped_frames) = (u64::MAX, 2, 3);
        let reason = || Reason::host("subscription_expired").unwrap();
        let detail = || Detail::new("why");
        let mut kinds = vec![
            Kind::PublishStarted,
            Kind::PlayStarted,
            Kind::SubscriberLagged { skipped: 4 },
            Kind::SubscriberEvicted { lag: 5 },
            Kind::RateLimited { count: 6 },
            Kind::StreamReaped {
                idle: Duration::from_nanos(7),
            },
            Kind::GopTruncated {
                frames: 8,
                bytes: 9,
                count: 10,
            },
            Kind::TokenShared { peers: 11 },
            Kind::TokenRevoked {
                expires_unix_ms: 12,
            },
        ];
        for role in [Role::Publish, Role::Play] {
            kinds.push(Kind::ended(role, reason(), totals, detail()));
            kinds.push(Kind::ended(role, Reason::Idle, totals, None));
            kinds.push(Kind::denied(role, reason(), detail()));
        }
        for kind in kinds {
            let packed = Transition::of(&kind);
            assert_eq!(packed.kind(), kind);
            assert_eq!(packed.part(), convert::part_of_event(&kind));
            assert!(!matches!(packed, Transition::Other(_)), "{kind:?}");
            let refusal = packed.refusal().map(|(_, reason)| reason.to_owned());
            let denied = matches!(kind, Kind::PublishDenied { .. } | Kind::PlayDenied { .. });
            assert_eq!(refusal.is_some(), denied, "{kind:?}");
        }
        assert_eq!(size_of::<Transition>(), 56);
    }
}
