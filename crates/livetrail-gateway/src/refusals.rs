//! Lines about refused attempts, for people and for programs that block addresses.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::address::AddressGroup;

/// The window in which lines are counted.
const WINDOW: Duration = Duration::from_secs(10);
/// Lines about one address in a window: what a program that blocks addresses needs, and no more.
const LINES_PER_ADDRESS: u32 = 5;
/// Lines in a window about all addresses together.
const LINES: u32 = 200;
/// Addresses that are counted by themselves in a window; beyond that only the common limit holds.
const MAX_ADDRESSES: usize = 1_024;

/// An attempt that was refused.
#[derive(Clone, Copy)]
pub struct Refusal<'a> {
    /// Who asked.
    pub peer: Option<SocketAddr>,
    /// Such as `rtmp`.
    pub protocol: &'a str,
    /// `publish` or `play`.
    pub role: &'a str,
    /// Which stream: without secrets.
    pub stream: &'a dyn fmt::Display,
    /// The reason's stable label.
    pub reason: &'a str,
    /// What exactly was wrong, if there is more to say: without secrets.
    pub detail: Option<&'a str>,
}

/// Writes a line at level info for each refused attempt, up to 5 about one address and 200 in all within 10 seconds.
///
/// ```text
/// refused address=203.0.113.7 protocol="rtmp" role="publish" stream="live/cam" reason="unauthorized" unlogged=0
/// ```
///
/// `unlogged` counts the refusals of the same address without a line since its last one. The address comes first, so that
/// nothing that a client chooses can stand in front of it.
#[derive(Debug, Default)]
pub struct RefusalLog {
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    unlogged: u64,
    addresses: HashMap<AddressGroup, Counted>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    lines: u32,
    unlogged: u64,
}

impl RefusalLog {
    /// Nothing logged yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs a refusal, or counts it.
    pub fn log(&self, refusal: &Refusal<'_>) {
        let Some(unlogged) = self.count(refusal.peer, Instant::now()) else {
            return;
        };
        let address = refusal.peer.map_or_else(
            || "unknown".to_owned(),
            |peer| peer.ip().to_canonical().to_string(),
        );
        tracing::info!(
            %address,
            protocol = refusal.protocol,
            role = refusal.role,
            stream = ?refusal.stream.to_string(),
            reason = refusal.reason,
            detail = refusal.detail,
            unlogged,
            "refused"
        );
    }

    /// How many went without a line before this one; `None` if this one does, too.
    fn count(&self, peer: Option<SocketAddr>, now: Instant) -> Option<u64> {
        let mut window = self.window();
        let since = *window.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= WINDOW {
            window.begin(now);
        }
        let full = window.lines >= LINES;
        let known = window.addresses.len();
        let group = peer.map(|peer| AddressGroup::from(peer.ip()));
        let counted = match group {
            Some(group) if known < MAX_ADDRESSES || window.addresses.contains_key(&group) => {
                window.addresses.entry(group).or_default()
            }
            _ if full => {
                window.unlogged = window.unlogged.saturating_add(1);
                return None;
            }
            _ => {
                window.lines = window.lines.saturating_add(1);
                return Some(0);
            }
        };
        if full || counted.lines >= LINES_PER_ADDRESS {
            counted.unlogged = counted.unlogged.saturating_add(1);
            window.unlogged = window.unlogged.saturating_add(1);
            return None;
        }
        counted.lines = counted.lines.saturating_add(1);
        let unlogged = std::mem::take(&mut counted.unlogged);
        window.lines = window.lines.saturating_add(1);
        Some(unlogged)
    }

    /// Nothing that can panic runs under it.
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// A new window. What an address has without a line goes over into it; addresses without that are forgotten.
    fn begin(&mut self, now: Instant) {
        let unlogged = std::mem::take(&mut self.unlogged);
        if unlogged > 0 {
            tracing::info!(count = unlogged, "refusals without a line of their own");
        }
        self.addresses.retain(|_, counted| {
            counted.lines = 0;
            counted.unlogged > 0
        });
        // An address that never comes back must not hold its entry for ever.
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.clear();
        }
        (self.since, self.lines) = (Some(now), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip.parse().unwrap(), 5_000))
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_five_lines_in_ten_seconds_and_the_next_says_what_is_missing() {
        let log = RefusalLog::new();
        let lines = |n: usize| {
            let counts = (0..n).map(|_| log.count(peer("192.0.2.1"), Instant::now()));
            counts.flatten().collect::<Vec<_>>()
        };
        assert_eq!(lines(1_000), [0; 5]);
        assert!(log.count(peer("192.0.2.2"), Instant::now()).is_some());
        tokio::time::advance(WINDOW).await;
        assert_eq!(lines(1_000), [995, 0, 0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_together_are_bounded() {
        let log = RefusalLog::new();
        let flood = || {
            let counts = (0..=u16::MAX).map(|n| {
                let [a, b] = n.to_be_bytes();
                log.count(peer(&format!("10.0.{a}.{b}")), Instant::now())
            });
            counts.flatten().count()
        };
        assert_eq!(flood(), LINES as usize);
        assert!(log.window().addresses.len() <= MAX_ADDRESSES);
        tokio::time::advance(WINDOW).await;
        assert_eq!(flood(), LINES as usize);
        assert!(log.window().addresses.len() <= MAX_ADDRESSES);
    }
}
