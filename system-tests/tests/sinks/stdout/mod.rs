//! Standard output as lines of JSON: the requirements for every sink that cannot report its
//! contents, and a server with readers of every kind.

mod outage;
mod page;
mod server;

use std::fs::File;
use std::io::{PipeWriter, Read as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Manipulation, Place as AnyPlace, TestLog};
use livetrail_sinks::stdout::StdoutSink;

use crate::cursors;
use crate::file::held_in;

livetrail_replica::replica_conformance!(Place: one_log);

/// A pipe with a reader at its other end, who keeps all.
pub(crate) struct Place {
    cursors: tempfile::TempDir,
    writer: PipeWriter,
    read: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl AnyPlace for Place {
    async fn fresh() -> Self {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let read = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&read);
        // It ends when nobody has the other end any more.
        std::thread::spawn(move || {
            let mut part = vec![0; 1 << 16];
            while let Ok(bytes @ 1..) = reader.read(&mut part) {
                kept.lock().unwrap().extend_from_slice(&part[..bytes]);
            }
        });
        Self {
            cursors: tempfile::tempdir().unwrap(),
            writer,
            read,
        }
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        let output = File::from(OwnedFd::from(self.writer.try_clone().unwrap()));
        Arc::new(StdoutSink::over("out", output, self.cursors.path()))
    }

    async fn held(&self, _origin: &str) -> Vec<(u64, Vec<u8>)> {
        // A byte of our own behind all that was written: when the reader has it, it has all.
        let mut writer = self.writer.try_clone().unwrap();
        std::io::Write::write_all(&mut writer, b"\0").unwrap();
        let text = loop {
            let mut read = self.read.lock().unwrap();
            if read.last() == Some(&0) {
                read.pop();
                break String::from_utf8(read.clone()).unwrap();
            }
            drop(read);
            std::thread::yield_now();
        };
        assert!(text.is_empty() || text.ends_with('\n'), "a torn line");
        text.lines().map(held_in).collect()
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        cursors::manipulate(self.cursors.path(), log, what)
    }
}
