//! A viewer's chain: from the session at an edge to the sessions at the origin that its media came
//! from.
//!
//! ```text
//! play      at the edge                             ─┐ same application and stream, same time
//!   publish at the edge, with upstream_session      ─┐ that session at another server
//!     play  at the origin: the edge as its viewer   ─┐ same application and stream, same time
//!       publish at the origin: where the media began
//! ```

use std::{collections::BTreeSet, fmt::Write as _};

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_index::Filter;
use livetrail_record::{Field, FieldValue, SessionKind, SessionRole, Uuid};
use serde::Serialize;

use super::{Fleet, Found, Question};
use crate::{
    commands::trail::show::TrailFormat,
    output::{Failure, printable, say},
    time,
};

/// The maximum number of sessions whose chain is shown.
const MAX_CHAINS: usize = 1_000;

/// The maximum number of steps from server to server. A relay allows five servers.
const MAX_HOPS: u32 = 8;

/// The maximum number of sessions in a chain.
const MAX_LINKS: usize = 1_000;

/// How long before a viewer's start its publication is searched first. Then further back.
const FIRST_SPAN_MS: u64 = 3_600_000;

/// How much the clocks of two servers may differ.
const CLOCKS_MS: u64 = 2_000;

/// The factor from one span to the next.
const WIDER: u64 = 24;

/// A session of a chain, and the sessions that its media came from.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    /// The trail. Absent if this place has no such session.
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    session: String,
    #[serde(flatten)]
    facts: Facts,
    /// `upstream`: named by the session above it; `stream`: it published the stream that the
    /// session above it watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    /// The sessions that its media came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<Self>,
    /// The chain is longer than this command follows.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

/// What the records of a session say.
#[derive(Clone, Debug, Default, Serialize)]
struct Facts {
    /// `play` or `publish`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// The server's own name in its records.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// The indices of its entries, the first and the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<(u64, u64)>,
    /// In milliseconds since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    started_ms: Option<u64>,
    /// `None` if no record says that it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<Upstream>,
}

/// The session at another server that a relayed stream comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Upstream {
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_node: Option<String>,
    upstream_session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

/// The time in which a session's media reached the viewer, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Window {
    from_ms: u64,
    to_ms: u64,
}

impl Window {
    const ALWAYS: Self = Self {
        from_ms: 0,
        to_ms: u64::MAX,
    };

    /// The part in which this session was there as well.
    fn of(self, facts: &Facts) -> Self {
        Self {
            from_ms: self.from_ms.max(facts.started_ms.unwrap_or(0)),
            to_ms: self.to_ms.min(facts.ended_ms.unwrap_or(u64::MAX)),
        }
    }

    /// The same by the clock of another server.
    const fn elsewhere(self) -> Self {
        Self {
            from_ms: self.from_ms.saturating_sub(CLOCKS_MS),
            to_ms: self.to_ms.saturating_add(CLOCKS_MS),
        }
    }

    const fn has(self, other: Self) -> bool {
        self.from_ms <= other.to_ms && other.from_ms <= self.to_ms
    }
}

/// A session of a node, with what its records say.
struct Session {
    node: usize,
    id: Uuid,
    facts: Facts,
}

/// Shows the chain of each session that matches.
pub(super) fn show(fleet: &Fleet, question: &Question, format: TrailFormat) -> Result<(), Failure> {
    if format == TrailFormat::Tsv {
        let words = "--chain has no lines with tabs: use `--format table` or `--format json`";
        return Err(Failure::unusable(anyhow::anyhow!(words)));
    }
    let chains = chains(fleet, question)?;
    for link in &chains {
        match format {
            TrailFormat::Json => say(&serde_json::to_string(link)?)?,
            _ => say(link.text(0).trim_end())?,
        }
    }
    if format == TrailFormat::Table {
        let plural = if chains.len() == 1 { "" } else { "s" };
        say(&format!("{} chain{plural}", chains.len()))?;
    }
    Ok(())
}

/// The chain of each session that matches.
pub(super) fn chains(fleet: &Fleet, question: &Question) -> Result<Vec<Link>, Failure> {
    let mut seen = BTreeSet::new();
    let mut asked = Vec::new();
    fleet.each(question, &mut |found| {
        if let Some(session) = found.record.session
            && seen.insert((found.node, session))
        {
            if asked.len() == MAX_CHAINS {
                return Err(Failure::unusable(anyhow::anyhow!(
                    "more than {MAX_CHAINS} sessions match: give another condition"
                )));
            }
            asked.push((found.node, session));
        }
        Ok(())
    })?;
    let mut chains = Vec::new();
    for (node, id) in asked {
        let mut chain = Chain {
            fleet,
            seen: BTreeSet::new(),
        };
        for session in chain.sessions(id, |found| found.node == node)? {
            chains.push(chain.link(session, None, 0, Window::ALWAYS)?);
        }
    }
    Ok(chains)
}

/// A chain while it is followed.
struct Chain<'a> {
    fleet: &'a Fleet,
    /// The sessions that are in it. A session that comes again is not followed again.
    seen: BTreeSet<(usize, Uuid)>,
}

impl Chain<'_> {
    /// A session, with everything that its media came from.
    fn link(
        &mut self,
        session: Session,
        by: Option<&'static str>,
        hops: u32,
        window: Window,
    ) -> Result<Link, Failure> {
        let window = window.of(&session.facts);
        let is_new = self.seen.insert((session.node, session.id));
        let is_far = hops > MAX_HOPS || self.seen.len() > MAX_LINKS;
        let mut link = Link {
            origin: self
                .fleet
                .nodes
                .get(session.node)
                .map(|node| node.origin.clone()),
            session: session.id.to_string(),
            facts: session.facts.clone(),
            by,
            from: Vec::new(),
            cut: is_new && is_far,
        };
        if !is_new || is_far {
            return Ok(link);
        }
        for upstream in &session.facts.upstream {
            link.from
                .extend(self.upstream(&session, upstream, hops, window)?);
        }
        if session.facts.kind == Some("play") {
            for publication in self.publications(&session, window)? {
                let publication = self.link(publication, Some("stream"), hops, window)?;
                link.from.push(publication);
            }
        }
        Ok(link)
    }

    /// The session at another server that a session names.
    fn upstream(
        &mut self,
        below: &Session,
        upstream: &Upstream,
        hops: u32,
        window: Window,
    ) -> Result<Vec<Link>, Failure> {
        let Ok(id) = Uuid::try_parse(&upstream.upstream_session) else {
            return Ok(Vec::new());
        };
        let sessions = self.sessions(id, |found| found.node != below.node)?;
        if sessions.is_empty() {
            return Ok(vec![Link {
                origin: None,
                session: upstream.upstream_session.clone(),
                facts: Facts {
                    node: upstream.upstream_node.clone(),
                    ..Facts::default()
                },
                by: Some("upstream"),
                from: Vec::new(),
                cut: false,
            }]);
        }
        let (hops, window) = (hops.saturating_add(1), window.elsewhere());
        let above = sessions.into_iter();
        above
            .map(|session| self.link(session, Some("upstream"), hops, window))
            .collect()
    }

    /// The sessions with this id, one for each node that has it.
    fn sessions(
        &self,
        id: Uuid,
        is_asked: impl Fn(&Found) -> bool,
    ) -> Result<Vec<Session>, Failure> {
        let mut filter = Filter::default();
        filter.session = Some(id.to_string());
        let question = Question {
            filter,
            ..Question::default()
        };
        let mut sessions: Vec<Session> = Vec::new();
        self.fleet.each(&question, &mut |found| {
            if is_asked(&found) {
                add(&mut sessions, id, &found);
            }
            Ok(())
        })?;
        Ok(sessions)
    }

    /// The publications of the stream that a viewer watched, if they were there in this time.
    fn publications(&self, viewer: &Session, window: Window) -> Result<Vec<Session>, Failure> {
        let facts = &viewer.facts;
        let (Some(app), Some(stream), Some(_)) = (&facts.app, &facts.stream, facts.started_ms)
        else {
            return Ok(Vec::new());
        };
        let mut span_ms = FIRST_SPAN_MS;
        loop {
            let since_ms = window.from_ms.saturating_sub(span_ms);
            let mut filter = Filter::default();
            filter.app = Some(app.clone());
            filter.stream = Some(stream.clone());
            filter.actions = [AuditAction::PublishStarted, AuditAction::PublishEnded]
                .map(|action| action.label().to_owned())
                .into();
            filter.since_ms = Some(since_ms);
            filter.until_ms = Some(window.to_ms.saturating_add(1));
            let question = Question {
                filter,
                only: Some(viewer.node),
                ..Question::default()
            };
            let mut found: Vec<Session> = Vec::new();
            self.fleet.each(&question, &mut |record| {
                if let Some(id) = record.record.session
                    && found.len() < MAX_LINKS
                {
                    add(&mut found, id, &record);
                }
                Ok(())
            })?;
            let was_there = |session: &Session| session.facts.started_ms <= Some(window.from_ms);
            if found.iter().any(was_there) || since_ms == 0 {
                found.retain(|session| window.has(Window::ALWAYS.of(&session.facts)));
                let whole = found.into_iter().map(|session| {
                    let whole = self.sessions(session.id, |found| found.node == session.node);
                    Ok(whole?.pop().unwrap_or(session))
                });
                return whole.collect();
            }
            span_ms = span_ms.saturating_mul(WIDER);
        }
    }
}

/// Adds what a record says to its session.
fn add(sessions: &mut Vec<Session>, id: Uuid, found: &Found) {
    let at = sessions
        .iter()
        .position(|session| session.node == found.node && session.id == id);
    let at = at.unwrap_or_else(|| {
        sessions.push(Session {
            node: found.node,
            id,
            facts: Facts::default(),
        });
        sessions.len() - 1
    });
    if let Some(session) = sessions.get_mut(at) {
        session.facts.add(found.index, &found.record);
    }
}

impl Facts {
    fn add(&mut self, index: u64, record: &AuditRecord) {
        let kind = |kind| match kind {
            SessionKind::Publish => "publish",
            _ => "play",
        };
        let role = record.action.role();
        match role {
            SessionRole::Opens(of) => {
                self.kind = Some(kind(of));
                self.started_ms = Some(record.ts_ms);
            }
            SessionRole::Closes(of) => {
                self.kind = Some(kind(of));
                self.ended_ms = Some(record.ts_ms);
                let start = record.duration_ms.map(|ms| record.ts_ms.saturating_sub(ms));
                self.started_ms = self.started_ms.or(start);
            }
            SessionRole::Refuses => {
                let is_play = record.action == AuditAction::PlayDenied;
                self.kind = Some(if is_play { "play" } else { "publish" });
                self.ended_ms = Some(record.ts_ms);
            }
            SessionRole::Inside(_) | SessionRole::InsideAny => {}
            // The record may name a session, and is not part of it.
            _ => return,
        }
        let (first, _) = self.entries.unwrap_or((index, index));
        self.entries = Some((first, index));
        if !record.app.is_empty() {
            self.app = Some(record.app.clone());
        }
        self.stream = record.stream.clone().or(self.stream.take());
        self.node = record.node.clone().or(self.node.take());
        let reason = record
            .reason
            .as_ref()
            .map(|reason| reason.label().to_owned());
        self.reason = reason.or(self.reason.take());
        let upstream = Upstream::of(record);
        self.upstream
            .extend(upstream.filter(|upstream| !self.upstream.contains(upstream)));
    }
}

impl Upstream {
    fn of(record: &AuditRecord) -> Option<Self> {
        let field = |name| Field::named(name).and_then(|field| field.get(record));
        let Some(FieldValue::Id(session)) = field("upstream_session") else {
            return None;
        };
        Some(Self {
            upstream_session: session.to_string(),
            upstream_node: match field("upstream_node") {
                Some(FieldValue::Text(node)) => Some(node.to_owned()),
                _ => None,
            },
            epoch: match field("epoch") {
                Some(FieldValue::Number(epoch)) => Some(epoch),
                _ => None,
            },
        })
    }
}

impl Link {
    /// One line for each session, indented by its depth.
    fn text(&self, depth: usize) -> String {
        let mut text = String::new();
        let facts = &self.facts;
        let indent = "  ".repeat(depth);
        let Some(origin) = &self.origin else {
            let node = facts.node.as_deref().unwrap_or("another server");
            return format!(
                "{indent}session {} of {}: not in this place\n",
                self.session,
                printable(node)
            );
        };
        let of = |name: &Option<String>| name.as_deref().unwrap_or("-").to_owned();
        let at = |ms: Option<u64>, other: &str| ms.map_or_else(|| other.to_owned(), time::rfc3339);
        let _ = write!(
            text,
            "{indent}{} {}/{} at {}, session {}, {} to {}",
            facts.kind.unwrap_or("session"),
            printable(&of(&facts.app)),
            printable(&of(&facts.stream)),
            printable(origin),
            self.session,
            at(facts.started_ms, "-"),
            at(facts.ended_ms, "now"),
        );
        if let Some(reason) = &facts.reason {
            let _ = write!(text, ", {}", printable(reason));
        }
        for upstream in &facts.upstream {
            let node = upstream
                .upstream_node
                .as_deref()
                .unwrap_or("another server");
            let _ = write!(text, ", from {}", printable(node));
            if let Some(epoch) = upstream.epoch {
                let _ = write!(text, ", epoch {epoch}");
            }
        }
        if self.cut {
            text.push_str(", not followed further");
        }
        text.push('\n');
        for link in &self.from {
            text.push_str(&link.text(depth.saturating_add(1)));
        }
        text
    }
}
