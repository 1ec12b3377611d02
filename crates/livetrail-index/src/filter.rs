//! The conditions of a query.

use std::ops::Range;

use livetrail_record::{AuditRecord, RecordError, RecordView, Uuid, name_token, parse_canonical};
use memchr::memmem::Finder;

use crate::key::{Key, SESSION_CHARS};
use crate::segment::Fields;
use crate::sessions::SessionSet;

/// The wanted records: those that fulfil every condition that is set.
///
/// The index helps with every condition, except a part of a session's id shorter than 8 characters.
///
/// An entry of schema 2 names nobody. To find those of a person, ask the vault for the person's
/// sessions, and set both `principal` and `sessions`: an entry then matches if it has either. The
/// index does not know principals. It says only which bundles have any in clear, that is, in
/// entries of schema 1. A query by `principal` reads all of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Filter {
    /// The application.
    pub app: Option<String>,
    /// The stream, in any application unless that is set too.
    pub stream: Option<String>,
    /// Tokens of the stream's name. An entry that has one of them in place of the name matches
    /// `stream`, too. See [`accept_token`](Self::accept_token).
    pub stream_tokens: Vec<String>,
    /// A session's id, its beginning or its end; hyphenated, in lower case.
    pub session: Option<String>,
    /// Any of these sessions, or of the ids under which the vault has openings of later records
    /// and of records without a session. Either this or `principal` suffices if both are set.
    pub sessions: Option<SessionSet>,
    /// Only later entries of a session that commit to an opening of their own, as a host's `detail`
    /// makes them. `sessions` has the ids of their sessions then.
    /// [`Hit::opening`](crate::Hit::opening) is the id of the opening.
    pub details: bool,
    /// Labels of actions, any of which matches; empty for all.
    pub actions: Vec<String>,
    /// The authenticated principal, in clear in the entry. Entries of schema 2 have none.
    pub principal: Option<String>,
    /// At this time or later, in milliseconds since 1970 UTC.
    pub since_ms: Option<u64>,
    /// Before this time.
    pub until_ms: Option<u64>,
    /// Indices of entries.
    pub entries: Option<Range<u64>>,
}

impl Filter {
    /// All later entries of these sessions that commit to an opening of their own. An erasure of
    /// the sessions must erase these openings as well. [`Hit::opening`](crate::Hit::opening) has
    /// the id, and the record has `boot` and `seq`, of which it is made.
    #[must_use]
    pub fn details_of(sessions: SessionSet) -> Self {
        Self {
            sessions: Some(sessions),
            details: true,
            ..Self::default()
        }
    }

    /// Also accepts the token that entries have in place of `stream`, in an application whose names
    /// are personal. `secret` is that of the application. Call it for each such application.
    pub fn accept_token(&mut self, secret: &[u8; 32]) {
        if let Some(stream) = &self.stream {
            self.stream_tokens.push(name_token(secret, stream));
        }
    }

    /// Whether a record matches. Does not check the index of its entry.
    #[must_use]
    pub fn fits(&self, record: &AuditRecord) -> bool {
        self.fits_fields(&record.into())
    }

    /// The record in an entry, if it matches the filter.
    ///
    /// # Errors
    /// When the entry is not a record.
    pub(crate) fn matching(&self, entry: &[u8]) -> Result<Option<AuditRecord>, RecordError> {
        if let Some(view) = RecordView::parse(entry) {
            return Ok(self
                .fits_fields(&Fields::from(&view))
                .then(|| view.to_record()));
        }
        let record = parse_canonical(entry)?;
        Ok(self.fits(&record).then_some(record))
    }

    fn fits_fields(&self, record: &Fields<'_>) -> bool {
        fn is(wanted: Option<&String>, found: Option<&str>) -> bool {
            wanted.is_none_or(|wanted| found == Some(wanted.as_str()))
        }
        let action = self.actions.is_empty() || self.actions.iter().any(|a| a == record.action);
        is(self.app.as_ref(), Some(record.app))
            && self.fits_stream(record.stream)
            && action
            && self.since_ms.is_none_or(|since| record.ts_ms >= since)
            && self.until_ms.is_none_or(|until| record.ts_ms < until)
            && self.fits_session(record)
            && (!self.details || record.is_detail)
            && self.fits_person(record)
    }

    fn fits_stream(&self, found: Option<&str>) -> bool {
        self.stream.as_ref().is_none_or(|wanted| {
            found.is_some_and(|found| {
                found == wanted || self.stream_tokens.iter().any(|token| token == found)
            })
        })
    }

    fn fits_person(&self, record: &Fields<'_>) -> bool {
        let principal = self.principal.as_deref();
        let is_named = || principal.is_some_and(|wanted| record.principal == Some(wanted));
        match &self.sessions {
            None => principal.is_none() || is_named(),
            Some(set) => {
                let has = |id: Option<Uuid>| id.is_some_and(|id| set.contains(id.as_bytes()));
                is_named() || has(record.session) || (!self.details && has(record.opening))
            }
        }
    }

    fn fits_session(&self, record: &Fields<'_>) -> bool {
        let Some(part) = &self.session else {
            return true;
        };
        let mut buffer = Uuid::encode_buffer();
        let id = record
            .session
            .map_or("", |id| id.as_hyphenated().encode_lower(&mut buffer));
        id.starts_with(part.as_str()) || id.ends_with(part.as_str())
    }

    /// The keys that select bundles: a bundle must have one of each inner list. These are sorted.
    pub(crate) fn keys(&self) -> Vec<Vec<Key>> {
        let mut keys = Vec::new();
        let mut must = |mut any_of: Vec<Key>| {
            any_of.sort_unstable();
            any_of.dedup();
            keys.push(any_of);
        };
        if let Some(session) = &self.session
            && let Some(any_of) = session_keys(session)
        {
            must(any_of);
        }
        if let Some(any_of) = self.person_keys() {
            must(any_of);
        }
        if let Some(stream) = &self.stream {
            let tokens = self.stream_tokens.iter();
            must(
                tokens
                    .chain([stream])
                    .map(|name| Key::stream(name))
                    .collect(),
            );
        }
        if !self.actions.is_empty() {
            must(
                self.actions
                    .iter()
                    .map(|label| Key::action(label))
                    .collect(),
            );
        }
        if let Some(app) = &self.app {
            must(vec![Key::app(app)]);
        }
        keys
    }

    fn person_keys(&self) -> Option<Vec<Key>> {
        let name = self.principal.as_ref().map(|_| Key::name_in_clear());
        let Some(set) = &self.sessions else {
            return name.map(|key| vec![key]);
        };
        let ids = set.iter().map(|id| Uuid::from_bytes(*id));
        let of_ids = ids.map(if self.details {
            Key::detail
        } else {
            Key::session_end
        });
        Some(name.into_iter().chain(of_ids).collect())
    }

    /// The wanted time: from, and before. `None` without a condition on time.
    pub(crate) fn span_ms(&self) -> Option<(u64, u64)> {
        (self.since_ms.is_some() || self.until_ms.is_some()).then(|| {
            (
                self.since_ms.unwrap_or(0),
                self.until_ms.unwrap_or(u64::MAX),
            )
        })
    }

    /// Bytes that every matching entry contains. So most other entries are skipped without being
    /// parsed.
    pub(crate) fn needle(&self) -> Option<Finder<'static>> {
        let quoted = |name: &str, text: &String| {
            let plain = !text
                .bytes()
                .any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\');
            plain.then(|| format!("\"{name}\":\"{text}\""))
        };
        let session = self.session.clone().filter(|part| !part.is_empty());
        let text = session
            .or_else(|| {
                let principal = self.principal.as_ref()?;
                quoted("principal", principal).filter(|_| self.sessions.is_none())
            })
            .or_else(|| {
                let stream = self.stream.as_ref()?;
                quoted("stream", stream).filter(|_| self.stream_tokens.is_empty())
            })
            .or_else(|| self.details.then(|| "\"personal\":".to_owned()))
            .or_else(|| {
                quoted(
                    "action",
                    self.actions.first().filter(|_| self.actions.len() == 1)?,
                )
            })
            .or_else(|| quoted("app", self.app.as_ref()?))?;
        Some(Finder::new(text.as_bytes()).into_owned())
    }
}

/// The keys of a session with this beginning or end, or `None` when the index cannot help.
fn session_keys(part: &str) -> Option<Vec<Key>> {
    if part.len() < SESSION_CHARS || !part.is_ascii() {
        return None;
    }
    let hex = |text: Option<&str>| u32::from_str_radix(text.filter(|t| is_hex(t))?, 16).ok();
    let head = hex(part.get(..SESSION_CHARS)).map(Key::session_head);
    let tail = part
        .len()
        .checked_sub(SESSION_CHARS)
        .and_then(|from| hex(part.get(from..)))
        .map(Key::session_tail);
    // A whole id has both keys; that of its end is rarer.
    if part.len() == 36 {
        return Some(tail.into_iter().collect());
    }
    Some(head.into_iter().chain(tail).collect())
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use livetrail_record::{AuditAction, EntryContext, encode_canonical, encode_entry};

    fn record() -> AuditRecord {
        AuditRecord::new(AuditAction::PlayDenied, "live")
            .with_ts_ms(5_000)
            .with_stream("cam")
            .with_principal("mallory")
            .with_session(Uuid::from_u128(0x01a2_0000_0000_7000_8000_0000_0000_abcd))
    }

    fn fits(set: impl FnOnce(&mut Filter)) -> bool {
        fits_in(&record(), &encode_canonical(&record()).unwrap(), set)
    }

    /// Whether the record of schema 2 fits. Its opening is under its session.
    fn fits_without_names(set: impl FnOnce(&mut Filter)) -> bool {
        let context = EntryContext::new([3; 16]).with_name_secret(&SECRET);
        let entry = encode_entry(&record(), &context).unwrap().bytes;
        fits_in(&parse_canonical(&entry).unwrap(), &entry, set)
    }

    const SECRET: [u8; 32] = [8; 32];

    fn fits_in(record: &AuditRecord, entry: &[u8], set: impl FnOnce(&mut Filter)) -> bool {
        let mut filter = Filter::default();
        set(&mut filter);
        let fits = filter.fits(record);
        assert_eq!(filter.matching(entry).unwrap().is_some(), fits);
        let needle = filter.needle();
        let passed = needle.is_none_or(|needle| needle.find(entry).is_some());
        assert!(passed || !fits, "a matching entry is never skipped");
        fits
    }

    #[test]
    fn every_condition_must_hold() {
        assert!(fits(|_| {}));
        assert!(fits(|f| f.stream = Some("cam".into())));
        assert!(!fits(|f| f.stream = Some("ca".into())));
        assert!(!fits(|f| {
            f.app = Some("vod".into());
            f.stream = Some("cam".into());
        }));
        assert!(fits(|f| f.session = Some("01a2".into())));
        assert!(fits(|f| f.session = Some("abcd".into())));
        assert!(!fits(|f| f.session = Some("1a2".into())));
        assert!(fits(|f| f.principal = Some("mallory".into())));
        assert!(!fits(|f| f.principal = Some("mallor".into())));
        assert!(fits(
            |f| f.actions = vec!["heartbeat".into(), "play_denied".into()]
        ));
        assert!(!fits(|f| f.actions = vec!["play".into()]));
        assert!(fits(|f| f.since_ms = Some(5_000)) && !fits(|f| f.since_ms = Some(5_001)));
        assert!(fits(|f| f.until_ms = Some(5_001)) && !fits(|f| f.until_ms = Some(5_000)));
    }

    #[test]
    fn a_person_is_found_by_name_or_by_sessions() {
        let set = |number: u128| SessionSet::new([number.to_be_bytes()]).ok();
        let of_session = set(0x01a2_0000_0000_7000_8000_0000_0000_abcd);
        assert!(!fits(|f| f.sessions = Some(SessionSet::default())));
        assert!(!fits_without_names(
            |f| f.sessions = Some(SessionSet::default())
        ));
        assert!(!fits_without_names(|f| f.details = true));
        assert!(fits(|f| f.sessions.clone_from(&of_session)));
        assert!(fits_without_names(|f| f.sessions.clone_from(&of_session)));
        assert!(!fits_without_names(|f| f.principal = Some("mallory".into())));
        assert!(fits(|f| {
            f.principal = Some("mallory".into());
            f.sessions = set(1);
        }));
        assert!(fits_without_names(|f| {
            f.principal = Some("mallory".into());
            f.sessions.clone_from(&of_session);
        }));
        assert!(!fits_without_names(|f| {
            f.principal = Some("mallory".into());
            f.sessions = set(1);
        }));
    }

    #[test]
    fn a_stream_is_found_by_name_or_by_token() {
        assert!(!fits_without_names(|f| f.stream = Some("cam".into())));
        let by_token = |f: &mut Filter| {
            f.stream = Some("cam".into());
            f.accept_token(&[9; 32]);
            f.accept_token(&SECRET);
        };
        assert!(fits(by_token) && fits_without_names(by_token));
        assert!(!fits_without_names(|f| {
            f.stream = Some("cam".into());
            f.accept_token(&[9; 32]);
        }));
    }

    #[test]
    fn a_part_of_a_session_has_the_keys_of_every_session_that_it_is_a_part_of() {
        let id = Uuid::from_u128(0x0199_a1b2_c3d4_7abc_8def_0123_4567_89ab);
        let text = id.to_string();
        let of_record = Key::session(id);
        for length in SESSION_CHARS..=text.len() {
            for part in [&text[..length], &text[text.len() - length..]] {
                let keys = session_keys(part).unwrap();
                assert!(keys.iter().any(|key| of_record.contains(key)), "{part}");
            }
        }
        assert_eq!(session_keys("0199a1b"), None);
        assert_eq!(session_keys("nothing like an id"), Some(vec![]));
        assert_eq!(session_keys("äääääää"), None);
    }
}
