//! The suite that every sink must pass against its real server. It is behind the feature
//! `conformance`, for tests.
//!
//! A sink's tests implement [`Place`], [`Server`] and [`Access`]: how to create, read, kill and
//! disconnect its destination. The macro [`replica_conformance!`](crate::replica_conformance) makes
//! one test per case. A case panics if the sink breaks the contract of [`ReplicaSink`]. Each case
//! takes seconds, waits with a deadline, and leaves nothing behind. It needs a tokio runtime with
//! two threads or more, I/O and time; the macro's tests have one. A case that is dropped has not
//! checked anything.
//!
//! ```text
//! livetrail_replica::replica_conformance!(MyPlace: place, server, access);
//! ```

mod access;
mod erasing;
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
pub use erasing::*;
pub use log::TestLog;
pub use owner::*;
pub use place::*;
pub use proxy::Proxy;
pub use server::*;

use crate::options::ReplicaOptions;
use crate::replicator::{ReplicaWatch, Replicator};
use crate::sink::{Delivery, ReplicaSink};

/// The maximum time that anything in a case may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a case checks its condition while it waits.
const POLL: Duration = Duration::from_millis(2);

/// A destination that a sink writes to, new and empty.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use async_trait::async_trait;
/// use livetrail_replica::conformance::{self, Place};
/// use livetrail_replica::{ReplicaError, ReplicaSink, SealedRange, SinkCursor};
///
/// /// The entries of one log, in memory.
/// #[derive(Clone, Default)]
/// struct Shelf(Arc<Mutex<Vec<Vec<u8>>>>);
///
/// #[async_trait]
/// impl ReplicaSink for Shelf {
///     fn name(&self) -> &str { "shelf" }
///
///     async fn cursor(&self, _origin: &str) -> Result<SinkCursor, ReplicaError> {
///         Ok(SinkCursor::at(self.0.lock().unwrap().len() as u64))
///     }
///
///     async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
///         let mut held = self.0.lock().unwrap();
///         let found = held.len() as u64;
///         if found != range.first() {
///             return Err(ReplicaError::CursorMoved { expected: range.first(), found });
///         }
///         held.extend(range.entries().iter().map(|entry| entry.to_vec()));
///         Ok(())
///     }
///
///     async fn health(&self) -> Result<(), ReplicaError> { Ok(()) }
/// }
///
/// #[async_trait]
/// impl Place for Shelf {
///     async fn fresh() -> Self {
///         Self::default()
///     }
///
///     async fn sink(&self) -> Arc<dyn ReplicaSink> {
///         Arc::new(self.clone())
///     }
///
///     async fn held(&self, _origin: &str) -> Vec<(u64, Vec<u8>)> {
///         let held = self.0.lock().unwrap();
///         (0..).zip(held.iter().cloned()).collect()
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// // In a test, `livetrail_replica::replica_conformance!(Shelf: one_log)` makes all cases.
/// conformance::everything_arrives_once_in_order::<Shelf>().await;
/// # }
/// ```
#[async_trait]
pub trait Place: Send + Sync + Sized + 'static {
    /// Makes a destination, with its server if it has one. Everything that it starts ends when this
    /// value is dropped.
    async fn fresh() -> Self;

    /// Makes a sink that writes there as a separate process would: no two sinks share a connection.
    /// Connects through [`Server::proxy`] if there is one.
    async fn sink(&self) -> Arc<dyn ReplicaSink>;

    /// Each entry that the destination holds for this origin, with its index, in the destination's
    /// order. Reads it in another way than the sink does. Includes repetitions, if the destination
    /// can hold them; for a sink that delivers at least once, the first occurrence counts.
    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)>;

    /// Lets an independent program verify the content, from the destination alone; panics if that
    /// finds a problem. For destinations that such a program can read.
    async fn verify(&self, log: &TestLog) {
        let _ = log;
    }

    /// Manipulates the destination as its owner could do behind the sink's back. `false` means that
    /// nobody can do that to such a destination, or that the test's server cannot.
    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        let _ = (log, what);
        false
    }
}

/// A manipulation by the owner of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manipulation {
    /// Everything of the log is gone from the destination, as if it were new.
    Emptied,
    /// The destination also holds something that does not belong to the log, also in the position
    /// that the sink reads first, as far as the destination allows it.
    Foreign,
    /// The destination claims more entries than it has, and no signed checkpoint covers them.
    Claimed,
}

/// A destination behind a server that can die, and a network that can break.
///
/// In this example the server is a task. Each of its connections ends when it is killed; its rows
/// stay. The server of a test is a process, so that nothing but its files survives.
///
/// ```
/// use std::{io, sync::{Arc, Mutex}};
/// use async_trait::async_trait;
/// use livetrail_replica::conformance::{self, Place, Proxy, Server};
/// use livetrail_replica::{ReplicaError, ReplicaSink, SealedRange, SinkCursor};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::net::{TcpListener, TcpStream};
/// use tokio::sync::watch;
///
/// type Rows = Arc<Mutex<Vec<Vec<u8>>>>;
///
/// struct Table {
///     proxy: Proxy,
///     rows: Rows,
///     is_running: watch::Sender<bool>,
/// }
///
/// #[async_trait]
/// impl Server for Table {
///     fn proxy(&self) -> &Proxy {
///         &self.proxy
///     }
///
///     async fn kill(&self) {
///         self.is_running.send_replace(false);
///     }
///
///     async fn restart(&self) {
///         self.is_running.send_replace(true);
///     }
/// }
///
/// #[async_trait]
/// impl Place for Table {
///     async fn fresh() -> Self {
///         let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
///         let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
///         let (rows, is_running) = (Rows::default(), watch::Sender::new(true));
///         tokio::spawn(serve(listener, rows.clone(), is_running.subscribe()));
///         Self { proxy, rows, is_running }
///     }
///
///     async fn sink(&self) -> Arc<dyn ReplicaSink> {
///         Arc::new(Client(self.proxy.address()))
///     }
///
///     async fn held(&self, _origin: &str) -> Vec<(u64, Vec<u8>)> {
///         let rows = self.rows.lock().unwrap();
///         (0..).zip(rows.iter().cloned()).collect()
///     }
/// }
///
/// async fn serve(listener: TcpListener, rows: Rows, is_running: watch::Receiver<bool>) {
///     while let Ok((mut client, _)) = listener.accept().await {
///         let (rows, mut is_running) = (rows.clone(), is_running.clone());
///         tokio::spawn(async move {
///             tokio::select! {
///                 biased;
///                 _ = is_running.wait_for(|is_running| !is_running) => {}
///                 _ = answer(&mut client, &rows) => {}
///             }
///         });
///     }
/// }
///
/// /// Sends the next index, then takes an index and an entry, and so on.
/// async fn answer(client: &mut TcpStream, rows: &Rows) -> io::Result<()> {
///     loop {
///         let next = rows.lock().unwrap().len() as u64;
///         client.write_u64(next).await?;
///         let index = client.read_u64().await?;
///         let mut entry = vec![0; client.read_u32().await? as usize];
///         client.read_exact(&mut entry).await?;
///         let mut rows = rows.lock().unwrap();
///         if index == rows.len() as u64 {
///             rows.push(entry);
///         }
///     }
/// }
///
/// struct Client(std::net::SocketAddr);
///
/// #[async_trait]
/// impl ReplicaSink for Client {
///     async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
///         // … Connects, sends each entry with its index, and reads each next index.
/// #         let lost = |error: io::Error| ReplicaError::unavailable("append", error);
/// #         let mut server = TcpStream::connect(self.0).await.map_err(lost)?;
/// #         let found = server.read_u64().await.map_err(lost)?;
/// #         if found != range.first() {
/// #             return Err(ReplicaError::CursorMoved { expected: range.first(), found });
/// #         }
/// #         let mut request = Vec::new();
/// #         for (index, entry) in (range.first()..).zip(range.entries()) {
/// #             request.extend_from_slice(&index.to_be_bytes());
/// #             request.extend_from_slice(&(entry.len() as u32).to_be_bytes());
/// #             request.extend_from_slice(entry);
/// #         }
/// #         let (mut replies, mut requests) = server.split();
/// #         let read = async {
/// #             let mut next = range.first();
/// #             for _ in range.entries() {
/// #                 next = replies.read_u64().await?;
/// #             }
/// #             Ok(next)
/// #         };
/// #         let ((), next) = tokio::try_join!(requests.write_all(&request), read).map_err(lost)?;
/// #         assert_eq!(next, range.first() + range.entries().len() as u64);
/// #         Ok(())
///     }
///
///     async fn cursor(&self, _origin: &str) -> Result<SinkCursor, ReplicaError> {
///         // …
/// #         let lost = |error: io::Error| ReplicaError::unavailable("the next index", error);
/// #         let mut server = TcpStream::connect(self.0).await.map_err(lost)?;
/// #         Ok(SinkCursor::at(server.read_u64().await.map_err(lost)?))
///     }
/// #    fn name(&self) -> &str { "table" }
/// #    async fn health(&self) -> Result<(), ReplicaError> { Ok(()) }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// conformance::the_server_is_killed_and_comes_back::<Table>().await;
/// # }
/// ```
#[async_trait]
pub trait Server: Place {
    /// The proxy that all sinks' connections go through.
    fn proxy(&self) -> &Proxy;

    /// Ends the server at once, without notice (`SIGKILL`).
    async fn kill(&self);

    /// Starts the server again, with its data on disk, at the same address. Returns when it accepts
    /// connections.
    async fn restart(&self);
}

/// A destination that can withdraw a sink's rights.
///
/// ```
/// use std::sync::{Arc, Mutex, atomic::{AtomicBool, Ordering}};
/// use async_trait::async_trait;
/// use livetrail_replica::conformance::{self, Access, Place};
/// use livetrail_replica::{ReplicaError, ReplicaSink, SealedRange, SinkCursor};
///
/// #[derive(Clone, Default)]
/// struct Table {
///     rows: Arc<Mutex<Vec<Vec<u8>>>>,
///     is_revoked: Arc<AtomicBool>,
/// }
///
/// #[async_trait]
/// impl ReplicaSink for Table {
///     async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
///         if self.is_revoked.load(Ordering::SeqCst) {
///             return Err(ReplicaError::denied("insert the entries", "permission denied"));
///         }
///         // …
/// #         let mut rows = self.rows.lock().unwrap();
/// #         let found = rows.len() as u64;
/// #         if found != range.first() {
/// #             return Err(ReplicaError::CursorMoved { expected: range.first(), found });
/// #         }
/// #         rows.extend(range.entries().iter().map(|entry| entry.to_vec()));
/// #         Ok(())
///     }
/// #     fn name(&self) -> &str { "table" }
/// #     async fn cursor(&self, _origin: &str) -> Result<SinkCursor, ReplicaError> {
/// #         Ok(SinkCursor::at(self.rows.lock().unwrap().len() as u64))
/// #     }
/// #     async fn health(&self) -> Result<(), ReplicaError> { Ok(()) }
/// }
///
/// # #[async_trait]
/// # impl Place for Table {
/// #     async fn fresh() -> Self { Self::default() }
/// #     async fn sink(&self) -> Arc<dyn ReplicaSink> { Arc::new(self.clone()) }
/// #     async fn held(&self, _origin: &str) -> Vec<(u64, Vec<u8>)> {
/// #         let rows = self.rows.lock().unwrap();
/// #         (0..).zip(rows.iter().cloned()).collect()
/// #     }
/// # }
/// #[async_trait]
/// impl Access for Table {
///     async fn revoke(&self) {
///         self.is_revoked.store(true, Ordering::SeqCst);
///     }
///
///     async fn grant(&self) {
///         self.is_revoked.store(false, Ordering::SeqCst);
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() {
/// conformance::revoked_rights_are_reported_at_once_and_checked_again::<Table>().await;
/// # }
/// ```
#[async_trait]
pub trait Access: Place {
    /// Withdraws the right to write, also from open connections.
    async fn revoke(&self);

    /// Grants the right again.
    async fn grant(&self);
}

/// A running replicator.
pub(crate) struct Following {
    pub(crate) watch: ReplicaWatch,
    task: JoinHandle<()>,
}

impl Following {
    /// Starts a replicator with short pauses and small batches.
    pub(crate) fn start(log: &TestLog, sink: Arc<dyn ReplicaSink>) -> Self {
        Self::start_with(log, sink, quick())
    }

    pub(crate) fn start_with(
        log: &TestLog,
        sink: Arc<dyn ReplicaSink>,
        options: ReplicaOptions,
    ) -> Self {
        let clock = Arc::new(SystemClock::new());
        let replicator = Replicator::new(log.handle(), log.reader(), sink, options, clock)
            .expect("options")
            .with_openings(log.openings());
        Self {
            watch: replicator.watch(),
            task: tokio::spawn(replicator.run()),
        }
    }

    /// Waits until the sink has everything, and ends the replicator.
    pub(crate) async fn finish(self, log: &TestLog) {
        self.finish_within(log, PATIENCE).await;
    }

    /// As [`finish`](Self::finish), for work that needs up to `patience`.
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

    /// Ends it as if its process had died: it is never polled again.
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

/// Asserts that the destination holds exactly this log: each entry once, in order, byte for byte. A
/// sink that delivers at least once may repeat entries: first occurrences are in order, and each
/// repetition has the same bytes.
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

/// The first occurrence of each index.
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

/// Runs a case in its own runtime.
#[doc(hidden)]
pub fn run_case(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(case);
}

/// Makes one test per case of the named groups:
///
/// - `place`: every sink; or `one_log` if the destination holds a single log.
/// - `server`: sinks with a [`Server`]; or `server_at_least_once` if the cursor is not in the
///   destination, where a batch whose reply was lost comes twice.
/// - `access`: sinks with [`Access`].
/// - `erasing`: sinks with [`Erasing`]; and `erasing_server`, if they have a [`Server`] as well.
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
            revoked_rights_are_reported_at_once_and_checked_again,
        );
    };
    (@ erasing $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            erasures_follow_the_log,
            without_openings_only_entries_arrive,
            a_repeated_erasure_changes_nothing,
            an_opening_that_comes_late_does_not_stay,
            two_processes_at_once_erase_the_same,
            our_process_may_end_in_an_erasure,
        );
    };
    (@ erasing_server $place:ty) => {
        $crate::replica_conformance!(@@ $place:
            an_erasure_survives_an_outage,
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
