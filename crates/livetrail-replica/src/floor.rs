//! The question to all sinks of a ledger at its start. It keeps a copy of the ledger that is older
//! than what its sinks have seen from signing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{Cursor, ExternalFloor, Floor, Reader, SeenTree};
use livetrail_tlog::TreeHead;

use crate::call::{caught, chain};
use crate::sightings::Sightings;
use crate::sink::ReplicaSink;

/// The name under which a ledger waits for a sink and names it in messages.
pub(super) fn source_name(sink: &dyn ReplicaSink) -> String {
    format!("sink {}", sink.name())
}

/// Asks sinks at the start of a ledger what they have seen of it.
///
/// Only a checkpoint with the log's own signature counts: an unsigned claim never stops a start.
///
/// A sink that does not answer in time, or not completely, is logged. If it is required and has
/// followed this log before (`private/cursors` has its cursor), the ledger accepts entries but does
/// not sign them. It signs again once the sink has answered its replicator; see
/// [`Handle::answered`](livetrail_ledger::Handle::answered).
pub struct ReplicaFloor {
    reader: Arc<Reader>,
    sinks: Vec<(Arc<dyn ReplicaSink>, bool)>,
    timeout: Duration,
    /// Whether the log has no other sinks.
    are_all: bool,
    unanswered: Vec<String>,
}

/// What one sink answered.
struct Answer {
    largest: Option<TreeHead>,
    /// Why the sink may hold more than that.
    missing: Option<String>,
}

impl ReplicaFloor {
    /// Makes the question to these sinks about the ledger behind this reader. Each sink comes with
    /// a flag that says whether it is required. All are asked at once, each for at most `timeout`.
    #[must_use]
    pub const fn new(
        reader: Arc<Reader>,
        sinks: Vec<(Arc<dyn ReplicaSink>, bool)>,
        timeout: Duration,
    ) -> Self {
        Self {
            reader,
            sinks,
            timeout,
            are_all: false,
            unanswered: Vec::new(),
        }
    }

    /// Declares that these are all sinks of the log. The operator has then given up each other sink
    /// for which an earlier start waits.
    #[must_use]
    pub const fn and_no_others(mut self) -> Self {
        self.are_all = true;
        self
    }

    async fn ask(&self, sink: &dyn ReplicaSink) -> Answer {
        let seen = Sightings::new(Arc::clone(&self.reader));
        let asked = tokio::time::timeout(self.timeout, caught(sink.sightings(&seen))).await;
        let missing = match asked {
            Ok(Ok(())) => seen.failure().map(|error| error.to_string()),
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some(format!("no answer within {:?}", self.timeout)),
        };
        Answer {
            largest: seen.largest(),
            missing,
        }
    }

    /// Whether this log has followed into that sink before.
    fn is_known(&self, name: &str) -> bool {
        // `trail prune` reports cursors that cannot be read; here such a cursor may be the one that
        // matters, so the sink counts as known.
        self.reader.cursors().map_or(true, |cursors| {
            let of_it = |(known, cursor): &(String, Cursor)| {
                known == name
                    && matches!(cursor, Cursor::Required(next) | Cursor::Optional(next) if *next > 0)
            };
            cursors.iter().any(of_it)
        })
    }

    fn floor(&mut self, sink: &dyn ReplicaSink, required: bool, answer: Answer) -> Option<Floor> {
        let source_name = source_name(sink);
        let Some(error) = answer.missing else {
            let seen = answer.largest.map_or(SeenTree::Size(0), SeenTree::Tree);
            return Some(Floor { source_name, seen });
        };
        let name = sink.name();
        if required && self.is_known(name) {
            tracing::error!(
                sink = name,
                error,
                "a required sink did not report what it has seen of the trail; records are kept, but not signed until it does"
            );
            self.unanswered.push(source_name.clone());
        } else {
            tracing::error!(
                sink = name,
                error,
                "a sink did not report what it has seen of the trail; it cannot reveal an older copy of the trail"
            );
        }
        // What it has shown so far counts.
        let seen = SeenTree::Tree(answer.largest?);
        Some(Floor { source_name, seen })
    }
}

impl ExternalFloor for ReplicaFloor {
    fn largest_seen(&mut self) -> Vec<Floor> {
        self.unanswered.clear();
        let answers: Vec<Option<Answer>> = std::thread::scope(|scope| {
            let this = &*self;
            let asked: Vec<_> = this
                .sinks
                .iter()
                .map(|(sink, _)| {
                    scope.spawn(move || {
                        let runtime = tokio::runtime::Builder::new_current_thread()
                            .enable_all()
                            .build()
                            .ok()?;
                        let answer = runtime.block_on(this.ask(sink.as_ref()));
                        runtime.shutdown_background();
                        Some(answer)
                    })
                })
                .collect();
            asked
                .into_iter()
                .map(|thread| thread.join().ok().flatten())
                .collect()
        });
        let sinks = self.sinks.clone();
        let both = sinks.into_iter().zip(answers);
        both.filter_map(|((sink, required), answer)| {
            let answer = answer.unwrap_or_else(|| Answer {
                largest: None,
                missing: Some("no thread was available to ask it".to_owned()),
            });
            self.floor(sink.as_ref(), required, answer)
        })
        .collect()
    }

    fn unanswered(&self) -> Vec<String> {
        self.unanswered.clone()
    }

    /// Whether the sink of this name is no longer required, or no longer configured.
    fn dismisses(&self, name: &str) -> bool {
        let mut sinks = self.sinks.iter();
        match sinks.find(|(sink, _)| source_name(sink.as_ref()) == name) {
            Some((_, required)) => !required,
            None => self.are_all,
        }
    }
}

impl fmt::Debug for ReplicaFloor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaFloor")
            .field("sinks", &self.sinks.len())
            .finish_non_exhaustive()
    }
}
