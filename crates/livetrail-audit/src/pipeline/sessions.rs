//! The sessions whose last record is not there yet, as the worker sees them.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;

use livetrail_engine::SessionContext;
use livetrail_record::{AuditAction, AuditRecord};
use uuid::Uuid;

/// Where a session's app and stream are known from.
#[derive(Debug)]
enum Origin {
    Engine(Arc<SessionContext>),
    Host { app: String, stream: Option<String> },
}

#[derive(Debug)]
struct Open {
    publish: bool,
    origin: Origin,
    /// The sink took its first record.
    recorded: bool,
    /// At the last look nobody but this map knew the session.
    forsaken: bool,
}

/// Sessions by identity. Bounded by the engine's live sessions and the ends that were dropped since the last
/// [`forsaken`](Self::forsaken).
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: HashMap<Uuid, Open>,
    /// First records that the sink has not taken yet.
    fresh: Vec<Uuid>,
    /// Ends that were dropped and are not made up for, of publishers and of viewers.
    lost_ends: [u64; 2],
}

impl Sessions {
    /// A record goes to the sink.
    pub(crate) fn see(&mut self, record: &AuditRecord, context: Option<Arc<SessionContext>>) {
        let Some(session) = record.session else {
            return;
        };
        let publish = match record.action {
            AuditAction::PublishStarted => true,
            AuditAction::PlayStarted => false,
            AuditAction::PublishEnded | AuditAction::PlayEnded => {
                self.open.remove(&session);
                return;
            }
            _ => return,
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
                publish,
                origin,
                recorded: false,
                forsaken: false,
            },
        );
        self.fresh.push(session);
    }

    /// The sink took what was seen so far, or it did not.
    pub(crate) fn taken(&mut self, taken: bool) {
        for session in self.fresh.drain(..) {
            if let Some(open) = self.open.get_mut(&session) {
                open.recorded = taken;
            }
        }
    }

    /// Whether the session is open and the sink took its first record.
    pub(crate) fn is_recorded(&self, session: &Uuid) -> bool {
        self.open.get(session).is_some_and(|open| open.recorded)
    }

    /// So many ends were dropped.
    pub(crate) const fn ends_lost(&mut self, publish: u64, play: u64) {
        self.lost_ends[0] += publish;
        self.lost_ends[1] += play;
    }

    /// Last records for sessions whose own was dropped: those that nobody but this map has known for two looks, as many as
    /// ends were dropped.
    pub(crate) fn forsaken(&mut self) -> Vec<AuditRecord> {
        if self.lost_ends == [0, 0] {
            return Vec::new();
        }
        let mut gone = Vec::new();
        for (session, open) in &mut self.open {
            let is_gone =
                matches!(&open.origin, Origin::Engine(context) if Arc::strong_count(context) == 1);
            if is_gone && open.forsaken {
                gone.push(*session);
            }
            open.forsaken = is_gone;
        }
        // Oldest first.
        gone.sort_unstable();
        let mut ended = Vec::new();
        for session in gone {
            let Entry::Occupied(open) = self.open.entry(session) else {
                continue;
            };
            let lost = &mut self.lost_ends[usize::from(!open.get().publish)];
            if *lost > 0 {
                *lost -= 1;
                ended.push(open.remove().end(session));
            }
        }
        ended
    }

    /// Last records for everything that is open.
    pub(crate) fn all(&mut self) -> Vec<AuditRecord> {
        let mut open: Vec<_> = self.open.drain().collect();
        open.sort_unstable_by_key(|(session, _)| *session);
        open.iter()
            .map(|(session, open)| open.end(*session))
            .collect()
    }
}

impl Open {
    /// Nobody saw why it ended, so the record gives no reason.
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
    fn of_those_whose_end_may_have_been_lost_the_oldest_end_first_and_no_more_than_were_lost() {
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
            sessions.see(&record, Some(context));
        }
        assert_eq!(sessions.forsaken(), [], "no end was lost");
        sessions.ends_lost(5, 60);
        assert_eq!(sessions.forsaken(), [], "seen gone for the first time");
        let of = |records: Vec<AuditRecord>| -> Vec<u128> {
            let sessions = records.iter().filter_map(|record| record.session);
            sessions.map(|session| session.as_u128()).collect()
        };
        assert_eq!(of(sessions.forsaken()), (2..=61).collect::<Vec<_>>());
        assert_eq!(sessions.forsaken(), [], "all that was lost is made up for");
        let all: Vec<u128> = [1].into_iter().chain(62..=100).collect();
        assert_eq!(of(sessions.all()), all);
    }
}
