//! The thread that drains the queue to the sink.
//!
//! It polls: while records come, an offer never wakes it. Between two rounds it sleeps. The pause
//! is short after it found something, and doubles each time it found nothing. The queue's capacity
//! determines the shortest and the longest pause ([`Sleep`]). A thread that waits for an answer
//! wakes the worker.
//!
//! After a second without a record it sleeps until something is due, and the next offer wakes it
//! ([`Asleep`](super::asleep::Asleep)): that is one futex call after a silence. A slow sink cannot
//! cause this under load, because the worker sleeps so only if it has accounted for everything.

mod call;
mod close;
mod losses;
mod own;
mod parked;
mod records;
mod send;
mod sleep;
mod take;
mod timers;
mod wall;

use std::sync::Arc;

use livetrail_clock::Clock as _;
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::call::SinkCall;
use self::parked::Parked;
use self::send::Batch;
use self::sleep::{LONGEST_SLEEP, Sleep};
use self::take::Space;
use self::timers::Timers;
use self::wall::Wall;
use super::account::Account;
use super::intake::Offered;
use super::loss::Harvester;
use super::nonce::Nonces;
use super::refusals::Refusals;
use super::sessions::Sessions;
use super::shared::{Ask, Shared};
use super::sync::Ordering;
use super::{CloseReport, Config};

/// The maximum number of records in one call of the sink.
const MAX_BATCH: usize = 1_024;

/// How often the end of a boot tries to report the records at which the sink panicked.
const LAST_REPORTS: usize = 8;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    config: Config,
    boot: Uuid,
    sink: SinkCall,
    timers: Timers,
    account: Account,
    harvester: Harvester,
    nonces: Nonces,
    sessions: Sessions,
    refusals: Refusals,
    /// The count of numbers that were given after the last offer's one, once the pipeline is
    /// closed.
    after_seal: u64,
    popped: Vec<Offered>,
    /// One past the highest number that was popped, or that a record of the worker got.
    seen: u64,
    /// Refusals that come before numbers that had not been popped yet.
    early: Vec<Offered>,
    batch: Batch,
    /// Whether the sink has accepted records since the last sync.
    unsynced: bool,
    /// Whether the sink panicked at the last batch.
    panicked: bool,
    /// The classes for which the sink had space at the last check.
    space: Space,
    parked: Parked,
    /// Questions about records that are held.
    held: Vec<Ask>,
    /// The count of numbers that are accounted for: popped, lost or the worker's own.
    accounted: u64,
    /// The losses among them that the worker itself counted. It had accounted for their numbers
    /// before.
    lost_again: u64,
    /// The positions of the boot's first records that the sink did not accept.
    not_first: Vec<usize>,
    /// The refusals that are accounted for.
    refusals_taken: u64,
    /// The attempts whose records were lost since the last report of losses.
    lost_attempts: u64,
    wall: Wall,
}

/// The count of numbers that the worker gives before the first offer. They are for `server_started`
/// and the sessions that a crash left open.
pub(crate) fn reserved(config: &Config) -> u64 {
    if !config.boot_records {
        return 0;
    }
    1 + u64::try_from(config.recovered.len()).unwrap_or(u64::MAX)
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, config: Config, boot: Uuid, runtime: Runtime) -> Self {
        let now = shared.clock.monotonic();
        let wall = Wall::new(&shared.clock);
        let reserved = reserved(&config);
        Self {
            timers: Timers::new(config.heartbeat, config.sync_interval, now),
            sink: SinkCall::new(Arc::clone(&shared), runtime),
            refusals: Refusals::new(config.refusal_records_per_second, now),
            parked: Parked::with_capacity(shared.intake.capacity()),
            accounted: reserved,
            shared,
            config,
            boot,
            account: Account::default(),
            harvester: Harvester::default(),
            nonces: Nonces::new(),
            sessions: Sessions::default(),
            after_seal: 0,
            popped: Vec::with_capacity(MAX_BATCH),
            seen: reserved,
            early: Vec::new(),
            batch: Batch::default(),
            unsynced: false,
            panicked: false,
            space: Space::ALL,
            held: Vec::new(),
            lost_again: 0,
            not_first: Vec::new(),
            refusals_taken: 0,
            lost_attempts: 0,
            wall,
        }
    }

    pub(crate) fn run(mut self) -> CloseReport {
        self.begin();
        let mut sleep = Sleep::for_capacity(self.shared.intake.capacity());
        loop {
            let stopping = self.shared.stop.load(Ordering::Acquire);
            let found = self.round();
            if stopping && found == 0 {
                return self.close();
            }
            if found >= MAX_BATCH / 2 {
                continue;
            }
            let pause = sleep.after(found);
            if !(sleep.is_silent() && self.sleep_until_woken()) {
                std::thread::park_timeout(pause);
            }
        }
    }

    /// Sleeps until an offer or a question comes, or something is due. `false` if there is
    /// something to do, now or soon.
    fn sleep_until_woken(&self) -> bool {
        let Some(settled) = self.account.all_settled() else {
            return false;
        };
        let due = [
            self.timers.next_due(self.unsynced),
            self.refusals.next_due(),
        ];
        let due = due.into_iter().flatten().min().unwrap_or_default();
        let time = due.saturating_sub(self.shared.clock.monotonic());
        let intake = &self.shared.intake;
        if !intake.fall_asleep(&self.shared.asleep, settled, self.refusals_taken) {
            return false;
        }
        std::thread::park_timeout(time.min(LONGEST_SLEEP));
        self.shared.asleep.resume();
        true
    }

    /// Does one round: questions, the queue, losses, and due work. Returns the number of offers
    /// that it found.
    fn round(&mut self) -> usize {
        // Questions come first, because the earlier offers of their callers are in the queue by
        // now.
        let asks = self.questions();
        self.check_space();
        self.unpark();
        // The waiting ends are taken before the queue is read. The other records of their sessions
        // are in the queue by now, or were there before.
        let waiting: Vec<Offered> = (0..MAX_BATCH)
            .map_while(|_| self.shared.intake.pop_waiting())
            .collect();
        let ahead = if asks.is_empty() && waiting.is_empty() {
            1
        } else {
            self.shared.intake.len().max(1)
        };
        let mut found = 0;
        while found < ahead {
            let more = self.pop_batch();
            if more == 0 {
                break;
            }
            found += more;
            self.write();
        }
        found += waiting.len();
        self.take_waiting(waiting);
        self.report_losses();
        self.what_is_due();
        self.write();
        self.shared.intake.drained(self.accounted);
        self.shared.published.refusals(self.refusals.counts());
        if !asks.is_empty() {
            self.answer(asks);
        }
        found
    }
}
