//! Trail time: the age of entries, without trust in a wall clock that is suddenly far ahead.
//!
//! Trail time is the newest sealed time before this boot plus the monotonic time since then. It
//! follows the wall clock if that is ahead by at most [`MOST_AHEAD`]. The wall clock is further
//! ahead if it is wrong, or if the server was down for long. Then trail time continues by itself
//! and retention waits, until another source agrees with the wall clock in value:
//!
//! | source | value |
//! |---|---|
//! | the kernel's clock, when `systemd-timesyncd` says that it is synchronised | its value, read past the C library |
//! | a witness | the time in its cosignature of the trail |
//! | an operator | `livetrail trail confirm-clock`, on record as `admin_clock_confirmed` |
//!
//! Trail time is kept in `private/clock` of the trail, so that entries written under a wrong clock
//! do not confirm it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use livetrail_audit::ClockState;
use livetrail_clock::{Clock, SystemClock};
use livetrail_ledger::{Reader, SharedStore, Witness};
use livetrail_tlog::Note;
use rustix::time::{ClockId, clock_gettime};

use crate::{Error, looked::notes::local_user};

/// Retention waits if the wall clock is further than this ahead of trail time. Two clocks agree if
/// they differ by at most this.
pub(crate) const MOST_AHEAD: Duration = Duration::from_secs(86_400);

/// This many cosigned checkpoints are read, from the newest on.
const MOST_CHECKPOINTS: usize = 16;

/// A file of systemd. It exists if the clock was synchronised since this start of the machine.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

const FIRST_LINE: &str = "livetrail-clock/v1";

/// The maximum length of the operator in a file that asks to confirm the clock.
const MOST_BY_CHARS: usize = 64;

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The result of reading the clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Trail time, in milliseconds since 1970.
    pub(crate) trail_ms: u64,
    /// How far the wall clock is ahead. Retention waits, because nothing agrees with the wall
    /// clock.
    pub(crate) ahead: Option<Duration>,
}

/// Trail time of a boot.
#[derive(Debug)]
pub(crate) struct TrailTime {
    base_ms: u64,
    base: Duration,
}

impl TrailTime {
    /// Trail time that is `base_ms`, in milliseconds since 1970, at `monotonic`.
    pub(crate) const fn new(base_ms: u64, monotonic: Duration) -> Self {
        Self {
            base_ms,
            base: monotonic,
        }
    }

    /// The time of the trail. `others` are asked only if the wall clock is far ahead.
    pub(crate) fn read(
        &mut self,
        wall_ms: u64,
        monotonic: Duration,
        others: impl FnOnce() -> Vec<u64>,
    ) -> Reading {
        let passed = monotonic.saturating_sub(self.base);
        let own_ms = self.base_ms.saturating_add(millis(passed));
        let ahead_ms = wall_ms.saturating_sub(own_ms);
        let most_ms = millis(MOST_AHEAD);
        // The base stays: within one boot a clock that creeps ahead gets no further than this.
        if ahead_ms <= most_ms {
            return Reading {
                trail_ms: own_ms.max(wall_ms),
                ahead: None,
            };
        }
        if others()
            .iter()
            .any(|other| other.abs_diff(wall_ms) <= most_ms)
        {
            *self = Self::new(wall_ms, monotonic);
            return Reading {
                trail_ms: wall_ms,
                ahead: None,
            };
        }
        Reading {
            trail_ms: own_ms,
            ahead: Some(Duration::from_millis(ahead_ms)),
        }
    }
}

/// The trail's time at the end of the last boot: the kept time, or the time of its newest
/// checkpoint. Call this before the trail is opened, because opening seals what a crash has left.
/// `None` if the trail cannot be read: opening it reports the reason.
pub(crate) fn left_at_ms(trail: Option<&Path>, store: &SharedStore) -> Option<u64> {
    if let Some(kept) = trail.and_then(|trail| read(&kept_file(trail))) {
        return Some(kept);
    }
    let checkpoint = Reader::open(store.clone()).ok()?.checkpoint().ok()?;
    let mut lines = checkpoint.log_cosignatures().iter();
    let sealed_s = lines.find_map(|line| line.timestamp_s)?;
    Some(sealed_s.saturating_mul(1_000))
}

/// Trail time for an operator's command, in milliseconds since 1970.
///
/// # Errors
/// The wall clock is far ahead of trail time, and nothing agrees with the wall clock.
pub fn trail_ms(trail: &Path, store: &SharedStore, witnesses: &[Witness]) -> Result<u64, Error> {
    let clock = SystemClock::new();
    let wall_ms = clock.unix_ms();
    let left_at_ms = left_at_ms(Some(trail), store).unwrap_or(wall_ms);
    let mut time = TrailTime::new(left_at_ms, clock.monotonic());
    let read = time.read(wall_ms, clock.monotonic(), || {
        let reader = Reader::open(store.clone());
        let times = reader.map(|reader| witness_times_ms(trail, &reader, witnesses));
        let mut others = times.unwrap_or_default();
        others.extend(kernel_ms());
        others
    });
    match read.ahead {
        None => Ok(read.trail_ms),
        Some(ahead) => Err(anyhow::anyhow!(
            "the clock is {} s ahead of the trail's time, and nothing agrees with it: check `date`, and if it is right run `livetrail trail confirm-clock`",
            ahead.as_secs()
        )
        .into()),
    }
}

fn kept_file(trail: &Path) -> PathBuf {
    trail.join("private").join("clock")
}

fn confirmation_file(trail: &Path) -> PathBuf {
    trail.join("private").join("clock.confirm")
}

/// Keeps trail time for the next boot.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn keep(trail: &Path, trail_ms: u64) -> anyhow::Result<()> {
    write(&kept_file(trail), trail_ms, "")
}

/// Asks the running server to trust its wall clock, which shows `wall_ms`. The record of it names
/// the local user, by number.
///
/// # Errors
/// The file cannot be written.
pub fn ask_to_confirm(trail: &Path, wall_ms: u64) -> Result<(), Error> {
    let by = format!("by {}\n", local_user());
    Ok(write(&confirmation_file(trail), wall_ms, &by)?)
}

/// The wall clock that an operator has confirmed, and the operator. Each confirmation counts once.
pub(crate) fn take_confirmation(trail: &Path) -> Option<(u64, Option<String>)> {
    let file = confirmation_file(trail);
    let confirmed = read(&file)?;
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let by = text
        .lines()
        .nth(2)
        .and_then(|line| line.strip_prefix("by "));
    let by = by.map(|by| by.chars().take(MOST_BY_CHARS).collect());
    let _ = std::fs::remove_file(file);
    Some((confirmed, by))
}

/// The kernel's clock, if this machine says that it is synchronised.
pub(crate) fn kernel_ms() -> Option<u64> {
    Path::new(SYNCHRONIZED).exists().then(|| {
        let now = clock_gettime(ClockId::Realtime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        seconds.saturating_mul(1_000)
    })
}

/// The state of the wall clock, as the kernel knows it. `None` where the kernel does not report it.
#[must_use]
pub fn state() -> Option<ClockState> {
    let kernel = livetrail_uring::kernel_clock()?;
    Some(ClockState {
        is_synced: kernel.is_synced,
        error_us: kernel.error_us,
    })
}

/// The times at which witnesses cosigned the trail's newest checkpoints.
pub(crate) fn witness_times_ms(trail: &Path, reader: &Reader, witnesses: &[Witness]) -> Vec<u64> {
    let mut notes = Vec::new();
    if let Ok(checkpoint) = reader.checkpoint() {
        notes.push(checkpoint.note().clone());
    }
    let kept = trail.join("private").join("checkpoints");
    let mut names: Vec<_> = std::fs::read_dir(&kept)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .collect();
    names.sort_unstable();
    for name in names.iter().rev().take(MOST_CHECKPOINTS) {
        let note = std::fs::read(kept.join(name)).ok();
        notes.extend(note.and_then(|bytes| Note::parse(&bytes).ok()));
    }
    notes
        .iter()
        .flat_map(|note| {
            let times = witnesses.iter().filter_map(|w| w.cosigned_at_s(note));
            times.map(|seconds| seconds.saturating_mul(1_000))
        })
        .collect()
}

fn read(file: &Path) -> Option<u64> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "the file cannot be read");
            return None;
        }
    };
    let mut lines = text.lines();
    (lines.next()? == FIRST_LINE).then_some(())?;
    lines.next()?.strip_prefix("ms ")?.parse().ok()
}

fn write(file: &Path, ms: u64, more: &str) -> anyhow::Result<()> {
    let above = file.parent().unwrap_or(Path::new("."));
    let write = || -> anyhow::Result<()> {
        let mut new = tempfile::Builder::new()
            .prefix("clock.")
            .tempfile_in(above)?;
        io::Write::write_all(
            &mut new,
            format!("{FIRST_LINE}\nms {ms}\n{more}").as_bytes(),
        )?;
        new.as_file().sync_all()?;
        new.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const NOW_MS: u64 = 1_790_000_000_000;
    const IN_2099_MS: u64 = 4_070_000_000_000;

    fn at(hours: u64) -> Duration {
        Duration::from_secs(hours * 3_600)
    }

    fn nobody() -> Vec<u64> {
        Vec::new()
    }

    #[test]
    fn trail_time_follows_a_clock_that_is_a_little_ahead_or_behind() {
        let mut time = TrailTime::new(NOW_MS, at(1));
        let hour_ms = 3_600_000;
        let read = time.read(NOW_MS + 2 * hour_ms, at(2), nobody);
        assert_eq!((read.trail_ms, read.ahead), (NOW_MS + 2 * hour_ms, None));
        // The wall clock goes back to 1970, and trail time continues.
        let read = time.read(5, at(4), nobody);
        assert_eq!((read.trail_ms, read.ahead), (NOW_MS + 3 * hour_ms, None));
    }

    #[test]
    fn a_clock_that_is_far_ahead_is_not_believed_until_another_agrees_in_value() {
        let mut time = TrailTime::new(NOW_MS, at(0));
        for hours in 0..100 {
            let others = || vec![NOW_MS, IN_2099_MS - 2 * DAY_MS];
            let read = time.read(IN_2099_MS, at(hours), others);
            assert_eq!(read.trail_ms, NOW_MS + hours * 3_600_000);
            assert!(read.ahead > Some(MOST_AHEAD));
        }
        let agrees = || vec![IN_2099_MS + DAY_MS / 2];
        let read = time.read(IN_2099_MS, at(100), agrees);
        assert_eq!((read.trail_ms, read.ahead), (IN_2099_MS, None));
        let read = time.read(IN_2099_MS + 1_000, at(100), nobody);
        assert_eq!(read.ahead, None);
    }

    #[test]
    fn a_clock_that_gains_slowly_may_gain_a_day_per_boot() {
        let mut time = TrailTime::new(NOW_MS, at(0));
        let mut latest_ms = 0;
        for step in 0..50 {
            let read = time.read(NOW_MS + step * DAY_MS / 2, at(0), nobody);
            latest_ms = latest_ms.max(read.trail_ms);
        }
        assert_eq!(latest_ms, NOW_MS + DAY_MS);
    }

    #[test]
    fn what_is_kept_is_read_back_and_a_confirmation_counts_once() {
        let trail = tempfile::tempdir().unwrap();
        std::fs::create_dir(trail.path().join("private")).unwrap();
        keep(trail.path(), NOW_MS).unwrap();
        assert_eq!(read(&kept_file(trail.path())), Some(NOW_MS));
        assert_eq!(take_confirmation(trail.path()), None);
        ask_to_confirm(trail.path(), IN_2099_MS).unwrap();
        let by = Some(local_user());
        assert_eq!(take_confirmation(trail.path()), Some((IN_2099_MS, by)));
        assert_eq!(take_confirmation(trail.path()), None);
        std::fs::write(kept_file(trail.path()), "ms 5\n").unwrap();
        assert_eq!(read(&kept_file(trail.path())), None);
    }
}
