//! The trails of a fleet: several servers write to one place, each its own log with its own key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use livetrail_tlog::{Checkpoint, KeyType, MAX_NOTE_BYTES, Note, VerifierKey};
use serde::Serialize;

use crate::error::VerifyError;
use crate::finding::Severity;
use crate::options::{Options, SILENT_HEARTBEATS};
use crate::report::show::{Lines, date, span};
use crate::report::{Report, Verdict};
use crate::sources::Source;
use crate::trust::key_file::KeyFile;
use crate::trust::policy::Policy;
use crate::verify::verify;

/// The maximum number of trails in one place.
pub const MAX_FLEET: usize = 1_000;

/// How many findings and problems of a trail the text has; the JSON report has more.
const SHOWN: usize = 5;

/// A trail of the place. It is opened when it is its turn, and closed afterwards.
pub struct FleetTrail<'a> {
    name: String,
    open: Box<dyn FnOnce() -> Result<Box<dyn Source>, VerifyError> + 'a>,
}

impl<'a> FleetTrail<'a> {
    /// A trail with this name in the place, for people: an origin, a directory, a prefix.
    pub fn new<S: Source + 'static>(
        name: impl Into<String>,
        open: impl FnOnce() -> Result<S, VerifyError> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            open: Box::new(|| open().map(|source| Box::new(source) as Box<dyn Source>)),
        }
    }
}

/// What a check of a fleet needs besides the settings of each trail's check.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The keys of all trails. A trail gets those whose name is its origin. Keys of witnesses count
    /// for each trail. Without a key, the keys in the trails themselves are used.
    pub keys: KeyFile,
    /// From this age of its newest record on a trail is silent, in milliseconds.
    pub silent_after_ms: u64,
}

/// The report on a fleet. Its JSON form is made by serde; fields are only ever added.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FleetReport {
    /// The report's format, 1.
    pub format: u32,
    /// The answer for all: sound if each trail is sound, and none is silent or absent.
    pub verdict: Verdict,
    /// The place that was checked.
    pub place: String,
    /// The trails, by origin.
    pub trails: Vec<FleetTrailReport>,
}

/// One trail of a fleet.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FleetTrailReport {
    /// The origin, or the name in the place if the origin is unknown.
    pub origin: String,
    /// Whether records arrive.
    pub state: FleetState,
    /// The answer for this trail. `None` if it is absent.
    pub verdict: Option<Verdict>,
    /// The entries that its newest checkpoint covers.
    pub entries: Option<u64>,
    /// The time of its newest record, in milliseconds since 1970 (UTC).
    pub newest_ms: Option<u64>,
    /// How much older that is than the newest record of all trails, in milliseconds.
    pub behind_ms: Option<u64>,
    /// Why it could not be checked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The whole report on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Box<Report>>,
}

/// Whether records of a trail arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FleetState {
    /// Its newest record is at most three heartbeats old.
    Current,
    /// Its newest record is older than three heartbeats.
    Lags,
    /// Its newest record is older than the limit for silence.
    Silent,
    /// Its newest record says that the server stopped.
    Stopped,
    /// There is a key for it, and no trail.
    Absent,
    /// The time of its newest record, or the current time, is not known.
    Unknown,
}

impl FleetState {
    /// Its name in reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Lags => "lags",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }

    /// The state of a trail whose newest record is this old, in milliseconds.
    ///
    /// `is_stopped` says that this record is the end of a server. `heartbeat_ms` is the interval of
    /// the server's heartbeats, and from the age of `silent_after_ms` on it is silent.
    #[must_use]
    pub const fn of_newest(
        age_ms: Option<u64>,
        is_stopped: bool,
        heartbeat_ms: u64,
        silent_after_ms: u64,
    ) -> Self {
        match age_ms {
            None => Self::Unknown,
            Some(_) if is_stopped => Self::Stopped,
            Some(age) if age >= silent_after_ms => Self::Silent,
            Some(age) if age > heartbeat_ms.saturating_mul(SILENT_HEARTBEATS) => Self::Lags,
            Some(_) => Self::Current,
        }
    }

    const fn is_failure(self) -> bool {
        matches!(self, Self::Silent | Self::Absent)
    }
}

/// Checks each trail of a place with its own key, and compares how far they are.
///
/// `options` has the settings of each check: its policy and origin have no effect. An older
/// checkpoint counts for the trail of its origin. `progress` gets the entries that were read and
/// all entries of the trail that is being checked.
///
/// # Errors
/// A key that is invalid, and an older checkpoint of an origin that the place does not have. A
/// trail that cannot be checked is in the report.
pub fn verify_fleet(
    place: &str,
    trails: Vec<FleetTrail<'_>>,
    fleet: &FleetOptions,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<FleetReport, VerifyError> {
    let mut expected = fleet.keys.origins();
    let has_keys = !expected.is_empty();
    let mut against = by_origin(&options.against)?;
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for trail in trails.into_iter().take(MAX_FLEET) {
        let source = match (trail.open)() {
            Ok(source) => source,
            Err(error) => {
                seen.insert(trail.name.clone());
                all.push(FleetTrailReport::unread(trail.name, chain(&error)));
                continue;
            }
        };
        let origin = origin_of(&*source).unwrap_or_else(|| trail.name.clone());
        if !seen.insert(origin.clone()) {
            let why = format!("{} is a second trail of this origin", trail.name);
            all.push(FleetTrailReport::unread(origin, why));
            continue;
        }
        if has_keys && !expected.remove(&origin) {
            let why = "no key was given for this origin".to_owned();
            all.push(FleetTrailReport::unread(origin, why));
            continue;
        }
        let mut policy = Policy::default();
        policy.add_file(fleet.keys.of(&origin))?;
        let own = Options {
            policy,
            origin: Some(origin.clone()),
            against: against.remove(&origin).unwrap_or_default(),
            ..options.clone()
        };
        all.push(match verify(&*source, &own, progress) {
            Ok(report) => FleetTrailReport::of(origin, report, fleet, &own),
            Err(error) => FleetTrailReport::unread(origin, chain(&error)),
        });
    }
    // A checkpoint of a trail that is not here shows that the trail was here, or somewhere.
    expected.extend(against.into_keys());
    for origin in expected.into_iter().filter(|origin| !seen.contains(origin)) {
        all.push(FleetTrailReport::absent(origin));
    }
    Ok(FleetReport::of(place, all))
}

impl FleetReport {
    fn of(place: &str, mut trails: Vec<FleetTrailReport>) -> Self {
        trails.sort_by(|a, b| a.origin.cmp(&b.origin));
        let newest = trails.iter().filter_map(|one| one.newest_ms).max();
        for one in &mut trails {
            let behind = |(own, newest): (u64, u64)| newest.saturating_sub(own);
            one.behind_ms = one.newest_ms.zip(newest).map(behind);
        }
        let is = |verdict| trails.iter().any(|one| one.verdict == Some(verdict));
        let fails = is(Verdict::NotSound) || trails.iter().any(|one| one.state.is_failure());
        let verdict = if fails {
            Verdict::NotSound
        } else if is(Verdict::CouldNotCheck) || trails.is_empty() {
            Verdict::CouldNotCheck
        } else {
            Verdict::Sound
        };
        Self {
            format: 1,
            verdict,
            place: place.to_owned(),
            trails,
        }
    }
}

impl FleetTrailReport {
    fn absent(origin: String) -> Self {
        Self {
            origin,
            state: FleetState::Absent,
            verdict: None,
            entries: None,
            newest_ms: None,
            behind_ms: None,
            problems: Vec::new(),
            report: None,
        }
    }

    fn unread(origin: String, why: String) -> Self {
        Self {
            state: FleetState::Unknown,
            verdict: Some(Verdict::CouldNotCheck),
            problems: vec![why],
            ..Self::absent(origin)
        }
    }

    fn of(origin: String, report: Report, fleet: &FleetOptions, options: &Options) -> Self {
        Self {
            state: FleetState::of_newest(
                report.sessions.age_ms,
                report.sessions.stopped,
                options.heartbeat_s.saturating_mul(1_000),
                fleet.silent_after_ms,
            ),
            verdict: Some(report.verdict),
            entries: report.checkpoint.as_ref().map(|newest| newest.size),
            newest_ms: report.sessions.newest_ms,
            problems: report.problems.clone(),
            report: Some(Box::new(report)),
            ..Self::absent(origin)
        }
    }
}

impl KeyFile {
    /// The origins of the logs that the signing keys belong to.
    #[must_use]
    pub fn origins(&self) -> BTreeSet<String> {
        let signing = self.now.iter().filter(|key| is_signing(key));
        signing.map(|key| key.name().as_str().to_owned()).collect()
    }

    /// The keys of one log, and those of witnesses.
    #[must_use]
    pub fn of(&self, origin: &str) -> Self {
        let origins = self.origins();
        let is_its = |key: &VerifierKey| owner(&origins, key).is_none_or(|own| own == origin);
        let own = |keys: &[VerifierKey]| keys.iter().filter(|key| is_its(key)).cloned().collect();
        let retired = self.retired.iter();
        Self {
            now: own(&self.now),
            retired: retired.filter(|one| is_its(one.key())).cloned().collect(),
            given_up: own(&self.given_up),
        }
    }
}

fn is_signing(key: &VerifierKey) -> bool {
    key.key_type() == KeyType::ED25519
}

/// The log that a key belongs to: the longest of these names that is its name, or the beginning of
/// its name before a `/`. `None` for a witness.
fn owner<'k>(origins: &'k BTreeSet<String>, key: &'k VerifierKey) -> Option<&'k str> {
    let name = key.name().as_str();
    if is_signing(key) {
        return Some(name);
    }
    let is_prefix = |origin: &&str| {
        let rest = name.strip_prefix(*origin);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let all = origins.iter().map(String::as_str);
    all.filter(is_prefix).max_by_key(|origin| origin.len())
}

/// The origin in a trail's newest checkpoint. It is not verified here: it only selects the key.
fn origin_of(source: &dyn Source) -> Option<String> {
    source.newest().iter().find_map(|name| {
        let note = source.read(name, MAX_NOTE_BYTES).ok().flatten()?;
        origin_in(&note)
    })
}

fn origin_in(note: &[u8]) -> Option<String> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(note.text()).ok()?;
    Some(checkpoint.origin().to_owned())
}

type Older = Vec<(String, Vec<u8>)>;

fn by_origin(older: &Older) -> Result<BTreeMap<String, Older>, VerifyError> {
    let mut found: BTreeMap<String, Older> = BTreeMap::new();
    for (path, note) in older {
        let refused = |source| VerifyError::Older {
            path: path.clone(),
            source,
        };
        let parsed = Note::parse(note).map_err(refused)?;
        let checkpoint = Checkpoint::parse(parsed.text()).map_err(refused)?;
        let of_it = found.entry(checkpoint.origin().to_owned()).or_default();
        of_it.push((path.clone(), note.clone()));
    }
    Ok(found)
}

fn chain(error: &VerifyError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl fmt::Display for FleetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f = &mut Lines::new(f);
        let count = self.trails.len();
        let verdict = words(Some(self.verdict)).to_uppercase();
        f.line(format_args!("{verdict}  {count} trails in {}", self.place))?;
        let longest = self.trails.iter().map(|one| one.origin.chars().count());
        let width = longest.max().unwrap_or(0).max("origin".len());
        f.title(format_args!(
            "{:width$}  {:>12}  {:23}  {:>8}  {:7}  verdict",
            "origin", "entries", "newest record", "behind", "state"
        ))?;
        for one in &self.trails {
            let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            f.line(format_args!(
                "{:width$}  {:>12}  {:23}  {:>8}  {:7}  {}",
                one.origin,
                or_none(one.entries.map(|entries| entries.to_string())),
                or_none(one.newest_ms.map(date)),
                or_none(one.behind_ms.map(span)),
                one.state.label(),
                words(one.verdict),
            ))?;
        }
        for one in &self.trails {
            one.write(f)?;
        }
        Ok(())
    }
}

impl FleetTrailReport {
    /// What is wrong with the trail, if anything.
    fn write<W: fmt::Write>(&self, f: &mut Lines<'_, W>) -> fmt::Result {
        if self.state == FleetState::Absent {
            f.title(format_args!("{}", self.origin))?;
            return f.line(format_args!("  there is no trail of this origin"));
        }
        let findings = self.report.iter().flat_map(|report| &report.findings);
        let failures = findings.filter(|one| one.severity == Severity::Failure);
        let mut lines: Vec<String> = failures
            .take(SHOWN)
            .map(|one| match one.index {
                Some(index) => format!("entry {index}: {}", one.text),
                None => one.text.clone(),
            })
            .collect();
        lines.extend(self.problems.iter().take(SHOWN).cloned());
        if lines.is_empty() {
            return Ok(());
        }
        f.title(format_args!("{}", self.origin))?;
        lines
            .iter()
            .try_for_each(|line| f.line(format_args!("  {line}")))
    }
}

const fn words(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Sound) => "sound",
        Some(Verdict::NotSound) => "not sound",
        Some(Verdict::CouldNotCheck) => "could not check",
        None => "-",
    }
}

impl fmt::Debug for FleetTrail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetTrail")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
