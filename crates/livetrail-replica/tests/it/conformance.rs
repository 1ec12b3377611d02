//! The conformance suite on a correct sink in memory, and on sinks with a known mistake: the suite
//! finds each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use livetrail_replica::conformance::{self, Erasing, Manipulation, Place, TestLog};
use livetrail_replica::{
    Erasure, PersonalMode, ReplicaError, ReplicaSink, SealedRange, SinkCursor,
};
use livetrail_tlog::Hash;

/// The entries and notes of one log.
#[derive(Default)]
struct Held {
    entries: Vec<(u64, Vec<u8>, Hash)>,
    next: u64,
    checkpoint: Vec<u8>,
    hand_overs: Vec<Vec<u8>>,
    appends: u32,
    openings: BTreeMap<[u8; 16], Vec<u8>>,
    erased: BTreeSet<[u8; 16]>,
    /// The erasure cursor; `None` without openings.
    erased_up_to: Option<u64>,
}

type Shelf = Arc<Mutex<BTreeMap<String, Held>>>;

/// A mistake that a sink may make.
trait Mistake: Send + Sync + 'static {
    const KIND: Kind;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    LosesARange,
    Doubles,
    IgnoresOtherBytes,
    MixesOrigins,
    MovesItsCursorFirst,
    ErasesNothing,
    BringsBack,
    SkipsErasures,
}

/// The destination, and whether the sink keeps openings.
struct Memory<M>(Shelf, bool, PhantomData<M>);

#[async_trait]
impl<M: Mistake> Place for Memory<M> {
    async fn fresh() -> Self {
        Self(Shelf::default(), false, PhantomData)
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(Self(Arc::clone(&self.0), false, PhantomData))
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        let shelf = self.0.lock().unwrap();
        let held = shelf.get(Self::key(origin));
        held.map_or_else(Vec::new, |held| {
            let entries = held.entries.iter();
            entries
                .map(|(index, entry, _)| (*index, entry.clone()))
                .collect()
        })
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        let mut shelf = self.0.lock().unwrap();
        let held = shelf.entry(Self::key(log.origin()).to_owned());
        Self::manipulated(held.or_default(), what)
    }
}

#[async_trait]
impl<M: Mistake> Erasing for Memory<M> {
    async fn opening_sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(Self(Arc::clone(&self.0), true, PhantomData))
    }

    async fn openings(&self, origin: &str) -> Vec<([u8; 16], Vec<u8>)> {
        let shelf = self.0.lock().unwrap();
        let held = shelf.get(Self::key(origin));
        held.map_or_else(Vec::new, |held| held.openings.clone().into_iter().collect())
    }
}

impl<M: Mistake> Memory<M> {
    fn manipulated(held: &mut Held, what: Manipulation) -> bool {
        match what {
            Manipulation::Emptied => *held = Held::default(),
            Manipulation::Claimed => held.next += 100,
            Manipulation::Foreign => return false,
        }
        true
    }

    fn key(origin: &str) -> &str {
        if M::KIND == Kind::MixesOrigins {
            "one for all"
        } else {
            origin
        }
    }

    fn append_to(held: &mut Held, range: &SealedRange) -> Result<(), ReplicaError> {
        let new = Self::what_is_new(held, range)?;
        held.appends += 1;
        let lost = M::KIND == Kind::LosesARange && held.appends.is_multiple_of(3);
        for (index, entry, leaf) in new.iter().flat_map(SealedRange::iter) {
            if !lost {
                held.entries.push((index, entry.to_vec(), *leaf));
            }
        }
        held.next = range.next().max(held.next);
        held.checkpoint = range.note().to_vec();
        let hand_overs = range.hand_overs().iter();
        held.hand_overs
            .extend(hand_overs.map(|hand_over| hand_over.note.clone()));
        Ok(())
    }

    /// The part of the range that is not stored yet; the rest must be the same.
    fn what_is_new(held: &Held, range: &SealedRange) -> Result<Option<SealedRange>, ReplicaError> {
        if range.first() > held.next {
            return Err(ReplicaError::CursorMoved {
                expected: range.first(),
                found: held.next,
            });
        }
        if M::KIND == Kind::Doubles {
            return Ok(Some(range.clone()));
        }
        for (index, _, leaf) in range.iter() {
            let at = held.entries.partition_point(|(stored, ..)| *stored < index);
            let stored = held.entries.get(at).filter(|(stored, ..)| *stored == index);
            match stored {
                Some((.., theirs)) if theirs != leaf && M::KIND != Kind::IgnoresOtherBytes => {
                    return Err(ReplicaError::Fork {
                        index,
                        ours: *leaf,
                        theirs: *theirs,
                    });
                }
                _ => {}
            }
        }
        Ok(range.starting_at(held.next.max(range.first())))
    }
}

#[async_trait]
impl<M: Mistake> ReplicaSink for Memory<M> {
    fn name(&self) -> &str {
        "memory"
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        tokio::task::yield_now().await;
        let mut shelf = self.0.lock().unwrap();
        let held = shelf.entry(Self::key(origin).to_owned()).or_default();
        let cursor = SinkCursor::at(held.next);
        if held.next == 0 || M::KIND == Kind::IgnoresOtherBytes {
            return Ok(cursor);
        }
        let note = held.checkpoint.clone();
        Ok(match held.entries.last() {
            Some((.., leaf)) => cursor
                .with_last_leaf(*leaf)
                .with_checkpoint(note)
                .with_hand_overs(held.hand_overs.iter().cloned().map(Into::into)),
            None => cursor,
        })
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let key = Self::key(range.origin());
        if M::KIND == Kind::MovesItsCursorFirst {
            self.0
                .lock()
                .unwrap()
                .entry(key.to_owned())
                .or_default()
                .next = range.next();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            let mut shelf = self.0.lock().unwrap();
            shelf.entry(key.to_owned()).or_default().next = range.first();
        }
        tokio::task::yield_now().await;
        let mut shelf = self.0.lock().unwrap();
        let held = shelf.entry(key.to_owned()).or_default();
        Self::append_to(held, range)?;
        for one in range.openings().iter().filter(|_| self.1) {
            held.erased_up_to.get_or_insert(range.first());
            if M::KIND == Kind::BringsBack || !held.erased.contains(&one.session()) {
                held.openings.insert(one.session(), one.json());
            }
        }
        Ok(())
    }

    fn personal(&self) -> PersonalMode {
        if self.1 {
            PersonalMode::Opening
        } else {
            PersonalMode::None
        }
    }

    async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        tokio::task::yield_now().await;
        let mut shelf = self.0.lock().unwrap();
        let held = shelf.entry(Self::key(origin).to_owned()).or_default();
        Ok(held.erased_up_to.unwrap_or(held.next))
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        tokio::task::yield_now().await;
        let mut shelf = self.0.lock().unwrap();
        let key = Self::key(&erasure.origin).to_owned();
        let held = shelf.entry(key).or_default();
        let found = held.erased_up_to.unwrap_or(held.next);
        if erasure.span.start > found && M::KIND != Kind::SkipsErasures {
            let expected = erasure.span.start;
            return Err(ReplicaError::CursorMoved { expected, found });
        }
        for session in &erasure.sessions {
            if M::KIND != Kind::ErasesNothing {
                held.openings.remove(session);
            }
            held.erased.insert(*session);
        }
        held.erased_up_to = Some(found.max(erasure.span.end));
        Ok(())
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

macro_rules! mistakes {
    ($($kind:ident),+) => {
        $( struct $kind; impl Mistake for $kind { const KIND: Kind = Kind::$kind; } )+
    };
}

struct Right;
impl Mistake for Right {
    const KIND: Kind = Kind::None;
}
mistakes!(
    LosesARange,
    Doubles,
    IgnoresOtherBytes,
    MixesOrigins,
    MovesItsCursorFirst,
    ErasesNothing,
    BringsBack,
    SkipsErasures
);

livetrail_replica::replica_conformance!(Memory<Right>: place, erasing);

/// Lists the cases that a sink fails.
macro_rules! failing {
    ($mistake:ty: $($case:ident),+) => {{
        let mut failed = Vec::new();
        $(
            if tokio::spawn(conformance::$case::<Memory<$mistake>>()).await.is_err() {
                failed.push(stringify!($case));
            }
        )+
        failed
    }};
}

macro_rules! assert_found {
    ($mistake:ty, $($by:ident),+) => {{
        let failed = failing!($mistake: $($by),+);
        assert_eq!(failed, [$(stringify!($by)),+], "{}", stringify!($mistake));
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_planted_mistake_is_found_by_the_cases_for_it() {
    assert_found!(LosesARange, everything_arrives_once_in_order);
    assert_found!(Doubles, a_repeated_range_changes_nothing);
    assert_found!(IgnoresOtherBytes, other_bytes_for_the_same_index_are_a_fork);
    assert_found!(MixesOrigins, another_origin_in_the_same_place_is_left_alone);
    assert_found!(MovesItsCursorFirst, our_process_may_end_at_any_moment);
    assert_found!(ErasesNothing, erasures_follow_the_log);
    assert_found!(BringsBack, an_opening_that_comes_late_does_not_stay);
    assert_found!(SkipsErasures, a_repeated_erasure_changes_nothing);
}
