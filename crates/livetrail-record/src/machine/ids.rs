//! Maps and sets whose keys are UUIDs.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};

use uuid::Uuid;

/// A map by UUID. Its hash takes about a tenth of the time of the standard one, and has a secret
/// too: the author of a trail chooses ids, and must not be able to choose such that collide.
pub type UuidMap<V> = HashMap<Uuid, V, UuidHash>;

/// A set of UUIDs, hashed in the same way.
pub(crate) type UuidSet = HashSet<Uuid, UuidHash>;

/// The secret of a [`UuidMap`], different for each.
#[derive(Debug, Clone, Copy)]
pub struct UuidHash([u64; 3]);

impl Default for UuidHash {
    fn default() -> Self {
        let random = RandomState::new();
        Self([0, 1, 2].map(|number: u8| random.hash_one(number)))
    }
}

impl BuildHasher for UuidHash {
    type Hasher = UuidHasher;

    fn build_hasher(&self) -> UuidHasher {
        UuidHasher {
            secret: self.0,
            hash: 0,
        }
    }
}

/// Multiplies the halves of a UUID after it has mixed the secret into both. Other keys are hashed
/// as if they were a list of UUIDs.
#[derive(Debug, Clone)]
pub struct UuidHasher {
    secret: [u64; 3],
    hash: u64,
}

impl Hasher for UuidHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let [first, second, third] = self.secret;
        let (uuids, rest) = bytes.as_chunks::<16>();
        for uuid in uuids {
            let uuid = u128::from_le_bytes(*uuid);
            let (high, low) = ((uuid >> 64) as u64, uuid as u64);
            let mixed = folded(low ^ first, high ^ second);
            self.hash = folded(self.hash ^ mixed ^ third, MULTIPLIER);
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        let [first, ..] = self.secret;
        self.hash = folded(self.hash ^ number ^ first, MULTIPLIER);
    }

    /// The length of the key. It is that of a UUID.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

/// An odd number whose bits look random: those of the golden ratio.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of the product in one number: each bit of the result depends on all bits of both.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A poor hash puts ids that differ in few bits into the same slots.
    #[test]
    fn ids_that_differ_in_any_two_bits_rarely_share_a_slot() {
        for _ in 0..4 {
            let hash = UuidHash::default();
            let mut slots = [vec![0_u32; 1 << 13], vec![0_u32; 1 << 13]];
            let bits = (0..128).flat_map(|a| (0..a).map(move |b| 1_u128 << a | 1 << b));
            for bits in bits {
                let hash = hash.hash_one(Uuid::from_u128(
                    bits ^ 0x0199_0000_0000_7000_8000_0000_0000_0001,
                ));
                // A map takes the slot from one end and a tag from the other.
                slots[0][hash as usize & 0x1fff] += 1;
                slots[1][(hash >> 51) as usize] += 1;
            }
            // 8,128 keys in 8,192 slots: random ones leave 37 % empty, and 9 in one are rare.
            for slots in slots {
                let empty = slots.iter().filter(|slot| **slot == 0).count();
                assert!((2_700..3_350).contains(&empty), "{empty}");
                assert!(slots.iter().all(|slot| *slot < 14));
            }
        }
    }

    #[test]
    fn two_maps_have_different_secrets() {
        let id = Uuid::from_u128(1);
        let hash = || UuidHash::default().hash_one(id);
        assert_ne!(hash(), hash());
    }
}
