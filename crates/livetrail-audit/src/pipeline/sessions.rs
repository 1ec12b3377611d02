//! The sessions without their last record, as the worker knows them.

use std::collections::BTreeSet;
use std::sync::Arc;

use livetrail_engine::SessionContext;
use livetrail_record::{AuditAction, AuditRecord, UuidMap};
use uuid::Uuid;

/// The source of a session's app and stream.
#[derive(Debug)]
enum Origin {
    Engine(Arc<SessionContext>),
    Host { app: String, stream: Option<String> },
}

#[derive(Debug)]
struct Open {
    publish: bool,
    origin: Origin,
    /// Whether the sink accepted the session's first record.
    recorded: bool,
    /// Whether at the last sweep only this map knew the session.
    abandoned: bool,
}

/// The sessions by their ids. Their number is bounded by the engine's live sessions and by the
/// ends that wait or were dropped since the last sweep.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: UuidMap<Open>,
    /// The dropped ends without an inferred record, of publishers and of viewers.
    lost_ends: [u64; 2],
    /// The sessions whose last record the sink did not accept.
    unended: Vec<Uuid>,
}

impl Sessions {
    /// The sink gets the first record of a session.
    pub(crate) fn begin(&mut self, record: &AuditRecord, context: Option<Arc<SessionContext>>) {
        let Some(session) = record.session else {
            return;
        };
        let origin = context.map_or_else(
            || Origin::Host {
                app: record.app.clone(),
                stream: record.stream.clone(),
            },
            Origin::Engine,
        );
        self.open.insert(
            session,
            Open {
                publish: record.action == AuditAction::PublishStarted,
                origin,
                recorded: false,
                abandoned: false,
            },
        );
    }

    /// The sink accepted the session's first record.
    pub(crate) fn begun(&mut self, session: &Uuid) {
        if let Some(open) = self.open.get_mut(session) {
            open.recorded = true;
        }
    }

    /// The sink accepted the session's last record.
    pub(crate) fn ended(&mut self, session: &Uuid) {
        self.open.remove(session);
    }

    /// The sink did not accept the session's last record, so the session gets an inferred one.
    pub(crate) fn not_ended(&mut self, session: Uuid) {
        if self.open.contains_key(&session) {
            self.unended.push(session);
        }
    }

    /// Whether the session's first record went to the sink, and the sink has not accepted its last
    /// one.
    pub(crate) fn is_open(&self, session: &Uuid) -> bool {
        self.open.contains_key(session)
    }

    /// Whether the session is open and the sink accepted its first record.
    pub(crate) fn is_recorded(&self, session: &Uuid) -> bool {
        self.open.get(session).is_some_and(|open| open.recorded)
    }

    /// This many ends were dropped.
    pub(crate) const fn ends_lost(&mut self, publish: u64, play: u64) {
        self.lost_ends[0] += publish;
        self.lost_ends[1] += play;
    }

    /// Forgets the sessions that only this map knew at two sweeps. This is for a trail without
    /// inferred records.
    pub(crate) fn forget(&mut self) {
        for session in std::mem::take(&mut self.unended) {
            self.open.remove(&session);
        }
        self.open.retain(|_, open| !open.is_gone_twice());
    }

    /// Inferred last records for sessions whose own one was dropped. These are the sessions that
    /// only this map knew at two sweeps, at most as many as ends were dropped. The result also has
    /// those whose last record the sink did not accept.
    pub(crate) fn abandoned(&mut self) -> Vec<AuditRecord> {
        // These sessions stay in the map until the sink has accepted the records.
        let unended: BTreeSet<Uuid> = std::mem::take(&mut self.unended).into_iter().collect();
        let mut ended: Vec<AuditRecord> = unended
            .iter()
            .filter_map(|session| Some(self.open.get(session)?.end(*session)))
            .collect();
        if self.lost_ends == [0, 0] {
            return ended;
        }
        let mut gone: Vec<Uuid> = self
            .open
            .iter_mut()
            .filter_map(|(session, open)| open.is_gone_twice().then_some(*session))
            .filter(|session| !unended.contains(session))
            .collect();
        // The oldest sessions come first.
        gone.sort_unstable();
        for session in gone {
            let Some(open) = self.open.get(&session) else {
                debug_assert!(false, "it was found among the open sessions");
                continue;
            };
            let lost = &mut self.lost_ends[usize::from(!open.publish)];
            if *lost > 0 {
                *lost -= 1;
                ended.push(open.end(session));
            }
        }
        ended
    }

    /// Last records for all open sessions.
    pub(crate) fn all(&mut self) -> Vec<AuditRecord> {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(session, _)| *session);
        open.iter()
            .map(|(session, open)| open.end(*session))
            .collect()
    }
}

impl Open {
    /// Whether only this map knows the session, now and at the last sweep.
    fn is_gone_twice(&mut self) -> bool {
        let is_gone =
            matches!(&self.origin, Origin::Engine(context) if Arc::strong_count(context) == 1);
        std::mem::replace(&mut self.abandoned, is_gone) && is_gone
    }

    /// The record has no reason, because nobody saw why the session ended.
    fn end(&self, session: Uuid) -> AuditRecord {
        let action = if self.publish {
            AuditAction::PublishEnded
        } else {
            AuditAction::PlayEnded
        };
        let mut record = match &self.origin {
            Origin::Engine(context) => AuditRecord::new(action, context.key.app.as_str())
                .with_stream(context.key.stream_id.as_str()),
            Origin::Host { app, stream } => {
                let mut record = AuditRecord::new(action, app.clone());
                record.stream.clone_from(stream);
                record
            }
        };
        record.session = Some(session);
        record.inferred = true;
        record
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppName, Role, SessionId, StreamId, StreamKey};

    use super::*;

    fn context(session: u128) -> Arc<SessionContext> {
        let key = StreamKey {
            app: AppName::new("live").unwrap(),
            stream_id: StreamId::new("cam").unwrap(),
        };
        let session = SessionId::from_uuid(Uuid::from_u128(session));
        Arc::new(SessionContext::new(session, Role::Play, key))
    }

    #[test]
    fn of_sessions_whose_end_may_be_lost_the_oldest_end_first_and_at_most_as_many_as_were_lost() {
        let mut sessions = Sessions::default();
        let lives = context(1);
        for session in (1..=100).rev() {
            let mut record = AuditRecord::new(AuditAction::PlayStarted, "live");
            record.session = Some(Uuid::from_u128(session));
            let context = if session == 1 {
                Arc::clone(&lives)
            } else {
                context(session)
            };
            sessions.begin(&record, Some(context));
        }
        assert_eq!(sessions.abandoned(), [], "no end was lost");
        sessions.ends_lost(5, 60);
        assert_eq!(sessions.abandoned(), [], "seen gone for the first time");
        let of = |records: Vec<AuditRecord>| -> Vec<u128> {
            let sessions = records.iter().filter_map(|record| record.session);
            sessions.map(|session| session.as_u128()).collect()
        };
        assert_eq!(of(sessions.abandoned()), (2..=61).collect::<Vec<_>>());
        assert_eq!(sessions.abandoned(), [], "all that was lost is made up for");
        sessions.not_ended(Uuid::from_u128(7));
        assert_eq!(of(sessions.abandoned()), [7], "the sink did not take it");
        for session in 2..=61 {
            sessions.ended(&Uuid::from_u128(session));
        }
        let all: Vec<u128> = [1].into_iter().chain(62..=100).collect();
        assert_eq!(of(sessions.all()), all);
    }

    #[test]
    fn a_trail_without_inferred_ends_forgets_what_is_gone() {
        let mut sessions = Sessions::default();
        let lives = context(1);
        for context in [Arc::clone(&lives), context(2), context(3)] {
            let mut record = AuditRecord::new(AuditAction::PlayStarted, "live");
            record.session = Some(context.session.as_uuid());
            sessions.begin(&record, Some(context));
        }
        sessions.not_ended(Uuid::from_u128(3));
        sessions.forget();
        assert_eq!(sessions.open.len(), 2);
        sessions.forget();
        assert_eq!(
            sessions.open.keys().collect::<Vec<_>>(),
            [&lives.session.as_uuid()]
        );
    }
}
