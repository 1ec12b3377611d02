//! Limits on open connections: in all, per address, and in reserve.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_engine::log;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use crate::{
    address::AddressGroup,
    clock,
    reserve::{Reserve, Reserved},
};

/// How long a connection beyond its address's limit waits for its turn: those before it may be
/// admitted soon.
const TURN_TIMEOUT: Duration = Duration::from_secs(1);
/// This many connections may wait for a turn, per connection without a session that an address may
/// have.
const WAITING_PER_TURN: usize = 8;
/// The names of the limits, as they are configured.
const MAX_CONNECTIONS: &str = "max_connections";
const MAX_PER_ADDRESS: &str = "max_connections_per_ip";
/// Interval between two warnings about connections that were turned away.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The limits of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The maximum number of connections at once, whatever their use.
    pub max_connections: usize,
    /// The maximum number of connections without an admitted session from one address (IPv6: from
    /// one network of 64 bits); 0 is no limit. Eight times as many may wait, each for at most a
    /// second, so that an audience behind one address can arrive at once.
    pub max_connections_per_ip: usize,
    /// Connections beyond both limits, for requests that are not sessions; 0 means no reserve.
    pub reserve: usize,
}

/// Counts of one gateway since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Connections that are open now, including those in reserve.
    pub open: u64,
    /// Connections that are open in reserve now.
    pub reserved: u64,
    /// Connections that were served or are being served.
    pub accepted: u64,
    /// Connections that were closed because too many were open in all.
    pub over_total: u64,
    /// Connections that were closed because too many from their address had no session.
    pub over_address: u64,
    /// Connections in reserve that had sent no request and were closed for a newer one.
    pub displaced: u64,
    /// Connections that were closed before their client had read the reason.
    pub cut: u64,
}

impl ConnectionStats {
    /// Connections that were closed because of either limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let over = self.over_total.saturating_add(self.over_address);
        over.saturating_add(self.displaced)
    }
}

/// The connections of one gateway. Cloning gives another handle to the same table.
///
/// It holds one entry per address with a connection, so at most `max_connections`.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    gateway: &'static str,
    limits: ConnectionLimits,
    open: AtomicUsize,
    accepted: AtomicU64,
    over_total: AtomicU64,
    over_address: AtomicU64,
    cut: AtomicU64,
    by_address: Mutex<HashMap<AddressGroup, Address>>,
    reserve: Arc<Reserve>,
    warning: Mutex<Warning>,
}

/// The connections of one address.
struct Address {
    /// One permit for each connection without an admitted session.
    turns: Arc<Semaphore>,
    connections: usize,
    waiting: usize,
}

/// The number of connections turned away since the last warning.
#[derive(Default)]
struct Warning {
    last: Option<Instant>,
    count: u64,
}

/// What a new connection gets.
#[derive(Debug)]
pub enum Opened {
    /// Its own slot. Wait for its turn first.
    Slot(Slot),
    /// A connection in reserve, for anything but a session: both limits are reached.
    Reserved(Reserved),
}

/// Counts one connection while it is open, even if its task panics.
#[derive(Debug)]
pub struct Slot {
    connections: Connections,
    peer: SocketAddr,
    /// `None` for a connection of a trusted proxy, which is not a client's own.
    of_address: Option<OfAddress>,
}

/// Counts a connection, or a request, for its address.
#[derive(Debug)]
struct OfAddress {
    connections: Connections,
    group: AddressGroup,
    turns: Arc<Semaphore>,
    turn: Turn,
}

/// Counts a request that came through a proxy for the address of its client, until it is dropped.
#[derive(Debug)]
pub struct AddressTurn {
    _of_address: OfAddress,
}

#[derive(Debug)]
enum Turn {
    /// It counts among the connections of its address that have no session.
    Taken {
        _permit: OwnedSemaphorePermit,
    },
    Waiting,
    /// Its session was admitted, or the wait timed out.
    None,
}

impl Connections {
    /// An empty table. `gateway` names it in logs, such as `rtmp`.
    #[must_use]
    pub fn new(gateway: &'static str, limits: ConnectionLimits) -> Self {
        Self(Arc::new(Inner {
            gateway,
            limits,
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            over_total: AtomicU64::new(0),
            over_address: AtomicU64::new(0),
            cut: AtomicU64::new(0),
            by_address: Mutex::default(),
            reserve: Arc::new(Reserve::new(limits.reserve)),
            warning: Mutex::default(),
        }))
    }

    /// The current counts.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        let inner = &self.0;
        let reserved = inner.reserve.len();
        ConnectionStats {
            open: as_u64(inner.open.load(Relaxed).saturating_add(reserved)),
            reserved: as_u64(reserved),
            accepted: inner.accepted.load(Relaxed),
            over_total: inner.over_total.load(Relaxed),
            over_address: inner.over_address.load(Relaxed),
            displaced: inner.reserve.displaced(),
            cut: inner.cut.load(Relaxed),
        }
    }

    pub(crate) fn gateway(&self) -> &'static str {
        self.0.gateway
    }

    pub(crate) fn has_reserve(&self) -> bool {
        self.0.limits.reserve > 0
    }

    pub(crate) fn count_cut(&self) {
        self.0.cut.fetch_add(1, Relaxed);
    }

    /// Counts an accepted connection. `None` if it must be closed at once.
    #[must_use]
    pub fn open(&self, peer: SocketAddr) -> Option<Opened> {
        let mut by_address = self.by_address();
        if self.is_full() {
            drop(by_address);
            return self.reserve(peer, &self.0.over_total, MAX_CONNECTIONS);
        }
        let Some(of_address) = self.count(&mut by_address, peer) else {
            drop(by_address);
            return self.reserve(peer, &self.0.over_address, MAX_PER_ADDRESS);
        };
        if matches!(of_address.turn, Turn::Taken { .. }) {
            self.0.accepted.fetch_add(1, Relaxed);
        }
        Some(self.slot(peer, Some(of_address)))
    }

    /// Counts a connection that a trusted proxy uses for any clients: it has no limit per address.
    /// `None` if it must be closed at once.
    pub(crate) fn open_for_proxy(&self, proxy: SocketAddr) -> Option<Opened> {
        let by_address = self.by_address();
        if self.is_full() {
            drop(by_address);
            return self.reserve(proxy, &self.0.over_total, MAX_CONNECTIONS);
        }
        self.0.accepted.fetch_add(1, Relaxed);
        Some(self.slot(proxy, None))
    }

    /// Waits until a request counts for the address of its client, for at most a second. `None` if
    /// the address has too many.
    pub(crate) async fn turn_of(&self, client: SocketAddr) -> Option<AddressTurn> {
        let counted = self.count(&mut self.by_address(), client);
        if let Some(mut of_address) = counted
            && of_address.turn().await
        {
            return Some(AddressTurn {
                _of_address: of_address,
            });
        }
        self.0.over_address.fetch_add(1, Relaxed);
        self.warn(client, MAX_PER_ADDRESS);
        None
    }

    /// Counts a connection that is closed before it has a slot, because too many wait for one.
    pub(crate) fn turn_away(&self, peer: SocketAddr) {
        self.0.over_total.fetch_add(1, Relaxed);
        self.warn(peer, MAX_CONNECTIONS);
    }

    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.0.limits
    }

    fn is_full(&self) -> bool {
        self.0.open.load(Relaxed) >= self.0.limits.max_connections
    }

    /// `by_address` is locked, so that the last slot is given once.
    fn slot(&self, peer: SocketAddr, of_address: Option<OfAddress>) -> Opened {
        self.0.open.fetch_add(1, Relaxed);
        Opened::Slot(Slot {
            connections: self.clone(),
            peer,
            of_address,
        })
    }

    /// Counts for an address. `None` if it has too many that wait.
    fn count(
        &self,
        by_address: &mut HashMap<AddressGroup, Address>,
        peer: SocketAddr,
    ) -> Option<OfAddress> {
        let group = AddressGroup::from(peer.ip());
        let turns = match self.0.limits.max_connections_per_ip {
            0 => Semaphore::MAX_PERMITS,
            limit => limit.min(Semaphore::MAX_PERMITS),
        };
        let address = by_address.entry(group).or_insert_with(|| Address {
            turns: Arc::new(Semaphore::new(turns)),
            connections: 0,
            waiting: 0,
        });
        let turn = match address.turns.clone().try_acquire_owned() {
            Ok(permit) => Turn::Taken { _permit: permit },
            Err(_) if address.waiting < turns.saturating_mul(WAITING_PER_TURN) => {
                address.waiting = address.waiting.saturating_add(1);
                Turn::Waiting
            }
            Err(_) => return None,
        };
        address.connections = address.connections.saturating_add(1);
        Some(OfAddress {
            connections: self.clone(),
            group,
            turns: address.turns.clone(),
            turn,
        })
    }

    fn reserve(&self, peer: SocketAddr, over: &AtomicU64, limit: &'static str) -> Option<Opened> {
        self.warn(peer, limit);
        match self.0.reserve.take(peer) {
            Some(reserved) => {
                self.0.accepted.fetch_add(1, Relaxed);
                Some(Opened::Reserved(reserved))
            }
            None => {
                over.fetch_add(1, Relaxed);
                None
            }
        }
    }

    /// Logs at most one line per minute, however many connections are turned away.
    fn warn(&self, peer: SocketAddr, limit: &'static str) {
        let now = clock::now();
        let count = {
            let mut warning = self
                .0
                .warning
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            warning.count = warning.count.saturating_add(1);
            let since = warning.last.map(|last| now.saturating_duration_since(last));
            if since.is_some_and(|since| since < WARNING_INTERVAL) {
                return;
            }
            warning.last = Some(now);
            std::mem::take(&mut warning.count)
        };
        tracing::warn!(
            gateway = self.0.gateway,
            limit,
            count,
            last_address = log::personal(peer.ip()),
            "turning connections away: too many are open"
        );
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn by_address(&self) -> MutexGuard<'_, HashMap<AddressGroup, Address>> {
        self.0
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    /// Waits until a slot counts among those of its address, for at most a second; then continues
    /// in reserve. `None` if the connection must be closed.
    pub(crate) async fn turn(self) -> Option<Self> {
        match self {
            Self::Slot(mut slot) => {
                if slot.turn().await {
                    return Some(Self::Slot(slot));
                }
                slot.into_reserve().map(Self::Reserved)
            }
            Self::Reserved(reserved) => Some(Self::Reserved(reserved)),
        }
    }
}

impl Slot {
    /// Waits until the connection counts among those of its address, for at most a second. False if
    /// the wait timed out: the connection must be closed, or continue [in
    /// reserve](Self::into_reserve).
    ///
    /// If the future is dropped, the connection does not count, and a further call waits again.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time.
    pub async fn turn(&mut self) -> bool {
        let Some(of_address) = &mut self.of_address else {
            return true;
        };
        let waited = !matches!(of_address.turn, Turn::Taken { .. });
        let has_turn = of_address.turn().await;
        if waited && has_turn {
            self.connections.0.accepted.fetch_add(1, Relaxed);
        }
        has_turn
    }

    /// Notes that its session was admitted: it no longer counts among the connections of its
    /// address without a session.
    pub fn admitted(&mut self) {
        if let Some(of_address) = &mut self.of_address {
            of_address.stop_waiting();
            of_address.turn = Turn::None;
        }
    }

    /// Notes that its session has ended and the connection continues: it counts again. False if its
    /// address has too many.
    #[must_use]
    pub fn idle(&mut self) -> bool {
        let Some(of_address) = &mut self.of_address else {
            return true;
        };
        if of_address.try_turn() {
            return true;
        }
        let connections = &self.connections;
        connections.0.over_address.fetch_add(1, Relaxed);
        connections.warn(self.peer, MAX_PER_ADDRESS);
        false
    }

    /// Exchanges the slot for an entry in the reserve, if one is free; otherwise the connection
    /// must be closed.
    #[must_use]
    pub fn into_reserve(self) -> Option<Reserved> {
        let connections = self.connections.clone();
        let peer = self.peer;
        drop(self);
        let over = &connections.0.over_address;
        match connections.reserve(peer, over, MAX_PER_ADDRESS) {
            Some(Opened::Reserved(reserved)) => Some(reserved),
            _ => None,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.0.open.fetch_sub(1, Relaxed);
    }
}

impl OfAddress {
    /// Waits for its turn. False if the wait timed out.
    async fn turn(&mut self) -> bool {
        if matches!(self.turn, Turn::Taken { .. }) {
            return true;
        }
        let turn = timeout(TURN_TIMEOUT, self.turns.clone().acquire_owned()).await;
        self.stop_waiting();
        match turn {
            Ok(Ok(permit)) => {
                self.turn = Turn::Taken { _permit: permit };
                true
            }
            _ => false,
        }
    }

    /// Takes a turn if there is one.
    fn try_turn(&mut self) -> bool {
        if matches!(self.turn, Turn::Taken { .. }) {
            return true;
        }
        match self.turns.clone().try_acquire_owned() {
            Ok(permit) => {
                self.turn = Turn::Taken { _permit: permit };
                true
            }
            Err(_) => false,
        }
    }

    fn stop_waiting(&mut self) {
        if matches!(self.turn, Turn::Waiting) {
            self.turn = Turn::None;
            if let Some(address) = self.connections.by_address().get_mut(&self.group) {
                address.waiting = address.waiting.saturating_sub(1);
            }
        }
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        self.stop_waiting();
        let mut by_address = self.connections.by_address();
        if let Some(address) = by_address.get_mut(&self.group) {
            address.connections = address.connections.saturating_sub(1);
            if address.connections == 0 {
                by_address.remove(&self.group);
            }
        }
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections")
            .field("gateway", &self.0.gateway)
            .field("limits", &self.0.limits)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(
        max_connections: usize,
        max_connections_per_ip: usize,
        reserve: usize,
    ) -> Connections {
        Connections::new(
            "test",
            ConnectionLimits {
                max_connections,
                max_connections_per_ip,
                reserve,
            },
        )
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 5_000)
    }

    fn slot(connections: &Connections, ip: &str) -> Option<Slot> {
        match connections.open(peer(ip)) {
            Some(Opened::Slot(slot)) => Some(slot),
            Some(Opened::Reserved(_)) | None => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_few_connections_without_a_session_and_any_number_with_one() {
        let connections = connections(1_000, 2, 0);
        let mut open = Vec::new();
        for _ in 0..100 {
            let mut slot = slot(&connections, "2001:db8::1").unwrap();
            assert!(slot.turn().await);
            slot.admitted();
            open.push(slot);
        }
        let _silent = [
            slot(&connections, "2001:db8::2").unwrap(),
            slot(&connections, "2001:db8::3").unwrap(),
        ];
        let mut third = slot(&connections, "2001:db8::4").unwrap();
        assert!(
            !third.turn().await,
            "the network of 64 bits has two already"
        );
        assert!(third.into_reserve().is_none());
        assert_eq!(connections.stats().over_address, 1);
        assert!(slot(&connections, "2001:db8:1::1").unwrap().turn().await);
        assert!(!open[0].idle(), "its session is over, and there is no turn");
        open.clear();
        assert_eq!(connections.stats().open, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_waits_for_its_turn() {
        let connections = connections(1_000, 2, 0);
        let admit = |mut slot: Slot| async move {
            assert!(slot.turn().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            slot.admitted();
            slot
        };
        let burst: Vec<_> = (0..18)
            .map(|_| tokio::spawn(admit(slot(&connections, "192.0.2.1").unwrap())))
            .collect();
        assert!(
            connections.open(peer("192.0.2.1")).is_none(),
            "two have their turn and sixteen wait"
        );
        for task in burst {
            task.await.unwrap();
        }
        assert!(connections.by_address().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxys_connection_counts_in_all_and_its_requests_for_their_clients() {
        let connections = connections(2, 1, 0);
        let proxy = peer("10.0.0.1");
        let _first = connections.open_for_proxy(proxy).unwrap();
        let Some(Opened::Slot(mut second)) = connections.open_for_proxy(proxy) else {
            panic!("a proxy has no limit per address")
        };
        assert!(second.turn().await);
        second.admitted();
        assert!(second.idle());
        assert!(connections.open_for_proxy(proxy).is_none());
        assert_eq!(connections.stats().over_total, 1);
        let turn = connections.turn_of(peer("192.0.2.1")).await.unwrap();
        assert!(connections.turn_of(peer("192.0.2.1")).await.is_none());
        assert!(connections.turn_of(peer("192.0.2.2")).await.is_some());
        assert_eq!(connections.stats().over_address, 1);
        drop(turn);
        assert!(connections.turn_of(peer("192.0.2.1")).await.is_some());
        assert!(connections.by_address().is_empty());
    }

    #[tokio::test]
    async fn beyond_all_slots_there_is_a_reserve() {
        let connections = connections(1, 0, 2);
        let only = slot(&connections, "192.0.2.1").unwrap();
        let Some(Opened::Reserved(_first)) = connections.open(peer("192.0.2.2")) else {
            panic!("no reserve")
        };
        assert_eq!(connections.stats().reserved, 1);
        drop(only);
        assert!(slot(&connections, "192.0.2.3").is_some());
    }
}
