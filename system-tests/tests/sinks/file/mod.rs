//! The file of lines: what every sink must do, and a server whose trail it follows.

mod disk;
mod outage;
mod page;
mod rotation;
pub(crate) mod server;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Manipulation, Place as AnyPlace, TestLog};
use livetrail_sinks::file::{FileReplica, Format};

livetrail_replica::replica_conformance!(Place: one_log);

/// A folder on a real disk with a file in JSON, from which each entry's bytes can be read.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    fn path(&self) -> PathBuf {
        self.0.path().join("trail.json")
    }
}

#[async_trait]
impl AnyPlace for Place {
    async fn fresh() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(FileReplica::new("file", self.path(), Format::Json))
    }

    async fn held(&self, _origin: &str) -> Vec<(u64, Vec<u8>)> {
        let text = std::fs::read_to_string(self.path()).unwrap();
        assert!(text.ends_with('\n'), "a torn last line");
        text.lines().map(held_in).collect()
    }

    async fn manipulate(&self, _log: &TestLog, what: Manipulation) -> bool {
        let beside = |end: &str| self.0.path().join(format!("trail.json{end}"));
        match what {
            Manipulation::Emptied => {
                std::fs::remove_file(self.path()).unwrap();
                std::fs::remove_file(beside(".cursor")).unwrap();
            }
            Manipulation::Foreign => {
                let mut lines = std::fs::read(self.path()).unwrap();
                lines.extend_from_slice(b"a line of somebody else\n");
                std::fs::write(self.path(), lines).unwrap();
            }
            // The tree in the cursor would not fit: it is damaged, which is an alarm of its own.
            Manipulation::Claimed => return false,
        }
        true
    }
}

/// Whether a line is that with which a rotated file begins: the tree of the entries before it.
pub(crate) fn is_tree(line: &str) -> bool {
    line.starts_with("{\"tree_size\":")
}

/// The index and the entry's exact bytes in a line.
pub(crate) fn held_in(line: &str) -> (u64, Vec<u8>) {
    let parsed: serde_json::Value = serde_json::from_str(line).unwrap();
    let (_, record) = line.split_once(",\"record\":").unwrap();
    let entry = record.strip_suffix('}').unwrap().as_bytes().to_vec();
    let leaf = livetrail_tlog::leaf_hash(&entry).to_string();
    assert_eq!(parsed["leaf"], leaf, "{line}");
    (parsed["index"].as_u64().unwrap(), entry)
}
