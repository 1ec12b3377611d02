//! Counts different names in a bounded amount of memory.

use std::collections::BTreeSet;

/// The largest exact count.
const EXACT: usize = 32;

/// The number of registers in the sketch, a power of two. The standard error of the estimate is
/// 1.04 / √256, about 7 %.
const REGISTERS: usize = 256;

/// Counts different hashes. The count is exact up to 32; above that a HyperLogLog sketch of 256
/// bytes estimates it.
#[derive(Debug, Default)]
pub(super) struct Distinct {
    few: BTreeSet<u64>,
    many: Option<Box<[u8; REGISTERS]>>,
}

impl Distinct {
    /// Adds the hash of a name. The key of the hash function must be secret.
    pub(super) fn add(&mut self, hash: u64) {
        if let Some(registers) = &mut self.many {
            put(registers, hash);
            return;
        }
        self.few.insert(hash);
        if self.few.len() > EXACT {
            let mut registers = Box::new([0; REGISTERS]);
            for hash in std::mem::take(&mut self.few) {
                put(&mut registers, hash);
            }
            self.many = Some(registers);
        }
    }

    /// Adds the hashes of another counter.
    pub(super) fn merge(&mut self, other: Self) {
        for hash in other.few {
            self.add(hash);
        }
        let Some(theirs) = other.many else { return };
        let mut ours = self.many.take().unwrap_or_else(|| {
            let mut registers = Box::new([0; REGISTERS]);
            for hash in std::mem::take(&mut self.few) {
                put(&mut registers, hash);
            }
            registers
        });
        for (ours, theirs) in ours.iter_mut().zip(theirs.iter()) {
            *ours = (*ours).max(*theirs);
        }
        self.many = Some(ours);
    }

    /// The number of different hashes, but not more than `at_most`.
    pub(super) fn count(&self, at_most: u64) -> u64 {
        let count = match &self.many {
            None => u64::try_from(self.few.len()).unwrap_or(u64::MAX),
            Some(registers) => estimate(registers),
        };
        count.min(at_most)
    }
}

fn put(registers: &mut [u8; REGISTERS], hash: u64) {
    // The low bits choose the register. The other bits give the hash's rank, which says how rare it
    // is.
    let register = (hash % REGISTERS as u64) as usize;
    let rest = hash / REGISTERS as u64;
    let rank = (rest.trailing_zeros().min(56) + 1) as u8;
    registers[register] = registers[register].max(rank);
}

fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    let m = REGISTERS as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / m);
    let sum: f64 = registers
        .iter()
        .map(|rank| (-f64::from(*rank)).exp2())
        .sum();
    let raw = alpha * m * m / sum;
    let empty = registers.iter().filter(|rank| **rank == 0).count();
    let estimate = if raw <= 2.5 * m && empty > 0 {
        m * (m / empty as f64).ln()
    } else {
        raw
    };
    estimate.round() as u64
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use super::*;

    fn of(names: std::ops::Range<u64>, keys: &RandomState) -> Distinct {
        let mut distinct = Distinct::default();
        for name in names {
            distinct.add(keys.hash_one(name));
            distinct.add(keys.hash_one(name));
        }
        distinct
    }

    #[test]
    fn few_are_counted_exactly_and_many_are_estimated() {
        let keys = RandomState::new();
        for n in [0, 1, 2, 31, 32] {
            assert_eq!(of(0..n, &keys).count(u64::MAX), n);
        }
        for n in [33, 100, 1_000, 100_000] {
            let found = of(0..n, &keys).count(u64::MAX);
            assert!(found > n * 2 / 3 && found < n * 4 / 3, "{n}: {found}");
        }
        assert_eq!(of(0..1_000, &keys).count(7), 7);
    }

    #[test]
    fn two_as_one_have_seen_what_each_has_seen() {
        let keys = RandomState::new();
        let mut few = of(0..10, &keys);
        few.merge(of(5..20, &keys));
        assert_eq!(few.count(u64::MAX), 20);
        few.merge(of(0..10_000, &keys));
        let found = few.count(u64::MAX);
        assert!(found > 6_000 && found < 14_000, "{found}");
        let mut many = of(0..10_000, &keys);
        many.merge(of(0..10, &keys));
        assert_eq!(many.count(u64::MAX), found);
    }
}
