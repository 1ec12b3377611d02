//! One boot: its numbers, its losses, and the sessions that the losses explain.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::finding::Rule;
use super::{At, Found, SessionKind};
use crate::action::{AuditAction, LossKind};
use crate::fields::AuditRecord;
use crate::personal::Personal;

/// The maximum number of records that the queue of a pipeline can hold. No more than these can be
/// lost without a report.
const MAX_QUEUE: u64 = 1 << 24;

/// How many records of each action were lost: the `detail` of a `records_dropped` record.
///
/// It is written as `play_started:3,publish_ended:1`. Labels are in order. A label without records
/// is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossCounts(pub(super) BTreeMap<String, u64>);

impl LossCounts {
    /// No losses.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds `count` records of the action with this label.
    pub fn add(&mut self, label: &str, count: u64) {
        if count == 0 {
            return;
        }
        let sum = self.0.entry(label.to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }

    /// How many records of this action.
    #[must_use]
    pub fn get(&self, label: &str) -> u64 {
        self.0.get(label).copied().unwrap_or_default()
    }

    /// How many records in total.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// The text for `detail`.
    #[must_use]
    pub fn to_detail(&self) -> String {
        let parts: Vec<String> = self
            .0
            .iter()
            .map(|(label, n)| format!("{label}:{n}"))
            .collect();
        parts.join(",")
    }

    /// Parses the text, or returns `None` if it does not have this form.
    #[must_use]
    pub fn parse(detail: &str) -> Option<Self> {
        let mut counts = Self::new();
        for part in detail.split(',').filter(|part| !part.is_empty()) {
            let (label, n) = part.rsplit_once(':')?;
            counts.add(label, n.parse().ok()?);
        }
        Some(counts)
    }
}

/// How a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum BootEnd {
    /// It has not ended: the trail continues, or the boot crashed and nothing came after.
    Running,
    /// It ended with `server_stopped`.
    Stopped,
    /// It ended without `server_stopped`, and the node's next boot exists.
    Crashed,
}

/// The trail's facts about one boot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BootSummary {
    /// The boot.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub boot: Uuid,
    /// Its node.
    pub node: Option<String>,
    /// The index of its first record.
    pub first_index: u64,
    /// How many of its records exist.
    pub records: u64,
    /// How many lost records its `records_dropped` report.
    pub dropped: u64,
    /// How many numbers are missing that the trail had not accounted for when the boot crashed or
    /// the trail ended.
    pub unsettled: u64,
    /// How it ended.
    pub end: BootEnd,
}

/// A session whose first or last record is missing, and the record that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub(super) at: At,
    pub(super) kind: Option<SessionKind>,
    pub(super) seq: u64,
}

#[derive(Debug)]
pub(super) struct Loss {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) counts: LossCounts,
}

#[derive(Debug)]
pub(crate) struct Boot {
    pub(super) summary: BootSummary,
    /// One more than the highest `seq` that exists.
    pub(super) next: u64,
    /// Missing numbers below `next`, as first → last.
    pub(super) holes: BTreeMap<u64, u64>,
    pub(super) losses: Vec<Loss>,
    pub(super) orphans: Vec<Orphan>,
}

impl Boot {
    pub(super) fn new(boot: Uuid, node: Option<String>, first_index: u64) -> Self {
        let summary = BootSummary {
            boot,
            node,
            first_index,
            records: 0,
            dropped: 0,
            unsettled: 0,
            end: BootEnd::Running,
        };
        Self {
            summary,
            next: 0,
            holes: BTreeMap::new(),
            losses: Vec::new(),
            orphans: Vec::new(),
        }
    }

    pub(super) fn feed(&mut self, record: &AuditRecord, at: At, found: &mut Found) {
        self.summary.records = self.summary.records.saturating_add(1);
        let Some(seq) = record.seq else {
            found.add(at, Rule::NoSeq);
            return;
        };
        self.number(seq, at, found);
        match record.action {
            AuditAction::RecordsDropped => self.loss(record, seq, at, found),
            // A heartbeat gives the number up to which everything is accounted for.
            AuditAction::Heartbeat => {
                if let Some(settled) = record.last_seq {
                    self.settle(settled, at, found);
                }
            }
            _ => {}
        }
    }

    /// The first record of a session is missing. If nothing can explain that any more, it is wrong
    /// at once. Otherwise the boot's end decides, because a loss may be reported late and explains
    /// each session once.
    pub(super) fn missing_start(&mut self, orphan: Orphan, found: &mut Found) {
        let may_be_lost = self.holes.range(..orphan.seq).next().is_some()
            || self
                .losses
                .first()
                .is_some_and(|loss| loss.first < orphan.seq);
        if may_be_lost {
            self.orphans.push(orphan);
        } else {
            found.add(orphan.at, Rule::BeforeFirst);
        }
    }

    /// Decides the open questions at the end of the boot or of the trail. `open` are the boot's
    /// sessions without a last record. Returns the sessions for which that is wrong.
    pub(super) fn end(
        &mut self,
        end: BootEnd,
        index: u64,
        open: Vec<Orphan>,
        found: &mut Found,
    ) -> Vec<Orphan> {
        self.summary.end = end;
        let at = At {
            index,
            boot: Some(self.summary.boot),
            session: None,
        };
        let mut unsettled = 0_u64;
        for (first, last) in std::mem::take(&mut self.holes) {
            if end == BootEnd::Stopped {
                found.add(at, Rule::SeqMissing { first, last });
            } else {
                unsettled = unsettled.saturating_add(length(first, last));
            }
        }
        self.summary.unsettled = unsettled;
        if unsettled > MAX_QUEUE {
            let (missing, most) = (unsettled, MAX_QUEUE);
            found.add(at, Rule::TooManyUnsettled { missing, most });
        }
        for orphan in self.unexplained_starts() {
            // A record that was in the queue at the crash may have been the missing first record.
            match unsettled.checked_sub(1) {
                Some(less) => unsettled = less,
                None => found.add(orphan.at, Rule::BeforeFirst),
            }
        }
        if end == BootEnd::Stopped {
            self.unexplained_ends(open)
        } else {
            Vec::new()
        }
    }

    /// A loss explains a missing first record if it begins before the record that shows the gap.
    fn unexplained_starts(&mut self) -> Vec<Orphan> {
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.sort_by_key(|orphan| orphan.seq);
        let mut losses: Vec<&Loss> = self.losses.iter().collect();
        losses.sort_by_key(|loss| loss.first);
        let reaches = |loss: &Loss, orphan: &Orphan| loss.first < orphan.seq;
        unexplained(
            orphans,
            &losses,
            reaches,
            [LossKind::PublishStarted, LossKind::PlayStarted],
        )
    }

    /// A loss explains a missing last record if it ends after the session's first record.
    fn unexplained_ends(&self, mut open: Vec<Orphan>) -> Vec<Orphan> {
        open.sort_by_key(|orphan| std::cmp::Reverse(orphan.seq));
        let mut losses: Vec<&Loss> = self.losses.iter().collect();
        losses.sort_by_key(|loss| std::cmp::Reverse(loss.last));
        let reaches = |loss: &Loss, orphan: &Orphan| loss.last > orphan.seq;
        unexplained(
            open,
            &losses,
            reaches,
            [LossKind::PublishEnded, LossKind::PlayEnded],
        )
    }

    fn number(&mut self, seq: u64, at: At, found: &mut Found) {
        if seq >= self.next {
            if let Some(last) = seq.checked_sub(1).filter(|last| *last >= self.next) {
                self.holes.insert(self.next, last);
            }
            self.next = seq.saturating_add(1);
            return;
        }
        let hole = self
            .holes
            .range(..=seq)
            .next_back()
            .map(|(first, last)| (*first, *last));
        match hole {
            Some((first, last)) if seq <= last => {
                self.holes.remove(&first);
                self.keep(first, seq.checked_sub(1));
                self.keep(seq.saturating_add(1), Some(last));
            }
            _ => found.add(at, Rule::SeqTwice { seq }),
        }
    }

    /// Keeps the rest of a hole, if there is any.
    fn keep(&mut self, first: u64, last: Option<u64>) {
        if let Some(last) = last
            && first <= last
        {
            self.holes.insert(first, last);
        }
    }

    fn loss(&mut self, record: &AuditRecord, seq: u64, at: At, found: &mut Found) {
        let (Some(said), Some(first), Some(last)) =
            (record.count, record.first_seq, record.last_seq)
        else {
            found.add(at, Rule::LossMalformed);
            return;
        };
        let counts = record
            .detail
            .as_ref()
            .map(Personal::expose)
            .and_then(LossCounts::parse);
        let counts = counts.unwrap_or_default();
        if first > last || last >= seq || said == 0 || counts.total() != said {
            found.add(at, Rule::LossMalformed);
            return;
        }
        if self
            .losses
            .last()
            .is_some_and(|before| before.last >= first)
        {
            found.add(at, Rule::LossOverlap);
        }
        let missing = self.cover(first, last);
        if missing != said {
            found.add(at, Rule::LossCount { said, missing });
        }
        self.summary.dropped = self.summary.dropped.saturating_add(said);
        self.losses.push(Loss {
            first,
            last,
            counts,
        });
        self.settle(last, at, found);
    }

    /// Removes the holes in a range. Returns how many numbers they had.
    fn cover(&mut self, first: u64, last: u64) -> u64 {
        let touched: Vec<(u64, u64)> = self
            .holes
            .range(..=last)
            .rev()
            .take_while(|(_, hole_last)| **hole_last >= first)
            .map(|(a, b)| (*a, *b))
            .collect();
        let mut missing = 0_u64;
        for (hole_first, hole_last) in touched {
            self.holes.remove(&hole_first);
            self.keep(
                hole_first,
                first.checked_sub(1).map(|before| before.min(hole_last)),
            );
            self.keep(last.saturating_add(1).max(hole_first), Some(hole_last));
            missing = missing.saturating_add(length(hole_first.max(first), hole_last.min(last)));
        }
        missing
    }

    /// Everything up to and including `seq` is accounted for. Any number missing there is wrong.
    fn settle(&mut self, seq: u64, at: At, found: &mut Found) {
        while let Some((&first, &last)) = self.holes.first_key_value()
            && first <= seq
        {
            self.holes.remove(&first);
            found.add(
                At {
                    session: None,
                    ..at
                },
                Rule::SeqMissing {
                    first,
                    last: last.min(seq),
                },
            );
            self.keep(seq.saturating_add(1), Some(last));
        }
    }
}

const fn length(first: u64, last: u64) -> u64 {
    last.saturating_sub(first).saturating_add(1)
}

/// The orphans that the losses do not explain. Both lists begin with the hardest to explain: a loss
/// that reaches one orphan reaches all later ones. Therefore losses that are counted together never
/// need to be distinguished.
fn unexplained(
    orphans: Vec<Orphan>,
    losses: &[&Loss],
    reaches: impl Fn(&Loss, &Orphan) -> bool,
    [publish, play]: [LossKind; 2],
) -> Vec<Orphan> {
    let mut losses = losses.iter().peekable();
    let (mut publishes, mut plays) = (0_u64, 0_u64);
    let mut of_either = Vec::new();
    let mut wrong = Vec::new();
    for orphan in orphans {
        while let Some(loss) = losses.next_if(|loss| reaches(loss, &orphan)) {
            publishes = publishes.saturating_add(loss.counts.get(publish.label()));
            plays = plays.saturating_add(loss.counts.get(play.label()));
        }
        let lost = match orphan.kind {
            Some(SessionKind::Publish) => &mut publishes,
            Some(SessionKind::Play) => &mut plays,
            None => {
                of_either.push(orphan);
                continue;
            }
        };
        match lost.checked_sub(1) {
            Some(less) => *lost = less,
            None => wrong.push(orphan),
        }
    }
    // Sessions of unknown kind take the losses that the others left.
    let left = usize::try_from(publishes.saturating_add(plays)).unwrap_or(usize::MAX);
    wrong.extend(of_either.into_iter().skip(left));
    wrong
}
