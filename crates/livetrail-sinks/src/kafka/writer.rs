//! The work of the sink's thread. Calls come one at a time and may block it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use livetrail_replica::{Erasure, Gap, ReplicaError, SealedRange, Sightings, SinkCursor};

use super::session::Session;
use super::tail::{Partition, Reading};
use super::target::KafkaTarget;
use super::topic;
use super::{error, openings};

/// Half the longest pause before a new takeover of the partition, after the first failure. It
/// doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The maximum number of doublings of the pause.
const MAX_DOUBLINGS: u32 = 5;

pub(super) struct Writer {
    target: Arc<KafkaTarget>,
    /// The log of the last call and its partition. The topic's settings were checked.
    partition: Option<Partition>,
    reading: Option<Reading>,
    /// Reads the openings' partition.
    openings: Option<Reading>,
    session: Option<Session>,
    /// Commits that failed, less those that succeeded since. At most `MAX_DOUBLINGS`.
    failures: u32,
}

impl Writer {
    pub(super) fn new(target: KafkaTarget) -> Self {
        Self {
            target: Arc::new(target),
            partition: None,
            reading: None,
            openings: None,
            session: None,
            failures: 0,
        }
    }

    pub(super) fn cursor(&mut self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        // Each call gets a new client. A client that has known the topic for long accepts answers
        // about its new brokers if the topic was created again meanwhile.
        self.reading = None;
        let tail = self.reading(origin, |reading| {
            let tail = reading.tail()?;
            reading.has_its_head()?;
            Ok(tail)
        })?;
        // Another writer has written to the partition.
        self.session
            .take_if(|session| !session.is_for(origin) || session.next() != tail.next);
        Ok(tail.cursor())
    }

    /// Reads checkpoints, whatever the topic's settings are, with clients of its own.
    pub(super) fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        for partition in topic::everywhere(&self.target, seen.origin())? {
            Reading::new(&partition)?.sightings(seen)?;
            if seen.largest().is_some() {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn append(&mut self, range: &SealedRange) -> Result<(), ReplicaError> {
        let origin = range.origin();
        let next = match &self.session {
            Some(session) if session.is_for(origin) => session.next(),
            _ => {
                let is_alone = self.is_alone(origin)?;
                let found = self.reading(origin, Reading::tail)?.next;
                if !is_alone {
                    let expected = range.first();
                    return Err(ReplicaError::CursorMoved { expected, found });
                }
                found
            }
        };
        let rest = self.reading(origin, |reading| rest(reading, range, next))?;
        match rest {
            Some(rest) => self.write_at(origin, rest.first(), |session| session.write(&rest)),
            None => Ok(()),
        }
    }

    /// How far the sink has come with erasures. It also writes the cursor again, if it writes
    /// already: see [`openings`].
    pub(super) fn erasure_cursor(&mut self, origin: &str) -> Result<u64, ReplicaError> {
        self.openings = None;
        let next = self.cursor(origin)?.next();
        let found = self.openings(origin, openings::cursor)?.flatten();
        let Some(found) = found else {
            return Ok(next);
        };
        let is_writing = |session: &Session| session.is_for(origin);
        if self.session.as_ref().is_some_and(is_writing) {
            let repeated = self.session_for(origin).and_then(|mut session| {
                session.repeat_cursor()?;
                Ok(session)
            });
            // After an error the next call that writes begins a new session.
            self.session = repeated.ok();
        }
        Ok(found.next.min(next))
    }

    pub(super) fn erase(&mut self, erasure: &Erasure) -> Result<(), ReplicaError> {
        match self.try_to_erase(erasure) {
            // The earlier session was of no use any more, and an erasure may be repeated.
            Err(error) if error::is_fenced_off(&error) => self.try_to_erase(erasure),
            answer => answer,
        }
    }

    fn try_to_erase(&mut self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let origin = &erasure.origin;
        let is_writing = |session: &Session| session.is_for(origin);
        if !self.session.as_ref().is_some_and(is_writing) {
            let is_alone = self.is_alone(origin)?;
            let applied = self.openings(origin, openings::cursor)?.flatten();
            if applied.is_some_and(|applied| applied.next >= erasure.span.end) {
                return Ok(());
            }
            if !is_alone {
                return Err(error::another_writes());
            }
        }
        self.write(origin, |session| {
            let (expected, found) = (erasure.span.start, session.erased());
            if expected > found {
                return Err(ReplicaError::CursorMoved { expected, found });
            }
            session.erase(erasure)
        })
    }

    pub(super) fn skip(&mut self, gap: &Gap) -> Result<(), ReplicaError> {
        self.write_at(&gap.origin, gap.missing.start, |session| {
            session.write_gap(gap)
        })
    }

    /// Asks again for the topic, its settings and, if the partition is known, its end.
    pub(super) fn health(&mut self) -> Result<(), ReplicaError> {
        topic::check(&self.target)?;
        let Some(partition) = self.partition.clone() else {
            return topic::check_openings(&self.target, None);
        };
        topic::check_openings(&self.target, Some(partition.number))?;
        self.cursor(&partition.origin).map(drop)
    }

    /// Writes entries at this index, with the current session or a new one.
    fn write_at(
        &mut self,
        origin: &str,
        first: u64,
        write: impl FnOnce(&mut Session) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        self.write(origin, |session| {
            let found = session.next();
            if found != first {
                return Err(ReplicaError::CursorMoved {
                    expected: first,
                    found,
                });
            }
            write(session)
        })
    }

    /// Writes with the current session or a new one.
    fn write(
        &mut self,
        origin: &str,
        write: impl FnOnce(&mut Session) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let answer = self
            .session_for(origin)
            .and_then(|mut session| write(&mut session).map(|()| session));
        match answer {
            Ok(session) => {
                self.session = Some(session);
                self.failures = self.failures.saturating_sub(1);
                Ok(())
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1).min(MAX_DOUBLINGS);
                self.reading = None;
                self.openings = None;
                Err(error)
            }
        }
    }

    /// Takes the session out of its field. After an error it is not put back.
    fn session_for(&mut self, origin: &str) -> Result<Session, ReplicaError> {
        match self.session.take() {
            Some(mut session) if session.is_for(origin) => {
                self.reading(origin, |reading| session.is_still_there(reading))?;
                self.openings(origin, |openings| session.has_its_openings(openings))?;
                Ok(session)
            }
            _ => {
                let mut session = self.reading(origin, Session::take_over)?;
                self.openings(origin, |openings| session.keep_openings(openings))?;
                Ok(session)
            }
        }
    }

    /// Reads the partition of the log's openings. `None` if the sink keeps none.
    fn openings<T>(
        &mut self,
        origin: &str,
        read: impl FnOnce(&Reading) -> Result<T, ReplicaError>,
    ) -> Result<Option<T>, ReplicaError> {
        let reading = match self.openings.take() {
            Some(reading) if reading.partition().origin == origin => reading,
            _ => match self.partition(origin)?.of_openings() {
                Some(partition) => Reading::new(&partition)?,
                None => return Ok(None),
            },
        };
        let answer = read(&reading)?;
        self.openings = Some(reading);
        Ok(Some(answer))
    }

    /// Reads the log's partition. After an error the next call makes a new client.
    fn reading<T>(
        &mut self,
        origin: &str,
        read: impl FnOnce(&Reading) -> Result<T, ReplicaError>,
    ) -> Result<T, ReplicaError> {
        let reading = match self.reading.take() {
            Some(reading) if reading.partition().origin == origin => reading,
            _ => Reading::new(&self.partition(origin)?)?,
        };
        let answer = read(&reading)?;
        self.reading = Some(reading);
        Ok(answer)
    }

    /// Whether no other writer is at work in the partition, so that this sink may take it over.
    ///
    /// Two writers by mistake fence each other off. After a failure this sink therefore watches the
    /// partition for a random time, and leaves it to the other one as long as it grows. Otherwise
    /// the two would take turns, a takeover per batch.
    fn is_alone(&mut self, origin: &str) -> Result<bool, ReplicaError> {
        if self.failures == 0 {
            return Ok(true);
        }
        let before = self.ends(origin)?;
        let most = FIRST_PAUSE.saturating_mul(1 << self.failures);
        let random = getrandom::u32().unwrap_or(u32::MAX);
        thread::sleep(most.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u32::MAX)));
        Ok(self.ends(origin)? == before)
    }

    /// How far the entries and the erasures have come in the partition.
    fn ends(&mut self, origin: &str) -> Result<(u64, Option<u64>), ReplicaError> {
        let next = self.reading(origin, Reading::tail)?.next;
        let erased = self.openings(origin, openings::cursor)?.flatten();
        Ok((next, erased.map(|erased| erased.next)))
    }

    fn partition(&mut self, origin: &str) -> Result<Partition, ReplicaError> {
        match &self.partition {
            Some(partition) if partition.origin == origin => Ok(partition.clone()),
            _ => {
                let partition = topic::place(&self.target, origin)?;
                self.partition = Some(partition.clone());
                Ok(partition)
            }
        }
    }
}

/// The part of a range that is not in the partition yet, or `None` if all of it is there. The
/// entries that are there must be the same.
fn rest(
    reading: &Reading,
    range: &SealedRange,
    next: u64,
) -> Result<Option<SealedRange>, ReplicaError> {
    let moved = ReplicaError::CursorMoved {
        expected: range.first(),
        found: next,
    };
    if range.first() > next {
        return Err(moved);
    }
    if range.first() == next {
        return Ok(Some(range.clone()));
    }
    let until = next.min(range.next());
    let mut there = reading.leaves(range.first(), until)?.into_iter();
    for (index, _, ours) in range.iter().take_while(|(index, ..)| *index < until) {
        match there.next() {
            Some((at, theirs)) if at == index && theirs == *ours => {}
            Some((at, theirs)) if at == index => {
                return Err(ReplicaError::Fork {
                    index,
                    ours: *ours,
                    theirs,
                });
            }
            // The entries are in a gap or were removed, so they cannot be compared.
            _ => return Err(moved),
        }
    }
    Ok(range.starting_at(next))
}
