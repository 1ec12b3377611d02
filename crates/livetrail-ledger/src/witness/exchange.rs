//! The exchange with one witness: what to send when, and the meaning of answers. Time is passed in,
//! and there is no I/O.

use std::time::Duration;

use livetrail_tlog::{Note, NoteSignature, TreeHead, VerifiedCheckpoint, WitnessAnswer};

use super::{Witness, WitnessOptions};

/// How often a 409 is answered at once with its size. A witness that answers with more is
/// inconsistent.
const MAX_REPEATS: u32 = 3;

/// The exchange with one witness.
///
/// **Contract**: call [`next`](Self::next); if it is [`Next::Ask`], ask and pass the outcome to
/// [`answered`](Self::answered); call `next` again. After [`Outcome::Alarm`] there is only
/// [`Next::Never`].
///
/// ```text
/// next ──▶ Wait(until) ──▶ next …
///   └────▶ Ask { old } ──▶ answered ──▶ Cosigned, Again, Failed ──▶ next …
///                                  └──▶ Alarm ──▶ (Never)
/// ```
#[derive(Debug)]
pub(super) struct Exchange {
    interval: Duration,
    overdue_after: Duration,
    longest_pause: Duration,
    /// The size that the witness has cosigned last, if it has reported it and no answer was lost
    /// since. Otherwise it is asked from 0 and reports it with its 409: a request from a guessed
    /// size might be refused because of our mistake.
    known: Option<u64>,
    /// The largest tree that it has cosigned since this exchange began.
    cosigned: Option<TreeHead>,
    /// The earliest time of the next request.
    next_at: Duration,
    repeats: u32,
    failures: u32,
    failing_since: Option<Duration>,
    reported: bool,
    alarmed: bool,
    random: u64,
}

/// The next action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing before this time, unless the log is closed.
    Wait(Duration),
    /// Show it the newest checkpoint, with a proof from this size; none from 0.
    Ask {
        /// The size that it is expected to have.
        old: u64,
    },
    /// No further requests.
    Never,
}

/// The meaning of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It has cosigned: its lines, verified.
    Cosigned(Vec<NoteSignature>),
    /// It has reported its size: ask again.
    Again,
    /// It has not cosigned, and will be asked again later. The reason, for people.
    Failed(String),
    /// It has seen more than exists here, or another tree: signing must stop. The reason and the
    /// remedy, for people.
    Alarm(Alarm),
}

/// Why signing must stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    /// It has cosigned more entries than exist here.
    Ahead { theirs: u64, ours: u64 },
    /// It has cosigned another tree of this size.
    Another { size: u64 },
}

impl Alarm {
    /// The text for people, with the remedy.
    pub(super) fn words(self, witness: &Witness) -> String {
        let go_on = "; if it is lost, start a new log with a new origin and new keys, whose first entry contains the last checkpoint of this one";
        match self {
            Self::Ahead { theirs, ours } => format!(
                "{witness} has cosigned {theirs} entries of this trail and here are {ours}: an older copy was restored, or two copies run. Stop the \
                 other copy, or restore the newest one{go_on}"
            ),
            Self::Another { size } => format!(
                "{witness} has cosigned {size} entries of another tree than the one here: the trail has forked. Find the copy that was published and \
                 restore it{go_on}"
            ),
        }
    }
}

impl Exchange {
    /// `seed` randomises the pauses.
    pub(super) fn new(options: &WitnessOptions, seed: u64) -> Self {
        Self {
            interval: options.interval,
            overdue_after: options.overdue_after,
            longest_pause: options.longest_pause,
            known: None,
            cosigned: None,
            next_at: Duration::ZERO,
            repeats: 0,
            failures: 0,
            failing_since: None,
            reported: false,
            alarmed: false,
            random: seed | 1,
        }
    }

    /// The next action, now that the log has published this tree.
    pub(super) fn next(&self, now: Duration, newest: TreeHead) -> Next {
        if self.alarmed {
            return Next::Never;
        }
        if now < self.next_at {
            let report_at = self.failing_since.filter(|_| !self.reported);
            let report_at = report_at.map(|since| since.saturating_add(self.overdue_after));
            return Next::Wait(report_at.map_or(self.next_at, |at| at.min(self.next_at).max(now)));
        }
        if self.cosigned == Some(newest) {
            return Next::Wait(now.saturating_add(self.interval));
        }
        Next::Ask {
            old: self.known.unwrap_or(0),
        }
    }

    /// The action at an orderly stop: show the newest checkpoint once more, regardless of the
    /// interval, and then nothing.
    pub(super) fn last(&self, newest: TreeHead) -> Next {
        if self.alarmed || self.cosigned == Some(newest) {
            return Next::Never;
        }
        Next::Ask {
            old: self.known.unwrap_or(0),
        }
    }

    /// The outcome of asking for `checkpoint` from `old`: an answer, or why there is none.
    pub(super) fn answered(
        &mut self,
        now: Duration,
        witness: &Witness,
        checkpoint: &VerifiedCheckpoint,
        old: u64,
        answer: Result<WitnessAnswer, String>,
    ) -> Outcome {
        let head = checkpoint.head();
        let failed = match answer {
            Ok(WitnessAnswer::Cosigned(lines)) => match verified(witness, checkpoint, lines) {
                Ok(lines) => return self.cosigned(now, head, lines),
                Err(why) => why,
            },
            Ok(WitnessAnswer::Conflict { size }) if size > head.size => {
                return self.alarm(Alarm::Ahead {
                    theirs: size,
                    ours: head.size,
                });
            }
            // It has the expected size, which is the size that it was shown: so the roots differ.
            Ok(WitnessAnswer::Conflict { size }) if size == old && size == head.size => {
                return self.alarm(Alarm::Another { size });
            }
            Ok(WitnessAnswer::Conflict { size }) if size != old && self.repeats < MAX_REPEATS => {
                self.repeats = self.repeats.saturating_add(1);
                self.known = Some(size);
                return Outcome::Again;
            }
            Ok(WitnessAnswer::Conflict { size }) => {
                format!("it answers 409 with size {size} to a request from size {old}")
            }
            // Without a proof nothing can be inconsistent.
            Ok(WitnessAnswer::Inconsistent) if old > 0 => {
                return self.alarm(Alarm::Another { size: old });
            }
            Ok(WitnessAnswer::Inconsistent) => {
                "it answers 422 to a request without a proof".to_owned()
            }
            Ok(WitnessAnswer::BadRequest) => {
                "it answers 400: it does not understand the request; is it a C2SP witness?".to_owned()
            }
            Ok(WitnessAnswer::Forbidden) => {
                "it answers 403: it does not trust the log's key; have the log's verifier key put into its configuration".to_owned()
            }
            Ok(WitnessAnswer::UnknownOrigin) => {
                "it answers 404: it does not know the log's origin; have the log put into its configuration, or correct the address".to_owned()
            }
            Err(why) => why,
        };
        self.failed(now);
        Outcome::Failed(failed)
    }

    /// Whether it has now been failing for too long; `true` once, until it has cosigned again.
    pub(super) fn is_newly_overdue(&mut self, now: Duration) -> bool {
        let overdue = self
            .failing_since
            .is_some_and(|since| now.saturating_sub(since) >= self.overdue_after);
        overdue && !std::mem::replace(&mut self.reported, true)
    }

    /// The time since when it has not cosigned although it was asked.
    pub(super) const fn failing_since(&self) -> Option<Duration> {
        self.failing_since
    }

    fn cosigned(&mut self, now: Duration, head: TreeHead, lines: Vec<NoteSignature>) -> Outcome {
        self.known = Some(head.size);
        self.cosigned = Some(head);
        self.next_at = now.saturating_add(self.interval);
        (self.repeats, self.failures) = (0, 0);
        (self.failing_since, self.reported) = (None, false);
        Outcome::Cosigned(lines)
    }

    /// The next attempt follows after the interval, doubled with each failure, less a random part
    /// of up to half.
    fn failed(&mut self, now: Duration) {
        (self.repeats, self.known) = (0, None);
        self.failing_since.get_or_insert(now);
        let doubled = 1_u32.checked_shl(self.failures.min(16)).unwrap_or(1);
        self.failures = self.failures.saturating_add(1);
        let pause = self.interval.saturating_mul(doubled);
        let pause = pause.min(self.longest_pause.max(self.interval));
        let pause = pause.mul_f64(0.5 + 0.5 * self.fraction());
        self.next_at = now.saturating_add(pause);
    }

    fn alarm(&mut self, alarm: Alarm) -> Outcome {
        self.alarmed = true;
        Outcome::Alarm(alarm)
    }

    /// From 0 to 1 (xorshift64).
    fn fraction(&mut self) -> f64 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        f64::from(u32::try_from(x >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

/// The lines of the witness's key, all of which must be valid.
fn verified(
    witness: &Witness,
    checkpoint: &VerifiedCheckpoint,
    lines: Vec<NoteSignature>,
) -> Result<Vec<NoteSignature>, String> {
    let words = |error| format!("its cosignature is not valid: {error}");
    let text = checkpoint.note().text();
    let offered = Note::new(text, lines).map_err(words)?;
    offered.verify(&[&witness.verifier]).map_err(words)?;
    let key = witness.key();
    let of_it = |line: &&NoteSignature| line.name() == key.name() && line.key_id() == key.id();
    Ok(offered.signatures().iter().filter(of_it).cloned().collect())
}
