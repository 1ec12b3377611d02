//! Budgets that keep strangers from making the server work and its trail grow: refused attempts per
//! address, and short sessions in all.
//!
//! - The budget of an address ([`Limits::attempts`](crate::Limits::attempts)). Its refusals and its
//!   sessions shorter than a second use it up. If it is used up, the engine asks only
//!   authenticators that decide locally, and reports refusals as `rate_limited`, after [`DELAY`].
//! - The budget of all addresses ([`Limits::short_sessions`](crate::Limits::short_sessions)).
//!   Sessions shorter than a second use it up. If it is used up, clients with such sessions within
//!   [`SUSPECT_FOR`] are admitted at a pace, or refused if they would wait for more than
//!   [`LONGEST_WAIT`].
//!
//! An address is an IPv4 address or an IPv6 network of 64 bits; an attempt without an address is
//! never counted. Only refusals and short sessions count: any number of good viewers behind one
//! address costs nothing.
//!
//! **Bounds.** Each table holds at most 65,536 entries in two halves. Recently used entries are in
//! the young half; if that is full, the table forgets the whole old half. So it forgets an entry
//! after 32,768 others were used, at the earliest. At most [`MAX_DELAYED`] refusals are delayed at
//! once, and at most [`MAX_DELAYED_OF_ONE`] of one address; further ones are immediate.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::event::{Role, SessionContext};

/// How many times something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Times per second in the long run; 0 is no limit.
    pub per_second: u32,
    /// Times at once; at least one.
    pub burst: u32,
}

/// A session shorter than this is a short one.
pub(crate) const SHORT: Duration = Duration::from_secs(1);

/// How long a refusal takes if its address is over its budget.
pub(crate) const DELAY: Duration = Duration::from_secs(1);

/// The maximum number of refusals that are delayed at once.
const MAX_DELAYED: usize = 1_024;

/// The maximum number of refusals of one address that are delayed at once.
const MAX_DELAYED_OF_ONE: u16 = 32;

/// How long a short session counts against its address and principal.
const SUSPECT_FOR: Duration = Duration::from_secs(10);

/// The maximum wait for admission if there are too many short sessions.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Entries in each half of a table.
const HALF: usize = 32_768;

/// The unit of a budget: an IPv4 address, or the first 64 bits of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(u32),
    V6(u64),
}

impl Address {
    pub(crate) fn of(peer: SocketAddr) -> Self {
        match peer.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }

    pub(crate) fn of_session(context: &SessionContext) -> Option<Self> {
        context.peer.map(Self::of)
    }
}

impl Rate {
    fn is_unlimited(self) -> bool {
        self.per_second == 0
    }

    /// Half of the rate, in two parts that add up to the whole.
    fn halves(self) -> (Self, Self) {
        let half = self.per_second.div_ceil(2);
        let of = |per_second: u32| Self {
            per_second: per_second.max(1),
            burst: self.burst,
        };
        (of(half), of(self.per_second - half))
    }

    /// The time after which one more is allowed.
    fn step_us(self) -> u64 {
        1_000_000 / u64::from(self.per_second.max(1))
    }

    /// The time in which an empty budget becomes full again.
    fn whole_us(self) -> u64 {
        self.step_us() * u64::from(self.burst.max(1))
    }
}

/// A budget, stored as the moment at which it is full again (a generic cell rate algorithm): it
/// needs no refill.
#[derive(Debug, Clone, Copy, Default)]
struct Budget {
    full_at_us: u64,
}

impl Budget {
    /// How long the budget has less than one left; zero if it has one.
    fn empty_for(self, rate: Rate, now_us: u64) -> Duration {
        let needed = (self.full_at_us.saturating_add(rate.step_us())).saturating_sub(now_us);
        Duration::from_micros(needed.saturating_sub(rate.whole_us()))
    }

    /// Takes one, or leaves the budget empty.
    fn draw(&mut self, rate: Rate, now_us: u64) {
        let drawn = self.full_at_us.max(now_us).saturating_add(rate.step_us());
        self.full_at_us = drawn.min(now_us.saturating_add(rate.whole_us()));
    }
}

/// A bounded map that forgets the least recently used entries; see the module's bounds.
struct Table<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Default> Table<K, V> {
    fn new() -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The entry; this counts as a use.
    fn entry(&mut self, key: K) -> &mut V {
        if self.young.len() >= HALF && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        match self.young.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let value = old.remove(entry.key()).unwrap_or_default();
                entry.insert(value)
            }
        }
    }

    /// The entry if it exists; this does not count as a use.
    fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }
}

#[derive(Debug, Default)]
struct OfAddress {
    budget: Budget,
    delayed: u16,
}

/// Sessions shorter than a second.
struct Shorts {
    /// When an address and principal last had a short session, in microseconds.
    last_us: Table<(Address, Option<u64>), u64>,
    /// When the next client that is admitted at a pace may come in.
    next_us: u64,
}

/// All budgets of an engine.
pub(crate) struct Attempts {
    addresses: Mutex<Table<Address, OfAddress>>,
    shorts: Mutex<Shorts>,
    /// When the budget of short sessions is full again. It may be overdrawn by its own size.
    shorts_full_at_us: AtomicU64,
    /// No address has used its budget yet, so no check is needed.
    untouched: std::sync::atomic::AtomicBool,
    delayed: AtomicUsize,
    principals: RandomState,
}

/// How a client is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once.
    Go,
    /// After this time.
    Wait(Duration),
    /// Not at this time: the wait would be longer than this.
    Refuse(Duration),
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            addresses: Mutex::new(Table::new()),
            shorts: Mutex::new(Shorts {
                last_us: Table::new(),
                next_us: 0,
            }),
            shorts_full_at_us: AtomicU64::new(0),
            untouched: std::sync::atomic::AtomicBool::new(true),
            delayed: AtomicUsize::new(0),
            principals: RandomState::new(),
        }
    }

    fn addresses(&self) -> MutexGuard<'_, Table<Address, OfAddress>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn shorts(&self) -> MutexGuard<'_, Shorts> {
        self.shorts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this address has used up its budget; if so, when it has one attempt again.
    pub(crate) fn over(
        &self,
        address: Option<Address>,
        rate: Rate,
        now: Duration,
    ) -> Option<Duration> {
        let address = address?;
        if rate.is_unlimited() || self.untouched.load(Relaxed) {
            return None;
        }
        let budget = self.addresses().get(&address)?.budget;
        let empty_for = budget.empty_for(rate, micros(now));
        (!empty_for.is_zero()).then_some(empty_for)
    }

    /// Notes that an attempt from this address was refused.
    pub(crate) fn refused(&self, address: Option<Address>, rate: Rate, now: Duration) {
        let Some(address) = address else { return };
        if rate.is_unlimited() {
            return;
        }
        self.untouched.store(false, Relaxed);
        self.addresses()
            .entry(address)
            .budget
            .draw(rate, micros(now));
    }

    /// The right to delay one refusal of this address.
    pub(crate) fn delay(self: &Arc<Self>, address: Address) -> Option<Delayed> {
        if self.delayed.fetch_add(1, Relaxed) >= MAX_DELAYED {
            self.delayed.fetch_sub(1, Relaxed);
            return None;
        }
        let delayed = Delayed {
            attempts: self.clone(),
            address,
            counted: std::cell::Cell::new(false),
        };
        let mut addresses = self.addresses();
        let of_one = &mut addresses.entry(address).delayed;
        if *of_one >= MAX_DELAYED_OF_ONE {
            drop(addresses);
            return None;
        }
        *of_one += 1;
        delayed.counted.set(true);
        Some(delayed)
    }

    /// Notes that a session shorter than [`SHORT`] has ended. `paced`: its turn was counted at its
    /// admission.
    pub(crate) fn short_session(
        &self,
        context: &SessionContext,
        paced: bool,
        of_address: Rate,
        of_all: Rate,
        now: Duration,
    ) {
        let Some(address) = Address::of_session(context) else {
            return;
        };
        self.refused(Some(address), of_address, now);
        if of_all.is_unlimited() {
            return;
        }
        let now_us = micros(now);
        *self
            .shorts()
            .last_us
            .entry((address, self.principal(context))) = now_us;
        if !paced {
            let (rate, _) = of_all.halves();
            let debt = now_us.saturating_add(2 * rate.whole_us());
            let drawn =
                |full_at: u64| Some(full_at.max(now_us).saturating_add(rate.step_us()).min(debt));
            let _ = self.shorts_full_at_us.fetch_update(Relaxed, Relaxed, drawn);
        }
    }

    /// How to admit a session that everything else allows.
    pub(crate) fn pace(&self, context: &SessionContext, of_all: Rate, now: Duration) -> Pace {
        let now_us = micros(now);
        let (rate, pace) = of_all.halves();
        let behind_us = self.shorts_full_at_us.load(Relaxed).saturating_sub(now_us);
        if of_all.is_unlimited() || behind_us.saturating_add(rate.step_us()) <= rate.whole_us() {
            return Pace::Go;
        }
        let Some(address) = Address::of_session(context) else {
            return Pace::Go;
        };
        let overdrawn = behind_us.saturating_add(rate.step_us()) > 2 * rate.whole_us();
        // A publisher with a principal is known to the operator: the behaviour of strangers does
        // not delay it.
        let known = context.role == Role::Publish && context.principal.is_some();
        let mut shorts = self.shorts();
        let last_us = shorts.last_us.get(&(address, self.principal(context)));
        let suspect =
            last_us.is_some_and(|last| now_us.saturating_sub(*last) < micros(SUSPECT_FOR));
        if !suspect && (known || !overdrawn) {
            return Pace::Go;
        }
        let turn_us = shorts.next_us.max(now_us);
        let wait = Duration::from_micros(turn_us - now_us);
        if wait > LONGEST_WAIT {
            return Pace::Refuse(wait);
        }
        shorts.next_us = turn_us.saturating_add(pace.step_us());
        Pace::Wait(wait)
    }

    fn principal(&self, context: &SessionContext) -> Option<u64> {
        let principal = context.principal.as_deref()?;
        Some(self.principals.hash_one(principal))
    }
}

/// A refusal that is being delayed.
pub(crate) struct Delayed {
    attempts: Arc<Attempts>,
    address: Address,
    counted: std::cell::Cell<bool>,
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.attempts.delayed.fetch_sub(1, Relaxed);
        if self.counted.get()
            && let Some(of_address) = self.attempts.addresses().peek_mut(&self.address)
        {
            of_address.delayed = of_address.delayed.saturating_sub(1);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::{SessionId, StreamKey};

    const RATE: Rate = Rate {
        per_second: 10,
        burst: 100,
    };
    const ALL: Rate = Rate {
        per_second: 100,
        burst: 1_000,
    };

    fn address(n: u32) -> Option<Address> {
        Some(Address::V4(n))
    }

    fn context(ip: u32, principal: Option<&str>, role: Role) -> SessionContext {
        let key = StreamKey::parse("live", "cam").unwrap();
        let mut context = SessionContext::new(SessionId::at(0), role, key);
        context.peer = Some((std::net::Ipv4Addr::from_bits(ip), 1).into());
        context.principal = principal.map(Into::into);
        context
    }

    #[test]
    fn a_budget_is_a_burst_and_then_a_rate() {
        let attempts = Attempts::new();
        let mut now = Duration::from_secs(5);
        for n in 0..100 {
            assert_eq!(attempts.over(address(1), RATE, now), None, "{n}");
            attempts.refused(address(1), RATE, now);
        }
        let wait = attempts.over(address(1), RATE, now).unwrap();
        assert_eq!(wait, Duration::from_millis(100));
        // Further refusals do not make the wait longer.
        for _ in 0..1_000 {
            attempts.refused(address(1), RATE, now);
        }
        assert_eq!(attempts.over(address(1), RATE, now), Some(wait));
        assert_eq!(attempts.over(address(2), RATE, now), None);
        assert_eq!(attempts.over(None, RATE, now), None);
        now += wait;
        assert_eq!(attempts.over(address(1), RATE, now), None);
        attempts.refused(address(1), RATE, now);
        assert!(attempts.over(address(1), RATE, now).is_some());
        let none = Rate {
            per_second: 0,
            burst: 0,
        };
        assert_eq!(attempts.over(address(1), none, now), None);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_mapped_ipv4_is_ipv4() {
        let of = |text: &str| Address::of(text.parse().unwrap());
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:9"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:192.0.2.1]:1"), of("192.0.2.1:2"));
    }

    #[test]
    fn the_table_of_addresses_is_bounded_and_forgets_the_unused() {
        let attempts = Attempts::new();
        let now = Duration::from_secs(1);
        for _ in 0..100 {
            attempts.refused(address(0), RATE, now);
        }
        for n in 1..200_000 {
            attempts.refused(address(n), RATE, now);
            if n < 32_000 {
                assert!(n % 500 != 0 || attempts.over(address(0), RATE, now).is_some());
            }
            if n % 1_000 == 0 && n < 100_000 {
                // A used entry remains.
                attempts.refused(address(0), RATE, now);
            }
        }
        let table = attempts.addresses();
        assert!(table.young.len() <= HALF && table.old.len() <= HALF);
        drop(table);
        assert_eq!(
            attempts.over(address(0), RATE, now),
            None,
            "not used for 100,000"
        );
    }

    #[test]
    fn a_bounded_number_of_refusals_is_delayed() {
        let attempts = Arc::new(Attempts::new());
        let of_one: Vec<_> = (0..40)
            .filter_map(|_| attempts.delay(Address::V4(1)))
            .collect();
        assert_eq!(of_one.len(), usize::from(MAX_DELAYED_OF_ONE));
        let all: Vec<_> = (0..2_000)
            .filter_map(|n| attempts.delay(Address::V4(n + 2)))
            .collect();
        assert_eq!(of_one.len() + all.len(), MAX_DELAYED);
        drop((of_one, all));
        assert!(attempts.delay(Address::V4(1)).is_some());
        assert_eq!(attempts.delayed.load(Relaxed), 0);
    }

    #[test]
    fn clients_that_come_and_go_are_paced_and_others_are_not() {
        let attempts = Attempts::new();
        let now = Duration::from_secs(100);
        let churner = context(1, None, Role::Play);
        assert_eq!(attempts.pace(&churner, ALL, now), Pace::Go);
        for _ in 0..1_000 {
            attempts.short_session(&churner, false, RATE, ALL, now);
        }
        assert_eq!(
            attempts.pace(&churner, ALL, now),
            Pace::Wait(Duration::ZERO)
        );
        assert_eq!(
            attempts.pace(&churner, ALL, now),
            Pace::Wait(Duration::from_millis(20))
        );
        let viewer = context(1, Some("alice"), Role::Play);
        assert_eq!(
            attempts.pace(&viewer, ALL, now),
            Pace::Go,
            "another principal"
        );
        assert_eq!(
            attempts.pace(&context(2, None, Role::Play), ALL, now),
            Pace::Go
        );
        let refused = (0..1_000)
            .filter(|_| matches!(attempts.pace(&churner, ALL, now), Pace::Refuse(_)))
            .count();
        assert_eq!(refused, 1_000 - 99, "as many as 2 s let in");
        assert_eq!(
            attempts.pace(&churner, ALL, now + Duration::from_secs(20)),
            Pace::Go,
            "the budget is not empty any more"
        );
    }

    #[test]
    fn an_overdrawn_budget_paces_all_but_known_publishers() {
        let attempts = Attempts::new();
        let now = Duration::from_secs(100);
        for n in 0..5_000 {
            attempts.short_session(&context(n, None, Role::Play), false, RATE, ALL, now);
        }
        let stranger = context(9_000, None, Role::Play);
        assert!(matches!(attempts.pace(&stranger, ALL, now), Pace::Wait(_)));
        let publisher = context(9_000, Some("studio"), Role::Publish);
        assert_eq!(attempts.pace(&publisher, ALL, now), Pace::Go);
        attempts.short_session(&publisher, true, RATE, ALL, now);
        assert!(matches!(attempts.pace(&publisher, ALL, now), Pace::Wait(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]

        /// Short sessions come from any number of addresses. In the long run, no more of them are
        /// admitted than the rate allows.
        #[test]
        fn churn_is_bounded_by_the_rate(
            addresses in 1..5_000u32,
            per_ms in 1..4u32,
            seed in any::<u32>(),
        ) {
            let attempts = Attempts::new();
            let mut short = 0u64;
            let mut turns = std::collections::BinaryHeap::new();
            let (mut n, seconds) = (seed, 40u64);
            for ms in 0..seconds * 1_000 {
                let now = Duration::from_millis(1_000_000 + ms);
                while turns.peek().is_some_and(|(std::cmp::Reverse(at), _)| *at <= now) {
                    let (_, ip) = turns.pop().unwrap();
                    attempts.short_session(&context(ip, None, Role::Play), true, RATE, ALL, now);
                    short += 1;
                }
                for _ in 0..per_ms {
                    n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let ip = n % addresses;
                    let context = context(ip, None, Role::Play);
                    match attempts.pace(&context, ALL, now) {
                        Pace::Go => {
                            attempts.short_session(&context, false, RATE, ALL, now);
                            short += 1;
                        }
                        Pace::Wait(wait) => turns.push((std::cmp::Reverse(now + wait), ip)),
                        Pace::Refuse(_) => {}
                    }
                }
            }
            let bound = seconds * 100 + 3 * 1_000;
            prop_assert!(short <= bound, "{} short sessions in {} s, at most {}", short, seconds, bound);
        }
    }
}
