//! An observer that logs each transition with `tracing`.

use tracing::{debug, info, warn};

use crate::{
    event::{SessionTotals, StreamEvent, StreamEventKind},
    log,
    observe::Observer,
};

/// Logs each transition as one event of `tracing`, with the target `livetrail::session`.
///
/// Each event has the fields `event` (such as `publish_started`), `session`, `app`, `stream` and
/// `protocol`; others as they apply: `peer`, `principal`, `reason`, `detail`, `bytes`, `frames`,
/// `dropped_frames`, `duration_ms`, `count`. Starts, ends and refusals are of level INFO, a session
/// that failed, was evicted or reaped of level WARN, the rest of level DEBUG. Names, and the texts
/// that a client chose, are in the fields as they are: whatever writes them must escape them.
///
/// Personal data is hidden until the host calls [`log::show_personal`]: until then there are no
/// `peer` and no `principal`, and a personal name of a stream is `-`.
///
/// It keeps no state and takes no frames. It costs little if nothing collects these events.
///
/// ```
/// use livetrail_engine::{AppSpec, Engine, Telemetry};
///
/// let engine = Engine::builder()
///     .application(AppSpec::new("live"))
///     .observer(Telemetry::new())
///     .build()?;
/// # drop(engine);
/// # Ok::<(), livetrail_engine::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Telemetry;

impl Telemetry {
    /// The observer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

/// Logs with the fields that each event has.
macro_rules! log {
    ($level:ident, $event:ident, $message:literal $(, $($field:tt)+)?) => {
        $level!(
            target: "livetrail::session",
            event = $event.kind.label(),
            session = %$event.session,
            app = %$event.app,
            stream = log::name($event.app.as_str(), $event.stream_id.as_str()),
            protocol = $event.context.protocol,
            $($($field)+,)?
            $message
        )
    };
}

impl Observer for Telemetry {
    fn on_event(&self, event: &StreamEvent) {
        let (peer, via) = log::client(&event.context);
        let principal = event.context.principal.as_deref().and_then(log::personal);
        match &event.kind {
            StreamEventKind::PublishStarted | StreamEventKind::PlayStarted => {
                log!(info, event, "a session has started", peer, via, principal);
            }
            StreamEventKind::PublishDenied { reason, detail }
            | StreamEventKind::PlayDenied { reason, detail } => {
                let detail = detail.as_ref().map(tracing::field::display);
                log!(info, event, "an attempt was refused", peer, via, %reason, detail);
            }
            StreamEventKind::PublishEnded {
                reason,
                totals,
                detail,
            }
            | StreamEventKind::PlayEnded {
                reason,
                totals,
                detail,
            } => {
                let detail = detail.as_ref().map(tracing::field::display);
                let SessionTotals {
                    duration,
                    bytes,
                    frames,
                    dropped_frames,
                    requests: _,
                } = *totals;
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                if reason.is_failure() {
                    log!(warn, event, "a session has failed", peer, via, principal, %reason, detail, duration_ms, bytes, frames, dropped_frames);
                } else {
                    log!(info, event, "a session has ended", peer, via, principal, %reason, detail, duration_ms, bytes, frames, dropped_frames);
                }
            }
            StreamEventKind::SubscriberEvicted { lag: count } => {
                log!(
                    warn,
                    event,
                    "a viewer was too slow and is evicted",
                    peer,
                    via,
                    count
                );
            }
            StreamEventKind::StreamReaped { idle } => {
                let duration_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
                log!(
                    warn,
                    event,
                    "a publisher is idle and is ended",
                    peer,
                    duration_ms
                );
            }
            StreamEventKind::SubscriberLagged { skipped: count } => {
                log!(debug, event, "a viewer has skipped frames", peer, count);
            }
            StreamEventKind::RateLimited { count } => {
                log!(debug, event, "a publisher exceeds its limit", peer, count);
            }
            StreamEventKind::GopTruncated {
                frames,
                bytes,
                count,
            } => {
                log!(
                    debug,
                    event,
                    "a GOP does not fit its cache",
                    frames,
                    bytes,
                    count
                );
            }
            StreamEventKind::TokenShared { peers: count } => {
                log!(
                    info,
                    event,
                    "a viewer's token is in use at two addresses",
                    peer,
                    principal,
                    count
                );
            }
            StreamEventKind::TokenRevoked { .. } => {
                log!(info, event, "a viewer's token is revoked", peer, principal);
            }
        }
    }

    fn wants_frames(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        fmt::Debug,
        sync::{Arc, Mutex, PoisonError, atomic::AtomicU64, atomic::Ordering::Relaxed},
    };

    use tracing::{
        Event, Level, Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };

    use super::*;
    use crate::{Role, SessionContext, SessionId, StreamKey, event::Reason};

    type Fields = BTreeMap<String, String>;

    /// Keeps all events of the target.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(Level, Fields)>>>, Arc<AtomicU64>);

    struct Collect<'a>(&'a mut Fields);

    impl Visit for Collect<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.insert(field.name().to_owned(), format!("{value:?}"));
        }
        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name().to_owned(), value.to_owned());
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "livetrail::session"
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(self.1.fetch_add(1, Relaxed) + 1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::new();
            event.record(&mut Collect(&mut fields));
            self.0
                .lock()
                .unwrap()
                .push((*event.metadata().level(), fields));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn each_transition_is_one_event_with_its_fields() {
        let log = Log::default();
        let key = StreamKey::parse("live", "cam").unwrap();
        let mut context = SessionContext::new(SessionId::at(1), Role::Publish, key);
        context.peer = Some("192.0.2.7:1935".parse().unwrap());
        context.principal = Some("alice".into());
        let context = Arc::new(context);
        let totals = SessionTotals {
            bytes: 7,
            ..SessionTotals::default()
        };
        let kinds = [
            StreamEventKind::PublishStarted,
            StreamEventKind::RateLimited { count: 3 },
            StreamEventKind::ended(Role::Publish, Reason::Kicked, totals, None),
            StreamEventKind::ended(Role::Publish, Reason::NetworkError, totals, None),
            StreamEventKind::denied(Role::Publish, Reason::host("unpaid").unwrap(), None),
        ];
        let started = StreamEvent::new(context.clone(), StreamEventKind::PublishStarted, 0, 0);
        let one = log::ONE_AT_A_TIME.lock();
        let one = one.unwrap_or_else(PoisonError::into_inner);
        log::show_personal(true);
        tracing::subscriber::with_default(log.clone(), || {
            for kind in kinds {
                Telemetry::new().on_event(&StreamEvent::new(context.clone(), kind, 0, 0));
            }
            log::show_personal(false);
            Telemetry::new().on_event(&started);
        });
        drop(one);
        let events = log.0.lock().unwrap();
        let of = |n: usize, field: &str| events[n].1.get(field).cloned().unwrap_or_default();
        let levels: Vec<_> = events.iter().map(|(level, _)| *level).collect();
        let (info, debug, warn) = (Level::INFO, Level::DEBUG, Level::WARN);
        assert_eq!(levels, [info, debug, info, warn, info, info]);
        assert_eq!(
            (of(0, "event"), of(0, "app")),
            ("publish_started".into(), "live".into())
        );
        assert_eq!(
            (of(0, "peer"), of(0, "principal")),
            ("192.0.2.7:1935".into(), "alice".into())
        );
        assert_eq!(of(1, "count"), "3");
        assert_eq!(
            (of(2, "reason"), of(2, "bytes")),
            ("kicked".into(), "7".into())
        );
        assert_eq!(
            (of(3, "reason"), of(4, "reason")),
            ("network_error".into(), "unpaid".into())
        );
        assert_eq!(of(4, "session"), context.session.to_string());
        assert_eq!(of(5, "session"), of(4, "session"));
        assert_eq!((of(5, "peer"), of(5, "principal")), Default::default());
    }
}
