//! Reports trouble of the ledger: within a second there is a line in the log and a red `/health`.

use std::{
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    time::Duration,
};

use livetrail_clock::Clock;
use livetrail_ledger::{Handle, Pressure, Status};
use serde::{Serialize, Serializer};

/// A ledger that has something to do is checked this often. This is twice as often as trouble must
/// be reported.
const INTERVAL: Duration = Duration::from_millis(500);

/// Checkpoints that are late by more than this are trouble.
const LATE: Duration = Duration::from_secs(5);

/// While the ledger waits for something temporary, the log gets at most one line in this time.
const RETRIES_LOGGED: Duration = Duration::from_secs(10);

/// Trouble of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
#[non_exhaustive]
pub enum Trouble {
    /// There is no trouble.
    #[default]
    None,
    /// Durable records are not covered by a checkpoint, long after they should be.
    SealingLate,
    /// The system refuses the log something for now, such as another open file. It tries again.
    Retrying,
    /// The disk has no room for records.
    DiskFull,
    /// A hash tile is missing or changed. Recording continues; proofs that need the tile do not.
    Damaged,
    /// The log stopped; only a restart can help.
    Stopped,
}

impl Trouble {
    const ALL: [Self; 6] = [
        Self::None,
        Self::SealingLate,
        Self::Retrying,
        Self::DiskFull,
        Self::Damaged,
        Self::Stopped,
    ];

    /// A stable label, or `None` if there is no trouble.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::SealingLate => Some("sealing_late"),
            Self::Retrying => Some("log_retrying"),
            Self::DiskFull => Some("disk_full"),
            Self::Damaged => Some("tile_damaged"),
            Self::Stopped => Some("log_stopped"),
        }
    }
}

/// The label, or nothing.
impl Serialize for Trouble {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.label().serialize(serializer)
    }
}

/// The latest results of the watch.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    trouble: AtomicU8,
    retention_waits: AtomicBool,
    damaged: AtomicBool,
    verification_failed: AtomicBool,
    verified_s: AtomicU64,
}

impl Watch {
    /// The present trouble.
    pub(crate) fn trouble(&self) -> Trouble {
        let now = usize::from(self.trouble.load(Ordering::Relaxed));
        match Trouble::ALL.get(now).copied().unwrap_or_default() {
            Trouble::None if self.damaged.load(Ordering::Relaxed) => Trouble::Damaged,
            trouble => trouble,
        }
    }

    /// Whether retention waits because nothing agrees with the wall clock.
    pub(crate) fn retention_waits(&self) -> bool {
        self.retention_waits.load(Ordering::Relaxed)
    }

    /// Whether the last verification of the trail by the server itself failed.
    pub(crate) fn verification_failed(&self) -> bool {
        self.verification_failed.load(Ordering::Relaxed)
    }

    /// When the server last verified its trail successfully, in seconds since 1970. 0 if it has not
    /// since the start.
    pub(crate) fn verified_s(&self) -> u64 {
        self.verified_s.load(Ordering::Relaxed)
    }

    pub(super) fn set_verified(&self, unix_s: u64) {
        self.verified_s.store(unix_s, Ordering::Relaxed);
        self.verification_failed.store(false, Ordering::Relaxed);
    }

    pub(super) fn set_verification_failed(&self) {
        self.verification_failed.store(true, Ordering::Relaxed);
    }

    /// A file of the trail is missing, or differs from what was signed. This is kept for the rest
    /// of the boot.
    pub(super) fn set_damaged(&self) {
        self.damaged.store(true, Ordering::Relaxed);
    }

    /// Returns the value before.
    pub(super) fn set_retention_waits(&self, waits: bool) -> bool {
        self.retention_waits.swap(waits, Ordering::Relaxed)
    }

    /// Checks the ledger while it is polled.
    pub(super) async fn run(
        &self,
        handle: Handle,
        clock: impl Clock,
        checkpoint_interval: Duration,
    ) {
        let mut checked = Checked::new(LATE.saturating_add(checkpoint_interval));
        loop {
            let status = handle.status();
            let trouble = checked.at(&status, clock.monotonic());
            self.trouble.store(trouble as u8, Ordering::Relaxed);
            if is_idle(&status) {
                // If the ledger ends instead, the next check sees that.
                let _ = handle.more_than(status.appended).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

/// Whether nothing is wrong, and nothing can go wrong before the next entry: all is sealed, and
/// space is measured only while entries come.
fn is_idle(status: &Status) -> bool {
    let all = status.appended;
    status.stopped.is_none()
        && status.pressure == Pressure::Normal
        && (status.durable, status.sealed.size) == (all, all)
}

/// The results of the last check, so that each change is reported once.
#[derive(Debug)]
struct Checked {
    late: Duration,
    pressure: Pressure,
    trouble: Trouble,
    /// The time since which there is something to seal, and the size that was published then.
    sealing: Option<(Duration, u64)>,
    /// The number of retries, and the time at which they were last logged.
    retries: (u64, Option<Duration>),
}

impl Checked {
    fn new(late: Duration) -> Self {
        Self {
            late,
            pressure: Pressure::Normal,
            trouble: Trouble::None,
            sealing: None,
            retries: (0, None),
        }
    }

    fn at(&mut self, status: &Status, now: Duration) -> Trouble {
        self.log_pressure(status.pressure);
        self.log_retries(status, now);
        let late = self.sealing_is_late(status, now);
        let trouble = if status.stopped.is_some() {
            Trouble::Stopped
        } else if status.pressure >= Pressure::RefuseStrict {
            Trouble::DiskFull
        } else if status.retrying.is_some() {
            Trouble::Retrying
        } else if late {
            Trouble::SealingLate
        } else {
            Trouble::None
        };
        if std::mem::replace(&mut self.trouble, trouble) != trouble {
            log_trouble(trouble, status);
        }
        trouble
    }

    /// Logs at most one line in [`RETRIES_LOGGED`], also about retries between two checks.
    fn log_retries(&mut self, status: &Status, now: Duration) {
        let (before, logged) = self.retries;
        let soon = logged.is_some_and(|at| now.saturating_sub(at) < RETRIES_LOGGED);
        let Some(last) = status.last_retry.as_ref() else {
            return;
        };
        if status.retries == before || soon || last.is_no_space() {
            return;
        }
        self.retries = (status.retries, Some(now));
        tracing::error!(
            retries = status.retries.saturating_sub(before),
            "the trail's log had to wait and tries again: {}",
            crate::chain(last.as_ref())
        );
    }

    fn log_pressure(&mut self, pressure: Pressure) {
        let before = std::mem::replace(&mut self.pressure, pressure);
        match pressure {
            _ if pressure == before => {}
            // This is trouble, and is reported as such.
            Pressure::RefuseStrict => {}
            Pressure::Normal => tracing::info!("the trail's disk has room again"),
            Pressure::Warn => tracing::warn!("the trail's disk is 80 % full"),
            Pressure::ShedRefusals => tracing::error!(
                "the trail's disk is 90 % full: refused attempts are no longer recorded one by one, only counted"
            ),
            Pressure::ShedBestEffort => tracing::error!(
                "the trail's disk is 95 % full: starts of best-effort sessions are no longer recorded, only counted; at 97 % strict sessions are refused"
            ),
        }
    }

    fn sealing_is_late(&mut self, status: &Status, now: Duration) -> bool {
        let sealed = status.sealed.size;
        // Under a hold nothing is sealed. Another part reports that.
        if status.durable <= sealed || !status.held.is_empty() {
            self.sealing = None;
            return false;
        }
        match self.sealing {
            Some((since, size)) if size == sealed => now.saturating_sub(since) >= self.late,
            _ => {
                self.sealing = Some((now, sealed));
                false
            }
        }
    }
}

fn log_trouble(trouble: Trouble, status: &Status) {
    match trouble {
        Trouble::None => tracing::info!("the trail's ledger works again"),
        Trouble::SealingLate => tracing::error!(
            durable = status.durable,
            sealed = status.sealed.size,
            "no checkpoint covers what was recorded: signing or writing tiles hangs"
        ),
        // These are reported together with their cause.
        Trouble::Retrying | Trouble::Damaged => {}
        Trouble::DiskFull => tracing::error!(
            "the trail's disk is full: strict sessions are refused until there is room"
        ),
        Trouble::Stopped => {
            let why = status
                .stopped
                .as_ref()
                .map_or_else(String::new, |fatal| crate::chain(fatal.as_ref()));
            tracing::error!("the trail's log stopped; nothing is recorded until a restart: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use livetrail_ledger::{Class, Identity, Ledger, MemStore, SharedStore, generate_seed};

    use super::*;

    fn ledger() -> Ledger {
        let store: SharedStore = std::sync::Arc::new(MemStore::new());
        let seeds = (generate_seed().unwrap(), generate_seed().unwrap());
        let identity = Identity::from_seeds("example.com/t", &seeds.0, &seeds.1).unwrap();
        Ledger::create(&store, &identity).unwrap();
        Ledger::builder(store, identity).open().unwrap().0
    }

    #[test]
    fn checkpoints_that_do_not_come_are_late_until_one_comes() {
        let ledger = ledger();
        let secs = Duration::from_secs;
        ledger.append(Class::Strict, &["one"]).unwrap();
        ledger.wait_sealed(1, secs(20)).unwrap();
        let done = ledger.status();
        let mut behind = done.clone();
        behind.durable += 1;
        let mut checked = Checked::new(secs(6));
        assert_eq!(checked.at(&done, secs(0)), Trouble::None);
        assert_eq!(checked.at(&behind, secs(10)), Trouble::None);
        assert_eq!(checked.at(&behind, secs(15)), Trouble::None);
        assert_eq!(checked.at(&behind, secs(16)), Trouble::SealingLate);
        // One checkpoint came, and the next is awaited.
        let mut next = behind.clone();
        next.sealed.size += 1;
        next.durable += 2;
        assert_eq!(checked.at(&next, secs(17)), Trouble::None);
        assert_eq!(checked.at(&next, secs(22)), Trouble::None);
        assert_eq!(checked.at(&done, secs(40)), Trouble::None);
    }

    #[tokio::test]
    async fn an_idle_ledger_that_stops_is_noticed() {
        let ledger = ledger();
        ledger.append(Class::Strict, &["one"]).unwrap();
        ledger.wait_sealed(1, Duration::from_secs(20)).unwrap();
        assert!(is_idle(&ledger.status()));
        let watch = std::sync::Arc::new(Watch::default());
        let running = {
            let (watch, handle) = (watch.clone(), ledger.handle());
            tokio::spawn(async move {
                let clock = livetrail_clock::ManualClock::at(0);
                watch.run(handle, clock, Duration::ZERO).await;
            })
        };
        tokio::task::yield_now().await;
        ledger.halt("seen elsewhere");
        let seen = async {
            while watch.trouble() != Trouble::Stopped {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await;
        assert!(seen.is_ok());
        running.abort();
    }

    #[test]
    fn signing_that_waits_for_a_sink_is_not_late() {
        let ledger = ledger();
        let mut held = ledger.status();
        held.held = vec!["sink bucket".to_owned()];
        held.durable += 1;
        let mut checked = Checked::new(LATE);
        assert_eq!(checked.at(&held, Duration::ZERO), Trouble::None);
        assert_eq!(checked.at(&held, LATE * 100), Trouble::None);
    }

    #[test]
    fn a_stopped_log_and_a_full_disk_are_trouble() {
        let ledger = ledger();
        let mut checked = Checked::new(LATE);
        let mut full = ledger.status();
        full.pressure = Pressure::RefuseStrict;
        assert_eq!(checked.at(&full, LATE), Trouble::DiskFull);
        full.pressure = Pressure::ShedBestEffort;
        assert_eq!(checked.at(&full, LATE), Trouble::None);
        ledger.halt("seen elsewhere");
        assert_eq!(checked.at(&ledger.status(), LATE), Trouble::Stopped);
    }
}
