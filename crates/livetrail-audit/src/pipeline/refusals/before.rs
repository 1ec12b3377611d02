//! Counts the refused attempts of an address before its next admitted attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::attempt::AddressGroup;

/// The number of sets in the table.
const SETS: usize = 1_024;

/// The number of addresses in a set.
const WAYS: usize = 8;

/// How long refusals are remembered after the last one.
const REMEMBERED: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Slot {
    group: AddressGroup,
    refused: u64,
    last: Duration,
}

/// The refusals of each address since its last success.
///
/// The table holds 8,192 addresses (IPv6 networks of 64 bits) in about 400 KiB, which the first
/// refusal allocates. If it is full, it first forgets the addresses with the fewest refusals. So a
/// flood from many addresses does not hide one that continues to try.
#[derive(Debug)]
pub(super) struct Before {
    keys: RandomState,
    slots: Vec<[Option<Slot>; WAYS]>,
}

impl Before {
    pub(super) fn new() -> Self {
        Self {
            keys: RandomState::new(),
            slots: Vec::new(),
        }
    }

    /// Counts this many refused attempts of the group.
    pub(super) fn refused(&mut self, group: AddressGroup, attempts: u64, now: Duration) {
        if self.slots.is_empty() {
            self.slots = vec![[None; WAYS]; SETS];
        }
        let set = self.set(group);
        let known = set.iter_mut().flatten().find(|slot| slot.group == group);
        if let Some(slot) = known {
            if is_over(slot, now) {
                slot.refused = 0;
            }
            slot.refused = slot.refused.saturating_add(attempts);
            slot.last = now;
            return;
        }
        let worth = |slot: &Option<Slot>| match slot {
            None => (0, Duration::ZERO),
            Some(slot) if is_over(slot, now) => (0, slot.last),
            Some(slot) => (slot.refused, slot.last),
        };
        if let Some(least) = set.iter_mut().min_by_key(|slot| worth(slot)) {
            *least = Some(Slot {
                group,
                refused: attempts,
                last: now,
            });
        }
    }

    /// An attempt of the group was admitted. Returns the number of refused attempts since the last
    /// admitted one, or `None` if there were none.
    pub(super) fn admitted(&mut self, group: AddressGroup, now: Duration) -> Option<u64> {
        if self.slots.is_empty() {
            return None;
        }
        let is_it = |slot: &&mut Option<Slot>| slot.is_some_and(|slot| slot.group == group);
        let slot = self.set(group).iter_mut().find(is_it)?.take()?;
        (!is_over(&slot, now)).then_some(slot.refused)
    }

    fn set(&mut self, group: AddressGroup) -> &mut [Option<Slot>; WAYS] {
        let set = self.keys.hash_one(group) % SETS as u64;
        &mut self.slots[set as usize]
    }
}

fn is_over(slot: &Slot, now: Duration) -> bool {
    now.saturating_sub(slot.last) > REMEMBERED
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn group(n: u32) -> AddressGroup {
        AddressGroup::from(IpAddr::from(n.to_be_bytes()))
    }

    #[test]
    fn a_success_carries_the_refusals_since_the_last_one() {
        let s = Duration::from_secs;
        let mut before = Before::new();
        assert_eq!(before.admitted(group(1), s(0)), None);
        before.refused(group(1), 1, s(0));
        before.refused(group(1), 40, s(500));
        before.refused(group(2), 7, s(500));
        assert_eq!(before.admitted(group(1), s(1_000)), Some(41));
        assert_eq!(before.admitted(group(1), s(1_000)), None);
        assert_eq!(before.admitted(group(2), s(1_101)), None, "too long ago");
        before.refused(group(3), 5, s(0));
        before.refused(group(3), 5, s(601));
        assert_eq!(before.admitted(group(3), s(601)), Some(5));
    }

    #[test]
    fn many_addresses_do_not_hide_one_that_keeps_trying() {
        let mut before = Before::new();
        before.refused(group(u32::MAX), 50, Duration::ZERO);
        for n in 0..65_536 {
            before.refused(group(n), 1, Duration::from_secs(1));
        }
        let found = before.admitted(group(u32::MAX), Duration::from_secs(2));
        assert_eq!(found, Some(50));
    }
}
