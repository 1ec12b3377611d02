//! From the offer of an entry until it is durable, at a steady rate, alternating with a bare
//! fdatasync on the same disk.

use std::{
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use livetrail_ledger::{Class, Handle};

use super::{ENTRY_BYTES, Entries, bare::BareSync, new_ledger};
use crate::Latencies;

/// How often entries are offered.
const TICK: Duration = Duration::from_millis(1);

/// How long each of the two is measured before the other has its turn.
const TURN: Duration = Duration::from_secs(2);

/// How long an entry may take.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Offers that may wait to be seen as durable.
const MOST_WAITING: usize = 1 << 16;

/// What was measured at one rate.
#[derive(Default)]
pub struct Measured {
    /// The times of the ledger's entries.
    pub ledger: Latencies,
    /// The times of the bare syncs.
    pub bare: Latencies,
    /// Entries that were offered a second: less than asked for when the machine did not keep up.
    pub offered: f64,
}

/// Measures at `rate` entries per second, in `turns` turns.
pub fn run(dir: &Path, rate: u64, turns: u32) -> Result<Measured> {
    let ledger = new_ledger(&dir.join(format!("at-{rate}")))?;
    let bare_dir = dir.join(format!("bare-{rate}"));
    std::fs::create_dir(&bare_dir)?;
    let mut bare = BareSync::new(&bare_dir)?;
    let mut measured = Measured::default();
    // The first turn of each is not counted.
    turn(&ledger, rate, &mut Latencies::default())?;
    bare.run(TURN, &mut Latencies::default())?;
    for _ in 0..turns {
        bare.run(TURN, &mut measured.bare)?;
        turn(&ledger, rate, &mut measured.ledger)?;
    }
    measured.offered = measured.ledger.count() as f64 / (TURN * turns).as_secs_f64();
    ledger.close()?;
    Ok(measured)
}

/// An offer: the index after its last entry, how many entries it has, and when it was made.
type Offer = (u64, u64, Instant);

fn turn(ledger: &Handle, rate: u64, latencies: &mut Latencies) -> Result<()> {
    let (offers, waiting) = mpsc::sync_channel(MOST_WAITING);
    thread::scope(|scope| {
        let watch = scope.spawn(|| watch(ledger, waiting, latencies));
        let offered = offer(ledger, rate, &offers);
        drop(offers);
        let watched = watch.join();
        offered?;
        watched.ok().context("the watching thread panicked")?
    })
}

fn offer(ledger: &Handle, rate: u64, offers: &mpsc::SyncSender<Offer>) -> Result<()> {
    let most = usize::try_from(rate)?.max(1);
    let mut entries = Entries::new(ENTRY_BYTES, most);
    let (begin, mut offered) = (Instant::now(), 0);
    for tick in 1_u32.. {
        if begin.elapsed() >= TURN {
            break;
        }
        let due = u64::try_from(begin.elapsed().as_nanos())? * rate / 1_000_000_000;
        let count = due.saturating_sub(offered);
        if count > 0 {
            let now = Instant::now();
            let batch = entries.take(usize::try_from(count)?);
            let appended = ledger.append(Class::Strict, batch)?;
            offered += appended.next - appended.first;
            offers.send((appended.next, count, now))?;
        }
        thread::sleep((TICK * tick).saturating_sub(begin.elapsed()));
    }
    Ok(())
}

/// Waits for one offer after the other, as strict sessions do.
fn watch(ledger: &Handle, offers: mpsc::Receiver<Offer>, latencies: &mut Latencies) -> Result<()> {
    for (next, count, at) in offers {
        ledger.wait_durable(next, DURABLE_TIMEOUT)?;
        let nanos = u64::try_from(at.elapsed().as_nanos())?;
        latencies.add_many(nanos, count);
    }
    Ok(())
}
