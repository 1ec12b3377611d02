//! What the thread of a sink does. Calls come one at a time, and may block it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use livetrail_replica::{Gap, ReplicaError, SealedRange, Sightings, SinkCursor};

use super::session::Session;
use super::tail::{Partition, Reading};
use super::target::KafkaTarget;
use super::topic;

/// The longest pause before a partition is taken over again, after the first time that it went wrong; doubled with each more.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Doublings of it.
const MAX_DOUBLINGS: u32 = 5;

pub(super) struct Writer {
    target: Arc<KafkaTarget>,
    /// The log asked about last, and its partition, whose settings were found right.
    partition: Option<Partition>,
    reading: Option<Reading>,
    session: Option<Session>,
    /// Commits in a row that went wrong.
    failures: u32,
}

impl Writer {
    pub(super) fn new(target: KafkaTarget) -> Self {
        Self {
            target: Arc::new(target),
            partition: None,
            reading: None,
            session: None,
            failures: 0,
        }
    }

    pub(super) fn cursor(&mut self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        // Another client each time: one that has known the topic for long takes in answers about where it went, if it was made again meanwhile.
        self.reading = None;
        let tail = self.reading(origin, |reading| {
            let tail = reading.tail()?;
            reading.has_its_head()?;
            Ok(tail)
        })?;
        // Somebody else was here.
        self.session
            .take_if(|session| !session.is_for(origin) || session.next() != tail.next);
        Ok(tail.cursor())
    }

    /// Whatever the topic's settings are, with clients of its own.
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
                // Whoever writes there at this moment is looked at, and given time, before being fenced off.
                self.pause();
                self.reading(origin, Reading::tail)?.next
            }
        };
        let rest = self.reading(origin, |reading| rest(reading, range, next))?;
        match rest {
            Some(rest) => self.write(origin, rest.first(), |session| session.write(&rest)),
            None => Ok(()),
        }
    }

    pub(super) fn skip(&mut self, gap: &Gap) -> Result<(), ReplicaError> {
        self.write(&gap.origin, gap.missing.start, |session| {
            session.write_gap(gap)
        })
    }

    /// Asks for everything anew: topic, settings, and the end of the partition where that is known.
    pub(super) fn health(&mut self) -> Result<(), ReplicaError> {
        topic::check(&self.target)?;
        let origin = self
            .partition
            .as_ref()
            .map(|partition| partition.origin.clone());
        match origin {
            Some(origin) => self.cursor(&origin).map(drop),
            None => Ok(()),
        }
    }

    /// Writes at this index, with the session there is or a new one.
    fn write(
        &mut self,
        origin: &str,
        first: u64,
        write: impl FnOnce(&mut Session) -> Result<(), ReplicaError>,
    ) -> Result<(), ReplicaError> {
        let answer = self.session_for(origin).and_then(|mut session| {
            let found = session.next();
            if found != first {
                return Err(ReplicaError::CursorMoved {
                    expected: first,
                    found,
                });
            }
            write(&mut session).map(|()| session)
        });
        match answer {
            Ok(session) => {
                self.session = Some(session);
                self.failures = 0;
                Ok(())
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.reading = None;
                Err(error)
            }
        }
    }

    /// The session, out of its place: after an error it is of no use any more.
    fn session_for(&mut self, origin: &str) -> Result<Session, ReplicaError> {
        match self.session.take() {
            Some(mut session) if session.is_for(origin) => {
                self.reading(origin, |reading| session.is_still_there(reading))?;
                Ok(session)
            }
            _ => self.reading(origin, Session::take_over),
        }
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

    /// Two writers by mistake fence each other off. At random one of them is left alone for long enough.
    fn pause(&self) {
        if self.failures > 0 {
            let most = FIRST_PAUSE.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS));
            let random = getrandom::u32().unwrap_or(u32::MAX);
            thread::sleep(most.mul_f64(f64::from(random) / f64::from(u32::MAX)));
        }
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

/// What of a range is not there yet; `None` when all of it is. What is there must be the same.
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
            // In a gap, or removed: it cannot be compared.
            _ => return Err(moved),
        }
    }
    Ok(range.starting_at(next))
}
