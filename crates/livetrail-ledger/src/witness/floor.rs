//! What witnesses have seen. They are asked before anything is signed (recovery, step 5).

use std::{fmt, sync::Arc, thread, time::Duration};

use livetrail_tlog::VerifiedCheckpoint;

use super::{
    Witness, WitnessOptions, WitnessTransport,
    ask::ask,
    check_all,
    exchange::{Alarm, Exchange, Next, Outcome},
    known::Known,
};
use crate::{
    error::LedgerError,
    read::reader::Reader,
    store::SharedStore,
    upkeep::recover::{ExternalFloor, Floor, SeenTree},
};

/// Asks all witnesses at once, by showing them the published checkpoint. For an unreachable one,
/// its last cosigned size is taken from `private/witness.json`; one that was never reached is
/// omitted.
///
/// A start waits for this at most two or three times the request's timeout.
pub struct WitnessFloor {
    store: SharedStore,
    witnesses: Vec<Witness>,
    options: WitnessOptions,
    transport: Arc<dyn WitnessTransport>,
}

impl WitnessFloor {
    /// For [`Builder::floor`](crate::Builder::floor).
    ///
    /// # Errors
    /// [`LedgerError::Options`] for too many witnesses, one given twice, or options out of bounds.
    pub fn new(
        store: SharedStore,
        witnesses: Vec<Witness>,
        options: WitnessOptions,
        transport: Arc<dyn WitnessTransport>,
    ) -> Result<Self, LedgerError> {
        options.check()?;
        check_all(&witnesses)?;
        Ok(Self {
            store,
            witnesses,
            options,
            transport,
        })
    }

    fn seen_by(
        &self,
        witness: &Witness,
        reader: &Reader,
        checkpoint: &VerifiedCheckpoint,
        known: Option<u64>,
    ) -> Option<Floor> {
        let head = checkpoint.head();
        let floor = |seen| {
            Some(Floor {
                source_name: witness.to_string(),
                seen,
            })
        };
        let mut exchange = Exchange::new(&self.options, 1);
        loop {
            let Next::Ask { old } = exchange.next(Duration::ZERO, head) else {
                return None;
            };
            let transport = self.transport.as_ref();
            let timeout = self.options.timeout;
            let answer = ask(transport, witness, reader, checkpoint, old, timeout);
            match exchange.answered(Duration::ZERO, witness, checkpoint, old, answer) {
                Outcome::Cosigned(_) => return floor(SeenTree::Tree(head)),
                Outcome::Again => {}
                Outcome::Failed(_) => return floor(SeenTree::Size(known?)),
                Outcome::Alarm(Alarm::Ahead { theirs, .. }) => {
                    return floor(SeenTree::Size(theirs));
                }
                Outcome::Alarm(Alarm::Another { size }) => {
                    return floor(SeenTree::Another { size });
                }
            }
        }
    }
}

impl ExternalFloor for WitnessFloor {
    fn largest_seen(&mut self) -> Vec<Floor> {
        // Other code refuses an unreadable trail, with the reason.
        let Ok(reader) = Reader::open(Arc::clone(&self.store)) else {
            return Vec::new();
        };
        let Ok(checkpoint) = reader.checkpoint() else {
            return Vec::new();
        };
        let known = Known::read(self.store.as_ref());
        thread::scope(|scope| {
            let (this, reader, checkpoint) = (&*self, &reader, &checkpoint);
            let asked: Vec<_> = self
                .witnesses
                .iter()
                .map(|witness| {
                    let known = known.size_of(witness.key());
                    scope.spawn(move || this.seen_by(witness, reader, checkpoint, known))
                })
                .collect();
            asked
                .into_iter()
                .filter_map(|one| one.join().ok().flatten())
                .collect()
        })
    }
}

impl fmt::Debug for WitnessFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WitnessFloor")
            .field("witnesses", &self.witnesses)
            .finish_non_exhaustive()
    }
}
