//! Copies a log from its partition into a directory that any tile-log client can check, for an
//! auditor.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use livetrail_replica::{ErrorClass, ReplicaError};
use livetrail_tlog::{
    Bundle, Checkpoint, Error as TlogError, Hash, Note, TILE_WIDTH, Tile, TileBuilder,
    encode_entry_into,
};

use super::record::{Record, What};
use super::tail::{Partition, Reading};
use super::target::KafkaTarget;
use super::topic;
use crate::error::SinksError;

const WIDTH: u64 = TILE_WIDTH as u64;

/// The result of [`read_back`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadBack {
    /// The entries in the directory: all that the newest complete checkpoint covers. A checkpoint
    /// is complete if the partition has every entry that it covers.
    pub size: u64,
    /// The entries in the partition, up to the damage if there is any. Those beyond `size` are
    /// covered only by a checkpoint that is not complete or not readable, or by none.
    pub entries: u64,
    /// The damage in the partition after those entries, and where it is. Nothing after it was read.
    pub damage: Option<String>,
    /// The checkpoints that cannot be read.
    pub unreadable: u64,
}

/// Copies a log from the topic into a directory, which must be new or empty.
///
/// The result is a tlog-tiles site for `livetrail-verify DIRECTORY --vkey KEY`. This function reads
/// only the topic and trusts nothing in it: the verifier judges. If the partition also has foreign
/// or damaged records, the copy has what the checkpoints before them cover.
///
/// It reads the partition twice. The memory that it uses does not depend on the partition's length.
/// It blocks its thread: call it outside a runtime, or where blocking is allowed.
///
/// # Errors
/// - The partition cannot be read, or has nothing of this log.
/// - The partition does not begin with entry 0, or has a gap.
/// - No checkpoint covers exactly the entries that are there.
/// - The directory is not empty or cannot be written.
pub fn read_back(target: &KafkaTarget, origin: &str, to: &Path) -> Result<ReadBack, SinksError> {
    target.check()?;
    let shared = Arc::new(target.clone());
    let partition = topic::locate(&shared, origin);
    let partition = partition.map_err(|error| failed(target, origin, error))?;
    copy(&partition, to)
}

fn failed(target: &KafkaTarget, origin: &str, source: ReplicaError) -> SinksError {
    SinksError::Setup {
        step: format!("read the log `{origin}` back"),
        place: target.place(),
        source: Box::new(source),
    }
}

fn copy(partition: &Partition, to: &Path) -> Result<ReadBack, SinksError> {
    let reading = |error| failed(&partition.target, &partition.origin, error);
    let partition = Reading::new(partition).map_err(reading)?;
    let found = survey(&partition).map_err(reading)?;
    let mut site = Site::new(to, found.size)?;
    let mut broken = Ok(());
    let mut next = 0;
    partition
        .all(|record| {
            next = record.next();
            broken = site.add(record);
            Ok(broken.is_ok() && next < found.size)
        })
        .map_err(reading)?;
    broken?;
    site.hand_overs(&found.hand_overs)?;
    site.finish(&found.note)?;
    Ok(ReadBack {
        size: found.size,
        entries: found.entries,
        damage: found.damage,
        unreadable: found.unreadable,
    })
}

/// A log of a topic, and what became of its copy.
#[derive(Debug)]
#[non_exhaustive]
pub struct TopicCopy {
    /// The log's origin.
    pub origin: String,
    /// The number of its partition.
    pub partition: i32,
    /// The directory of its copy, below the given one. Its name is the origin, in which `_` and two
    /// hexadecimal digits stand for each byte but letters, digits, `.` and `-`.
    pub directory: PathBuf,
    /// What was copied, or why nothing was.
    pub copied: Result<ReadBack, SinksError>,
}

/// Copies each log of the topic into a directory of its own, as [`read_back`] does: the logs of
/// several servers, each in its partition. Empty partitions are skipped.
///
/// It blocks its thread: call it outside a runtime, or where blocking is allowed.
///
/// # Errors
/// - The topic or one of its partitions cannot be read.
/// - A partition begins with a message that is no record of a log.
///
/// What concerns one log alone is in its [`TopicCopy`].
pub fn read_back_all(target: &KafkaTarget, to: &Path) -> Result<Vec<TopicCopy>, SinksError> {
    target.check()?;
    let failed = |source: ReplicaError| SinksError::Setup {
        step: format!("read topic `{}` back", target.topic()),
        place: target.place(),
        source: Box::new(source),
    };
    let target = Arc::new(target.clone());
    let mut copies = Vec::new();
    for number in topic::numbers(&target).map_err(failed)? {
        // Which log it is becomes known by its first record.
        let partition = Partition::new(&target, number, "");
        let first = Reading::new(&partition).and_then(|reading| reading.first_origin());
        let Some(origin) = first.map_err(failed)? else {
            continue;
        };
        let directory = to.join(directory_of(&origin));
        let partition = Partition::new(&target, number, &origin);
        copies.push(TopicCopy {
            copied: copy(&partition, &directory),
            origin,
            partition: number,
            directory,
        });
    }
    Ok(copies)
}

/// A name of a file for an origin.
fn directory_of(origin: &str) -> String {
    let mut name = String::with_capacity(origin.len());
    for (at, byte) in origin.bytes().enumerate() {
        // A name with a dot at its beginning would be hidden, or another directory.
        if byte.is_ascii_alphanumeric() || byte == b'-' || (byte == b'.' && at > 0) {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "_{byte:02X}");
        }
    }
    name
}

/// What the first pass finds.
#[derive(Default)]
struct Survey {
    entries: u64,
    size: u64,
    note: Vec<u8>,
    damage: Option<String>,
    unreadable: u64,
    /// At most [`MAX_HAND_OVERS`] hand-overs, by the ids of the replaced keys.
    hand_overs: BTreeMap<String, Vec<u8>>,
}

/// The maximum number of changes of keys that are kept. A real log has fewer.
const MAX_HAND_OVERS: usize = 1_024;

fn survey(partition: &Reading) -> Result<Survey, ReplicaError> {
    let mut found = Survey::default();
    let mut notes: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut best: Option<(u64, Vec<u8>)> = None;
    let mut next = 0;
    let read = partition.all(|record| {
        if record.first() != next {
            return Err(missing(next, record.first()));
        }
        if let What::Gap { first, next } = record.what {
            return Err(missing(first, next));
        }
        next = record.next();
        for (id, note) in record.hand_overs {
            if found.hand_overs.len() < MAX_HAND_OVERS {
                found.hand_overs.entry(id).or_insert(note);
            }
        }
        if let Some(note) = record.checkpoint {
            match sized(note) {
                Some((size, note)) => {
                    // A checkpoint is kept until all entries that it covers have been read. Of
                    // several checkpoints with the same size, the newest is kept. Of those whose
                    // entries have all been read, the largest is kept.
                    notes.retain(|(known, _)| *known != size);
                    notes.push((size, note));
                }
                None => found.unreadable = found.unreadable.saturating_add(1),
            }
        }
        let covered = notes.extract_if(.., |(size, _)| *size <= next);
        let newest = covered.max_by_key(|(size, _)| *size);
        best = newest.or_else(|| best.take());
        Ok(true)
    });
    match read {
        Ok(()) => {}
        // The entries before the damage are still good: Kafka cannot delete records in the middle.
        Err(error) if error.class() != ErrorClass::Passing && best.is_some() => {
            found.damage = Some(error.to_string());
        }
        Err(error) => return Err(error),
    }
    let (size, note) = best.ok_or_else(|| nothing_whole(partition, next, found.unreadable))?;
    Ok(Survey {
        entries: next,
        size,
        note,
        ..found
    })
}

/// The reason why nothing can be written, as far as it is known.
fn nothing_whole(partition: &Reading, entries: u64, unreadable: u64) -> ReplicaError {
    let partition = partition.partition();
    let (number, topic) = (partition.number, partition.target.topic());
    if entries == 0 {
        let origin = &partition.origin;
        let elsewhere = topic::everywhere(&partition.target, origin).and_then(|all| {
            let others = all.iter().filter(|other| other.number != number);
            for other in others {
                if Reading::new(other)?.is_its()? {
                    return Ok(Some(other.number));
                }
            }
            Ok(None)
        });
        return ReplicaError::unsuitable(match elsewhere {
            Ok(Some(other)) => format!(
                "the log `{origin}` is in partition {other} of topic `{topic}`, and was looked for in {number}: set `partition = {other}`"
            ),
            Ok(None) | Err(_) => format!(
                "partition {number} of topic `{topic}` has nothing of the log `{origin}`: is that its name, as the first line of its checkpoint says it?"
            ),
        });
    }
    let why = if unreadable > 0 {
        format!(
            "{unreadable} checkpoints in partition {number} of topic `{topic}` cannot be read, and no other covers its {entries} entries or fewer"
        )
    } else {
        format!(
            "there are {entries} entries and no checkpoint that covers just those or fewer: wait until the sink has come up with the trail"
        )
    };
    ReplicaError::unsuitable(why)
}

fn missing(first: u64, next: u64) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "entries {first} to {next} (without it) are not in the topic, so that nothing of it can be checked against a checkpoint"
    ))
}

/// A checkpoint with its size. The verifier checks the signature.
fn sized(note: Vec<u8>) -> Option<(u64, Vec<u8>)> {
    let parsed = Note::parse(&note).ok()?;
    let checkpoint = Checkpoint::parse(parsed.text()).ok()?;
    Some((checkpoint.head().size, note))
}

/// A directory that is being filled.
struct Site<'a> {
    to: &'a Path,
    size: u64,
    tree: TileBuilder,
    bundle: Vec<u8>,
}

impl<'a> Site<'a> {
    fn new(to: &'a Path, size: u64) -> Result<Self, SinksError> {
        fs::create_dir_all(to).map_err(|source| write_error(to, source))?;
        let mut there = fs::read_dir(to).map_err(|source| write_error(to, source))?;
        if there.next().is_some() {
            let source = std::io::ErrorKind::DirectoryNotEmpty.into();
            return Err(write_error(to, source));
        }
        Ok(Self {
            to,
            size,
            tree: TileBuilder::new(),
            bundle: Vec::new(),
        })
    }

    fn add(&mut self, record: Record) -> Result<(), SinksError> {
        let What::Entry { index, leaf, bytes } = record.what else {
            return Ok(());
        };
        if index >= self.size {
            return Ok(());
        }
        let wrong = |source: TlogError| write_error(self.to, std::io::Error::other(source));
        encode_entry_into(&mut self.bundle, &bytes).map_err(wrong)?;
        let mut full: Vec<(Tile, Vec<Hash>)> = Vec::new();
        self.tree
            .append(leaf, |tile, hashes| full.push((tile, hashes.to_vec())))
            .map_err(wrong)?;
        for (tile, hashes) in full {
            self.put(&tile.to_string(), &tile.encode(&hashes).map_err(wrong)?)?;
        }
        let next = index.saturating_add(1);
        if next.is_multiple_of(WIDTH) || next == self.size {
            if let Some(bundle) = Bundle::in_tree(index / WIDTH, next) {
                self.put(&bundle.to_string(), &self.bundle)?;
            }
            self.bundle.clear();
        }
        Ok(())
    }

    /// Writes each hand-over at the path that the trail itself uses.
    fn hand_overs(&self, hand_overs: &BTreeMap<String, Vec<u8>>) -> Result<(), SinksError> {
        for (id, note) in hand_overs {
            self.put(&format!("handover/{id}"), note)?;
        }
        Ok(())
    }

    /// Writes the checkpoint last. So a directory with a checkpoint is complete.
    fn finish(&self, note: &[u8]) -> Result<(), SinksError> {
        let wrong = |source: TlogError| write_error(self.to, std::io::Error::other(source));
        for (tile, hashes) in self.tree.partial_tiles() {
            self.put(&tile.to_string(), &tile.encode(hashes).map_err(wrong)?)?;
        }
        self.put("checkpoint", note)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<(), SinksError> {
        let path = self.to.join(path);
        let dir = path.parent().unwrap_or(self.to);
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|source| write_error(&path, source))
    }
}

fn write_error(path: &Path, source: std::io::Error) -> SinksError {
    SinksError::Write {
        path: PathBuf::from(path),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_one_plain_name_of_a_directory() {
        assert_eq!(directory_of("example.com/edge-1"), "example.com_2Fedge-1");
        assert_eq!(directory_of("../x_y"), "_2E._2Fx_5Fy");
        assert_eq!(directory_of(".."), "_2E.");
    }
}
