//! Reading rows: by session, and by subject in pages.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    ops::ControlFlow,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    error::VaultError,
    format::{
        index::Entry,
        narrow,
        row::{Row, RowKind, SessionId},
    },
    key::{Kind, Token},
    segment::{
        Read, Reader,
        full::{Full, Lookup},
    },
    selection::{Query, Target},
    vault::Vault,
};

/// Up to this many sessions are looked up one by one. For more, all sessions of a segment are read.
const FEW_SESSIONS: usize = 64;

/// The maximum number of rows that a page decrypts.
const PAGE_EXAMINED: u64 = 65_536;

/// The maximum number of rows of a page.
pub const MAX_PAGE_ROWS: usize = 1_000;

/// The position of a row, which never changes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position {
    pub(crate) segment: u64,
    pub(crate) row: u32,
}

/// A row of a session.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// The session.
    pub session: SessionId,
    /// Whether it is a refusal.
    pub kind: RowKind,
    /// The application.
    pub app: String,
    /// The record's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// The session whose record it belongs to, if it has an identifier of its own.
    pub owner: Option<SessionId>,
    /// The bytes of the opening; wiped when dropped.
    pub opening: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opening(..)")
    }
}

impl From<Row> for Opening {
    fn from(row: Row) -> Self {
        Self {
            session: row.session,
            kind: row.kind,
            app: row.app,
            time_ms: row.time_ms,
            owner: row.owner,
            opening: row.opening,
        }
    }
}

/// Some results of a query, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The rows.
    pub rows: Vec<Opening>,
    /// Where the next page begins, or `None` when there are no more. An empty page can have a next
    /// page.
    pub next: Option<Position>,
    /// Rows that should be here but do not open: see [`Vault::check`].
    pub damaged: u64,
}

/// The number of a session in a list, and the segment and row of one of its rows.
pub(crate) type Located = (usize, (u64, u32));

/// Rows by segment.
pub(crate) type Places = BTreeMap<u64, BTreeSet<u32>>;

impl Vault {
    /// The opening of a session, or `None` when the vault has none.
    ///
    /// Cost: about 16 small reads for each segment, from the newest on.
    ///
    /// # Errors
    /// Errors of the system, or damage.
    pub fn get(&self, session: &SessionId) -> Result<Option<Opening>, VaultError> {
        self.usable()?;
        let places = self.locate(std::slice::from_ref(session))?;
        for (segment, row) in places.into_iter().rev().map(|(_, place)| place) {
            match self.read(segment, row)? {
                Read::Row(row) => return Ok(Some((*row).into())),
                Read::Erased => {}
                Read::Damaged => {
                    return Err(VaultError::damaged(
                        &crate::disk::rows(segment),
                        "a row does not open",
                    ));
                }
            }
        }
        Ok(None)
    }

    /// A page of the rows that a query selects, from `from` on. At most `limit` rows, and never
    /// more than [`MAX_PAGE_ROWS`].
    ///
    /// # Errors
    /// [`VaultError::Prefix`], errors of the system, or damage.
    pub fn find(
        &self,
        query: &Query,
        from: Option<Position>,
        limit: usize,
    ) -> Result<Page, VaultError> {
        self.usable()?;
        let target = Target::of_query(query, &self.keys)?;
        let limit = limit.clamp(1, MAX_PAGE_ROWS);
        let mut page = Page::default();
        let mut examined = 0_u64;
        self.walk(&target, from.unwrap_or_default(), &mut |at, read| {
            if page.rows.len() >= limit || examined >= PAGE_EXAMINED {
                page.next = Some(at);
                return Ok(ControlFlow::Break(()));
            }
            examined = examined.saturating_add(1);
            match read()? {
                Read::Row(row) if target.matches(&row) => page.rows.push((*row).into()),
                Read::Row(_) | Read::Erased => {}
                Read::Damaged => page.damaged = page.damaged.saturating_add(1),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(page)
    }

    /// The rows that are parts of these sessions: see [`NewRow::owner`](crate::NewRow::owner).
    ///
    /// Cost: as for as many calls of [`get`](Self::get), and less for more than 64 sessions.
    ///
    /// # Errors
    /// Errors of the system, or damage.
    pub fn parts_of(&self, sessions: &[SessionId]) -> Result<Vec<SessionId>, VaultError> {
        self.usable()?;
        let mut parts = BTreeSet::new();
        for (_, (segment, row)) in self.locate_by(Kind::Owner, sessions)? {
            if let Read::Row(row) = self.read(segment, row)? {
                parts.insert(row.session);
            }
        }
        Ok(parts.into_iter().collect())
    }

    /// Whether a session was erased.
    ///
    /// # Errors
    /// Errors of the system, or damage.
    pub fn is_erased(&self, session: &SessionId) -> Result<bool, VaultError> {
        self.usable()?;
        self.tombstones.contains(session)
    }

    /// One row.
    pub(crate) fn read(&self, segment: u64, row: u32) -> Result<Read, VaultError> {
        if segment == self.active.number {
            return self.active.read(&self.keys, row);
        }
        let Some(full) = self.full.get(&segment) else {
            return Ok(Read::Erased);
        };
        let Some((lookup, reader)) = self.files(full)? else {
            return Ok(Read::Erased);
        };
        reader.row(&self.keys, row, lookup.entry(row)?.offset)
    }

    /// The files of a full segment, or `None` when another process has erased all of its rows.
    fn files(&self, full: &Full) -> Result<Option<(Lookup, Reader)>, VaultError> {
        self.unless_removed(
            full.lookup(&self.disk)
                .and_then(|lookup| Ok((lookup, Reader::open(&self.disk, full.number())?))),
        )
    }

    fn unless_removed<T>(&self, opened: Result<T, VaultError>) -> Result<Option<T>, VaultError> {
        match opened {
            Err(VaultError::Io { source, .. })
                if self.is_read_only() && source.kind() == ErrorKind::NotFound =>
            {
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    /// Where the rows of these sessions are, with the session's number in the slice. Also finds
    /// rows whose key is overwritten but whose tokens still exist.
    pub(crate) fn locate(&self, sessions: &[SessionId]) -> Result<Vec<Located>, VaultError> {
        self.locate_by(Kind::Session, sessions)
    }

    /// The same for the rows that these sessions are, or the rows that they own.
    pub(crate) fn locate_by(
        &self,
        kind: Kind,
        sessions: &[SessionId],
    ) -> Result<Vec<Located>, VaultError> {
        let token = |session: &SessionId| self.keys.token(kind, session);
        let mut wanted: Vec<(Token, usize)> = sessions.iter().map(token).zip(0..).collect();
        wanted.sort_unstable();
        let mut found = Vec::new();
        for (number, full) in &self.full {
            let Some(lookup) = self.unless_removed(full.lookup(&self.disk))? else {
                continue;
            };
            if wanted.len() <= FEW_SESSIONS {
                for (token, at) in &wanted {
                    let rows = lookup.find(kind, token, 0)?;
                    found.extend(rows.into_iter().map(|row| (*at, (*number, row))));
                }
            } else {
                let pairs = lookup.pairs(kind)?;
                join(&wanted, &pairs, |at, row| found.push((at, (*number, row))));
            }
        }
        for (token, at) in &wanted {
            let rows = self.active.find(kind, token, 0);
            found.extend(rows.into_iter().map(|row| (*at, (self.active.number, row))));
        }
        Ok(found)
    }

    /// Visits the rows that may be selected, in order, from a position on. The visitor reads those
    /// that it needs.
    pub(crate) fn walk(
        &self,
        target: &Target,
        from: Position,
        visit: &mut Visit<'_>,
    ) -> Result<(), VaultError> {
        for (number, full) in self.full.range(from.segment..) {
            let first = if *number == from.segment { from.row } else { 0 };
            if full.head.oldest_ms >= target.latest_ms() {
                continue;
            }
            if self.walk_full(full, target, first, visit)?.is_break() {
                return Ok(());
            }
        }
        let first = match from.segment.cmp(&self.active.number) {
            Ordering::Less => 0,
            Ordering::Equal => from.row,
            Ordering::Greater => return Ok(()),
        };
        let rows = match &target.token {
            Some((kind, token)) => self.active.find(*kind, token, first),
            None => {
                let dues = Due::of(target, self.active.apps());
                let entries = self.active.entries();
                let live = self.active.live_rows(first).into_iter();
                let due = |row: &u32| {
                    entries
                        .get(narrow(u64::from(*row)))
                        .is_some_and(|e| dues.is(e))
                };
                live.filter(due).collect()
            }
        };
        for row in rows {
            let at = Position {
                segment: self.active.number,
                row,
            };
            if visit(at, &|| self.active.read(&self.keys, row))?.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn walk_full(
        &self,
        full: &Full,
        target: &Target,
        first: u32,
        visit: &mut Visit<'_>,
    ) -> Result<ControlFlow<()>, VaultError> {
        let segment = full.number();
        let Some((lookup, reader)) = self.files(full)? else {
            return Ok(ControlFlow::Continue(()));
        };
        let rows = match &target.token {
            Some((kind, token)) => lookup.find(*kind, token, first)?,
            None => {
                let dues = Due::of(target, &lookup.apps()?);
                let entries = lookup.entries()?;
                let slots = reader.slots()?;
                let rows = (0_u32..).zip(entries.iter().zip(slots));
                let live = rows.filter(|(row, (_, slot))| *row >= first && *slot != [0; 32]);
                let due = live.filter(|(_, (entry, _))| dues.is(entry));
                due.map(|(row, _)| row).collect()
            }
        };
        for row in rows {
            let read = || reader.row(&self.keys, row, lookup.entry(row)?.offset);
            if visit(Position { segment, row }, &read)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Gets a row's position, and can read the row.
pub(crate) type Visit<'a> = dyn FnMut(Position, &dyn Fn() -> Result<Read, VaultError>) -> Result<ControlFlow<()>, VaultError>
    + 'a;

/// The times that are selected, for each application of a segment.
struct Due {
    from_ms: u64,
    until_ms: Vec<u64>,
}

impl Due {
    fn of(target: &Target, apps: &[String]) -> Self {
        Self {
            from_ms: target.earliest_ms(),
            until_ms: apps.iter().map(|app| target.until_ms(app)).collect(),
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        let until_ms = self.until_ms.get(usize::from(entry.app)).copied();
        entry.unreadable || (self.from_ms..until_ms.unwrap_or(0)).contains(&entry.time_ms)
    }
}

/// Joins two sorted lists by their tokens.
fn join(wanted: &[(Token, usize)], pairs: &[(Token, u32)], mut found: impl FnMut(usize, u32)) {
    let mut rest = pairs;
    for (token, at) in wanted {
        let skip = rest.partition_point(|(other, _)| other < token);
        rest = rest.get(skip..).unwrap_or_default();
        for (_, row) in rest.iter().take_while(|(other, _)| other == token) {
            found(*at, *row);
        }
    }
}
