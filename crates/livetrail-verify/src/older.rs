//! Older checkpoints: that the tree contains each of them, and which keys they vouch for.

use std::collections::BTreeMap;

use livetrail_tlog::{Checkpoint, Note, TreeHead, VerifiedCheckpoint};

use crate::error::VerifyError;
use crate::finding::{Class, Finding};
use crate::report::OlderReport;
use crate::scan::{Got, get};
use crate::source::Source;
use crate::trail::Trail;
use crate::trust::{Signed, Trust};
use crate::verify::{Found, MAX_SMALL_BYTES};

const ARCHIVE: &str = "private/checkpoints";

/// The most checkpoints of the archive that are checked; of more, the newest.
const MAX_ARCHIVED: usize = 1 << 20;

/// The most that wait for a key to be vouched for.
const MAX_PENDING: usize = 1 << 12;

/// An older checkpoint.
#[derive(Clone)]
pub(crate) struct Older {
    size: u64,
    /// The name and the note, when it was given; one in the archive is read when its turn comes.
    given: Option<(String, Vec<u8>)>,
}

impl Older {
    fn name(&self) -> String {
        match &self.given {
            Some((name, _)) => name.clone(),
            None => format!("{ARCHIVE}/{:020}.note", self.size),
        }
    }
}

/// All of them, in the order of their sizes.
#[derive(Default)]
pub(crate) struct OlderCheckpoints {
    given: BTreeMap<u64, Vec<Older>>,
    /// Sizes, largest first.
    archived: Vec<u64>,
    pending: Vec<(Older, TreeHead)>,
    unread: usize,
    unlisted: Option<String>,
    pub(crate) report: OlderReport,
}

impl OlderCheckpoints {
    pub(crate) fn collect(
        source: &dyn Source,
        against: &[(String, Vec<u8>)],
    ) -> Result<Self, VerifyError> {
        let mut all = Self::default();
        for (name, bytes) in against {
            let refused = |source| VerifyError::Older {
                path: name.clone(),
                source,
            };
            let note = Note::parse(bytes).map_err(refused)?;
            let size = Checkpoint::parse(note.text()).map_err(refused)?.head().size;
            all.given.entry(size).or_default().push(Older {
                size,
                given: Some((name.clone(), bytes.clone())),
            });
            all.report.given = all.report.given.saturating_add(1);
        }
        let mut heap = std::collections::BinaryHeap::new();
        let mut more = 0_usize;
        let listed = source.list(ARCHIVE, &mut |name, is_dir| {
            let Some(size) = size_in(name).filter(|_| !is_dir) else {
                return;
            };
            heap.push(std::cmp::Reverse(size));
            if heap.len() > MAX_ARCHIVED {
                heap.pop();
                more = more.saturating_add(1);
            }
        });
        // Whoever checks may not be allowed to see private files.
        all.unlisted = listed
            .err()
            .map(|error| format!("cannot list {ARCHIVE}: {error}"));
        all.archived = heap
            .into_sorted_vec()
            .into_iter()
            .map(|std::cmp::Reverse(size)| size)
            .collect();
        all.report.archived = u64::try_from(all.archived.len()).unwrap_or(u64::MAX);
        all.unread = more;
        Ok(all)
    }

    /// The smallest size that is still to be checked.
    pub(crate) fn next_size(&self) -> Option<u64> {
        let given = self.given.keys().next().copied();
        let archived = self.archived.last().copied();
        match (given, archived) {
            (Some(given), Some(archived)) => Some(given.min(archived)),
            (given, archived) => given.or(archived),
        }
    }

    /// One of this size.
    pub(crate) fn take(&mut self, size: u64) -> Option<Older> {
        if self.archived.last() == Some(&size) {
            self.archived.pop();
            return Some(Older { size, given: None });
        }
        let mut entry = match self.given.first_entry() {
            Some(entry) if *entry.key() == size => entry,
            _ => return None,
        };
        let older = entry.get_mut().pop();
        if entry.get().is_empty() {
            entry.remove();
        }
        older
    }

    /// Compares one with the head that the tree had at its size.
    pub(crate) fn check(
        &mut self,
        older: &Older,
        head: TreeHead,
        source: &dyn Source,
        trust: &mut Trust,
        trail: &mut Trail,
        found: &mut Found,
    ) {
        let Some(bytes) = read(older, source, found) else {
            return;
        };
        match trust.check(&bytes) {
            Signed::Good(verified) => {
                if !contains(older, head, verified.head(), found) {
                    return;
                }
                if older.given.is_none() && trust.check_second(&verified).is_some() {
                    // A later rotation may name the second key that it had.
                    accept_rotations(trust, trail, head.size);
                    self.wait(older, head, found);
                    return;
                }
                self.report.consistent = self.report.consistent.saturating_add(1);
                accept_rotations(trust, trail, head.size);
            }
            Signed::UnknownKey(stated) => {
                if !contains(older, head, stated.head(), found) {
                    return;
                }
                self.wait(older, head, found);
            }
            Signed::Bad(finding) => bad(older, finding, found),
        }
    }

    fn wait(&mut self, older: &Older, head: TreeHead, found: &mut Found) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push((older.clone(), head));
        } else {
            found.problems.push(format!(
                "{}: too many checkpoints of unknown keys",
                older.name()
            ));
        }
    }

    /// Judges the latest checkpoint, now that the older ones have said which keys they vouch for.
    pub(crate) fn latest(
        &self,
        bytes: &[u8],
        first: Signed,
        size: u64,
        trust: &mut Trust,
        trail: &mut Trail,
        found: &mut Found,
    ) -> Option<Box<VerifiedCheckpoint>> {
        let signed = match first {
            Signed::UnknownKey(_) => trust.check(bytes),
            other => other,
        };
        let finding = match signed {
            Signed::Good(mut verified) => {
                // With a key that it vouches for itself, it may have a line more that can be verified.
                if accept_rotations(trust, trail, size)
                    && let Signed::Good(again) = trust.check(bytes)
                {
                    verified = again;
                }
                let findings = [trust.check_second(&verified), trust.check_quorum(&verified)];
                for finding in findings.into_iter().flatten() {
                    found.findings.add(finding.path("checkpoint"));
                }
                return Some(verified);
            }
            Signed::UnknownKey(_) => {
                let mut text = "no line is a signature of a trusted key: the log is another one, or was signed again".to_owned();
                if let Some(rotation) = trail.rotations.last() {
                    text += &format!(
                        "; entry {} records a change to the key {}, but no checkpoint of a trusted key covers that entry: give that key with \
                         --vkey, or such a checkpoint with --against",
                        rotation.index, rotation.new
                    );
                }
                Finding::failure(Class::Signature, text)
            }
            Signed::Bad(finding) => finding,
        };
        found.findings.add(finding.path("checkpoint"));
        None
    }

    /// What is left: those that waited for a key, and those that are larger than the trail.
    pub(crate) fn settle(&mut self, source: &dyn Source, trust: &Trust, found: &mut Found) {
        for (older, head) in std::mem::take(&mut self.pending) {
            let Some(bytes) = read(&older, source, found) else {
                continue;
            };
            match trust.check(&bytes) {
                Signed::Good(verified) if verified.head() == head => {
                    let second = trust.check_second(&verified);
                    if let Some(finding) = second.filter(|_| older.given.is_none()) {
                        found.findings.add(finding.path(older.name()));
                        continue;
                    }
                    self.report.consistent = self.report.consistent.saturating_add(1);
                }
                Signed::Good(_) => {}
                Signed::UnknownKey(_) => {
                    let text = "an older checkpoint that no trusted key signed";
                    bad(&older, Finding::failure(Class::Signature, text), found);
                }
                Signed::Bad(finding) => bad(&older, finding, found),
            }
        }
        found.notes.extend(self.unlisted.take());
        if self.unread > 0 {
            found.notes.push(format!(
                "{} older checkpoints of the archive were not checked, only the newest {MAX_ARCHIVED}",
                self.unread
            ));
        }
        let given: Vec<_> = std::mem::take(&mut self.given)
            .into_values()
            .flatten()
            .collect();
        let archived = std::mem::take(&mut self.archived);
        let largest = archived.first().map(|size| Older {
            size: *size,
            given: None,
        });
        let size = size_now(source);
        for older in given.into_iter().chain(largest) {
            if size.is_none_or(|size| older.size <= size) {
                // The tree could not be computed so far, and that was said; or the log has grown since.
                let text = format!("{} was not compared", older.name());
                if older.given.is_some() {
                    found.problems.push(text);
                } else {
                    found.notes.push(text);
                }
                continue;
            }
            let Some(bytes) = read(&older, source, found) else {
                continue;
            };
            match trust.check(&bytes) {
                Signed::Good(_) => {
                    let text = format!(
                        "there was a checkpoint of {} entries, the trail now has {}: its tail was cut off, or an old copy was restored",
                        older.size,
                        size.unwrap_or(0)
                    );
                    let finding = Finding::failure(Class::Older, text);
                    found
                        .findings
                        .add(finding.at(size.unwrap_or(0)).path(older.name()));
                }
                Signed::UnknownKey(_) => {
                    let text = "an older checkpoint that no trusted key signed";
                    bad(&older, Finding::failure(Class::Signature, text), found);
                }
                Signed::Bad(finding) => bad(&older, finding, found),
            }
        }
    }
}

/// The size that is published now: the log may have grown while it was checked.
fn size_now(source: &dyn Source) -> Option<u64> {
    let Got::Bytes(bytes) = get(source, "checkpoint", MAX_SMALL_BYTES) else {
        return None;
    };
    let note = Note::parse(&bytes).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.head().size)
}

/// Trusts the keys of rotations below `size`. Says whether there were any that were not trusted before.
fn accept_rotations(trust: &mut Trust, trail: &mut Trail, size: u64) -> bool {
    let mut accepted = false;
    for rotation in trail
        .rotations
        .iter_mut()
        .filter(|rotation| !rotation.accepted && rotation.index < size)
    {
        rotation.accepted = trust.add(&rotation.new);
        if let Some(old) = &rotation.old {
            trust.add(old);
        }
        accepted = true;
    }
    accepted
}

fn contains(older: &Older, head: TreeHead, stated: TreeHead, found: &mut Found) -> bool {
    if stated == head {
        return true;
    }
    let text = if stated.size == head.size {
        format!(
            "the tree of the first {} entries is another one than this older checkpoint states: the trail was changed below that, or is a fork",
            head.size
        )
    } else {
        format!(
            "a checkpoint of {} entries under the name of one of {}",
            stated.size, head.size
        )
    };
    found
        .findings
        .add(Finding::failure(Class::Older, text).path(older.name()));
    false
}

/// What is wrong with a checkpoint of the archive is wrong with the trail; what was given is the asker's.
fn bad(older: &Older, finding: Finding, found: &mut Found) {
    let name = older.name();
    if older.given.is_none() {
        found.findings.add(finding.path(name));
    } else {
        found
            .problems
            .push(format!("{name} cannot be compared with: {}", finding.text));
    }
}

fn read(older: &Older, source: &dyn Source, found: &mut Found) -> Option<Vec<u8>> {
    if let Some((_, bytes)) = &older.given {
        return Some(bytes.clone());
    }
    let name = older.name();
    match get(source, &name, MAX_SMALL_BYTES) {
        Got::Bytes(bytes) => return Some(bytes),
        Got::Missing => found
            .notes
            .push(format!("{name} has gone while the trail was read")),
        Got::Bad(text) => found
            .findings
            .add(Finding::failure(Class::Older, text).path(name)),
        Got::Problem(problem) => found.problems.push(problem),
    }
    None
}

fn size_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".note")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
