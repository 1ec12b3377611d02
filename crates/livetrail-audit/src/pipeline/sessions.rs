//! The sessions whose last record is not there yet, as the worker sees them.

use std::collections::HashMap;
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
        let mut ended = Vec::new();
        let lost_ends = &mut self.lost_ends;
        self.open.retain(|session, open| {
            let gone =
                matches!(&open.origin, Origin::Engine(context) if Arc::strong_count(context) == 1);
            let lost = &mut lost_ends[usize::from(!open.publish)];
            if gone && open.forsaken && *lost > 0 {
                *lost -= 1;
                ended.push(open.end(*session));
                return false;
            }
            open.forsaken = gone;
            true
        });
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
