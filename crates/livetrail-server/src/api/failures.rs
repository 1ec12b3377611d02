//! Counts wrong API tokens by address. This makes guessing slow. The table is bounded.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use livetrail_engine::Clock;
use tokio::sync::Semaphore;

/// An address may show this many wrong tokens at once.
const BURST: u32 = 10;

/// One more wrong token is forgiven after each such interval.
const FORGIVEN_EVERY: Duration = Duration::from_secs(6);

/// The table keeps this many addresses. If all entries are in use, new addresses share one entry.
const MOST_ADDRESSES: usize = 4_096;

/// A full table is searched for forgiven addresses at most once in this time.
const SWEPT_EVERY: Duration = Duration::from_secs(1);

/// An answer to an address over its budget is held back for this long.
pub(super) const DELAY: Duration = Duration::from_secs(1);

/// At most this many answers are held back at the same time. Any further answer is sent at once.
const MOST_DELAYED: usize = 256;

/// Addresses that have shown wrong tokens lately.
///
/// The table has, for each address, the time at which all its failures are forgiven (the generic
/// cell rate algorithm). A failure moves this time by [`FORGIVEN_EVERY`].
pub(super) struct Failures {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    delayed: Semaphore,
}

#[derive(Default)]
struct Table {
    forgiven_at: HashMap<Option<IpAddr>, Duration>,
    /// Time at which the forgiven addresses were last removed.
    swept_at: Option<Duration>,
}

impl Table {
    /// The entry of an address: its own if it has one or if there is a free one, else the shared
    /// one.
    fn key(&mut self, peer: IpAddr, now: Duration) -> Option<IpAddr> {
        let key = network(peer);
        let full = |table: &Self| table.forgiven_at.len() >= MOST_ADDRESSES;
        let due = |at: Duration| now.saturating_sub(at) >= SWEPT_EVERY;
        if full(self) && self.swept_at.is_none_or(due) {
            self.swept_at = Some(now);
            self.forgiven_at.retain(|_, at| *at > now);
        }
        let own = self.forgiven_at.contains_key(&Some(key)) || !full(self);
        own.then_some(key)
    }
}

impl Failures {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            table: Mutex::default(),
            delayed: Semaphore::new(MOST_DELAYED),
        }
    }

    /// Counts a wrong token.
    ///
    /// # Errors
    /// The address is over its budget. The error is the time until the next failure is forgiven.
    pub(super) fn count(&self, peer: IpAddr) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let key = table.key(peer, now);
        let forgiven_at = table.forgiven_at.entry(key).or_insert(now);
        let begin = (*forgiven_at).max(now);
        let most = FORGIVEN_EVERY * BURST;
        let over = (begin - now + FORGIVEN_EVERY).checked_sub(most);
        match over.filter(|over| !over.is_zero()) {
            Some(over) => Err(over),
            None => {
                *forgiven_at = begin + FORGIVEN_EVERY;
                Ok(())
            }
        }
    }

    /// Holds an answer back, unless [`MOST_DELAYED`] answers are held back already.
    pub(super) async fn delay(&self) {
        if let Ok(_turn) = self.delayed.try_acquire() {
            tokio::time::sleep(DELAY).await;
        }
    }
}

/// The network that counts as one client: an IPv4 address, or a /64 of IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::ManualClock;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_are_forgiven_one_by_one() {
        let clock = ManualClock::at(0);
        let failures = Failures::new(Arc::new(clock.clone()));
        let peer = ip("192.0.2.1");
        for _ in 0..BURST {
            assert_eq!(failures.count(peer), Ok(()));
        }
        assert_eq!(failures.count(peer), Err(FORGIVEN_EVERY));
        assert_eq!(failures.count(ip("192.0.2.2")), Ok(()), "another address");
        assert!(failures.count(ip("::ffff:192.0.2.1")).is_err(), "the same");
        clock.advance(FORGIVEN_EVERY);
        assert_eq!(failures.count(peer), Ok(()));
        assert!(failures.count(peer).is_err());
        clock.advance(FORGIVEN_EVERY * BURST);
        for _ in 0..BURST {
            assert_eq!(failures.count(peer), Ok(()));
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_and_the_table_is_bounded() {
        let clock = ManualClock::at(0);
        let failures = Failures::new(Arc::new(clock.clone()));
        for i in 0..BURST {
            assert_eq!(failures.count(ip(&format!("2001:db8::{i:x}"))), Ok(()));
        }
        assert!(failures.count(ip("2001:db8::ffff:1")).is_err());
        assert_eq!(failures.count(ip("2001:db8:0:1::1")), Ok(()));
        for i in 0..10_000_u32 {
            let _ = failures.count(IpAddr::V4((0x0a00_0000 + i).into()));
        }
        let kept = failures.table.lock().unwrap().forgiven_at.len();
        assert!(kept <= MOST_ADDRESSES + 1, "{kept}");
        clock.advance(FORGIVEN_EVERY * BURST);
        assert_eq!(failures.count(ip("192.0.2.9")), Ok(()));
        assert!(failures.table.lock().unwrap().forgiven_at.len() <= 2);
    }
}
