//! A place with the trails of several servers, read as a whole: a directory of copies, a prefix in
//! a bucket, or a database.
//!
//! Each trail has its own key. Copies and buckets have trees: each record that is shown is proven,
//! as in a server's own trail. In a database, the newest checkpoint is verified, and each record is
//! compared with its leaf hash; `livetrail-verify --fleet` proves the rest.

mod args;
mod chain;
#[cfg(feature = "postgres")]
mod database;
mod merge;
mod show;
mod store;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, net::IpAddr, path::Path, process::ExitCode, sync::Arc};

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_engine::{Clock as _, SystemClock};
use livetrail_index::Filter;
use livetrail_ledger::{Reader, SharedStore};
use livetrail_record::parse_canonical;
use livetrail_tlog::{Checkpoint, KeyType, Note, VerifierKey};
use livetrail_trail::TrailPlace;
use livetrail_verify::{Directory, FleetState, KeyFile, MAX_FLEET, Source as _};

use crate::output::{Failure, Outcome, complain, printable};

pub(crate) use args::FleetArgs;

use super::{query, show::TrailFormat};

/// The trails of a place.
pub(super) struct Fleet {
    nodes: Vec<Node>,
    records: Records,
}

/// One trail: a server.
pub(super) struct Node {
    pub(super) origin: String,
    /// The number of entries that its newest checkpoint covers.
    pub(super) entries: Option<u64>,
    /// The time of its newest record, in milliseconds since 1970.
    pub(super) newest_ms: Option<u64>,
    /// How much older that is than the newest record of all, in milliseconds.
    pub(super) behind_ms: Option<u64>,
    pub(super) state: FleetState,
    /// Why it cannot be read.
    pub(super) problem: Option<String>,
}

/// The records of the nodes that can be read.
enum Records {
    /// Readers of trees, each with the number of its node.
    Trails(Vec<(usize, Reader)>),
    #[cfg(feature = "postgres")]
    Database(Box<database::Database>),
}

/// What is asked of a place.
#[derive(Clone, Default)]
pub(super) struct Question {
    pub(super) filter: Filter,
    pub(super) network: Option<(IpAddr, u8)>,
    pub(super) user_agent: Option<String>,
    /// Only the records of this node.
    pub(super) only: Option<usize>,
}

/// A record that matches.
pub(super) struct Found {
    /// The number of its node.
    pub(super) node: usize,
    /// The index of its entry.
    pub(super) index: u64,
    pub(super) record: AuditRecord,
}

/// Gets each record that matches, in the order of time.
type Each<'a> = &'a mut dyn FnMut(Found) -> Result<(), Failure>;

/// Runs `trail query --fleet`.
pub(super) fn run(args: &query::Args) -> Outcome {
    let filter = super::filter::filter(&args.filter)?;
    if args.persons.personal {
        return Err(Failure::unusable(anyhow::anyhow!(
            "--personal does not apply to --fleet: a place with several trails shows no names; the server of each trail does"
        )));
    }
    let question = Question {
        filter,
        network: args.persons.peer,
        user_agent: args.persons.user_agent.clone(),
        only: None,
    };
    let fleet = Fleet::open(&args.fleet, args.trail.as_deref())?;
    if args.chain {
        chain::show(&fleet, &question, args.format)?;
    } else {
        let mut shown = show::Shown::new(&fleet.nodes, args.format);
        fleet.each(&question, &mut |found| shown.record(&found))?;
        shown.finish()?;
    }
    fleet.report(args.format)
}

impl Fleet {
    /// Opens the trails of a place.
    ///
    /// # Errors
    /// There is no such place, it cannot be read, or a key is invalid. A trail that cannot be read
    /// is a node with a problem.
    fn open(args: &FleetArgs, path: Option<&Path>) -> Result<Self, Failure> {
        let now_ms = args.now_ms(SystemClock::new().unix_ms())?;
        let keys = args.keys().map_err(Failure::unusable)?;
        let mut nodes = Nodes::new(&keys, args, now_ms);
        let records = match (&args.postgres, path) {
            (Some(url), _) => database(url, args, &mut nodes)?,
            (None, Some(path)) => {
                let trails = match path.to_str().filter(|path| path.starts_with("s3://")) {
                    Some(url) => buckets(url, args)?,
                    None => directories(path)?,
                };
                Records::Trails(nodes.open(trails))
            }
            (None, None) => {
                let missing =
                    anyhow::anyhow!("--fleet needs a PATH, an s3:// address or --postgres");
                return Err(Failure::unusable(missing));
            }
        };
        Ok(Self {
            nodes: nodes.finish(),
            records,
        })
    }

    /// Calls `each` with every record that matches, in the order of time. Records of one trail keep
    /// its order. Memory is needed for a bundle of each trail, or for a few rows.
    ///
    /// # Errors
    /// `each` returns an error, or a trail cannot be read.
    fn each(&self, question: &Question, each: Each<'_>) -> Result<(), Failure> {
        match &self.records {
            Records::Trails(trails) => merge::each(&self.nodes, trails, question, each),
            #[cfg(feature = "postgres")]
            Records::Database(database) => database.each(&self.nodes, question, each),
        }
    }

    /// Reports the nodes whose records may be missing.
    fn report(&self, format: TrailFormat) -> Outcome {
        if format == TrailFormat::Table {
            crate::output::say(&show::nodes(&self.nodes))?;
        }
        let mut is_whole = true;
        for node in &self.nodes {
            let origin = printable(&node.origin);
            if let Some(problem) = &node.problem {
                is_whole = false;
                complain(&format!(
                    "error: {origin} is not shown: {}",
                    printable(problem)
                ));
                continue;
            }
            let behind = show::behind(node);
            match node.state {
                FleetState::Current | FleetState::Stopped => {}
                FleetState::Absent => complain(&format!(
                    "warning: {origin} is absent: a key was given for it, and this place has no trail of it"
                )),
                state => complain(&format!(
                    "warning: {origin} {}: its newest record is {behind}",
                    match state {
                        FleetState::Lags => "lags",
                        FleetState::Silent => "is silent",
                        _ => "has no record with a time",
                    }
                )),
            }
        }
        // What is shown is not everything: as with a trail that cannot be read.
        Ok(ExitCode::from(if is_whole { 0 } else { 2 }))
    }
}

/// The nodes while they are opened.
struct Nodes<'a> {
    keys: &'a KeyFile,
    args: &'a FleetArgs,
    now_ms: u64,
    nodes: Vec<Node>,
}

/// A verified statement of a trail about itself.
struct Newest {
    size: u64,
    record: Option<AuditRecord>,
}

impl<'a> Nodes<'a> {
    const fn new(keys: &'a KeyFile, args: &'a FleetArgs, now_ms: u64) -> Self {
        Self {
            keys,
            args,
            now_ms,
            nodes: Vec::new(),
        }
    }

    /// Adds a node. Returns its number if its records can be read.
    fn add(&mut self, origin: String, newest: anyhow::Result<Newest>) -> Option<usize> {
        let is_known = self.nodes.iter().any(|node| node.origin == origin);
        let newest = match is_known {
            false => newest.map_err(|error| format!("{error:#}")),
            true => Err("this is a second trail of this origin".to_owned()),
        };
        let (newest, problem) = match newest {
            Ok(newest) => (Some(newest), None),
            Err(problem) => (None, Some(problem)),
        };
        let record = newest.as_ref().and_then(|newest| newest.record.as_ref());
        let newest_ms = record.map(|record| record.ts_ms);
        let state = FleetState::of_newest(
            newest_ms.map(|newest_ms| self.now_ms.saturating_sub(newest_ms)),
            record.is_some_and(|record| record.action == AuditAction::ServerStopped),
            self.args.heartbeat.saturating_mul(1_000),
            self.args.silent_after.saturating_mul(1_000),
        );
        let is_readable = problem.is_none();
        self.nodes.push(Node {
            origin,
            entries: newest.map(|newest| newest.size),
            newest_ms,
            behind_ms: None,
            state,
            problem,
        });
        is_readable.then(|| self.nodes.len() - 1)
    }

    /// Opens trails, each when it is its turn.
    fn open(&mut self, trails: Vec<Trail<'_>>) -> Vec<(usize, Reader)> {
        let mut readers = Vec::new();
        for trail in trails {
            let opened = (trail.open)().and_then(|store| {
                let note = store.read("checkpoint")?;
                let origin = origin_in(&note).unwrap_or_else(|| trail.name.clone());
                Ok((store, origin))
            });
            let (store, origin) = match opened {
                Ok(opened) => opened,
                Err(error) => {
                    self.add(trail.name, Err(error));
                    continue;
                }
            };
            match open(&store, &origin, self.keys) {
                Ok((reader, newest)) => {
                    let node = self.add(origin, Ok(newest));
                    readers.extend(node.map(|node| (node, reader)));
                }
                Err(error) => {
                    self.add(origin, Err(error));
                }
            }
        }
        readers
    }

    /// All nodes, also those for which there is only a key.
    fn finish(mut self) -> Vec<Node> {
        let seen: BTreeSet<String> = self.nodes.iter().map(|node| node.origin.clone()).collect();
        for origin in self.keys.origins() {
            if !seen.contains(&origin) {
                self.nodes.push(Node {
                    origin,
                    entries: None,
                    newest_ms: None,
                    behind_ms: None,
                    state: FleetState::Absent,
                    problem: None,
                });
            }
        }
        let newest = self.nodes.iter().filter_map(|node| node.newest_ms).max();
        for node in &mut self.nodes {
            let behind = |(own, newest): (u64, u64)| newest.saturating_sub(own);
            node.behind_ms = node.newest_ms.zip(newest).map(behind);
        }
        self.nodes
    }
}

/// A trail of a place, before it is opened.
struct Trail<'a> {
    /// Its name in the place.
    name: String,
    open: Box<dyn FnOnce() -> anyhow::Result<SharedStore> + 'a>,
}

/// The directories below this one.
fn directories(place: &Path) -> Result<Vec<Trail<'static>>, Failure> {
    let mut names = Vec::new();
    let listed = Directory::new(place).list("", &mut |name, is_directory| {
        if is_directory && names.len() <= MAX_FLEET {
            names.push(name.to_owned());
        }
    });
    if !matches!(listed, Ok(true)) {
        let unread = anyhow::anyhow!("{} is not a directory that can be read", place.display());
        return Err(Failure::unusable(unread));
    }
    names.sort();
    let trails = names.into_iter().map(|name| {
        let path = place.join(&name);
        let open = move || match TrailPlace::of(&path) {
            TrailPlace::Ledger { directory, .. } => Ok(store::read_only(Directory::new(directory))),
            TrailPlace::File(_) => anyhow::bail!("it is a file of lines, which has no checkpoint"),
        };
        Trail {
            name,
            open: Box::new(open),
        }
    });
    bounded(trails.collect(), &place.display().to_string())
}

fn bounded<'a>(trails: Vec<Trail<'a>>, place: &str) -> Result<Vec<Trail<'a>>, Failure> {
    if trails.len() <= MAX_FLEET {
        return Ok(trails);
    }
    Err(Failure::unusable(anyhow::anyhow!(
        "there are more than {MAX_FLEET} trails in {place}"
    )))
}

#[cfg(feature = "s3")]
fn buckets<'a>(place: &'a str, args: &FleetArgs) -> Result<Vec<Trail<'a>>, Failure> {
    use livetrail_s3::{CredentialSource, Endpoint};
    use livetrail_verify::BucketSite;

    let region = &args.s3_region;
    let endpoint = match &args.s3_endpoint {
        Some(url) => Endpoint::new(url, region, true),
        None => Endpoint::amazon(region),
    };
    let endpoint = endpoint.map_err(Failure::unusable)?;
    let credentials = CredentialSource::Environment.load();
    let credentials = credentials.map_err(Failure::unusable)?;
    let names = BucketSite::names(place, endpoint.clone(), credentials.clone(), MAX_FLEET + 1);
    let trails = names.map_err(Failure::unusable)?.into_iter().map(|name| {
        let url = format!("{}/{name}", place.trim_end_matches('/'));
        let (endpoint, credentials) = (endpoint.clone(), credentials.clone());
        let open = move || {
            let site = BucketSite::open(&url, endpoint, credentials)?;
            Ok(store::read_only(site))
        };
        Trail {
            name,
            open: Box::new(open),
        }
    });
    bounded(trails.collect(), place)
}

#[cfg(not(feature = "s3"))]
fn buckets(_: &str, _: &FleetArgs) -> Result<Vec<Trail<'static>>, Failure> {
    Err(Failure::unusable(anyhow::anyhow!(crate::serve::not_built(
        "s3"
    ))))
}

#[cfg(feature = "postgres")]
fn database(url: &str, args: &FleetArgs, nodes: &mut Nodes<'_>) -> Result<Records, Failure> {
    let database = database::Database::open(url, args, nodes)?;
    Ok(Records::Database(Box::new(database)))
}

#[cfg(not(feature = "postgres"))]
fn database(_: &str, _: &FleetArgs, _: &mut Nodes<'_>) -> Result<Records, Failure> {
    let words = crate::serve::not_built("postgres");
    Err(Failure::unusable(anyhow::anyhow!(words)))
}

/// The origin in a checkpoint. It is not verified: it only selects the key.
fn origin_in(note: &[u8]) -> Option<String> {
    let note = Note::parse(note).ok()?;
    let checkpoint = Checkpoint::parse(note.text()).ok()?;
    Some(checkpoint.origin().to_owned())
}

/// Opens a trail with those keys of `keys` that sign its checkpoint.
fn open(store: &SharedStore, origin: &str, keys: &KeyFile) -> anyhow::Result<(Reader, Newest)> {
    let [signers, cosigners] = keys_of(keys, origin)?;
    let mut refused = None;
    for signer in &signers {
        for cosigner in &cosigners {
            let pair = [signer.clone(), cosigner.clone()];
            let reader = Reader::with_keys(Arc::clone(store), origin, pair)?;
            match newest(&reader) {
                Ok(newest) => return Ok((reader, newest)),
                Err(error) => refused = Some(error),
            }
        }
    }
    Err(refused.unwrap_or_else(|| {
        anyhow::anyhow!(
            "it needs both keys of its `trail.vkey`: the one that signs, and the one that cosigns"
        )
    }))
}

/// The keys that sign a log's checkpoints, and those that cosign them with the time.
fn keys_of(keys: &KeyFile, origin: &str) -> anyhow::Result<[Vec<VerifierKey>; 2]> {
    let own = keys.of(origin);
    let of_type = |kind: KeyType| {
        let all = own
            .current()
            .iter()
            .filter(move |key| key.key_type() == kind);
        all.filter(|key| {
            let rest = key.name().as_str().strip_prefix(origin);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .cloned()
        .collect::<Vec<_>>()
    };
    let signers = of_type(KeyType::ED25519);
    anyhow::ensure!(!signers.is_empty(), "no key was given for this origin");
    Ok([signers, of_type(KeyType::COSIGNATURE)])
}

fn newest(reader: &Reader) -> anyhow::Result<Newest> {
    let size = reader.checkpoint()?.head().size;
    let last = size.checked_sub(1).map(|last| reader.entry(last));
    let record = last
        .transpose()?
        .and_then(|entry| parse_canonical(&entry).ok());
    Ok(Newest { size, record })
}

/// Reports entries that were needed and do not exist.
fn warn_of_absent(origin: &str, absent: &[std::ops::Range<u64>]) {
    for absent in absent {
        complain(&format!(
            "{}: entries {} to {} are missing and were not checked; `livetrail-verify --fleet` says whether they were removed by policy",
            printable(origin),
            absent.start,
            absent.end.saturating_sub(1)
        ));
    }
}

/// Reports entries that are not records.
fn warn_of_unreadable(origin: &str, unreadable: u64) {
    if unreadable > 0 {
        complain(&format!(
            "{}: {unreadable} entries are no records; `livetrail-verify --fleet` says which",
            printable(origin)
        ));
    }
}
