//! Older checkpoints: checks that the tree contains each of them, and learns the keys that they
//! vouch for.

mod cosigned;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use self::cosigned::COSIGNED;
pub(crate) use self::cosigned::read_cosigned;

use livetrail_tlog::{Checkpoint, KeyId, Note, TreeHead, VerifiedCheckpoint, VerifierKey};

use crate::error::VerifyError;
use crate::finding::Outcome;
use crate::finding::{Class, Finding, Severity};
use crate::note::{MAX_SMALL_BYTES, stated};
use crate::report::{CosignedReport, OlderReport};
use crate::scan::{Fetched, get};
use crate::sources::{SizeClaim, Source};
use crate::trail::Trail;
use crate::trust::{Signed, Trust};

const ARCHIVE: &str = "private/checkpoints";

/// Under a key's id, the checkpoint under which that key was retired. It is published, so that a
/// user who has only a site and an old key can follow the changes.
const HAND_OVERS: &str = "handover";

/// The most of those that are checked without a key that names them; a log has a few.
const MAX_HAND_OVERS: usize = 1 << 12;

/// The maximum number of checkpoints of the archive that are checked; if there are more, the
/// newest.
const MAX_ARCHIVED: usize = 1 << 20;

/// The most that wait until their key is vouched for.
const MAX_PENDING: usize = 1 << 16;

/// An older checkpoint.
#[derive(Clone)]
pub(crate) struct Older {
    size: u64,
    provenance: Provenance,
}

#[derive(Clone)]
enum Provenance {
    /// From the user: its name, and the note.
    Given(String, Vec<u8>),
    /// From the archive: it is read when it is needed.
    Archive,
    /// The key that was retired under it, and the note.
    HandOver(KeyId, Vec<u8>),
    /// From elsewhere in the place: its name, and the note.
    Elsewhere(String, Vec<u8>),
    /// The number of its cosigning witnesses according to its name, and the note.
    Cosigned(usize, Vec<u8>),
}

impl Older {
    fn name(&self) -> String {
        match &self.provenance {
            Provenance::Given(name, _) | Provenance::Elsewhere(name, _) => name.clone(),
            Provenance::Archive => format!("{ARCHIVE}/{:020}.note", self.size),
            Provenance::HandOver(key, _) => format!("{HAND_OVERS}/{key}"),
            Provenance::Cosigned(witnesses, _) => format!("{COSIGNED}/{witnesses}"),
        }
    }

    /// Whether a problem with it is a problem of the trail.
    const fn is_of_trail(&self) -> bool {
        !matches!(self.provenance, Provenance::Given(..))
    }
}

/// All older checkpoints, in the order of their sizes.
#[derive(Default)]
pub(crate) struct OlderCheckpoints {
    given: BTreeMap<u64, Vec<Older>>,
    /// Sizes, largest first.
    archived: Vec<u64>,
    /// Keys whose hand-over was searched for.
    followed: BTreeSet<KeyId>,
    /// All checkpoints below this size were compared.
    passed: u64,
    pending: Vec<(Older, TreeHead)>,
    unread: usize,
    unlisted: Option<String>,
    /// The newest one in the tree that the required witnesses have cosigned.
    cosigned: Option<CosignedReport>,
    /// Whether some remarks are failures.
    pub(crate) is_strict: bool,
    /// The archive is in a place where others may add files.
    is_remote: bool,
    pub(crate) report: OlderReport,
}

impl OlderCheckpoints {
    pub(crate) fn collect(
        source: &dyn Source,
        against: &[(String, Vec<u8>)],
    ) -> Result<Self, VerifyError> {
        let mut all = Self {
            is_remote: source.is_remote(),
            ..Self::default()
        };
        for (name, bytes) in against {
            let refused = |source| VerifyError::Older {
                path: name.clone(),
                source,
            };
            let note = Note::parse(bytes).map_err(refused)?;
            let size = Checkpoint::parse(note.text()).map_err(refused)?.head().size;
            all.given.entry(size).or_default().push(Older {
                size,
                provenance: Provenance::Given(name.clone(), bytes.clone()),
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
        // The user may lack access to private files.
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

    /// Adds the hand-overs: all that can be listed, and those of the trusted keys.
    pub(crate) fn hand_overs(&mut self, source: &dyn Source, trust: &Trust, found: &mut Outcome) {
        let mut keys = BTreeSet::new();
        let mut more = false;
        let listed = source.list(HAND_OVERS, &mut |name, is_dir| {
            let Some(key) = key_in(name).filter(|_| !is_dir) else {
                return;
            };
            keys.insert(key);
            if keys.len() > MAX_HAND_OVERS {
                keys.pop_last();
                more = true;
            }
        });
        if let Err(error) = listed {
            found
                .notes
                .push(format!("cannot list {HAND_OVERS}: {error}"));
        }
        if more {
            let text =
                format!("{HAND_OVERS} has more files than a log can have: some were not read");
            found.notes.push(text);
        }
        for key in keys {
            self.hand_over(key, source, found);
        }
        self.follow(source, trust, found);
    }

    /// Adds the place's other statements about the trail's size. `size` is that of the newest
    /// checkpoint.
    pub(crate) fn found(
        &mut self,
        source: &dyn Source,
        size: u64,
        trust: &Trust,
        found: &mut Outcome,
    ) {
        let is_strict = self.is_strict;
        let remark = |class, text: String| {
            let finding = Finding::remark(class, text);
            let severity = if is_strict {
                Severity::Failure
            } else {
                Severity::Remark
            };
            Finding {
                severity,
                ..finding
            }
        };
        for one in source.size_claims() {
            let (name, note, is_shown) = match one {
                SizeClaim::Checkpoint {
                    name,
                    note,
                    is_shown,
                } => (name, note, is_shown),
                SizeClaim::Beyond {
                    first,
                    text,
                    may_be_honest,
                } => {
                    // Strict or not, a state that an unfinished writer may leave is not a failure.
                    if may_be_honest && is_strict {
                        found.problems.push(text);
                    } else {
                        found.findings.add(remark(Class::Altered, text).at(first));
                    }
                    continue;
                }
            };
            match trust.check(&note) {
                Signed::Bad(finding) => {
                    found
                        .findings
                        .add(remark(Class::Altered, finding.text).path(name));
                }
                Signed::Good(verified) => {
                    let theirs = verified.head().size;
                    if is_shown && theirs < size {
                        let text = format!(
                            "it is the checkpoint of {theirs} entries, but the newest one has {size}: a reader of only that one is shown an older trail"
                        );
                        found.findings.add(remark(Class::Altered, text).path(&name));
                    }
                    self.elsewhere(theirs, name, note);
                }
                // Its key may be vouched for later.
                Signed::UnknownKey(stated) | Signed::GivenUp(stated, _) => {
                    self.elsewhere(stated.head().size, name, note);
                }
            }
        }
    }

    fn elsewhere(&mut self, size: u64, name: String, note: Vec<u8>) {
        self.report.elsewhere = self.report.elsewhere.saturating_add(1);
        let provenance = Provenance::Elsewhere(name, note);
        let older = Older { size, provenance };
        self.given.entry(size).or_default().push(older);
    }

    /// Adds the hand-overs of keys that have become trusted.
    fn follow(&mut self, source: &dyn Source, trust: &Trust, found: &mut Outcome) {
        let policy = trust.policy();
        for key in policy.log.iter().chain(&policy.own) {
            self.hand_over(key.id(), source, found);
        }
    }

    /// Searches for the checkpoint under which this key was retired.
    pub(crate) fn hand_over(&mut self, key: KeyId, source: &dyn Source, found: &mut Outcome) {
        if !self.followed.insert(key) {
            return;
        }
        let name = format!("{HAND_OVERS}/{key}");
        // If the key was not retired, or before these files existed, there is none. If the source
        // fails and the file is needed, then a signature by a trusted key is missing, too.
        let fetched = get(source, &name, MAX_SMALL_BYTES);
        let ControlFlow::Continue(Some((size, bytes))) = stated_in(&name, fetched, found) else {
            return;
        };
        // A key whose retirement the trail records later is trusted without it.
        if size >= self.passed {
            self.report.handed_over = self.report.handed_over.saturating_add(1);
            self.given.entry(size).or_default().push(Older {
                size,
                provenance: Provenance::HandOver(key, bytes),
            });
        }
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

    /// Removes and returns one of this size.
    pub(crate) fn take(&mut self, size: u64) -> Option<Older> {
        self.passed = size;
        if self.archived.last() == Some(&size) {
            self.archived.pop();
            let provenance = Provenance::Archive;
            return Some(Older { size, provenance });
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
        found: &mut Outcome,
    ) {
        let Some(bytes) = self.read(older, source, found) else {
            return;
        };
        match trust.check(&bytes) {
            Signed::Good(verified) if verified.head().size != older.size => {
                let text = format!(
                    "a checkpoint of {} entries, although its name is for one of {}",
                    verified.head().size,
                    older.size
                );
                self.doubtful(older, Finding::failure(Class::Older, text), found);
            }
            Signed::Good(verified) => {
                if !contains(older, head, verified.head(), found) {
                    return;
                }
                let no_second = older.is_of_trail() && trust.check_second(&verified).is_some();
                let (again, accepted) = learn(verified, &bytes, &older.name(), trust, trail);
                if accepted {
                    self.follow(source, trust, found);
                }
                match again {
                    Signed::Good(verified) => {
                        bound_by_name(older, &verified, trust);
                        self.remember_cosigned(&verified, trust);
                    }
                    Signed::Bad(finding) => {
                        bad(older, finding, found);
                        return;
                    }
                    Signed::UnknownKey(_) | Signed::GivenUp(..) => {}
                }
                // A later rotation may name the second key of that time, or the retired key.
                if no_second || handed_over(older, trust, trail).is_some() {
                    self.wait(older, head, found);
                    return;
                }
                self.report.consistent = self.report.consistent.saturating_add(1);
            }
            // The signer is judged first: a checkpoint by an unknown key says nothing about this
            // trail.
            Signed::UnknownKey(_) | Signed::GivenUp(..) => self.wait(older, head, found),
            Signed::Bad(finding) => self.doubtful(older, finding, found),
        }
    }

    fn wait(&mut self, older: &Older, head: TreeHead, found: &mut Outcome) {
        if self.pending.len() < MAX_PENDING {
            self.pending.push((older.clone(), head));
        } else {
            found.problems.push(format!(
                "{}: too many checkpoints of unknown keys",
                older.name()
            ));
        }
    }

    /// Judges the latest checkpoint, now that the older ones have vouched for their keys.
    pub(crate) fn latest(
        &mut self,
        bytes: &[u8],
        trust: &mut Trust,
        trail: &mut Trail,
        found: &mut Outcome,
    ) -> Option<Box<VerifiedCheckpoint>> {
        // Keys may have been added since it was first checked, and others may have got bounds.
        let signed = match trust.check(bytes) {
            // With a key that it vouches for itself, a further line of it may be verifiable.
            Signed::Good(verified) => learn(verified, bytes, "checkpoint", trust, trail).0,
            signed => signed,
        };
        let finding = match signed {
            Signed::Good(verified) => {
                if let Some(finding) = trust.check_second(&verified) {
                    found.findings.add(finding.path("checkpoint"));
                }
                self.quorum(&verified, trust, found);
                if let Some(finding) = trail.untested_change(&verified) {
                    found.findings.add(finding.path("checkpoint"));
                }
                return Some(verified);
            }
            Signed::UnknownKey(_) => {
                let mut text = "no line is a signature of a trusted key: this is another log, or it was signed again".to_owned();
                if let Some(rotation) = trail.rotations.last() {
                    text += &format!(
                        "; entry {} records a change to the key {}, but no checkpoint of a trusted key covers that entry: give that key with \
                         --vkey, or such a checkpoint with --against",
                        rotation.index, rotation.new
                    );
                }
                Finding::failure(Class::Signature, text)
            }
            Signed::GivenUp(_, given_up) => {
                Finding::failure(Class::Signature, given_up.to_string())
            }
            Signed::Bad(finding) => finding,
        };
        found.findings.add(finding.path("checkpoint"));
        None
    }

    /// Reports one that no trusted key has signed. Anyone who may only add files to a place can put
    /// one there, so it is not a problem of the trail.
    fn doubtful(&self, older: &Older, finding: Finding, found: &mut Outcome) {
        let is_untrusted = match older.provenance {
            Provenance::Elsewhere(..) => true,
            Provenance::Archive => self.is_remote,
            _ => false,
        };
        if !is_untrusted {
            bad(older, finding, found);
            return;
        }
        let severity = if self.is_strict {
            Severity::Failure
        } else {
            Severity::Remark
        };
        let class = Class::Altered;
        found.findings.add(
            Finding {
                severity,
                class,
                ..finding
            }
            .path(older.name()),
        );
    }

    fn read(&self, older: &Older, source: &dyn Source, found: &mut Outcome) -> Option<Vec<u8>> {
        if let Provenance::Given(_, bytes)
        | Provenance::HandOver(_, bytes)
        | Provenance::Elsewhere(_, bytes)
        | Provenance::Cosigned(_, bytes) = &older.provenance
        {
            return Some(bytes.clone());
        }
        let name = older.name();
        match get(source, &name, MAX_SMALL_BYTES) {
            Fetched::Bytes(bytes) => return Some(bytes),
            Fetched::Missing => found
                .notes
                .push(format!("{name} disappeared while the trail was read")),
            Fetched::Bad(text) => {
                self.doubtful(older, Finding::failure(Class::Older, text), found);
            }
            Fetched::Problem(problem) => found.problems.push(problem),
        }
        None
    }

    /// Judges the remaining ones: those that waited for a key, and those larger than the trail.
    pub(crate) fn settle(
        &mut self,
        source: &dyn Source,
        trust: &Trust,
        trail: &Trail,
        found: &mut Outcome,
    ) {
        for (older, head) in std::mem::take(&mut self.pending) {
            let Some(bytes) = self.read(&older, source, found) else {
                continue;
            };
            match trust.check(&bytes) {
                Signed::Good(verified) => {
                    if verified.head() != head
                        && !older.is_of_trail()
                        && trust.is_in_doubt(&verified)
                    {
                        let text = "it is of another tree, and signed only with a key that was given up, nobody says under which tree: give the file \
                                    trail.retired with --vkey";
                        bad(&older, Finding::failure(Class::Signature, text), found);
                        continue;
                    }
                    if !contains(&older, head, verified.head(), found) {
                        continue;
                    }
                    let wrong = trust
                        .check_second(&verified)
                        .or_else(|| handed_over(&older, trust, trail));
                    if let Some(finding) = wrong.filter(|_| older.is_of_trail()) {
                        found.findings.add(finding.path(older.name()));
                        continue;
                    }
                    self.remember_cosigned(&verified, trust);
                    self.report.consistent = self.report.consistent.saturating_add(1);
                }
                // If it equals the tree's head, it shows nothing new. Any other one could be by
                // anyone who found the old secret.
                Signed::GivenUp(stated, _) if stated.head() == head => {
                    self.report.consistent = self.report.consistent.saturating_add(1);
                }
                Signed::GivenUp(_, given_up) => {
                    let finding = Finding::failure(Class::Signature, given_up.to_string());
                    self.doubtful(&older, finding, found);
                }
                Signed::UnknownKey(_) => {
                    let text = "an older checkpoint that no trusted key signed";
                    self.doubtful(&older, Finding::failure(Class::Signature, text), found);
                }
                Signed::Bad(finding) => self.doubtful(&older, finding, found),
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
        // If the newest checkpoint was chosen among several, those above it were judged then.
        let was_chosen = source.newest().len() > 1;
        let largest = archived.first().filter(|_| !was_chosen);
        let largest = largest.map(|size| Older {
            size: *size,
            provenance: Provenance::Archive,
        });
        let size = size_now(source);
        for older in given.into_iter().chain(largest) {
            if size.is_none_or(|size| older.size <= size) {
                // The tree could not be computed so far, which was reported; or the log has grown
                // since.
                let text = format!("{} was not compared", older.name());
                if older.is_of_trail() {
                    found.notes.push(text);
                } else {
                    found.problems.push(text);
                }
                continue;
            }
            let Some(bytes) = self.read(&older, source, found) else {
                continue;
            };
            match trust.check(&bytes) {
                Signed::Good(_) => {
                    let text = format!(
                        "there was a checkpoint of {} entries, but the trail now has {}: its tail was cut off, or an old copy was restored",
                        older.size,
                        size.unwrap_or(0)
                    );
                    let finding = Finding::failure(Class::Older, text);
                    found
                        .findings
                        .add(finding.at(size.unwrap_or(0)).path(older.name()));
                }
                Signed::GivenUp(_, given_up) => {
                    let finding = Finding::failure(Class::Signature, given_up.to_string());
                    self.doubtful(&older, finding, found);
                }
                Signed::UnknownKey(_) => {
                    let text = "an older checkpoint that no trusted key signed";
                    self.doubtful(&older, Finding::failure(Class::Signature, text), found);
                }
                Signed::Bad(finding) => bad(&older, finding, found),
            }
        }
    }
}

/// Trusts the keys that a trusted checkpoint vouches for, and sets bounds for keys retired below
/// it. Returns the note as verified with these keys, and whether there are new ones.
fn learn(
    verified: Box<VerifiedCheckpoint>,
    bytes: &[u8],
    name: &str,
    trust: &mut Trust,
    trail: &mut Trail,
) -> (Signed, bool) {
    let accepted = trail.accept(trust, verified.head().size, name);
    let again = if accepted {
        trust.check(bytes)
    } else {
        Signed::Good(verified)
    };
    if let Signed::Good(verified) = &again {
        trail.bound(trust, verified);
    }
    (again, accepted)
}

/// The name of a hand-over gives the key whose bound it is, also when the record of the change was
/// pruned.
fn bound_by_name(older: &Older, verified: &VerifiedCheckpoint, trust: &mut Trust) {
    if let Provenance::HandOver(key, _) = &older.provenance
        && verified
            .log_signatures()
            .iter()
            .any(|line| line.key_id != *key)
    {
        trust.bound(*key, verified.head(), true);
    }
}

/// The size that is published now: the log may have grown during the check.
fn size_now(source: &dyn Source) -> Option<u64> {
    let Fetched::Bytes(bytes) = get(source, "checkpoint", MAX_SMALL_BYTES) else {
        return None;
    };
    let note = Note::parse(&bytes).ok()?;
    Some(Checkpoint::parse(note.text()).ok()?.head().size)
}

/// Whether a hand-over is valid: signed with the retired key and, if a record names the successor,
/// with the successor, as far as these are trusted.
fn handed_over(older: &Older, trust: &Trust, trail: &Trail) -> Option<Finding> {
    let Provenance::HandOver(key, bytes) = &older.provenance else {
        return None;
    };
    let verified = match trust.check(bytes) {
        Signed::Good(verified) => verified,
        Signed::Bad(finding) => return Some(finding),
        // Its signers were judged before.
        Signed::UnknownKey(_) | Signed::GivenUp(..) => return None,
    };
    let mut rotations = trail.rotations.iter().rev();
    let of_key = |old: &VerifierKey| old.id() == *key;
    let next = rotations
        .find(|rotation| rotation.index < older.size && rotation.old.as_ref().is_some_and(of_key));
    let policy = trust.policy();
    let has_signed = |key: KeyId| {
        let own = verified.log_cosignatures().iter();
        let mut lines = verified.log_signatures().iter().chain(own);
        let mut trusted = policy.log.iter().chain(&policy.own);
        lines.any(|line| line.key_id == key) || !trusted.any(|trusted| trusted.id() == key)
    };
    let next = next.map(|rotation| rotation.new.id());
    let missing = [*key].into_iter().chain(next).find(|key| !has_signed(*key));
    missing.map(|missing| {
        let text = format!("the key {key} was given up under it, but {missing} has not signed it");
        Finding::failure(Class::Signature, text)
    })
}

fn contains(older: &Older, head: TreeHead, stated: TreeHead, found: &mut Outcome) -> bool {
    if stated == head {
        return true;
    }
    let text = if stated.size == head.size {
        format!(
            "the tree of the first {} entries differs from this older checkpoint: the trail was changed below that size, or is a fork",
            head.size
        )
    } else {
        format!(
            "a checkpoint of {} entries, although its name is for one of {}",
            stated.size, head.size
        )
    };
    found
        .findings
        .add(Finding::failure(Class::Older, text).path(older.name()));
    false
}

/// A problem with a checkpoint of the archive is a problem of the trail; a given checkpoint is the
/// user's responsibility.
fn bad(older: &Older, finding: Finding, found: &mut Outcome) {
    let name = older.name();
    if older.is_of_trail() {
        found.findings.add(finding.path(name));
    } else {
        found
            .problems
            .push(format!("cannot compare with {name}: {}", finding.text));
    }
}

/// The size that a small file with a checkpoint states, and its bytes. `Continue(None)` if the file
/// is invalid, which is a finding; `Break` if there is none, or if the source failed.
fn stated_in(
    name: &str,
    fetched: Fetched,
    found: &mut Outcome,
) -> ControlFlow<(), Option<(u64, Vec<u8>)>> {
    let text = match fetched {
        Fetched::Bytes(bytes) => match stated(&bytes) {
            Some(checkpoint) => {
                return ControlFlow::Continue(Some((checkpoint.head().size, bytes)));
            }
            None => "not a signed checkpoint".to_owned(),
        },
        Fetched::Bad(text) => text,
        Fetched::Missing => return ControlFlow::Break(()),
        Fetched::Problem(problem) => {
            found.notes.push(problem);
            return ControlFlow::Break(());
        }
    };
    let finding = Finding::failure(Class::Older, text);
    found.findings.add(finding.path(name));
    ControlFlow::Continue(None)
}

/// The key with this id, in eight hexadecimal digits.
fn key_in(name: &str) -> Option<KeyId> {
    let id = KeyId(u32::from_str_radix(name, 16).ok()?.to_be_bytes());
    (id.to_string() == name).then_some(id)
}

fn size_in(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".note")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}
