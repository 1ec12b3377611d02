//! Allocations for one offer, on the thread that offers. A program of its own: a counting allocator would slow the others.

use livetrail_benches::{self as bench, offer};
use tokio::runtime::Builder;

const OFFERS: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let ways = runtime.block_on(async { tokio::spawn(async { offer::all(65_536) }).await })??;
    let mut lines = Vec::new();
    for (name, way) in offer::NAMES.iter().zip(&ways) {
        // What is made once for a thread is not part of an offer.
        (0..100).for_each(|_| way.offer());
        let counted = allocation_counter::measure(|| (0..OFFERS).for_each(|_| way.offer()));
        let per_offer = |total: u64| format!("{:.2}", total as f64 / OFFERS as f64);
        lines.push(vec![
            (*name).to_owned(),
            per_offer(counted.count_total),
            per_offer(counted.bytes_total),
        ]);
    }
    bench::table(&["way", "allocations/offer", "bytes/offer"], &lines);
    Ok(())
}
