//! The account of the boot's numbers: which are written, and which are reported as dropped.

use std::collections::BTreeMap;

use super::loss::Loss;

/// The account of a boot's numbers, which the worker keeps.
///
/// A number arrives when the sink has accepted its record. Numbers arrive nearly in order. A number
/// that is missing below the highest one is in one of these states:
///
/// - Its producer has taken it and has not used it yet.
/// - Its record is in the queue.
/// - Its record is held until there is space.
/// - Its record is lost.
///
/// A loss can be reported when it counts all missing numbers up to its last one. It is settled when
/// the sink has accepted that report.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// One past the highest number that has arrived.
    next: u64,
    /// The missing numbers below `next`, as first → last. The losses since the last report and the
    /// number of producers bound this map.
    holes: BTreeMap<u64, u64>,
    /// The known losses that are not reported yet.
    pending: Option<Loss>,
}

impl Account {
    /// The sink has accepted the record with this number.
    pub(crate) fn arrived(&mut self, seq: u64) {
        if seq >= self.next {
            if seq > self.next {
                self.holes.insert(self.next, seq - 1);
            }
            self.next = seq + 1;
            return;
        }
        let Some((&first, &last)) = self.holes.range(..=seq).next_back() else {
            debug_assert!(false, "number {seq} arrives once");
            return;
        };
        if seq > last {
            debug_assert!(false, "number {seq} arrives once");
            return;
        }
        self.holes.remove(&first);
        if first < seq {
            self.holes.insert(first, seq - 1);
        }
        if seq < last {
            self.holes.insert(seq + 1, last);
        }
    }

    /// Adds a loss.
    pub(crate) fn lost(&mut self, loss: Loss) {
        self.pending = Some(match self.pending.take() {
            Some(before) => before.and(&loss),
            None => loss,
        });
    }

    /// Whether there are known losses that are not reported yet.
    pub(crate) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// A loss that can be reported now: its count is exactly the missing numbers up to its last
    /// one. The caller must call [`reported`](Self::reported) or [`lost`](Self::lost) before it
    /// calls this again.
    pub(crate) fn report(&mut self) -> Option<Loss> {
        let last = self.pending.as_ref()?.last_seq;
        // Numbers that the worker has not seen yet are missing, too, up to the last lost one.
        let unseen = (last + 1).saturating_sub(self.next);
        let seen: u64 = self
            .holes
            .range(..=last)
            .map(|(first, hole_last)| (*hole_last).min(last) - first + 1)
            .sum();
        if seen + unseen != self.pending.as_ref()?.total() {
            return None;
        }
        self.pending.take()
    }

    /// The sink has accepted the report of this loss. All numbers up to its last one are accounted
    /// for.
    pub(crate) fn reported(&mut self, loss: &Loss) {
        let last = loss.last_seq;
        if let Some((&first, &hole_last)) = self.holes.range(..=last).next_back()
            && hole_last > last
        {
            self.holes.remove(&first);
            self.holes.insert(last + 1, hole_last);
        }
        self.holes = self.holes.split_off(&(last + 1));
        self.next = self.next.max(last + 1);
    }

    /// The last number up to which all are accounted for. `None` if the first one is not.
    pub(crate) fn settled(&self) -> Option<u64> {
        let first_open = self
            .holes
            .first_key_value()
            .map_or(self.next, |(first, _)| *first);
        first_open.checked_sub(1)
    }

    /// The count of numbers, if all below the highest one are accounted for and all losses are
    /// reported. If not, `None`.
    pub(crate) fn all_settled(&self) -> Option<u64> {
        (self.holes.is_empty() && self.pending.is_none()).then_some(self.next)
    }

    /// The count of numbers below `end` that never arrived and that no loss counts. Their producers
    /// are gone or stuck.
    pub(crate) fn unresolved(&self, end: u64) -> u64 {
        let missing: u64 = self
            .holes
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum();
        let unseen = end.saturating_sub(self.next);
        let counted = self.pending.as_ref().map_or(0, Loss::total);
        (missing + unseen).saturating_sub(counted)
    }

    /// The lowest missing number, or `end`.
    pub(crate) fn first_missing(&self, end: u64) -> u64 {
        self.holes
            .first_key_value()
            .map_or(self.next.min(end), |(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use livetrail_record::LossKind;

    /// Takes a loss that can be reported, and settles it.
    fn report(account: &mut Account) -> Option<Loss> {
        let loss = account.report()?;
        account.reported(&loss);
        Some(loss)
    }

    fn loss(first_seq: u64, last_seq: u64, count: u64) -> Loss {
        Loss::of_kind(LossKind::PlayStarted, count, (first_seq, last_seq), (1, 2))
    }

    #[test]
    fn a_loss_is_reported_when_nothing_else_is_missing_up_to_its_end() {
        let mut account = Account::default();
        account.arrived(0);
        account.arrived(3);
        account.lost(loss(1, 1, 1));
        // Number 2 has not arrived yet, but it is after the loss.
        assert_eq!(report(&mut account).map(|loss| loss.total()), Some(1));
        assert_eq!((account.settled(), account.all_settled()), (Some(1), None));
        account.arrived(6);
        account.lost(loss(5, 5, 1));
        // Numbers 2 and 4 have not arrived yet.
        assert_eq!(report(&mut account), None);
        account.arrived(2);
        account.arrived(4);
        assert_eq!(report(&mut account), Some(loss(5, 5, 1)));
        assert_eq!(
            (account.settled(), account.all_settled()),
            (Some(6), Some(7))
        );
        assert_eq!(account.unresolved(7), 0);
    }

    #[test]
    fn losses_whose_ranges_cross_are_reported_as_one() {
        let mut account = Account::default();
        account.arrived(0);
        account.arrived(9);
        account.lost(loss(2, 8, 3));
        assert_eq!(report(&mut account), None);
        account.arrived(5);
        account.arrived(6);
        assert_eq!(report(&mut account), None);
        account.lost(loss(1, 7, 3));
        assert_eq!(report(&mut account), Some(loss(1, 8, 6)));
        assert_eq!(account.settled(), Some(9));
    }

    #[test]
    fn a_loss_beyond_everything_seen_is_reported_at_once() {
        let mut account = Account::default();
        account.arrived(0);
        account.lost(loss(1, 4, 4));
        assert_eq!(report(&mut account), Some(loss(1, 4, 4)));
        assert_eq!(account.settled(), Some(4));
        account.arrived(5);
        assert_eq!(account.settled(), Some(5));
    }

    #[test]
    fn a_report_that_the_sink_did_not_take_is_made_again_with_its_own_number_in_it() {
        let mut account = Account::default();
        account.arrived(0);
        account.lost(loss(1, 2, 2));
        let report_1 = account.report().unwrap();
        // The report had number 3.
        account.lost(report_1);
        account.lost(loss(3, 3, 1));
        assert_eq!(account.settled(), Some(0));
        assert_eq!(report(&mut account), Some(loss(1, 3, 3)));
        assert_eq!(account.settled(), Some(3));
    }

    proptest! {
        /// Numbers arrive nearly in order; some are lost and harvested now and then. Each number is
        /// in exactly one report or has arrived. Reports are disjoint and in order, and each one
        /// counts the missing numbers in its range.
        #[test]
        fn every_number_arrives_or_is_reported_once(
            fates in proptest::collection::vec((any::<bool>(), 0..4_u64, prop::bool::weighted(0.3)), 1..200),
        ) {
            let mut order: Vec<(u64, u64)> = (0..).zip(&fates).map(|(seq, (_, late, _))| (seq + late, seq)).collect();
            order.sort_unstable();
            let end = u64::try_from(fates.len()).unwrap();
            let mut account = Account::default();
            let (mut bank, mut reports) = (None::<Loss>, Vec::new());
            for (_, seq) in order {
                let (is_lost, _, harvest) = fates[usize::try_from(seq).unwrap()];
                if is_lost {
                    let one = loss(seq, seq, 1);
                    bank = Some(match bank.take() {
                        Some(before) => before.and(&one),
                        None => one,
                    });
                } else {
                    account.arrived(seq);
                }
                if harvest && let Some(taken) = bank.take() {
                    account.lost(taken);
                }
                reports.extend(report(&mut account));
            }
            if let Some(taken) = bank.take() {
                account.lost(taken);
            }
            prop_assert_eq!(account.unresolved(end), 0);
            reports.extend(report(&mut account));
            prop_assert!(account.pending.is_none() && account.holes.is_empty());
            prop_assert_eq!(account.settled(), Some(end - 1));
            let mut after = None;
            let mut reported = 0;
            for report in reports {
                prop_assert!(after.is_none_or(|after| after < report.first_seq));
                let missing = fates[usize::try_from(report.first_seq).unwrap()..=usize::try_from(report.last_seq).unwrap()]
                    .iter()
                    .filter(|(is_lost, ..)| *is_lost)
                    .count();
                prop_assert_eq!(report.total(), u64::try_from(missing).unwrap());
                reported += missing;
                after = Some(report.last_seq);
            }
            prop_assert_eq!(reported, fates.iter().filter(|(is_lost, ..)| *is_lost).count());
        }
    }
}
