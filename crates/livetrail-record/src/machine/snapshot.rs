//! A checker's state as bytes, so that a check can continue later.
//!
//! ```text
//! format u8 │ needs_boot_records u8 │ index, findings_total, closed_sessions u64 LE
//! │ sessions │ recent │ boots │ ended │ ended_ids │ crashed
//! ```
//!
//! A list has its length in front, as `u64`. A text has its length in bytes in front. An optional
//! part has a byte 0 or 1 in front. Only the program that wrote these bytes reads them. They are
//! derived, and another format is refused, so that the state is rebuilt from the trail.

use std::collections::{BTreeMap, HashSet};
use std::hash::Hash;

use uuid::Uuid;

use super::boot::{Boot, BootEnd, BootSummary, Loss, LossCounts, Orphan};
use super::{At, OpenSession, SessionKind, TrailChecker, UuidSet};
use crate::error::RecordError;
use crate::personal::Personal;
use crate::reason::Reason;

/// The version of the format.
const FORMAT: u8 = 2;

impl TrailChecker {
    /// The state after the records so far. A checker that is [restored](Self::restore) from it
    /// reports the same about later records.
    ///
    /// The bytes contain no personal data. If an open session has a principal or a peer, the
    /// restored one has [`Personal::redacted`] in its place. Only entries of schema 1 have them.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        self.needs_boot_records.put(&mut out);
        self.index.put(&mut out);
        self.findings_total.put(&mut out);
        self.closed_sessions.put(&mut out);
        let sessions = self.sessions.iter();
        let mut sessions: Vec<OpenSession> =
            sessions.map(|(id, session)| session.report(*id)).collect();
        sessions.sort_unstable_by_key(|session| (session.index, session.session));
        put_all(&sessions, &mut out);
        put_all(self.recent.iter(), &mut out);
        let mut boots: Vec<&Boot> = self.boots.values().collect();
        boots.sort_unstable_by_key(|boot| (boot.summary.first_index, boot.summary.boot));
        put_all(boots, &mut out);
        put_all(&self.ended, &mut out);
        put_sorted(&self.ended_ids, &mut out);
        put_all(self.crashed.keys(), &mut out);
        for left in self.crashed.values() {
            put_sorted(left, &mut out);
        }
        out
    }

    /// The checker whose state was [saved](Self::save). Any bytes are safe: memory is at most a
    /// small multiple of their length.
    ///
    /// # Errors
    /// [`RecordError::Snapshot`] if the bytes are not such a state, or have another version.
    pub fn restore(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut from = Bytes {
            rest: bytes,
            length: bytes.len(),
        };
        let restored = Self::get(&mut from);
        match restored {
            Some(checker) if from.rest.is_empty() => Ok(checker),
            _ => Err(RecordError::Snapshot {
                offset: from.length.saturating_sub(from.rest.len()),
            }),
        }
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        if u8::get(from)? != FORMAT {
            return None;
        }
        let mut checker = Self {
            needs_boot_records: bool::get(from)?,
            index: u64::get(from)?,
            findings_total: u64::get(from)?,
            closed_sessions: u64::get(from)?,
            ..Self::new()
        };
        let sessions: Vec<OpenSession> = get_all(from)?;
        let sessions = sessions.into_iter();
        checker.sessions = sessions.map(|open| (open.session, open.into())).collect();
        checker.recent = get_all::<Uuid, Vec<_>>(from)?.into_iter().collect();
        let boots: Vec<Boot> = get_all(from)?;
        checker.boots = boots.into_iter().map(|b| (b.summary.boot, b)).collect();
        checker.ended = get_all(from)?;
        checker.ended_ids = get_all::<Uuid, UuidSet>(from)?;
        let nodes: Vec<Option<String>> = get_all(from)?;
        for node in nodes {
            let left = get_all::<Uuid, HashSet<_>>(from)?;
            checker.crashed.insert(node, left);
        }
        Some(checker)
    }
}

/// The rest of the bytes.
struct Bytes<'a> {
    rest: &'a [u8],
    length: usize,
}

/// A part of the state.
trait Part: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(from: &mut Bytes<'_>) -> Option<Self>;
}

fn put_all<'a, T: Part + 'a>(
    parts: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
    out: &mut Vec<u8>,
) {
    let parts = parts.into_iter();
    (parts.len() as u64).put(out);
    for part in parts {
        part.put(out);
    }
}

fn put_sorted<T: Part + Ord + Hash, S>(parts: &HashSet<T, S>, out: &mut Vec<u8>) {
    let mut sorted: Vec<&T> = parts.iter().collect();
    sorted.sort_unstable();
    put_all(sorted, out);
}

/// Reads a list. Every part of one takes at least one byte, so a wrong length ends with the bytes.
fn get_all<T: Part, C: Default + Extend<T>>(from: &mut Bytes<'_>) -> Option<C> {
    let mut parts = C::default();
    for _ in 0..u64::get(from)? {
        parts.extend([T::get(from)?]);
    }
    Some(parts)
}

impl Part for u8 {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let (byte, rest) = from.rest.split_first()?;
        from.rest = rest;
        Some(*byte)
    }
}

impl Part for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl Part for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let (bytes, rest) = from.rest.split_first_chunk()?;
        from.rest = rest;
        Some(Self::from_le_bytes(*bytes))
    }
}

impl Part for Uuid {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let (bytes, rest) = from.rest.split_first_chunk()?;
        from.rest = rest;
        Some(Self::from_bytes(*bytes))
    }
}

impl Part for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let length = usize::try_from(u64::get(from)?).ok()?;
        let (text, rest) = from.rest.split_at_checked(length)?;
        from.rest = rest;
        std::str::from_utf8(text).ok().map(str::to_owned)
    }
}

impl<T: Part> Part for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(part) = self {
            part.put(out);
        }
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        if bool::get(from)? {
            T::get(from).map(Some)
        } else {
            Some(None)
        }
    }
}

/// Nothing but that there was a text.
impl Part for Personal {
    fn put(&self, _: &mut Vec<u8>) {}

    fn get(_: &mut Bytes<'_>) -> Option<Self> {
        Some(Self::redacted())
    }
}

impl Part for Reason {
    fn put(&self, out: &mut Vec<u8>) {
        self.label().to_owned().put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        String::get(from).map(|label| Self::from_label(&label))
    }
}

impl Part for SessionKind {
    fn put(&self, out: &mut Vec<u8>) {
        (*self == Self::Play).put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        bool::get(from).map(|play| if play { Self::Play } else { Self::Publish })
    }
}

impl Part for BootEnd {
    fn put(&self, out: &mut Vec<u8>) {
        let byte: u8 = match self {
            Self::Running => 0,
            Self::Stopped => 1,
            Self::Crashed => 2,
        };
        byte.put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        match u8::get(from)? {
            0 => Some(Self::Running),
            1 => Some(Self::Stopped),
            2 => Some(Self::Crashed),
            _ => None,
        }
    }
}

/// A struct is the sequence of its fields.
macro_rules! fields {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl Part for $type {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }

            fn get(from: &mut Bytes<'_>) -> Option<Self> {
                Some(Self { $($field: Part::get(from)?,)* })
            }
        }
    };
}

fields!(At {
    index,
    boot,
    session
});
fields!(Orphan { at, kind, seq });
fields!(OpenSession {
    session,
    kind,
    app,
    stream,
    boot,
    node,
    ts_ms,
    protocol,
    principal,
    peer,
    index,
    seq,
    due,
    missing_start,
});
fields!(BootSummary {
    boot,
    node,
    first_index,
    records,
    dropped,
    unsettled,
    end
});
fields!(Loss {
    first,
    last,
    counts
});
fields!(Boot {
    summary,
    next,
    holes,
    losses,
    orphans
});

impl Part for LossCounts {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        Part::get(from).map(Self)
    }
}

impl<K: Part + Ord, V: Part> Part for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        let mut map = Self::new();
        for _ in 0..u64::get(from)? {
            map.insert(K::get(from)?, V::get(from)?);
        }
        Some(map)
    }
}

impl<T: Part> Part for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_all(self, out);
    }

    fn get(from: &mut Bytes<'_>) -> Option<Self> {
        get_all(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuditAction, AuditRecord};

    fn checker() -> TrailChecker {
        let mut checker = TrailChecker::new();
        let boot = Uuid::from_u128(1);
        let record = |action| {
            AuditRecord::new(action, "live")
                .with_boot(boot)
                .with_node("n")
        };
        checker.feed(&record(AuditAction::ServerStarted).with_seq(0));
        checker.feed(
            &record(AuditAction::PlayStarted)
                .with_seq(3)
                .with_session(Uuid::from_u128(5))
                .with_principal("who"),
        );
        checker
    }

    #[test]
    fn bytes_that_are_no_state_are_refused() {
        let bytes = checker().save();
        assert!(TrailChecker::restore(&bytes).is_ok());
        for cut in 0..bytes.len() {
            assert!(TrailChecker::restore(&bytes[..cut]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0xff;
            // Any answer is valid. A wrong length takes no memory.
            let _ = TrailChecker::restore(&other);
        }
        let mut other_format = bytes.clone();
        other_format[0] = 0;
        assert_eq!(
            TrailChecker::restore(&other_format).unwrap_err(),
            RecordError::Snapshot { offset: 1 }
        );
        let mut longer = bytes;
        longer.push(0);
        assert!(TrailChecker::restore(&longer).is_err());
    }

    #[test]
    fn the_bytes_have_no_names_and_say_where_one_was() {
        let bytes = checker().save();
        assert!(!bytes.windows(3).any(|three| three == b"who"));
        let open = TrailChecker::restore(&bytes).unwrap().finish().1.open;
        assert_eq!(open[0].principal, Some(Personal::redacted()));
        assert_eq!(open[0].peer, None);
    }

    #[test]
    fn the_same_state_gives_the_same_bytes() {
        let bytes = checker().save();
        assert_eq!(TrailChecker::restore(&bytes).unwrap().save(), bytes);
    }
}
