//! The whole check of a ledger's trail.

use livetrail_tlog::{KeyId, Note, NoteSignature, TreeHead, VerifierKey};
use serde_json::Value as Json;

use crate::conclusion::finish;
use crate::error::VerifyError;
use crate::finding::{Class, Finding, Outcome, Severity};
use crate::note::{MAX_SMALL_BYTES, stated};
use crate::older::{Older, OlderCheckpoints, read_cosigned};
use crate::options::Options;
use crate::report::parts::{checkpoint_report, keys_report};
use crate::report::{Figures, Report, TrailKind};
use crate::scan::bundles::scan_all;
use crate::scan::entry::Filled;
use crate::scan::tree::Tree;
use crate::scan::{Fetched, Scanned, get, leftovers};
use crate::sources::limits::Limited;
use crate::sources::{Source, SourceError};
use crate::trail::{Removed, Trail};
use crate::trust::key_file::KeyFile;
use crate::trust::policy::Policy;
use crate::trust::{Signed, Trust};

/// Checks the trail of a ledger. Calls `progress` with the numbers of checked and of all entries.
///
/// # Errors
/// [`VerifyError`] when there is no trail, no key, or an argument is invalid. Problems of the trail
/// are in the report.
pub fn verify(
    source: &dyn Source,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let limited = Limited::new(source, options.limits);
    let source: &dyn Source = &limited;
    let mut found = Outcome::default();
    altered(source, options.strict, &mut found);
    let manifest = Manifest::read(source, &mut found);
    let cosigned = read_cosigned(source, &options.policy);
    let bytes = checkpoint_bytes(source, &manifest, &mut found)?;
    let (policy, from_trail) = policy(source, options, &manifest)?;
    let origin = origin(options, &manifest, &policy, from_trail);
    let mut trust = Trust::new(policy, origin)?;
    if from_trail && options.strict {
        return Err(VerifyError::NoKey);
    }
    let (_, bytes) = choose(source, bytes, &trust, options.strict, &mut found);
    let mut older = OlderCheckpoints::collect(source, &options.against)?;
    older.is_strict = options.strict;
    older.hand_overs(source, &trust, &mut found);
    older.cosigned(cosigned, &mut found);
    let latest = bytes.as_deref();
    let stated = latest.and_then(stated);
    let size = stated.as_ref().map_or(0, |stated| stated.head().size);
    older.found(source, size, &trust, &mut found);

    let mut figures = Figures::default();
    let mut trail = Trail::new(options.rules()).with_openings(&options.openings);
    let mut removed = Removed::default();
    if let Some(checkpoint) = &stated {
        let mut check = Check {
            source,
            trust: &mut trust,
            older: &mut older,
            trail: &mut trail,
            removed: &mut removed,
            figures: &mut figures,
            found: &mut found,
            latest,
        };
        check.tree(checkpoint.head(), options.threads(), progress)?;
    }
    let verified = latest.and_then(|bytes| older.latest(bytes, &mut trust, &mut trail, &mut found));
    older.settle(source, &trust, &trail, &mut found);
    trail.compare_rotations(&mut found.findings);
    for range in removed.unexplained(&trail.pruned) {
        let text = format!(
            "entries {} to {} were removed, and no record of pruning covers them",
            range.start,
            range.end.saturating_sub(1)
        );
        found
            .findings
            .add(Finding::failure(Class::NotPruned, text).at(range.start));
    }
    figures.removed = removed.entries;
    manifest.compare(&trust, from_trail, &mut found);
    let checkpoint = stated.map(|stated| checkpoint_report(&stated, verified.as_deref()));
    let keys = keys_report(&trust, from_trail);
    if from_trail {
        found.notes.push(
            "the key was found in the trail itself. This shows that the trail is consistent, but not whose it is: compare the key with one \
             that you got in another way, or give that one with --vkey"
                .to_owned(),
        );
    }
    let mut report = finish(
        source.place(),
        TrailKind::Ledger,
        trail,
        Some(&trust),
        size,
        found,
    );
    report.checkpoint = checkpoint;
    report.keys = keys;
    report.figures = figures;
    report.older = older.report;
    report.cosigned = older.take_cosigned();
    Ok(report)
}

struct Check<'a> {
    source: &'a dyn Source,
    trust: &'a mut Trust,
    older: &'a mut OlderCheckpoints,
    trail: &'a mut Trail,
    removed: &'a mut Removed,
    figures: &'a mut Figures,
    found: &'a mut Outcome,
    /// The newest checkpoint, with any signer.
    latest: Option<&'a [u8]>,
}

/// Records for which memory is read ahead. What they need fits into the nearest cache.
const AHEAD: u64 = 32;

impl Check<'_> {
    fn tree(
        &mut self,
        head: TreeHead,
        threads: usize,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), VerifyError> {
        let mut tree = Tree::new(self.source);
        self.check_older(TreeHead::EMPTY);
        if !self.may_be_trusted() {
            return Ok(());
        }
        let mut whole = true;
        scan_all(self.source, head.size, threads, |scanned| {
            whole = self.bundle(scanned, head, &mut tree);
            progress(tree.size(), head.size);
            whole
        })?;
        self.figures.entries = tree.size();
        if !whole || tree.size() != head.size {
            return Ok(());
        }
        tree.partial_tiles(&mut self.found.findings, &mut self.found.problems);
        self.figures.tiles = self.figures.tiles.saturating_add(tree.compared());
        let computed = tree.head();
        if computed.root != head.root {
            let text = format!(
                "the {} entries give the root {}, but the checkpoint has {}",
                head.size, computed.root, head.root
            );
            self.found
                .findings
                .add(Finding::failure(Class::Root, text).path("checkpoint"));
        }
        leftovers::check(self.source, head.size, self.figures, self.found);
        Ok(())
    }

    /// Processes the next bundle. Returns `false` when the tree cannot be computed further.
    fn bundle(&mut self, scanned: &mut Scanned, head: TreeHead, tree: &mut Tree<'_>) -> bool {
        if let Some((tile, at)) = scanned.disputed.take() {
            let finding = scanned.disagreement(at, tree.head_with(&scanned.hashes) == head);
            scanned.findings.push(finding);
            if tree.head_with(&tile) == head {
                scanned.hashes = tile;
            }
        }
        let first = scanned.first();
        self.figures.bytes = self
            .figures
            .bytes
            .saturating_add(u64::try_from(scanned.bytes).unwrap_or(u64::MAX));
        for finding in scanned.findings.drain(..) {
            self.found.findings.add(finding);
        }
        if let Some(problem) = scanned.problem.take() {
            self.found.problems.push(problem);
            return false;
        }
        if scanned.hashes.is_empty() {
            return false;
        }
        self.figures.tiles = self.figures.tiles.saturating_add(1);
        let next = first.saturating_add(u64::try_from(scanned.hashes.len()).unwrap_or(0));
        if scanned.records.is_empty() {
            if scanned.removed {
                self.removed.add(first..next);
            }
            self.trail.gap(&mut self.found.findings);
        }
        let known = self.trail.rotations.len();
        let mut filled = Filled::default();
        for (index, at) in (first..).zip(0..scanned.records.len()) {
            if index.is_multiple_of(AHEAD) {
                self.trail.look_ahead(scanned.records.sessions(at, AHEAD));
            }
            if let Some(entry) = scanned.records.entry(at, &mut filled) {
                self.figures.records = self.figures.records.saturating_add(1);
                self.trail
                    .feed_entry(index, &entry, &mut self.found.findings);
            }
        }
        // In time for the comparison: a hand-over is larger than the record of the change.
        for key in self.trail.given_up_since(known) {
            self.older.hand_over(key, self.source, self.found);
        }
        while let Some(size) = self.older.next_size().filter(|size| *size < next) {
            let within = size.saturating_sub(first);
            let within = usize::try_from(within).unwrap_or(usize::MAX);
            let head = tree.head_with(scanned.hashes.get(..within).unwrap_or_default());
            self.check_older(head);
        }
        tree.push(
            std::mem::take(&mut scanned.hashes),
            scanned.root,
            &mut self.found.findings,
            &mut self.found.problems,
        );
        if self.older.next_size() == Some(next) {
            self.check_older(tree.head());
        }
        self.may_be_trusted()
    }

    /// Whether the tree is worth reading: a trusted key has signed the newest checkpoint, or an
    /// older one may still vouch for its key. A server can make up tiles for any size, without end;
    /// a directory is finite.
    fn may_be_trusted(&self) -> bool {
        !self.source.is_remote()
            || self.older.next_size().is_some()
            || self
                .latest
                .is_some_and(|bytes| matches!(self.trust.check(bytes), Signed::Good(_)))
    }

    /// Checks all older checkpoints of this size.
    fn check_older(&mut self, head: TreeHead) {
        while let Some(older) = self.older.take(head.size) {
            self.older_one(&older, head);
        }
    }

    fn older_one(&mut self, older: &Older, head: TreeHead) {
        self.older
            .check(older, head, self.source, self.trust, self.trail, self.found);
    }
}

/// Reports changes to a place that keeps first versions.
fn altered(source: &dyn Source, strict: bool, found: &mut Outcome) {
    for alteration in source.alterations() {
        let what = match (alteration.versions, alteration.is_deleted) {
            (0 | 1, _) => "was deleted".to_owned(),
            (versions, false) => format!("was overwritten and has {versions} versions"),
            (versions, true) => format!("was deleted, and written {versions} times"),
        };
        let text = format!("{what}; its first version still exists and was checked");
        let finding = if strict {
            Finding::failure(Class::Altered, text)
        } else {
            Finding::remark(Class::Altered, text)
        };
        found.findings.add(finding.path(alteration.path));
    }
}

fn checkpoint_bytes(
    source: &dyn Source,
    manifest: &Manifest,
    found: &mut Outcome,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let wrong = |text: String| Finding::failure(Class::Checkpoint, text).path("checkpoint");
    match source.read("checkpoint", MAX_SMALL_BYTES) {
        Ok(Some(bytes)) => return Ok(Some(bytes)),
        Ok(None) => {
            let tiles = source.list("tile", &mut |_, _| {}).unwrap_or(false);
            if !manifest.exists && !tiles {
                return Err(VerifyError::NoTrail {
                    place: source.place(),
                });
            }
            found
                .findings
                .add(wrong("there is no checkpoint".to_owned()));
        }
        Err(SourceError::Io(error)) => {
            return Err(VerifyError::Read {
                path: format!("{}/checkpoint", source.place()),
                source: error,
            });
        }
        Err(error) => found.findings.add(wrong(error.to_string())),
    }
    Ok(None)
}

/// The maximum number of candidates for the newest checkpoint that are tried.
const MAX_NEWEST: usize = 64;

/// The newest checkpoint and its name, if there may be several: the first that a trusted key has
/// signed, or whose key a hand-over may vouch for. Checkpoints above it are reported.
fn choose(
    source: &dyn Source,
    plain: Option<Vec<u8>>,
    trust: &Trust,
    is_strict: bool,
    found: &mut Outcome,
) -> (String, Option<Vec<u8>>) {
    let names = source.newest();
    if matches!(names.as_slice(), [] | [_]) {
        return ("checkpoint".to_owned(), plain);
    }
    let mut remark = |name: &str, text: String| {
        let severity = if is_strict {
            Severity::Failure
        } else {
            Severity::Remark
        };
        let finding = Finding::remark(Class::Altered, text).path(name);
        found.findings.add(Finding {
            severity,
            ..finding
        });
    };
    // The newest of unknown keys.
    let mut unknown: Option<(String, Vec<u8>)> = None;
    let mut skipped: Vec<String> = Vec::new();
    for name in names.into_iter().take(MAX_NEWEST) {
        let bytes = match source.read(&name, MAX_SMALL_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                remark(&name, format!("cannot read the checkpoint: {error}"));
                continue;
            }
        };
        let wanted = name.rsplit('/').next().and_then(|size| size.parse().ok());
        let size = stated(&bytes).map(|stated| stated.head().size);
        if size.is_none() || size != wanted {
            let text =
                "not a signed checkpoint of the size in its name; the largest valid one counts";
            remark(&name, text.to_owned());
            continue;
        }
        match trust.check(&bytes) {
            Signed::Good(_) => {
                // A successor's checkpoints are larger and of a key that is not known yet; but so
                // are a forger's.
                let vouched = unknown.filter(|(_, bytes)| shares_a_key(source, bytes, trust));
                if let Some((name, bytes)) = vouched {
                    return (name, Some(bytes));
                }
                for name in skipped {
                    remark(&name, "no trusted key has signed it, and no hand-over names its key; the trail's largest checkpoint counts".to_owned());
                }
                return (name, Some(bytes));
            }
            Signed::UnknownKey(_) | Signed::GivenUp(..) => {
                skipped.push(name.clone());
                unknown.get_or_insert((name, bytes));
            }
            Signed::Bad(finding) => remark(&name, finding.text),
        }
    }
    match unknown {
        Some((name, bytes)) => (name, Some(bytes)),
        None => ("checkpoint".to_owned(), plain),
    }
}

/// Whether the note is signed by a key that has signed a hand-over from a trusted key, or from a
/// key that such a hand-over leads to.
fn shares_a_key(source: &dyn Source, bytes: &[u8], trust: &Trust) -> bool {
    let ids = |bytes: &[u8]| -> Vec<KeyId> {
        let note = Note::parse(bytes);
        let lines = note.as_ref().map_or(&[][..], Note::signatures);
        lines.iter().map(NoteSignature::key_id).collect()
    };
    let policy = trust.policy();
    let known = policy.log.iter().chain(&policy.own);
    let mut waiting: Vec<KeyId> = known.map(VerifierKey::id).collect();
    let signed = ids(bytes);
    let mut seen = std::collections::BTreeSet::new();
    while let Some(key) = waiting.pop() {
        if !seen.insert(key) || seen.len() > MAX_NEWEST {
            continue;
        }
        let path = format!("handover/{key}");
        if let Fetched::Bytes(note) = get(source, &path, MAX_SMALL_BYTES) {
            let handed = ids(&note);
            if handed.iter().any(|id| *id != key && signed.contains(id)) {
                return true;
            }
            waiting.extend(handed);
        }
    }
    false
}

fn policy(
    source: &dyn Source,
    options: &Options,
    manifest: &Manifest,
) -> Result<(Policy, bool), VerifyError> {
    let mut policy = options.policy.clone();
    let from_trail = policy.is_empty();
    if from_trail {
        if let Some(key) = &manifest.vkey {
            policy.add(key.clone())?;
        } else if let Fetched::Bytes(bytes) = get(source, "trail.vkey", MAX_SMALL_BYTES) {
            let mut keys = KeyFile::default();
            keys.read(&String::from_utf8_lossy(&bytes))?;
            policy.add_file(keys)?;
        }
        if let Fetched::Bytes(bytes) = get(source, "trail.retired", MAX_SMALL_BYTES) {
            let mut keys = KeyFile::default();
            keys.read(&String::from_utf8_lossy(&bytes))?;
            policy.add_file(keys)?;
        }
        if policy.is_empty() {
            return Err(VerifyError::NoKey);
        }
    }
    // A second key that only the trail names proves little, but an invalid or missing cosignature
    // of it shows a change.
    if policy.own.is_empty()
        && let Some(key) = &manifest.cosigner_vkey
    {
        policy.own.push(key.clone());
    }
    Ok((policy, from_trail))
}

fn origin(options: &Options, manifest: &Manifest, policy: &Policy, from_trail: bool) -> String {
    let of_trail = manifest.origin.clone().filter(|_| from_trail);
    let of_key = || policy.log.first().map(|key| key.name().as_str().to_owned());
    options
        .origin
        .clone()
        .or(of_trail)
        .or_else(of_key)
        .unwrap_or_default()
}

/// The contents of `private/log.json`, if it can be read. It is not evidence, but it must not
/// contradict the evidence.
#[derive(Default)]
struct Manifest {
    exists: bool,
    origin: Option<String>,
    vkey: Option<VerifierKey>,
    cosigner_vkey: Option<VerifierKey>,
}

const MANIFEST: &str = "private/log.json";

impl Manifest {
    fn read(source: &dyn Source, found: &mut Outcome) -> Self {
        let mut manifest = Self::default();
        let bytes = match get(source, MANIFEST, MAX_SMALL_BYTES) {
            Fetched::Bytes(bytes) => bytes,
            Fetched::Missing => return manifest,
            // The user may lack access to private files.
            Fetched::Problem(problem) => {
                found
                    .notes
                    .push(format!("{problem}; the published files are enough"));
                return manifest;
            }
            Fetched::Bad(text) => {
                found
                    .findings
                    .add(Finding::failure(Class::Manifest, text).path(MANIFEST));
                return manifest;
            }
        };
        manifest.exists = true;
        let json: Json = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name| json.get(name).and_then(Json::as_str);
        manifest.origin = text("origin").map(str::to_owned);
        // There is one spelling: a key that is written differently was changed.
        let key = |name| {
            let text = text(name)?;
            let key: VerifierKey = text.parse().ok()?;
            (key.to_string() == text).then_some(key)
        };
        manifest.vkey = key("vkey");
        manifest.cosigner_vkey = key("cosigner_vkey");
        let whole = manifest.origin.is_some()
            && manifest.vkey.is_some()
            && manifest.cosigner_vkey.is_some()
            && json.get("format").and_then(Json::as_u64).is_some();
        if !whole {
            let text = "the log's format, origin or keys are invalid";
            found
                .findings
                .add(Finding::failure(Class::Manifest, text).path(MANIFEST));
        }
        manifest
    }

    fn compare(&self, trust: &Trust, from_trail: bool, found: &mut Outcome) {
        let mut wrong = |text: String| {
            found
                .findings
                .add(Finding::failure(Class::Manifest, text).path(MANIFEST));
        };
        if let Some(origin) = self
            .origin
            .as_deref()
            .filter(|origin| *origin != trust.origin())
        {
            wrong(format!("it says that the log is {origin:?}"));
        }
        let known = |key: &VerifierKey| {
            let policy = trust.policy();
            policy.log.contains(key) || policy.own.contains(key)
        };
        if !from_trail && let Some(key) = self.vkey.as_ref().filter(|key| !known(key)) {
            wrong(format!(
                "it says that {key} signs, which is not a trusted key"
            ));
        }
        if let Some(key) = self.cosigner_vkey.as_ref().filter(|key| !known(key)) {
            wrong(format!(
                "it says that {key} cosigns, which is not the known second key"
            ));
        }
    }
}
