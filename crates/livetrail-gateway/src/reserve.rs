//! Connections beyond the limits, so that a server whose slots are all in use still answers
//! requests that are not sessions.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use crate::address::AddressGroup;

/// The connections in reserve, oldest first. If it is full, a new connection replaces one that has
/// not sent a request yet: the oldest one of the address that has most of them.
#[derive(Debug)]
pub(crate) struct Reserve {
    capacity: usize,
    places: Mutex<VecDeque<Arc<Place>>>,
    displaced: AtomicU64,
}

#[derive(Debug)]
struct Place {
    group: AddressGroup,
    /// It has sent a request.
    busy: AtomicBool,
    displaced: Notify,
}

/// A connection in reserve. Dropping it frees its entry.
#[derive(Debug)]
pub struct Reserved {
    reserve: Arc<Reserve>,
    place: Arc<Place>,
}

impl Reserve {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            places: Mutex::default(),
            displaced: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.places().len()
    }

    pub(crate) fn displaced(&self) -> u64 {
        self.displaced.load(Relaxed)
    }

    /// `None` if every connection in reserve has sent a request.
    pub(crate) fn take(self: &Arc<Self>, peer: SocketAddr) -> Option<Reserved> {
        let place = Arc::new(Place {
            group: peer.ip().into(),
            busy: AtomicBool::new(false),
            displaced: Notify::new(),
        });
        let mut places = self.places();
        if places.len() >= self.capacity {
            let silent = places.iter().filter(|place| !place.is_busy());
            let mut by_group = HashMap::<_, usize>::new();
            for place in silent.clone() {
                let count = by_group.entry(place.group).or_default();
                *count = count.saturating_add(1);
            }
            // Of several addresses with the same number, the first: its connection is the oldest.
            let most = by_group.values().copied().max()?;
            let at = places
                .iter()
                .position(|p| !p.is_busy() && by_group.get(&p.group) == Some(&most))?;
            let oldest = places.remove(at)?;
            oldest.displaced.notify_one();
            self.displaced.fetch_add(1, Relaxed);
        }
        places.push_back(place.clone());
        Some(Reserved {
            reserve: self.clone(),
            place,
        })
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn places(&self) -> MutexGuard<'_, VecDeque<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_busy(&self) -> bool {
        self.busy.load(Relaxed)
    }
}

impl Reserved {
    /// Notes that the connection has sent a request: it is no longer replaced.
    pub fn busy(&self) {
        self.place.busy.store(true, Relaxed);
    }

    /// Completes when the connection must be closed for a newer one.
    ///
    /// Cancel safe: a later call completes at once if the moment has passed. Needs no runtime.
    pub async fn displaced(&self) {
        self.place.displaced.notified().await;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut places = self.reserve.places();
        places.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 5_000)
    }

    #[tokio::test]
    async fn silent_connections_of_the_address_with_most_give_way() {
        let reserve = Arc::new(Reserve::new(3));
        let one = reserve.take(peer("192.0.2.1")).unwrap();
        let many = [
            reserve.take(peer("192.0.2.2")).unwrap(),
            reserve.take(peer("192.0.2.2")).unwrap(),
        ];
        let _new = reserve.take(peer("192.0.2.3")).unwrap();
        many[0].displaced().await;
        assert_eq!((reserve.len(), reserve.displaced()), (3, 1));
        one.busy();
        many[1].busy();
        drop(many);
        assert_eq!(reserve.len(), 2);
    }

    #[test]
    fn a_connection_that_has_asked_stays_open() {
        let reserve = Arc::new(Reserve::new(1));
        let first = reserve.take(peer("192.0.2.1")).unwrap();
        first.busy();
        assert!(reserve.take(peer("192.0.2.2")).is_none());
        drop(first);
        assert!(reserve.take(peer("192.0.2.2")).is_some());
        assert!(Arc::new(Reserve::new(0)).take(peer("192.0.2.2")).is_none());
    }
}
