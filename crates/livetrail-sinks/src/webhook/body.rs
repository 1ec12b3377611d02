//! The body of a request.

use std::fmt::Write as _;

use livetrail_replica::EntryOpening;
use livetrail_tlog::Hash;

use crate::json_line;
use crate::local_cursor::Lost;

/// A request ends with the event that brings its body to this many bytes.
const MAX_BYTES: usize = 1 << 20;

/// The events of a request, as they will be in its body.
#[derive(Debug, Default)]
pub(super) struct Events {
    text: String,
    count: usize,
    first: u64,
    last: u64,
    /// Events that were given up among these.
    lost: Option<Lost>,
}

impl Events {
    /// Adds an entry. It comes after those that are there.
    pub(super) fn add(
        &mut self,
        index: u64,
        leaf: &Hash,
        entry: &[u8],
        is_record: bool,
        opening: Option<&EntryOpening>,
    ) {
        if self.count == 0 {
            self.first = index;
        } else {
            self.text.push(',');
        }
        json_line::entry(&mut self.text, index, leaf, entry, is_record, opening);
        // The line's end.
        self.text.pop();
        self.last = index;
        self.count = self.count.saturating_add(1);
    }

    /// Adds an event that is too old to be sent.
    pub(super) fn give_up(&mut self, index: u64) {
        let one = Lost {
            first: index,
            next: index.saturating_add(1),
            events: 1,
        };
        self.lost = Some(self.lost.map_or(one, |lost| lost.and(one)));
    }

    /// The events that were given up among these.
    pub(super) const fn lost(&self) -> Option<Lost> {
        self.lost
    }

    /// Whether there is nothing to send.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the request is full, if it may have this many events.
    pub(super) fn is_full(&self, max_events: usize) -> bool {
        self.count >= max_events || self.text.len() >= MAX_BYTES
    }

    /// The indexes of the first and the last event.
    pub(super) const fn indexes(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// The value of `Idempotency-Key`, which is a string of RFC 8941. `None` without an event.
    pub(super) fn key(&self, origin: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut key = String::from("\"");
        for c in origin.chars() {
            if matches!(c, '"' | '\\') {
                key.push('\\');
            }
            key.push(c);
        }
        let _ = write!(key, "/{}", self.first);
        if self.last != self.first {
            let _ = write!(key, "-{}", self.last);
        }
        key.push('"');
        Some(key)
    }

    /// The body for events of this log, with the events that were lost before them.
    pub(super) fn body(&self, origin: &str, lost: Option<Lost>) -> String {
        let mut body = String::with_capacity(self.text.len().saturating_add(origin.len() + 128));
        body.push_str("{\"origin\":\"");
        json_line::escape(&mut body, origin);
        body.push_str("\",");
        if let Some(lost) = lost {
            let _ = write!(
                body,
                "\"lost\":{{\"first_index\":{},\"next_index\":{},\"events\":{}}},",
                lost.first, lost.next, lost.events
            );
        }
        body.push_str("\"events\":[");
        body.push_str(&self.text);
        body.push_str("]}");
        body
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::conformance::TestLog;

    use super::*;

    #[test]
    fn a_request_has_its_events_in_order_and_a_key_that_names_them() {
        let log = TestLog::with("example.com/a", 3);
        let range = log.range(0, 3);
        let mut events = Events::default();
        assert_eq!(events.key("o"), None);
        assert_eq!(events.body("o\"", None), r#"{"origin":"o\"","events":[]}"#);
        let mut each = range.iter();
        let (index, entry, leaf) = each.next().unwrap();
        events.add(index, leaf, entry, true, None);
        assert_eq!(events.key("o").as_deref(), Some(r#""o/0""#));
        let text = |entry: &[u8]| String::from_utf8(entry.to_vec()).unwrap();
        let first = format!(r#"{{"index":0,"leaf":"{leaf}","record":{}}}"#, text(entry));
        events.give_up(1);
        let (index, entry, leaf) = each.nth(1).unwrap();
        events.add(index, leaf, entry, false, None);
        assert_eq!(events.key("a\"b").as_deref(), Some(r#""a\"b/0-2""#));
        let body = events.body("o", events.lost());
        let begin =
            r#"{"origin":"o","lost":{"first_index":1,"next_index":2,"events":1},"events":["#;
        assert!(body.starts_with(&format!("{begin}{first},")), "{body}");
        assert!(
            body.ends_with("\"}]}") && body.contains("entry_base64"),
            "{body}"
        );
        assert_eq!(events.indexes(), (0, 2));
        assert!(events.is_full(2) && !events.is_full(3));
    }
}
