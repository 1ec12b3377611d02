//! The loss banks under a model checker: every interleaving of producers and the worker that the
//! memory model allows.

use crate::loss::{Harvester, Loss, LossBanks};
use livetrail_record::LossKind;
use loom::sync::Arc;

/// Two producers count while a worker harvests. Nothing is counted twice, nothing is missed, and
/// the values of each snapshot belong together.
#[test]
fn every_loss_is_taken_exactly_once() {
    let mut builder = loom::model::Builder::new();
    // Two preemptions reach every order of the protocol's steps. More of them only add orders of
    // the counters.
    builder.preemption_bound = Some(2);
    builder.check(|| {
        let banks = Arc::new(LossBanks::new());
        let producers: Vec<_> = [1_u64, 2]
            .into_iter()
            .map(|seq| {
                let banks = Arc::clone(&banks);
                loom::thread::spawn(move || banks.lose(LossKind::ALL[seq as usize], seq, 100 + seq))
            })
            .collect();
        let mut harvester = Harvester::default();
        let mut taken = Vec::new();
        taken.extend(harvester.take(&banks));
        taken.extend(harvester.take(&banks));
        for producer in producers {
            producer.join().unwrap();
        }
        // No producer is inside any longer. The worker takes the remaining counts in at most two
        // steps, one for each bank.
        taken.extend(harvester.take(&banks));
        taken.extend(harvester.take(&banks));
        assert_eq!(taken.iter().map(Loss::total).sum::<u64>(), 2);
        assert_eq!(harvester.taken, banks.total());
        for loss in &taken {
            let seqs: Vec<u64> = (1..=2)
                .filter(|seq| loss.count(LossKind::ALL[*seq as usize]) == 1)
                .collect();
            assert_eq!(Some(&loss.first_seq), seqs.first());
            assert_eq!(Some(&loss.last_seq), seqs.last());
            assert_eq!(loss.last_ts_ms, 100 + loss.last_seq);
        }
    });
}
