//! What the separate requests of one viewer have in common: a token, and the addresses that they
//! come from.

use std::num::NonZeroU32;

use uuid::Uuid;

use crate::{attempts::Address, identity::SessionId};

/// The token in the addresses of a viewer's requests. It is the host's own, sealed when an
/// authenticator admitted the viewer. Only its id is here, which admits nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewerToken {
    /// The token's id.
    pub id: Uuid,
    /// The id of the share link that it was exchanged for.
    pub share: Option<Uuid>,
    /// When it expires, in milliseconds since 1970 (UTC).
    pub expires_unix_ms: u64,
    /// Whether the viewer's media may come from caches of others, so that nobody knows how much of
    /// it the viewer got.
    pub from_caches: bool,
    /// The session that was opened with it before, as far as the engine remembers. The engine sets
    /// it.
    pub resumes: Option<SessionId>,
}

impl ViewerToken {
    /// A token that was not exchanged for a share link.
    #[must_use]
    pub fn new(id: Uuid, expires_unix_ms: u64) -> Self {
        Self {
            id,
            share: None,
            expires_unix_ms,
            from_caches: false,
            resumes: None,
        }
    }

    /// A token by the bytes of its id, and of its share link's.
    #[must_use]
    pub fn of_bytes(id: [u8; 16], share: Option<[u8; 16]>, expires_unix_ms: u64) -> Self {
        Self::new(Uuid::from_bytes(id), expires_unix_ms).share(share.map(Uuid::from_bytes))
    }

    /// Sets the share link that it was exchanged for.
    #[must_use]
    pub fn share(mut self, share: Option<Uuid>) -> Self {
        self.share = share;
        self
    }

    /// Sets whether the viewer's media may come from caches.
    #[must_use]
    pub fn from_caches(mut self, from_caches: bool) -> Self {
        self.from_caches = from_caches;
        self
    }

    pub(crate) fn resuming(mut self, session: SessionId) -> Self {
        self.resumes = Some(session);
        self
    }
}

/// What a viewer's requests add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RequestTotals {
    /// When the last request came that kept the session alive, in milliseconds since 1970 (UTC).
    pub last_unix_ms: u64,
    /// From how many addresses they came: an IPv4 address, or an IPv6 network of 64 bits. Beyond 16
    /// an address that comes back may count again.
    pub peers: NonZeroU32,
}

/// The addresses that are remembered of a viewer, besides the present one.
const MAX_OTHERS: usize = 15;

/// The addresses of a viewer's requests.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    present: Option<Address>,
    /// When the last request came from there, in milliseconds of the engine's clock.
    at_ms: u64,
    /// The others, each with the time of its last request; the newest last. Most viewers have none.
    others: Vec<(Address, u64)>,
    different: u32,
    is_shared: bool,
}

impl Seen {
    /// A request came from here. Returns the number of addresses, once: when an address is active
    /// again after another one, within `window_ms`. So a viewer who changes the address once is not
    /// meant, but two who use one token are.
    pub(crate) fn request(
        &mut self,
        from: Address,
        now_ms: u64,
        window_ms: u64,
    ) -> Option<NonZeroU32> {
        if self.present == Some(from) {
            self.at_ms = now_ms;
            return None;
        }
        let before = self.others.iter().position(|(other, _)| *other == from);
        let before = before.map(|at| self.others.remove(at).1);
        if let Some(present) = self.present.replace(from) {
            if self.others.len() == MAX_OTHERS {
                self.others.remove(0);
            }
            self.others.push((present, self.at_ms));
        }
        self.at_ms = now_ms;
        let Some(before_ms) = before else {
            self.different = self.different.saturating_add(1);
            return None;
        };
        let is_active = now_ms.saturating_sub(before_ms) < window_ms;
        if self.is_shared || !is_active {
            return None;
        }
        self.is_shared = true;
        Some(self.peers())
    }

    pub(crate) fn peers(&self) -> NonZeroU32 {
        NonZeroU32::new(self.different).unwrap_or(NonZeroU32::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW_MS: u64 = 12_000;

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    /// The peers that were reported for requests, each a letter and a second.
    fn reports(requests: &[(&str, u64)]) -> (Vec<u32>, u32) {
        let mut seen = Seen::default();
        let reported = requests.iter().filter_map(|(from, second)| {
            let from = address(&format!("192.0.2.{from}:1"));
            seen.request(from, second * 1_000, WINDOW_MS)
        });
        let reported = reported.map(NonZeroU32::get).collect();
        (reported, seen.peers().get())
    }

    #[test]
    fn a_viewer_who_moves_is_not_two_viewers() {
        assert_eq!(reports(&[]), (vec![], 1));
        assert_eq!(
            reports(&[("1", 0), ("1", 2), ("2", 3), ("3", 4)]),
            (vec![], 3)
        );
        // Home again in the evening.
        assert_eq!(reports(&[("1", 0), ("2", 3), ("1", 12)]), (vec![], 2));
    }

    #[test]
    fn two_at_once_are_reported_once() {
        let two = [
            ("1", 0),
            ("2", 1),
            ("1", 2),
            ("2", 3),
            ("1", 4),
            ("3", 5),
            ("1", 6),
        ];
        assert_eq!(reports(&two), (vec![2], 3));
        let late = [("1", 0), ("2", 20), ("1", 40), ("2", 41)];
        assert_eq!(reports(&late), (vec![], 2));
        assert_eq!(reports(&[&late[..], &[("1", 51)]].concat()), (vec![2], 2));
    }

    #[test]
    fn addresses_without_end_need_no_more_memory() {
        let mut seen = Seen::default();
        for n in 0..100_000u32 {
            let from = address(&format!("{}:1", std::net::Ipv4Addr::from_bits(n)));
            assert_eq!(seen.request(from, 0, WINDOW_MS), None);
        }
        assert_eq!(
            (seen.peers().get(), seen.others.len()),
            (100_000, MAX_OTHERS)
        );
        assert!(seen.others.capacity() <= 16);
        let one_network = ["[2001:db8::1]:1", "[2001:db8::2]:7"].map(address);
        assert_eq!(one_network[0], one_network[1]);
    }
}
