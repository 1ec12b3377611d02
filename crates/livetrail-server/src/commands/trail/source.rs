//! Reads the records of a trail, which are entries of a ledger or lines of a file.

use std::{fs, ops::Range, path::PathBuf, sync::Arc};

use anyhow::Context;
use livetrail_audit::{AuditError, AuditRecord, FileTrail, LineFormat};
use livetrail_index::{Filter, Hits, Index, IndexError, scan};
use livetrail_ledger::{LedgerError, Reader, RealStore};
use livetrail_record::parse_canonical;
use livetrail_trail::{TrailPlace, chain, explain, index_directory};

use super::hidden::warn_of_hidden;
use crate::{
    commands::progress as progress_bar,
    output::{Failure, complain},
};

/// Which trail.
#[derive(Debug, clap::Args)]
pub(crate) struct TrailPath {
    /// The server's data directory, a trail's directory, or a trail file of an earlier version.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
}

/// The format of a file's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lines {
    /// Livetrail's own.
    Livetrail,
    /// Those of the library arcly-stream.
    Arcly,
}

/// The format of the bar on a terminal while the index is made.
const BAR: &str = "making the query index {bar:40} {human_pos} of {human_len} records, {eta} left";

/// One entry or line of a trail.
pub(super) struct Item {
    /// The entry's index, or the line's number.
    pub(super) number: u64,
    /// The record, or the reason why it is not a record.
    pub(super) record: Result<AuditRecord, String>,
}

/// A trail. Each read continues after the one before.
pub(super) enum Source {
    Ledger(LedgerSource),
    File { trail: FileTrail, path: PathBuf },
}

/// The entries of a ledger that a checkpoint covers.
pub(super) struct LedgerSource {
    pub(super) reader: Reader,
    pub(super) directory: PathBuf,
    /// The first entry that was not pruned.
    pub(super) first: u64,
    /// The next entry that is read.
    next: u64,
}

impl Source {
    /// # Errors
    /// There is no trail there, or it cannot be read.
    pub(super) fn open(path: &TrailPath, lines: Lines) -> Result<Self, Failure> {
        let format = match lines {
            Lines::Livetrail => LineFormat::Livetrail,
            Lines::Arcly => LineFormat::Arcly,
        };
        match TrailPlace::of(&path.path) {
            // The extension of a log of another program says nothing.
            _ if lines == Lines::Arcly && path.path.is_file() => {
                let trail = FileTrail::open(&path.path).map_err(Failure::unusable)?;
                Ok(Self::File {
                    trail: trail.format(format),
                    path: path.path.clone(),
                })
            }
            TrailPlace::Ledger { .. } if lines != Lines::Livetrail => {
                Err(Failure::unusable(anyhow::anyhow!(
                    "{} is not a file of lines, so it has no lines of arcly-stream",
                    path.path.display()
                )))
            }
            TrailPlace::File(path) => {
                let trail = FileTrail::open(&path)
                    .map_err(Failure::unusable)?
                    .format(format);
                Ok(Self::File { trail, path })
            }
            TrailPlace::Ledger { .. } => LedgerSource::open(path).map(Self::Ledger),
        }
    }

    /// The name of this trail's items: entry or line.
    pub(super) const fn unit(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "entry",
            Self::File { .. } => "line",
        }
    }

    /// Bytes at the end of a file that have no LF yet.
    pub(super) const fn torn_bytes(&self) -> usize {
        match self {
            Self::Ledger(_) => 0,
            Self::File { trail, .. } => trail.torn_bytes(),
        }
    }

    /// Reads on to the present end.
    ///
    /// # Errors
    /// `each` returns an error, or the trail cannot be read.
    pub(super) fn each(
        &mut self,
        mut each: impl FnMut(Item) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Ledger(ledger) => ledger.each(&mut each),
            Self::File { trail, .. } => {
                for line in trail.by_ref() {
                    each(item_of_line(line)?)?;
                }
                Ok(())
            }
        }
    }

    /// The last `wanted` records that match, in the trail's order. Later reads continue at the end.
    ///
    /// # Errors
    /// The trail cannot be read.
    pub(super) fn last(
        &mut self,
        wanted: usize,
        filter: &Filter,
    ) -> Result<Vec<AuditRecord>, Failure> {
        if let Self::Ledger(ledger) = self {
            return ledger.last(wanted, filter);
        }
        let mut last = std::collections::VecDeque::new();
        self.each(|item| {
            let fitting = item.record.ok().filter(|record| filter.fits(record));
            if let Some(record) = fitting.filter(|_| wanted > 0) {
                if last.len() == wanted {
                    last.pop_front();
                }
                last.push_back(record);
            }
            Ok(())
        })?;
        Ok(last.into())
    }
}

impl LedgerSource {
    /// # Errors
    /// There is no ledger there, or it cannot be read.
    pub(super) fn open(path: &TrailPath) -> Result<Self, Failure> {
        let TrailPlace::Ledger { directory, vkeys } = TrailPlace::of(&path.path) else {
            return Err(Failure::unusable(anyhow::anyhow!(
                "{} is a file of lines: it has no checkpoints and proofs; `livetrail trail check` checks its sessions",
                path.path.display()
            )));
        };
        let store = Arc::new(RealStore::new(&directory));
        let reader = match (Reader::open(store.clone()), vkeys) {
            // A copy of the site has no private part. Its keys are in a file next to it.
            (Err(LedgerError::NoTrail { .. }), Some(file)) if directory.is_dir() => {
                let text = fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))
                    .map_err(Failure::unusable)?;
                reader_of_copy(store, &text)
                    .with_context(|| format!("the keys in {}", file.display()))
                    .map_err(Failure::unusable)?
            }
            (reader, _) => reader.map_err(|error| Failure::unusable(explain(error, &directory)))?,
        };
        let first = reader.first_index().map_err(Failure::unusable)?;
        Ok(Self {
            reader,
            directory,
            first,
            next: first,
        })
    }

    /// Number of published entries.
    ///
    /// # Errors
    /// The checkpoint cannot be read, or belongs to another trail.
    pub(super) fn size(&self) -> Result<u64, Failure> {
        let checkpoint = self.reader.checkpoint().map_err(Failure::unusable)?;
        Ok(checkpoint.head().size)
    }

    /// The records that match, in order. Each is proven to be in the signed tree.
    ///
    /// `with_index` uses the index, and first updates or makes it; a bar shows that. Without an
    /// index the whole trail is searched.
    ///
    /// # Errors
    /// The trail cannot be read.
    pub(super) fn find(&self, filter: Filter, with_index: bool) -> Result<Hits<'_>, Failure> {
        // A copy of the site has no private part, and gets no index.
        if with_index && self.directory.join("private").is_dir() {
            match self.find_by_index(filter.clone()) {
                Ok(hits) => return Ok(hits),
                Err(error) => complain(&format!(
                    "looking through the whole trail, without the query index: {}",
                    chain(&error)
                )),
            }
        }
        scan(&self.reader, filter).map_err(Failure::unusable)
    }

    fn find_by_index(&self, filter: Filter) -> Result<Hits<'_>, IndexError> {
        let mut index = Index::open(&index_directory(&self.directory), &self.reader)?;
        let mut bar = None;
        index.catch_up(&self.reader, &mut |progress| {
            let bar = bar.get_or_insert_with(|| progress_bar(Some(progress.published), BAR));
            bar.set_position(progress.indexed);
            true
        })?;
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        index.find(&self.reader, filter)
    }

    /// Reads the published entries of a range.
    ///
    /// # Errors
    /// `each` returns an error, or the trail cannot be read.
    pub(super) fn range(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(Item) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let first = range.start;
        let entries = self.reader.entries(range).map_err(Failure::unusable)?;
        for (number, entry) in (first..).zip(entries) {
            each(item_of_entry(number, &entry.map_err(Failure::unusable)?))?;
        }
        Ok(())
    }

    fn each(&mut self, each: &mut dyn FnMut(Item) -> Result<(), Failure>) -> Result<(), Failure> {
        let end = self.size()?;
        if end > self.next {
            self.range(self.next..end, each)?;
            self.next = end;
        }
        Ok(())
    }

    /// Searches from the end backwards. A filter that selects something uses the index. Thus the
    /// last records of a long trail are found soon, even if they are few and old.
    fn last(&mut self, wanted: usize, filter: &Filter) -> Result<Vec<AuditRecord>, Failure> {
        let is_selective = *filter != Filter::default();
        let mut filter = filter.clone();
        filter.entries.get_or_insert(self.first..u64::MAX);
        let mut hits = self.find(filter, is_selective && wanted > 0)?;
        let last = hits.newest(wanted).map_err(Failure::unusable)?;
        warn_of_hidden(&hits);
        let size = hits.checkpoint().head().size;
        self.next = size;
        Ok(last.into_iter().map(|found| found.record).collect())
    }
}

fn reader_of_copy(store: Arc<RealStore>, text: &str) -> anyhow::Result<Reader> {
    let keys: Vec<_> = livetrail_verify::keys_in(text)?;
    let keys: [_; 2] = keys.try_into().map_err(|_| {
        anyhow::anyhow!("are not two: that which signs, and that which cosigns with the time")
    })?;
    let origin = keys[0].name().as_str().to_owned();
    Ok(Reader::with_keys(store, origin, keys)?)
}

fn item_of_entry(number: u64, entry: &[u8]) -> Item {
    let record = parse_canonical(entry);
    Item {
        number,
        record: record.map_err(|error| {
            let error = AuditError::Entry {
                index: number,
                source: error,
            };
            chain(&error)
        }),
    }
}

/// A line that is not a record becomes an item. An error of reading the file is an error.
fn item_of_line(line: Result<livetrail_audit::TrailLine, AuditError>) -> Result<Item, Failure> {
    let (number, record) = match line {
        Ok(line) => (line.number, Ok(line.record)),
        Err(error @ (AuditError::Line { line, .. } | AuditError::LineTooLong { line, .. })) => {
            (line, Err(chain(&error)))
        }
        Err(error) => return Err(Failure::unusable(error)),
    };
    Ok(Item { number, record })
}
