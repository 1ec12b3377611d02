//! The state of an open session in little memory: a busy trail has many thousands, and nearly every
//! record reaches into another one.

use uuid::Uuid;

use super::boot::Orphan;
use super::report::{OpenSession, SessionKind};
use crate::fields::AuditRecord;
use crate::personal::Personal;
use crate::reason::Reason;

/// An [`OpenSession`] without its id, which is the key in the map.
#[derive(Debug)]
pub(super) struct Session {
    /// Application, stream and node, one after the other.
    names: Names,
    app_end: u32,
    stream_end: u32,
    node_end: u32,
    has_stream: bool,
    has_node: bool,
    pub(super) kind: Option<SessionKind>,
    pub(super) boot: Option<Uuid>,
    ts_ms: u64,
    pub(super) index: u64,
    pub(super) seq: Option<u64>,
    more: Option<Box<More>>,
}

/// The longest names that a session keeps in its own memory.
const SHORT: usize = 23;

/// Names, one after the other.
#[derive(Debug)]
enum Names {
    /// Behind them are zeros.
    Short([u8; SHORT]),
    Long(Box<str>),
}

impl Names {
    fn new(names: [&str; 3]) -> Self {
        let mut short = [0; SHORT];
        let mut free = short.as_mut_slice();
        for name in names {
            let Some((into, rest)) = free.split_at_mut_checked(name.len()) else {
                return Self::Long(names.concat().into_boxed_str());
            };
            into.copy_from_slice(name.as_bytes());
            free = rest;
        }
        Self::Short(short)
    }

    /// The names between these two places, at which a name begins or ends.
    fn get(&self, from: u32, to: u32) -> &[u8] {
        let names = match self {
            Self::Short(short) => short,
            Self::Long(long) => long.as_bytes(),
        };
        names.get(from as usize..to as usize).unwrap_or_default()
    }
}

/// A name is a text that was copied whole.
fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).unwrap_or_default()
}

/// What few sessions of a verifier have.
#[derive(Debug, Default, PartialEq, Eq)]
struct More {
    protocol: Option<String>,
    principal: Option<Personal>,
    peer: Option<Personal>,
    due: Option<Reason>,
    missing_start: Option<Orphan>,
}

impl More {
    /// Itself, unless it has nothing.
    fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Session {
    /// The session that a record opens, or shows as the first that exists.
    pub(super) fn new(index: u64, kind: Option<SessionKind>, record: &AuditRecord) -> Self {
        let more = More {
            protocol: record.protocol.clone(),
            principal: record.principal.clone(),
            peer: record.peer.clone(),
            due: None,
            missing_start: None,
        };
        let (stream, node) = (record.stream.as_deref(), record.node.as_deref());
        Self {
            kind,
            boot: record.boot,
            ts_ms: record.ts_ms,
            index,
            seq: record.seq,
            more: more.boxed(),
            ..Self::named(&record.app, stream, node)
        }
    }

    fn named(app: &str, stream: Option<&str>, node: Option<&str>) -> Self {
        let (of_stream, of_node) = (stream.unwrap_or_default(), node.unwrap_or_default());
        // An entry has less than 2^16 bytes.
        let end = |end: usize| u32::try_from(end).unwrap_or(u32::MAX);
        let stream_end = app.len().saturating_add(of_stream.len());
        let node_end = stream_end.saturating_add(of_node.len());
        Self {
            names: Names::new([app, of_stream, of_node]),
            app_end: end(app.len()),
            stream_end: end(stream_end),
            node_end: end(node_end),
            has_stream: stream.is_some(),
            has_node: node.is_some(),
            kind: None,
            boot: None,
            ts_ms: 0,
            index: 0,
            seq: None,
            more: None,
        }
    }

    /// Reads a part of each line of memory that it occupies.
    pub(super) fn read(&self) -> usize {
        let name = match &self.names {
            Names::Short([name, ..]) => Some(name),
            Names::Long(names) => names.as_bytes().first(),
        };
        let name = name.copied().unwrap_or_default();
        usize::from(name).wrapping_add(self.app_end as usize)
            ^ self.index as usize
            ^ self.ts_ms as usize
    }

    /// Whether a record of this application and stream may belong to it. One without a stream may.
    pub(super) fn is_of(&self, app: &str, stream: Option<&str>) -> bool {
        let of_stream = self.names.get(self.app_end, self.stream_end);
        self.names.get(0, self.app_end) == app.as_bytes()
            && (!self.has_stream || stream.is_none_or(|stream| stream.as_bytes() == of_stream))
    }

    pub(super) fn app(&self) -> &str {
        text(self.names.get(0, self.app_end))
    }

    pub(super) fn stream(&self) -> Option<&str> {
        let stream = || text(self.names.get(self.app_end, self.stream_end));
        self.has_stream.then(stream)
    }

    fn node(&self) -> Option<&str> {
        let node = || text(self.names.get(self.stream_end, self.node_end));
        self.has_node.then(node)
    }

    /// The reason that the session's last record must give.
    pub(super) fn due(&self) -> Option<&Reason> {
        self.more.as_ref()?.due.as_ref()
    }

    pub(super) fn set_due(&mut self, due: Reason) {
        self.more.get_or_insert_default().due = Some(due);
    }

    /// Notes that the session's first record is missing. This is judged when the kind of the
    /// session is known.
    pub(super) fn set_missing_start(&mut self, missing_start: Option<Orphan>) {
        if missing_start.is_some() || self.more.is_some() {
            self.more.get_or_insert_default().missing_start = missing_start;
        }
    }

    pub(super) fn take_missing_start(&mut self) -> Option<Orphan> {
        self.more.as_mut()?.missing_start.take()
    }

    /// The session with this id, for a report.
    pub(super) fn report(&self, session: Uuid) -> OpenSession {
        let none = More::default();
        let more = self.more.as_deref().unwrap_or(&none);
        OpenSession {
            session,
            kind: self.kind,
            app: self.app().to_owned(),
            stream: self.stream().map(str::to_owned),
            boot: self.boot,
            node: self.node().map(str::to_owned),
            ts_ms: self.ts_ms,
            protocol: more.protocol.clone(),
            principal: more.principal.clone(),
            peer: more.peer.clone(),
            index: self.index,
            seq: self.seq,
            due: more.due.clone(),
            missing_start: more.missing_start.clone(),
        }
    }
}

impl From<OpenSession> for Session {
    fn from(open: OpenSession) -> Self {
        let more = More {
            protocol: open.protocol,
            principal: open.principal,
            peer: open.peer,
            due: open.due,
            missing_start: open.missing_start,
        };
        Self {
            kind: open.kind,
            boot: open.boot,
            ts_ms: open.ts_ms,
            index: open.index,
            seq: open.seq,
            more: more.boxed(),
            ..Self::named(&open.app, open.stream.as_deref(), open.node.as_deref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::AuditAction;

    #[test]
    fn a_session_is_reported_as_it_was_kept_and_kept_as_it_was_reported() {
        let id = Uuid::from_u128(7);
        for names in 0..8 {
            let mut record = AuditRecord::new(AuditAction::PlayStarted, ["", "live"][names & 1])
                .with_ts_ms(5)
                .with_session(id)
                .with_boot(Uuid::from_u128(9))
                .with_seq(3);
            record.stream = ["", "käse"].get(names / 2).map(|name| (*name).to_owned());
            let nodes = ["edge", "with the longest of names"];
            record.node = nodes.get(names / 3).map(|name| (*name).to_owned());
            record.peer = (names == 5).then(|| "192.0.2.1:9".into());
            let mut session = Session::new(11, Some(SessionKind::Play), &record);
            if names > 3 {
                session.set_due(Reason::Idle);
            }
            let open = session.report(id);
            assert_eq!(open.app, record.app);
            assert_eq!((&open.stream, &open.node), (&record.stream, &record.node));
            assert_eq!((&open.peer, open.seq), (&record.peer, record.seq));
            assert_eq!((open.boot, open.ts_ms, open.index), (record.boot, 5, 11));
            assert_eq!(open.due.as_ref(), session.due());
            assert!(session.is_of(&record.app, record.stream.as_deref()));
            assert!(session.is_of(&record.app, None) && !session.is_of("other", None));
            assert_eq!(
                session.is_of(&record.app, Some("cam")),
                record.stream.is_none()
            );
            assert_eq!(Session::from(open.clone()).report(id), open);
        }
        assert!(size_of::<(Uuid, Session)>() <= 112);
    }
}
