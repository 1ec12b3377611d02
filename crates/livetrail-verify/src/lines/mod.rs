//! A trail as a sink's lines of JSON: rebuilds the log from the exact bytes in them, and compares
//! it with a signed checkpoint.
//!
//! At the start of each rotated file the sink writes the hashes of the tree of all earlier entries.
//! If the first files are missing and that is allowed, the rest is built on these hashes. They need
//! no trust: together with the later entries they give the signed root, or something is wrong.
//!
//! Lines may be repeated with the same bytes, because a sink that cannot ask for its position sends
//! some twice. Lines of other programs in between are reported and ignored. So is a truncated line,
//! as after the end of a process, if it follows again completely. Any other difference from the
//! entries that the checkpoint covers is a failure, with file and line.

mod input;
mod line;

use std::collections::VecDeque;

use livetrail_tlog::{Checkpoint, Frontier, Hash, TreeHead, leaf_hash};

use self::input::{Reader, hand_overs_in};
use self::line::Line;
use crate::conclusion::finish;
use crate::error::VerifyError;
use crate::finding::Outcome;
use crate::finding::{Class, Finding, Severity};
use crate::note::stated;
use crate::older::OlderCheckpoints;
use crate::options::Options;
use crate::report::parts::{checkpoint_report, keys_report};
use crate::report::{Figures, Report, TrailKind};
use crate::scan::entry::{Entry, read_entry};
use crate::sources::Files;
use crate::sources::limits::Deadline;
use crate::trail::Trail;
use crate::trust::Trust;

pub use self::input::{Lines, checkpoint_in};

/// A repeated line is compared with the original if that is at most this many entries back: 32 MiB
/// of hashes.
const MAX_BACK: usize = 1 << 20;

/// Truncated lines that may be repeated: a killed process leaves one. At most a line's bytes each.
const MAX_TORN: usize = 100;

/// The maximum number of problems that are kept.
const MAX_PROBLEMS: usize = 100;

/// Checks the log in lines of JSON against a signed checkpoint. `inputs` are opened one after the
/// other; `checkpoint` is its note, or a sink's cursor, with its name for the report. Calls
/// `progress` with the number of entries read. When the time limit of the options is reached, the
/// rest stays unread and the report states this; a reader that blocks is waited for.
/// # Errors
/// [`VerifyError`] when a file cannot be read, there is no key, or the checkpoint is invalid.
/// Problems of the lines are in the report.
pub fn verify_lines(
    inputs: impl IntoIterator<Item = Result<Lines, VerifyError>>,
    (name, checkpoint): (&str, &[u8]),
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    if options.policy.is_empty() {
        return Err(VerifyError::NoKey);
    }
    let origin = options.origin.clone().or_else(|| {
        let key = options.policy.log.first()?;
        Some(key.name().as_str().to_owned())
    });
    let trust = Trust::new(options.policy.clone(), origin.unwrap_or_default())?;
    let bytes = checkpoint_in(checkpoint).ok_or_else(|| VerifyError::NoCheckpoint {
        path: name.to_owned(),
    })?;
    let mut check = Check {
        without_head: options.without_head,
        deadline: Deadline::after(options.limits.time),
        is_stopped: false,
        from: 0,
        stated: stated(bytes),
        tree: Some(Frontier::new()),
        next: 0,
        back: VecDeque::new(),
        torn: Vec::new(),
        computed: None,
        trust,
        older: OlderCheckpoints::collect(&Files::default(), &options.against)?,
        hand_overs: hand_overs_in(checkpoint),
        trail: Trail::new(options.rules()).with_openings(&options.openings),
        figures: Figures::default(),
        found: Outcome::default(),
        strict: options.strict,
        at: String::new(),
    };
    check
        .older
        .hand_overs(&check.hand_overs, &check.trust, &mut check.found);
    check.older_of(TreeHead::EMPTY);
    check.covered(TreeHead::EMPTY);
    let mut names = Vec::new();
    for input in inputs {
        let input = input?;
        names.push(input.name.clone());
        check.input(input, progress)?;
        if check.is_stopped {
            break;
        }
    }
    Ok(check.report(place(&names), (name, bytes)))
}

/// The inputs, for people: the first and the last of many.
fn place(names: &[String]) -> String {
    match names {
        [first, _, .., last] => format!("{first} … {last} ({} files)", names.len()),
        names => names.join(" "),
    }
}

struct Check {
    /// Whether the lines may begin later than the log.
    without_head: bool,
    deadline: Deadline,
    /// Whether the time limit was reached: more lines may follow, and their absence is not
    /// reported.
    is_stopped: bool,
    /// The index of the first entry.
    from: u64,
    /// The contents of the checkpoint, with any signer.
    stated: Option<Checkpoint>,
    /// The tree of all entries below `next`, or `None` when some of them are missing.
    tree: Option<Frontier>,
    next: u64,
    /// Leaf hashes of the last entries; the last one is that of `next` - 1. `None` for a missing
    /// entry.
    back: VecDeque<Option<Hash>>,
    /// Lines that begin like an entry's and end too early, at most [`MAX_TORN`].
    torn: Vec<Torn>,
    /// The head of the entries at the checkpoint's size.
    computed: Option<TreeHead>,
    trust: Trust,
    older: OlderCheckpoints,
    /// The hand-overs that the sink keeps with the checkpoint, under their names in a trail.
    hand_overs: Files,
    trail: Trail,
    figures: Figures,
    found: Outcome,
    strict: bool,
    /// The current line: `FILE:NUMBER`.
    at: String,
}

/// A line that may be the beginning of a complete one.
struct Torn {
    index: u64,
    line: Vec<u8>,
    at: String,
}

impl Check {
    fn input(
        &mut self,
        input: Lines,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), VerifyError> {
        let total = self.size().unwrap_or(0);
        let mut reader = Reader::new(input, self.deadline);
        while let Some(read) = reader.next()? {
            self.at = reader.at();
            self.figures.bytes = self.figures.bytes.saturating_add(reader.bytes());
            match read {
                input::Read::Whole => self.line(reader.line()),
                input::Read::Torn => self.found.notes.push(format!(
                    "{}: the last line has no end, as after a crash or in a copy made during a write; it was not read",
                    self.at
                )),
                input::Read::TooLong => self.other("is longer than any line of a sink"),
                input::Read::Stopped => {
                    self.stop();
                    return Ok(());
                }
            }
            if self.next.is_multiple_of(256) {
                progress(self.next, total);
            }
        }
        Ok(())
    }

    fn stop(&mut self) {
        self.is_stopped = true;
        // At the front, so that this problem is kept even when there are too many.
        let words = format!("{}: {}", self.at, self.deadline.words());
        self.found.problems.insert(0, words);
        self.trail.gap(&mut self.found.findings);
    }

    fn line(&mut self, line: &[u8]) {
        match line::parse(line) {
            Line::Entry { index, leaf, entry } => {
                self.entry(index, leaf, &entry);
                self.whole(index, line);
            }
            Line::Gap { first, next } => self.gap(first, next),
            Line::Tree(tree) => self.tree_before(tree),
            Line::Broken { index } => self.broken(Torn {
                index,
                line: line.to_vec(),
                at: self.at.clone(),
            }),
            Line::Other if line.is_empty() => {}
            Line::Other => self.other("is not one of a sink's lines, and was ignored"),
        }
    }

    fn entry(&mut self, index: u64, leaf: &[u8], entry: &[u8]) {
        let computed = leaf_hash(entry);
        if computed.to_string().as_bytes() != leaf {
            let text = "the record does not have the leaf hash in its line";
            self.fails(Class::EntryChanged, Some(index), text.to_owned());
        }
        if index < self.next {
            self.again(index, computed);
            return;
        }
        if index > self.next {
            self.missing(index);
        }
        self.push(computed, entry);
    }

    /// Later lines show whether it was truncated or changed.
    fn broken(&mut self, line: Torn) {
        if self.torn.len() < MAX_TORN {
            self.torn.push(line);
        } else {
            self.changed(&line);
        }
    }

    fn changed(&mut self, line: &Torn) {
        let text = "the line begins like an entry's but continues differently: it was changed";
        let finding = Finding::failure(Class::Line, text).at(line.index);
        self.found.findings.add(finding.path(&line.at));
    }

    /// A truncated line was repeated completely.
    fn whole(&mut self, index: u64, line: &[u8]) {
        if self.torn.is_empty() {
            return;
        }
        let mut torn = std::mem::take(&mut self.torn);
        let again = |torn: &mut Torn| torn.index == index && line.starts_with(&torn.line);
        for torn in torn.extract_if(.., again) {
            let there = std::mem::replace(&mut self.at, torn.at);
            self.other(&format!(
                "was cut off when its writer ended, and is repeated completely: {there}"
            ));
            self.at = there;
        }
        self.torn = torn;
    }

    /// The entry at `next`.
    fn push(&mut self, leaf: Hash, entry: &[u8]) {
        let index = self.next;
        self.next = index.saturating_add(1);
        if self.back.len() >= MAX_BACK {
            self.back.pop_front();
        }
        self.back.push_back(Some(leaf));
        if self.size().is_some_and(|size| index >= size) {
            self.figures.beyond = self.figures.beyond.saturating_add(1);
            return;
        }
        match read_entry(entry) {
            Ok((record, personal)) => {
                self.figures.records = self.figures.records.saturating_add(1);
                let known = self.trail.rotations.len();
                let entry = Entry {
                    record: &record,
                    personal: &personal,
                };
                self.trail
                    .feed_entry(index, &entry, &mut self.found.findings);
                for key in self.trail.given_up_since(known) {
                    self.older.hand_over(key, &self.hand_overs, &mut self.found);
                }
            }
            Err(error) => self.fails(Class::Record, Some(index), format!("not a record: {error}")),
        }
        let next = Some(self.next);
        let is_asked_for = self.older.next_size() == next || self.size() == next;
        let Some(tree) = &mut self.tree else { return };
        if tree.append(leaf).is_err() {
            return;
        }
        self.figures.entries = self.next.saturating_sub(self.from);
        if is_asked_for {
            let head = tree.head();
            self.older_of(head);
            self.covered(head);
        }
    }

    /// Checks a repeated entry.
    fn again(&mut self, index: u64, leaf: Hash) {
        if index < self.from {
            let text = "the entry follows later entries";
            self.fails(Class::Line, Some(index), text.to_owned());
            return;
        }
        let back = usize::try_from(self.next.saturating_sub(index)).unwrap_or(usize::MAX);
        let known = self
            .back
            .len()
            .checked_sub(back)
            .and_then(|at| self.back.get(at));
        match known {
            Some(Some(known)) if *known == leaf => {
                self.figures.repeated = self.figures.repeated.saturating_add(1);
            }
            Some(Some(_)) => {
                let text = "the entry is repeated with other bytes";
                self.fails(Class::EntryChanged, Some(index), text.to_owned());
            }
            Some(None) => {
                let text = "the entry follows later entries";
                self.fails(Class::Line, Some(index), text.to_owned());
            }
            None => self.problem(format!(
                "{}: entry {index} is repeated more than {MAX_BACK} entries later, and was not compared",
                self.at
            )),
        }
    }

    /// Checks the sink's hashes for the tree of all entries before this position.
    fn tree_before(&mut self, said: Frontier) {
        let size = said.size();
        if self.next == 0 && size > 0 && self.without_head {
            self.begin_at(said);
            return;
        }
        // Beyond the checkpoint nothing is proven, and no tree is built.
        let is_covered = self.size().is_none_or(|covered| size <= covered);
        let differs = self.tree.as_ref().is_some_and(|tree| *tree != said);
        if self.next == size && is_covered && differs {
            let text = "the hashes of the tree before this line differ from those of the entries before it";
            self.fails(Class::Root, Some(size), text.to_owned());
        }
    }

    /// The lines begin here; earlier entries are missing. The root at the checkpoint proves the
    /// hashes.
    fn begin_at(&mut self, tree: Frontier) {
        self.from = tree.size();
        self.next = tree.size();
        self.trail.gap(&mut self.found.findings);
        let head = tree.head();
        self.tree = Some(tree);
        self.older_of(head);
        self.covered(head);
    }

    /// Entries from `next` up to this one are missing.
    fn missing(&mut self, index: u64) {
        let (first, last) = (self.next, index.saturating_sub(1));
        let text = if first == 0 {
            format!(
                "entries 0 to {last} are missing: the lines begin later. Give the earlier files, too; or, if they no longer exist, prove only the rest with --without-head"
            )
        } else {
            format!("entries {first} to {last} are missing: this line is of entry {index}")
        };
        self.fails(Class::Missing, Some(first), text);
        self.skip_to(index);
    }

    fn gap(&mut self, first: u64, next: u64) {
        if next <= self.next {
            return;
        }
        if first > self.next {
            self.missing(first);
        }
        self.problem(format!(
            "{}: entries {first} to {} were pruned before the sink had them: without them the root cannot be computed",
            self.at,
            next.saturating_sub(1)
        ));
        self.skip_to(next);
    }

    fn skip_to(&mut self, index: u64) {
        let skipped = usize::try_from(index.saturating_sub(self.next)).unwrap_or(usize::MAX);
        for _ in 0..skipped.min(MAX_BACK) {
            if self.back.len() >= MAX_BACK {
                self.back.pop_front();
            }
            self.back.push_back(None);
        }
        self.tree = None;
        self.next = index;
        self.trail.gap(&mut self.found.findings);
    }

    /// The checkpoint's own size is reached.
    fn covered(&mut self, head: TreeHead) {
        if self.size() == Some(head.size) {
            self.computed = Some(head);
        }
    }

    fn older_of(&mut self, head: TreeHead) {
        while let Some(older) = self.older.take(head.size) {
            self.older.check(
                &older,
                head,
                &self.hand_overs,
                &mut self.trust,
                &mut self.trail,
                &mut self.found,
            );
        }
    }

    fn size(&self) -> Option<u64> {
        self.stated.as_ref().map(|stated| stated.head().size)
    }

    /// Reports the consequences of lines that begin later than the log.
    fn report_head(&mut self, size: u64) {
        let from = self.from;
        self.figures.from = from;
        if from == 0 {
            return;
        }
        if from >= size {
            self.problem(format!(
                "the lines begin with entry {from}, but the checkpoint covers {size}: it proves nothing in them"
            ));
            return;
        }
        self.found.notes.push(format!(
            "from entry {from} on: entries 0 to {} are missing, and nothing is known of them except that the log had them",
            from.saturating_sub(1)
        ));
    }

    fn fails(&mut self, class: Class, index: Option<u64>, text: String) {
        let finding = Finding::failure(class, text).path(&self.at);
        self.found.findings.add(Finding { index, ..finding });
    }

    fn other(&mut self, text: &str) {
        let severity = if self.strict {
            Severity::Failure
        } else {
            Severity::Remark
        };
        let finding = Finding::remark(Class::Line, format!("the line {text}"));
        let finding = finding.path(&self.at);
        self.found.findings.add(Finding {
            severity,
            ..finding
        });
    }

    fn problem(&mut self, text: String) {
        if self.found.problems.len() < MAX_PROBLEMS {
            self.found.problems.push(text);
        }
    }

    fn report(mut self, place: String, (name, bytes): (&str, &[u8])) -> Report {
        let size = self.size().unwrap_or(0);
        self.report_head(size);
        // Without the rest, a key that a later record vouches for is not known yet: that is not a
        // finding.
        let mut unknown = Outcome::default();
        let found = if self.is_stopped {
            &mut unknown
        } else {
            &mut self.found
        };
        let verified = self
            .older
            .latest(bytes, &mut self.trust, &mut self.trail, found);
        self.older
            .settle(&self.hand_overs, &self.trust, &self.trail, found);
        self.trail.compare_rotations(&mut self.found.findings);
        for torn in std::mem::take(&mut self.torn) {
            if torn.index < size && !self.is_stopped {
                self.changed(&torn);
                continue;
            }
            let text = format!(
                "{}: the line is incomplete, and {}; it was not read",
                torn.at,
                if torn.index < size {
                    "it may be repeated"
                } else {
                    "of an entry that the checkpoint does not cover"
                }
            );
            self.found.notes.push(text);
        }
        if size > self.next && !self.is_stopped {
            let last = size.saturating_sub(1);
            let text = format!(
                "entries {} to {last} are missing, although the checkpoint covers them",
                self.next
            );
            let finding = Finding::failure(Class::Missing, text).at(self.next);
            self.found.findings.add(finding.path(&self.at));
        }
        if let (Some(computed), Some(stated)) = (self.computed, &self.stated)
            && computed.root != stated.head().root
        {
            let text = format!(
                "the {size} entries give the root {}, but the checkpoint has {}",
                computed.root,
                stated.head().root
            );
            let text = match self.from {
                0 => text,
                from => {
                    format!(
                        "{text}; those before entry {from} from the hashes where the lines begin"
                    )
                }
            };
            self.found
                .findings
                .add(Finding::failure(Class::Root, text).path(name));
        }
        if self.next == 0 && self.found.findings.remarks() > 0 {
            let text = "no line is one of a sink's lines of JSON; a file of tab-separated lines is checked without --lines, and is no proof";
            self.found.notes.push(text.to_owned());
        }
        let checkpoint = self
            .stated
            .as_ref()
            .map(|stated| checkpoint_report(stated, verified.as_deref()));
        let mut report = finish(
            place,
            TrailKind::Lines,
            self.trail,
            Some(&self.trust),
            size,
            self.found,
        );
        report.checkpoint = checkpoint;
        report.keys = keys_report(&self.trust, false);
        report.figures = self.figures;
        report.older = self.older.report;
        report.cosigned = self.older.take_cosigned();
        report
    }
}
