//! A trail under torture, and everything that its writer has ever promised about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use livetrail_ledger::{Reader, RealStore};
use livetrail_tlog::{Frontier, leaf_hash};
use livetrail_verify::{Directory, Options, Policy, Report, Verdict, keys_in, verify};
use system_tests::{Finished, Process, run};
use tempfile::TempDir;

use crate::settings::say;

/// The maximum time of a run of the writer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of kept checkpoints: each is verified with each verification.
const MOST_CHECKPOINTS: usize = 128;

pub(crate) struct Subject {
    temp: TempDir,
    /// The writer appends entries with companions.
    companions: bool,
    /// The maximum number of entries that were ever said to be durable.
    pub(crate) durable: u64,
    /// Every checkpoint that was ever said to be published: size and root.
    sealed: BTreeMap<u64, String>,
    /// Copies of `checkpoint`, with the number that they were taken at.
    checkpoints: Vec<(String, Vec<u8>)>,
}

impl Subject {
    pub(crate) fn new() -> Self {
        Self::in_dir(&std::env::temp_dir())
    }

    /// A trail whose entries have companions.
    pub(crate) fn with_companions() -> Self {
        let mut subject = Self::new();
        subject.companions = true;
        subject
    }

    /// A trail below this directory.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self {
            temp: tempfile::tempdir_in(dir).expect("a temporary directory"),
            companions: false,
            durable: 0,
            sealed: BTreeMap::new(),
            checkpoints: Vec::new(),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.temp.path().join("trail")
    }

    /// Another path next to the trail.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The key that verifies the trail's signatures.
    pub(crate) fn signer_key(&self) -> String {
        let keys = self.path().with_extension("keys").join("trail.vkey");
        let keys = std::fs::read_to_string(keys).expect("the verifier keys");
        keys.lines().next().expect("a key").to_owned()
    }

    /// The writer, to append until there are `count` entries.
    pub(crate) fn writer(&self, count: u64, pause_us: u64) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trail-writer"));
        command.arg(self.path()).arg(count.to_string());
        command.arg(pause_us.to_string());
        if self.companions {
            command.arg("companions");
        }
        command
    }

    pub(crate) fn start(&self, pause_us: u64) -> Process {
        Process::spawn("trail-writer", &self.writer(u64::MAX, pause_us))
    }

    /// As [`start`](Self::start), one that continues when the disk is full.
    pub(crate) fn start_patient(&self, pause_us: u64) -> Process {
        let mut command = self.writer(u64::MAX, pause_us);
        command.arg("patient");
        Process::spawn("trail-writer", &command)
    }

    /// Lets the writer append until there are `count` entries.
    #[track_caller]
    pub(crate) fn fill(&mut self, count: u64) {
        let finished = run("trail-writer", &self.writer(count, 0), TIMEOUT).success();
        self.hear(&finished);
        self.keep_checkpoint();
    }

    /// Takes note of what a writer has promised, and compares it with what was promised before.
    #[track_caller]
    pub(crate) fn hear(&mut self, finished: &Finished) {
        let whole = finished.stdout.rfind('\n').map_or(0, |end| end + 1);
        for line in finished.stdout[..whole].lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let entries = || -> u64 { words[1].parse().expect("a number of entries") };
            match words[0] {
                "open" => {
                    let found = entries();
                    assert!(
                        found >= self.durable,
                        "{} entries were durable, {found} are there\n{}",
                        self.durable,
                        finished.output()
                    );
                }
                "durable" | "closed" => self.durable = self.durable.max(entries()),
                "sealed" => {
                    self.durable = self.durable.max(entries());
                    let root = words[2].to_owned();
                    let known = self.sealed.entry(entries()).or_insert_with(|| root.clone());
                    assert_eq!(
                        *known,
                        root,
                        "a fork at {}\n{}",
                        entries(),
                        finished.output()
                    );
                }
                "shed" | "refused" | "reported" => {}
                _ => panic!("what is `{line}`?"),
            }
        }
    }

    /// Keeps the checkpoint that is published now, to ask for it in each verification that follows.
    pub(crate) fn keep_checkpoint(&mut self) {
        if let Ok(note) = std::fs::read(self.path().join("checkpoint")) {
            self.keep(&format!("after {} entries", self.durable), note);
        }
    }

    /// Keeps a checkpoint.
    pub(crate) fn keep(&mut self, name: &str, note: Vec<u8>) {
        if self.checkpoints.len() == MOST_CHECKPOINTS {
            self.checkpoints.remove(0);
        }
        self.checkpoints.push((name.to_owned(), note));
    }

    /// Opens the trail again, which is what recovers it, and verifies the whole.
    #[track_caller]
    pub(crate) fn recover_and_verify(&mut self) -> Report {
        self.keep_checkpoint();
        self.fill(0);
        let report = self.verify(&self.path());
        let output = || serde_json::to_string_pretty(&report).unwrap_or_default();
        assert_eq!(report.verdict, Verdict::Sound, "{}", output());
        assert_eq!(report.sessions.open_total, 0, "{}", output());
        // It was closed: what is durable is published.
        assert_eq!(report.figures.entries, self.durable, "{}", output());
        report
    }

    /// The verifier's answer about the trail in `path`, with this trail's key and all checkpoints
    /// that were kept.
    #[track_caller]
    pub(crate) fn verify(&self, path: &Path) -> Report {
        let options = self.options();
        verify(&Directory::new(path), &options, &mut |_, _| {}).expect("a trail to verify")
    }

    /// The options of a verification: this trail's key and all checkpoints that were kept.
    pub(crate) fn options(&self) -> Options {
        let keys = std::fs::read_to_string(self.vkey()).expect("the verifier keys");
        let mut policy = Policy::default();
        for key in keys_in(&keys).expect("keys") {
            policy.add(key).expect("a key of a log");
        }
        Options {
            policy,
            against: self.checkpoints.clone(),
            ..Options::default()
        }
    }

    /// The directory with the seeds.
    pub(crate) fn keys(&self) -> PathBuf {
        self.path().with_extension("keys")
    }

    /// The file with the verifier keys.
    pub(crate) fn vkey(&self) -> PathBuf {
        self.keys().join("trail.vkey")
    }

    /// Computes the tree again from the entries, and compares every root that was ever reported as
    /// published.
    #[track_caller]
    pub(crate) fn check_roots(&self) -> usize {
        let store = Arc::new(RealStore::new(self.path()));
        let reader = Reader::open(store).expect("a trail to read");
        let mut tree = Frontier::new();
        let mut compared = 0;
        let kept = self.kept();
        for entry in reader.entries(0..self.durable).expect("the entries") {
            let hash = leaf_hash(&entry.expect("an entry"));
            if self.companions {
                let companion = kept.get(&tree.size());
                assert_eq!(companion, Some(&hash.to_string()), "of {}", tree.size());
            }
            tree.append(hash).expect("room in the tree");
            if let Some(root) = self.sealed.get(&tree.size()) {
                assert_eq!(*root, tree.root().to_string(), "at {}", tree.size());
                compared += 1;
            }
        }
        let empty = usize::from(self.sealed.contains_key(&0));
        assert_eq!(compared + empty, self.sealed.len());
        assert!(
            kept.last_key_value()
                .is_none_or(|(last, _)| *last < self.durable),
            "a companion without its entry"
        );
        compared
    }

    /// The companions that the writer's store has, by the index of their entry.
    fn kept(&self) -> BTreeMap<u64, String> {
        let mut kept = BTreeMap::new();
        if !self.companions {
            return kept;
        }
        let text = std::fs::read_to_string(self.path().with_extension("kept"));
        for line in text.expect("the companions").lines() {
            let (index, companion) = line.split_once(' ').expect("an index and a companion");
            let index = index.parse().expect("an index");
            let known = kept.entry(index).or_insert_with(|| companion.to_owned());
            assert_eq!(known, companion, "two companions of {index}");
        }
        kept
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.temp.disable_cleanup(true);
            say(&format!("the trail is in {}", self.path().display()));
        }
    }
}
