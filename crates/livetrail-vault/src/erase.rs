//! Erasing rows, holds, and expiry.
//!
//! The order of an erasure, for up to 65,536 sessions at a time:
//!
//! 1. The caller puts the sessions on record: the log is the list of erasures. A crash here leaves
//!    an erasure that the next start replays.
//! 2. `erasing` is written with the sessions. From here on, every start finishes the erasure.
//! 3. The sessions become tombstones: later openings of them are refused.
//! 4. In each segment: the keys are overwritten and synced; the rows are overwritten and synced;
//!    the index is replaced by one without their tokens. A row without its key cannot be read, so
//!    after a crash between these steps, the rows before it cannot be read. A key of which only a
//!    part was overwritten looks like damage, and its row in the active segment cannot be looked
//!    up. So the start that finishes the erasure also erases the damaged rows of that segment.
//! 5. `erasing` is removed.
//!
//! Steps 2 to 5 are in `destroy.rs`. Step 4 has parts, between which others can use the vault.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
};

use crate::{
    error::VaultError,
    find::Position,
    format::{
        row::{Row, SessionId},
        wide,
    },
    key::Kind,
    segment::Read,
    selection::{HoldKind, HoldScope, Request, Retention, Selection, Target},
    state::{Hold, MAX_NOTE_BYTES, MAX_WAITING, State, Waiting, What, check_name},
    vault::Vault,
};

/// The number of sessions that are erased at a time.
pub const ERASE_SESSIONS: usize = 65_536;

/// The result of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erasure {
    /// Sessions whose rows were erased.
    pub erased: u64,
    /// Sessions whose rows a hold keeps.
    pub held: u64,
    /// The names of the holds that keep them.
    pub holds: BTreeSet<String>,
    /// Listed sessions that the vault does not know. Later openings of them are refused.
    pub unknown: u64,
    /// Listed sessions that were erased before.
    pub already: u64,
    /// Rows that cannot be read, so it is unknown whether the request selects them: see
    /// [`Vault::check`].
    pub damaged: u64,
}

/// A session to erase. Its family is the session that owns it, or it itself, with all that this
/// one owns.
#[derive(Clone, Copy)]
struct Chosen {
    session: SessionId,
    root: SessionId,
}

/// Puts sessions on record before they are erased. An error means that none of them is erased.
pub type Record<'a> =
    dyn FnMut(&[SessionId]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 'a;

impl Vault {
    /// Erases what a request selects, except what a hold keeps. The rest of a held request waits,
    /// durably and without names in clear, and runs when [`lift_hold`](Self::lift_hold) allows it.
    ///
    /// `record` is called with the sessions before any of their rows is erased, at most
    /// [`ERASE_SESSIONS`] at a time. These include unknown sessions that the request lists, but no
    /// sessions that were erased before.
    ///
    /// # Errors
    /// [`VaultError::Exists`] when a request of this name waits, [`VaultError::Full`],
    /// [`VaultError::Name`], [`VaultError::Prefix`], [`VaultError::Record`]; errors of the system,
    /// after which the vault must be opened again, which finishes the erasure of what was recorded.
    pub fn erase(
        &mut self,
        request: &Request,
        record: &mut Record<'_>,
    ) -> Result<Erasure, VaultError> {
        self.usable()?;
        let waiting = Waiting::new(request, self.end(), &self.keys)?;
        if self
            .state
            .waiting
            .iter()
            .any(|other| other.id == waiting.id)
        {
            return Err(VaultError::Exists {
                what: "waiting request",
                name: waiting.id,
            });
        }
        if self.state.waiting.len() >= MAX_WAITING {
            return Err(VaultError::Full {
                what: "waiting requests",
                most: MAX_WAITING,
            });
        }
        // The bounds are checked first, so that nothing is erased for a request that could not
        // wait.
        let mut next = self.state.clone();
        let done = if self.state.holds.is_empty() {
            self.run(&waiting, Some(record))?
        } else {
            next.waiting.push(waiting.clone());
            next.check()?;
            self.run(&waiting, Some(record))?
        };
        if done.held > 0 {
            self.set_state(next)?;
        }
        Ok(done)
    }

    /// Counts what [`erase`](Self::erase) would do, without doing any of it.
    ///
    /// # Errors
    /// [`VaultError::Prefix`], or errors of the system.
    pub fn dry_run(&mut self, selection: &Selection) -> Result<Erasure, VaultError> {
        self.usable()?;
        let request = Request {
            id: "dry run".to_owned(),
            selection: selection.clone(),
        };
        let waiting = Waiting::new(&request, self.end(), &self.keys)?;
        self.run(&waiting, None)
    }

    /// Erases rows that are older than their application's retention, except held ones. A call
    /// after the hold is lifted erases those.
    ///
    /// # Errors
    /// As [`erase`](Self::erase).
    pub fn expire(
        &mut self,
        retention: &Retention,
        record: &mut Record<'_>,
    ) -> Result<Erasure, VaultError> {
        self.expire_at(retention, self.clock.unix_ms(), record)
    }

    /// The same at another time than that of the vault's clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// As [`erase`](Self::erase).
    pub fn expire_at(
        &mut self,
        retention: &Retention,
        now_ms: u64,
        record: &mut Record<'_>,
    ) -> Result<Erasure, VaultError> {
        self.usable()?;
        let target = Target::of_retention(retention, now_ms);
        let until = self.end();
        let mut done = Erasure::default();
        self.erase_target(&target, until, Some(record), &mut done)?;
        Ok(done)
    }

    /// Erases sessions that the log names as erased: at every start, and after a back-up was
    /// restored. Holds are ignored, because none applied when the erasure was recorded. A session
    /// that is erased already costs one look-up. Pass many at once; up to a million are looked up
    /// together.
    ///
    /// Returns the number of sessions that had rows.
    ///
    /// # Errors
    /// Errors of the system, after which the vault must be opened again.
    pub fn replay(&mut self, sessions: &[SessionId]) -> Result<u64, VaultError> {
        const TOGETHER: usize = 1 << 20;
        self.usable()?;
        let mut found = 0_u64;
        for many in sessions.chunks(TOGETHER) {
            let mut located = self.locate(many)?;
            located.extend(self.locate_by(Kind::Owner, many)?);
            let with_rows: BTreeSet<usize> = located.iter().map(|(at, _)| *at).collect();
            found = found.saturating_add(wide(with_rows.len()));
            let mut erase = Vec::new();
            for (at, session) in many.iter().enumerate() {
                if with_rows.contains(&at) || !self.tombstones.contains(session)? {
                    erase.push(*session);
                }
            }
            for chunk in erase.chunks(ERASE_SESSIONS) {
                self.destroy(chunk)?;
            }
        }
        Ok(found)
    }

    /// The erasures of the log's entries before this one were replayed, as the caller noted. A
    /// restored vault has the number of its back-up.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.state.replayed
    }

    /// Notes that the erasures of the log's entries before this one were replayed. Durable when it
    /// returns.
    ///
    /// # Errors
    /// Errors of the system.
    pub fn set_replayed(&mut self, entry: u64) -> Result<(), VaultError> {
        self.set_state(State {
            replayed: entry,
            ..self.state.clone()
        })
    }

    /// Sets a hold. What it covers, now or later, is not erased. Durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::Exists`], [`VaultError::Full`], [`VaultError::Name`], errors of the system.
    pub fn set_hold(&mut self, name: &str, scope: &HoldScope) -> Result<(), VaultError> {
        let hold = Hold::new(name, scope, &self.keys)?;
        if self.state.holds.iter().any(|other| other.name == name) {
            return Err(VaultError::Exists {
                what: "hold",
                name: name.to_owned(),
            });
        }
        let mut next = self.state.clone();
        next.holds.push(hold);
        self.set_state(next)
    }

    /// Adds sessions to a hold that lists sessions.
    ///
    /// # Errors
    /// [`VaultError::UnknownHold`] when there is no such hold, [`VaultError::Full`], errors of the
    /// system.
    pub fn add_to_hold(&mut self, name: &str, sessions: &[SessionId]) -> Result<(), VaultError> {
        let mut next = self.state.clone();
        let hold = next.holds.iter_mut().find(|hold| hold.name == name);
        if !hold.is_some_and(|hold| hold.add(sessions)) {
            return Err(unknown_hold(name));
        }
        self.set_state(next)
    }

    /// Up to `limit` sessions that a hold covers, after those that
    /// [`set_held_listed`](Self::set_held_listed) noted, and the position behind them. So a caller
    /// can put the sessions of a hold on record, also those that came later. A hold that lists
    /// sessions gives none.
    ///
    /// # Errors
    /// [`VaultError::UnknownHold`], errors of the system, or damage.
    pub fn held_sessions(
        &self,
        name: &str,
        limit: usize,
    ) -> Result<(Vec<SessionId>, Position), VaultError> {
        self.usable()?;
        let hold = self.state.holds.iter().find(|hold| hold.name == name);
        let hold = hold.ok_or_else(|| unknown_hold(name))?;
        let (mut found, mut next) = (Vec::new(), self.end());
        let Some(target) = hold.target() else {
            return Ok((found, next));
        };
        self.walk(&target, hold.listed, &mut |at, read| {
            if found.len() >= limit {
                next = at;
                return Ok(ControlFlow::Break(()));
            }
            if let Read::Row(row) = read()?
                && row.owner.is_none()
                && target.matches(&row)
            {
                found.push(row.session);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, next))
    }

    /// Notes that the sessions of a hold before this position were listed. Durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::UnknownHold`], errors of the system.
    pub fn set_held_listed(&mut self, name: &str, next: Position) -> Result<(), VaultError> {
        let mut state = self.state.clone();
        let hold = state.holds.iter_mut().find(|hold| hold.name == name);
        hold.ok_or_else(|| unknown_hold(name))?.listed = next;
        self.set_state(state)
    }

    /// Lifts a hold, and runs all requests that wait: see [`run_waiting`](Self::run_waiting).
    ///
    /// # Errors
    /// [`VaultError::UnknownHold`], or as [`erase`](Self::erase). Then call
    /// [`run_waiting`](Self::run_waiting) again.
    pub fn lift_hold(
        &mut self,
        name: &str,
        record: &mut Record<'_>,
    ) -> Result<Vec<(String, Erasure)>, VaultError> {
        self.remove_hold(name)?;
        self.run_waiting(record)
    }

    /// Lifts a hold, and runs nothing: [`run_one`](Self::run_one) does.
    ///
    /// # Errors
    /// [`VaultError::UnknownHold`], errors of the system.
    pub fn remove_hold(&mut self, name: &str) -> Result<(), VaultError> {
        let mut next = self.state.clone();
        next.holds.retain(|hold| hold.name != name);
        if next.holds.len() == self.state.holds.len() {
            return Err(unknown_hold(name));
        }
        self.set_state(next)
    }

    /// Runs the requests that wait, as far as the holds allow, and forgets those that are complete.
    /// Call it at every start: the process may have ended after a hold was lifted. A request does
    /// not erase rows that came after it.
    ///
    /// # Errors
    /// As [`erase`](Self::erase).
    pub fn run_waiting(
        &mut self,
        record: &mut Record<'_>,
    ) -> Result<Vec<(String, Erasure)>, VaultError> {
        let mut done = Vec::new();
        for waiting in self.state.waiting.clone() {
            done.extend(
                self.run_one(&waiting.id, record)?
                    .map(|erasure| (waiting.id, erasure)),
            );
        }
        Ok(done)
    }

    /// Runs one of the requests that [wait](Self::waiting), as far as the holds allow, and forgets
    /// it if it is complete. Returns `None` if no such request waits.
    ///
    /// # Errors
    /// As [`erase`](Self::erase).
    pub fn run_one(
        &mut self,
        id: &str,
        record: &mut Record<'_>,
    ) -> Result<Option<Erasure>, VaultError> {
        let waiting = self.state.waiting.iter().find(|waiting| waiting.id == id);
        let Some(waiting) = waiting.cloned() else {
            return Ok(None);
        };
        let erasure = self.run(&waiting, Some(record))?;
        if erasure.held == 0 {
            let mut next = self.state.clone();
            next.waiting.retain(|other| other.id != waiting.id);
            self.set_state(next)?;
        }
        Ok(Some(erasure))
    }

    /// The caller's notes: each a name and a text.
    pub fn notes(&self) -> impl Iterator<Item = (&str, &str)> {
        let notes = self.state.notes.iter();
        notes.map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Sets or removes a note of the caller, which is sealed together with the holds and the
    /// waiting requests. Durable when it returns.
    ///
    /// # Errors
    /// [`VaultError::Full`], [`VaultError::Name`], errors of the system.
    pub fn set_note(&mut self, name: &str, text: Option<&str>) -> Result<(), VaultError> {
        check_name("a note's name", name)?;
        let bytes = text.map_or(0, str::len);
        if bytes > MAX_NOTE_BYTES {
            return Err(VaultError::Name {
                what: "a note",
                bytes,
                most: MAX_NOTE_BYTES,
            });
        }
        let mut next = self.state.clone();
        match text {
            Some(text) => next.notes.insert(name.to_owned(), text.to_owned()),
            None => next.notes.remove(name),
        };
        self.set_state(next)
    }

    /// The kind of a hold's scope; `None` if there is no such hold.
    #[must_use]
    pub fn hold_kind(&self, name: &str) -> Option<HoldKind> {
        let hold = self.state.holds.iter().find(|hold| hold.name == name);
        hold.map(Hold::kind)
    }

    /// The names of the holds.
    #[must_use]
    pub fn holds(&self) -> Vec<&str> {
        self.state
            .holds
            .iter()
            .map(|hold| hold.name.as_str())
            .collect()
    }

    /// The identifiers of the requests that wait.
    #[must_use]
    pub fn waiting(&self) -> Vec<&str> {
        self.state
            .waiting
            .iter()
            .map(|waiting| waiting.id.as_str())
            .collect()
    }

    /// Whether a hold covers the session, and the hold's name.
    ///
    /// # Errors
    /// Errors of the system, or damage.
    pub fn held_by(&self, session: &SessionId) -> Result<Option<String>, VaultError> {
        self.usable()?;
        let places = self.locate(std::slice::from_ref(session))?;
        let places: Vec<_> = places.into_iter().map(|(_, place)| place).collect();
        let chosen = self.chosen(session, &places)?;
        let mut holds = self.holds_of(&[chosen])?;
        Ok(holds.remove(&chosen.root))
    }

    fn set_state(&mut self, next: State) -> Result<(), VaultError> {
        next.check()?;
        self.mutate(|vault| {
            next.write(&vault.disk, &vault.state_key)?;
            vault.state = next;
            Ok(())
        })
    }

    fn run(
        &mut self,
        waiting: &Waiting,
        record: Option<&mut Record<'_>>,
    ) -> Result<Erasure, VaultError> {
        check_name("a request's identifier", &waiting.id)?;
        let mut done = Erasure::default();
        match (&waiting.what, waiting.what.target(&self.keys)) {
            (What::Sessions(sessions), _) => {
                let sessions: Vec<SessionId> = sessions.iter().map(|id| id.to_be_bytes()).collect();
                self.erase_listed(&sessions, record, &mut done)?;
            }
            (_, Some(target)) => self.erase_target(&target, waiting.until, record, &mut done)?,
            (_, None) => {}
        }
        Ok(done)
    }

    fn erase_listed(
        &mut self,
        sessions: &[SessionId],
        mut record: Option<&mut Record<'_>>,
        done: &mut Erasure,
    ) -> Result<(), VaultError> {
        for chunk in sessions.chunks(ERASE_SESSIONS) {
            let mut places: BTreeMap<usize, Vec<(u64, u32)>> = BTreeMap::new();
            for (at, place) in self.locate(chunk)? {
                places.entry(at).or_default().push(place);
            }
            let owners: BTreeSet<usize> = {
                let owned = self.locate_by(Kind::Owner, chunk)?;
                owned.into_iter().map(|(at, _)| at).collect()
            };
            let (mut chosen, mut unknown) = (Vec::new(), BTreeSet::new());
            for (at, session) in chunk.iter().enumerate() {
                let rows = places.get(&at).map_or(&[][..], Vec::as_slice);
                let has_rows = !rows.is_empty() || owners.contains(&at);
                if !has_rows && self.tombstones.contains(session)? {
                    done.already = done.already.saturating_add(1);
                    continue;
                }
                if !has_rows {
                    unknown.insert(*session);
                }
                chosen.push(self.chosen(session, rows)?);
            }
            let erase = self.without_held(&chosen, done)?;
            let unknown = erase.iter().filter(|id| unknown.contains(*id)).count();
            let known = erase.len().saturating_sub(unknown);
            done.unknown = done.unknown.saturating_add(wide(unknown));
            done.erased = done.erased.saturating_add(wide(known));
            if let Some(record) = record.as_deref_mut() {
                self.record_and_destroy(&erase, record)?;
            }
        }
        Ok(())
    }

    /// A session to erase, which has these rows.
    fn chosen(&self, session: &SessionId, rows: &[(u64, u32)]) -> Result<Chosen, VaultError> {
        let mut root = *session;
        if !self.state.holds.is_empty() {
            for (segment, row) in rows {
                if let Read::Row(row) = self.read(*segment, *row)? {
                    root = row.owner.unwrap_or(root);
                }
            }
        }
        Ok(Chosen {
            session: *session,
            root,
        })
    }

    /// The sessions that no hold keeps. The others are counted.
    fn without_held(
        &self,
        chosen: &[Chosen],
        done: &mut Erasure,
    ) -> Result<Vec<SessionId>, VaultError> {
        let holds = self.holds_of(chosen)?;
        let mut erase = Vec::new();
        for one in chosen {
            if let Some(hold) = holds.get(&one.root) {
                done.held = done.held.saturating_add(1);
                done.holds.insert(hold.clone());
            } else {
                erase.push(one.session);
            }
        }
        Ok(erase)
    }

    /// A hold that keeps each family, by its root. A hold of one row keeps the whole family: all
    /// rows that a session owns are erased together with it.
    fn holds_of(&self, chosen: &[Chosen]) -> Result<BTreeMap<SessionId, String>, VaultError> {
        let mut holds = BTreeMap::new();
        if self.state.holds.is_empty() {
            return Ok(holds);
        }
        let roots: BTreeSet<SessionId> = chosen.iter().map(|one| one.root).collect();
        let roots: Vec<SessionId> = roots.into_iter().collect();
        let mut has_row = BTreeSet::new();
        for kind in [Kind::Session, Kind::Owner] {
            for (at, (segment, row)) in self.locate_by(kind, &roots)? {
                let Some(root) = roots.get(at) else { continue };
                has_row.insert(*root);
                if holds.contains_key(root) {
                    continue;
                }
                let hold = match self.read(segment, row)? {
                    Read::Row(row) => self.state.held(&row.session, Some(&row)),
                    Read::Damaged => self.state.held(root, None),
                    Read::Erased => None,
                };
                holds.extend(hold.map(|hold| (*root, hold.to_owned())));
            }
        }
        for root in roots {
            // Without a row, only a hold that lists the session covers it.
            if holds.contains_key(&root) {
                continue;
            }
            let hold = match has_row.contains(&root) {
                true => self.state.lists(&root),
                false => self.state.held(&root, Some(&Row::nobody(root))),
            };
            let hold = hold.map(ToOwned::to_owned);
            holds.extend(hold.map(|hold| (root, hold)));
        }
        Ok(holds)
    }

    fn erase_target(
        &mut self,
        target: &Target,
        until: Position,
        mut record: Option<&mut Record<'_>>,
        done: &mut Erasure,
    ) -> Result<(), VaultError> {
        let mut from = Some(Position::default());
        while let Some(at) = from.take() {
            let mut chosen = Vec::new();
            self.walk(target, at, &mut |at, read| {
                if at >= until {
                    return Ok(ControlFlow::Break(()));
                }
                if chosen.len() >= ERASE_SESSIONS {
                    from = Some(at);
                    return Ok(ControlFlow::Break(()));
                }
                match read()? {
                    Read::Row(row) if target.matches(&row) => chosen.push(Chosen {
                        session: row.session,
                        root: row.owner.unwrap_or(row.session),
                    }),
                    Read::Row(_) | Read::Erased => {}
                    Read::Damaged => done.damaged = done.damaged.saturating_add(1),
                }
                Ok(ControlFlow::Continue(()))
            })?;
            let erase = self.without_held(&chosen, done)?;
            done.erased = done.erased.saturating_add(wide(erase.len()));
            if let Some(record) = record.as_deref_mut() {
                self.record_and_destroy(&erase, record)?;
            }
        }
        Ok(())
    }

    /// Records the sessions and the rows that they own, and destroys them.
    fn record_and_destroy(
        &mut self,
        sessions: &[SessionId],
        record: &mut Record<'_>,
    ) -> Result<(), VaultError> {
        if sessions.is_empty() {
            return Ok(());
        }
        // An erasure that could not be done must not be recorded.
        self.writable()?;
        // What a session owns is recorded first, because it is destroyed together with it.
        let mut all = Vec::new();
        for (_, (segment, row)) in self.locate_by(Kind::Owner, sessions)? {
            if let Read::Row(row) = self.read(segment, row)? {
                all.push(row.session);
            }
        }
        all.extend_from_slice(sessions);
        let mut seen = HashSet::new();
        all.retain(|session| seen.insert(*session));
        for chunk in all.chunks(ERASE_SESSIONS) {
            record(chunk).map_err(VaultError::Record)?;
            self.destroy(chunk)?;
        }
        Ok(())
    }
}

fn unknown_hold(name: &str) -> VaultError {
    VaultError::UnknownHold {
        name: name.to_owned(),
    }
}
