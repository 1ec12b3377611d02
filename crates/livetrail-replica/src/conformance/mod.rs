//! The suite that every sink must pass, against its real server. Behind the feature `conformance`, for tests.
//!
//! A sink's tests say how its place is made, looked into, killed and cut off ([`Place`], [`Server`], [`Access`]); the macro
//! [`replica_conformance!`](crate::replica_conformance) makes one test of each case. A case panics where the sink breaks the
//! contract of [`ReplicaSink`]. Each takes seconds, waits with a deadline, and leaves nothing behind.
//!
//! ```text
//! livetrail_replica::replica_conformance!(MyPlace: place, server, access);
//! ```

mod access;
mod log;
mod owner;
mod place;
mod proxy;
mod server;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use livetrail_clock::SystemClock;
use tokio::task::JoinHandle;

pub use access::*;
pub use log::TestLog;
pub use owner::*;
pub use place::*;
pub use proxy::Proxy;
pub use server::*;

use crate::options::ReplicaOptions;
use crate::replicator::{ReplicaWatch, Replicator};
use crate::sink::{Delivery, ReplicaSink};

/// The longest that anything in a case may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a case looks whether what it waits for has come.
const POLL: Duration = Duration::from_millis(2);

/// A place that a sink writes to, new and empty.
#[async_trait]
pub trait Place: Send + Sync + Sized + 'static {
    /// Makes one, with its server if it has one. What it starts ends when this is dropped.
    async fn fresh() -> Self;

    /// A sink that writes there, as a process of its own would have: no two share a connection. Through
    /// [`Server::proxy`] where there is one.
    async fn sink(&self) -> Arc<dyn ReplicaSink>;

    /// Every entry that is there for this origin, in the order of the place, with its index; read in another way than the
    /// sink's. Also what is there twice, if the place can hold that: of a sink that delivers at least once, the first of each counts.
    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)>;

    /// Lets a program that has written nothing of it verify what is there, from the place alone; panics when that finds
    /// anything. For places that such a program can read.
    async fn verify(&self, log: &TestLog) {
        let _ = log;
    }

    /// Does with the place what its owner can do behind the sink's back. `false`: nobody can do that to such a place, or the test's server
    /// cannot.
    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        let _ = (log, what);
        false
    }
}

/// What the owner of a place can do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manipulation {
    /// All that the place has of the log is gone, as if it were new.
    Emptied,
    /// Something that is not of the log stands among what is, as far as the place has room for that also where the sink looks first.
    Foreign,
    /// The place says that it has more entries than it has, which no signed checkpoint covers.
    Claimed,
}

/// A place behind a server that can die, and a network that can break.
#[async_trait]
pub trait Server: Place {
    /// What all connections of sinks go through.
    fn proxy(&self) -> &Proxy;

    /// Ends the server at once, without a word to anybody (`SIGKILL`).
    async fn kill(&self);

    /// Starts it again, over what it had on disk, at the same address. Returns when it can be connected to.
    async fn restart(&self);
}

/// A place that can take away what a sink may do.
#[async_trait]
pub trait Access: Place {
    /// Takes the right to write away, also from those who are connected.
    async fn revoke(&self);

    /// Gives it back.
    async fn grant(&self);
}

/// A replicator at work.
pub(crate) struct Following {
    pub(crate) watch: ReplicaWatch,
    task: JoinHandle<()>,
}

impl Following {
    /// Starts one, with short pauses and small batches.
    pub(crate) fn start(log: &TestLog, sink: Arc<dyn ReplicaSink>) -> Self {
        Self::start_with(log, sink, quick())
    }

    pub(crate) fn start_with(
        log: &TestLog,
        sink: Arc<dyn ReplicaSink>,
        options: ReplicaOptions,
    ) -> Self {
        let clock = Arc::new(SystemClock::new());
        let replicator =
            Replicator::new(log.handle(), log.reader(), sink, options, clock).expect("options");
        Self {
            watch: replicator.watch(),
            task: tokio::spawn(replicator.run()),
        }
    }

    /// Waits until the sink has everything, and ends.
    pub(crate) async fn finish(self, log: &TestLog) {
        self.finish_within(log, PATIENCE).await;
    }

    /// As [`finish`](Self::finish), for as much work as takes so long.
    pub(crate) async fn finish_within(self, log: &TestLog, patience: Duration) {
        let size = log.size();
        wait_within(patience, "the sink has everything", || {
            let status = self.watch.status();
            assert!(
                !matches!(status.state, crate::ReplicaState::Forked),
                "{status:?}"
            );
            status.cursor == Some(size)
        })
        .await;
        self.watch.close(PATIENCE);
        self.task.await.expect("the replicator does not panic");
    }

    /// Ends it as if its process were gone: it is never asked for anything again.
    pub(crate) async fn abort(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Options with which a case takes seconds.
pub(crate) fn quick() -> ReplicaOptions {
    ReplicaOptions {
        batch_records: 256,
        attempt_timeout: Duration::from_secs(10),
        backoff_first: Duration::from_millis(5),
        backoff_max: Duration::from_millis(50),
        reprobe_interval: Duration::from_millis(100),
        cursor_interval: Duration::from_millis(50),
        ..ReplicaOptions::default()
    }
}

/// The place holds just this log: each entry once, in order, byte for byte. Where it is delivered at least once: each entry, its
/// first occurrence in order, and whenever it is there again with the same bytes.
pub(crate) async fn assert_equal(place: &impl Place, log: &TestLog) {
    let held = place.held(log.origin()).await;
    let held = match place.sink().await.delivery() {
        Delivery::OnceInEffect => held,
        Delivery::AtLeastOnce => without_repetitions(held),
    };
    let entries = log.entries();
    assert_eq!(
        held.len(),
        entries.len(),
        "the sink holds {} entries and the ledger {}",
        held.len(),
        entries.len()
    );
    for ((wanted_index, wanted), (index, entry)) in (0_u64..).zip(&entries).zip(&held) {
        assert_eq!(
            *index, wanted_index,
            "an index is missing, double or out of order"
        );
        assert_eq!(
            entry.as_slice(),
            &wanted[..],
            "entry {index} has other bytes"
        );
    }
}

/// The first of each index.
fn without_repetitions(held: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    let mut first: Vec<(u64, Vec<u8>)> = Vec::with_capacity(held.len());
    for (index, entry) in held {
        let known = usize::try_from(index).ok().and_then(|at| first.get(at));
        match known {
            Some((_, known)) => {
                assert_eq!(*known, entry, "entry {index} is there with two contents")
            }
            None => first.push((index, entry)),
        }
    }
    first
}

pub(crate) async fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_within(PATIENCE, what, condition).await;
}

pub(crate) async fn wait_within(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) {
    let waited = tokio::time::timeout(patience, async {
        while !condition() {
            tokio::time::sleep(POLL).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {patience:?}: {what}");
}

/// Runs a case in a runtime of its own.
#[doc(hidden)]
pub fn run_case(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(case);
}

/// One test for each case of the named groups: `place` for every sink, or `one_log` for those whose place holds a single log;
/// `server` for those with a [`Server`] (`server_at_least_once` where the cursor is not in the place: a batch whose answer was
/// lost comes twice there), `access` for those with [`Access`].
#[macro_export]
macro_rules! replica_conformance {
    ($place:ty : $($group:ident),+ $(,)?) => {
        $( $crate::replica_conformance!(@ $group $place); )+
    };
    (@ place $place:ty) => {
        $crate::replica_conformance!(@ one_log $place);
        $crate::replica_conformance!(@@ $place: another_origin_in_the_same_place_is_left_alone,);
    };
    (@ one_log $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            everything_arrives_once_in_order,
            a_repeated_range_changes_nothing,
            other_bytes_for_the_same_index_are_a_fork,
            a_log_that_forked_earlier_is_found_at_the_cursor,
            an_older_copy_of_the_ledger_is_refused,
            two_processes_at_once_write_each_entry_once,
            our_process_may_end_at_any_moment,
            a_days_backlog_arrives,
            new_keys_stop_no_sink,
            an_older_copy_does_not_start,
            foreign_content_hides_nothing_that_was_seen,
            a_claim_without_a_signature_stops_no_start,
            a_place_that_is_emptied_is_reported_and_filled_again,
        );
    };
    (@ server $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            the_server_is_killed_and_comes_back,
            the_connection_breaks_in_the_middle_of_a_batch,
            a_reply_that_is_lost_after_the_commit_doubles_nothing,
            a_slow_server_is_given_up_and_asked_again,
            a_long_outage_costs_nothing,
        );
    };
    (@ server_at_least_once $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            the_server_is_killed_and_comes_back,
            the_connection_breaks_in_the_middle_of_a_batch,
            a_reply_that_is_lost_loses_nothing,
            a_slow_server_is_given_up_and_asked_again,
            a_long_outage_costs_nothing,
        );
    };
    (@ access $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            rights_that_are_taken_away_are_said_at_once_and_looked_for_again,
        );
    };
    (@@ $place:ty : $($case:ident),+ $(,)?) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::run_case(
                    $crate::conformance::$case::<$place>(),
                );
            }
        )+
    };
}
