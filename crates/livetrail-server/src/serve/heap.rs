//! Returns the memory of ended streams to the system.
//!
//! The allocator keeps freed memory: after five rounds of 40 publishers with a GOP of 30 MB the
//! server held 1.6 GB without any connection (`benches/RESULTS.md`). Therefore this task asks the
//! allocator to return memory after streams have freed much.

use std::{future::Future, time::Duration};

use livetrail_engine::Engine;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two checks. Memory is returned at most once in this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// Less memory is not returned: threads that allocate at the same time have to wait.
const WORTH_BYTES: u64 = 32 << 20;

/// Returns freed memory until `stopping` completes.
pub(super) async fn keep_small(engine: Engine, stopping: impl Future<Output = ()>) {
    let mut stopping = std::pin::pin!(stopping);
    let mut interval = interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut freed = Freed::default();
    loop {
        tokio::select! {
            () = &mut stopping => return,
            _ = interval.tick() => {}
        }
        if freed.is_much(engine.buffered_bytes()) {
            let returned = tokio::task::spawn_blocking(livetrail_uring::return_freed_memory).await;
            tracing::debug!(returned = ?returned.ok(), "freed memory goes back to the system");
        }
    }
}

/// Counts what streams have freed since memory was last returned.
#[derive(Debug, Default)]
struct Freed {
    most_bytes: u64,
}

impl Freed {
    /// Whether enough memory was freed to return it. `kept_bytes` is what streams keep now. If the
    /// answer is yes, the count starts again from there.
    fn is_much(&mut self, kept_bytes: u64) -> bool {
        self.most_bytes = self.most_bytes.max(kept_bytes);
        let much = self.most_bytes - kept_bytes >= WORTH_BYTES;
        if much {
            self.most_bytes = kept_bytes;
        }
        much
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_for_what_was_let_go_of() {
        const MIB: u64 = 1 << 20;
        let mut freed = Freed::default();
        let looks = [0, 100, 90, 69, 68, 68, 100, 68, 0, 0].map(|mib| freed.is_much(mib * MIB));
        let much: Vec<_> = (0..looks.len()).filter(|at| looks[*at]).collect();
        assert_eq!(much, [4, 7, 8]);
    }
}
