//! Checks by independent software: PyPI's `aics-tlog`, over a directory and over any static file
//! server, and Go's reference implementation. Each accepts the ledger's files, and refuses a copy
//! with one changed byte.

use std::path::{Path, PathBuf};
use std::time::Duration;

use livetrail_ledger::{Reader, RealStore};
use system_tests::outside::{Outsider, assert_accepts};
use system_tests::{Process, clock, tlog_python};

use crate::copies::copy;
use crate::golden::golden;
use crate::subject::Subject;

/// A trail, and the files of its auditor.
struct Case {
    trail: PathBuf,
    auditor: Outsider,
}

impl Case {
    /// A trail that was killed once, with an older checkpoint from before.
    fn new(subject: &mut Subject) -> Self {
        subject.fill(1_000);
        let older = subject.beside("older.checkpoint");
        std::fs::copy(subject.path().join("checkpoint"), &older).expect("a checkpoint to keep");
        let writer = subject.start(100);
        clock::wait_until("an entry more", Duration::from_secs(20), || {
            writer.said().contains("sealed ")
        });
        subject.hear(&writer.crash());
        subject.fill(3_000);
        Self {
            trail: subject.path(),
            auditor: Outsider::new(&subject.vkey(), &older),
        }
    }

    /// Copies with one changed byte: in the checkpoint, in a bundle, in a tile of each level.
    fn spoiled(&self, subject: &Subject) -> Vec<(String, PathBuf)> {
        let store = RealStore::new(&self.trail);
        let reader = Reader::open(std::sync::Arc::new(store)).expect("a trail to read");
        let size = reader.checkpoint().expect("a checkpoint").head().size;
        let upper = format!("tile/1/000.p/{}", size / 256);
        ["checkpoint", "tile/entries/002", "tile/0/002", &upper]
            .into_iter()
            .map(|path| {
                let spoiled = subject.beside(&format!("spoiled-{}", path.replace('/', "-")));
                copy(&self.trail, &spoiled);
                let file = spoiled.join(path);
                let mut bytes = std::fs::read(&file).expect("a file of the trail");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::remove_file(&file).expect("a file to replace");
                std::fs::write(&file, bytes).expect("a file with a changed byte");
                (path.to_owned(), spoiled)
            })
            .collect()
    }
}

#[test]
fn gos_reference_implementation_computes_every_tile_again_and_checks_proofs() {
    let mut subject = Subject::new();
    let case = Case::new(&mut subject);
    assert_accepts(case.auditor.go(&case.trail), subject.durable);
    for (path, spoiled) in case.spoiled(&subject) {
        let refused = case.auditor.go(&spoiled).failure();
        assert!(!refused.stderr.is_empty(), "{path}: {}", refused.output());
    }
}

#[test]
fn an_independent_client_audits_the_directory_and_any_static_site_of_it() {
    let mut subject = Subject::new();
    let case = Case::new(&mut subject);
    let directory = case.trail.to_string_lossy().into_owned();
    assert_accepts(case.auditor.python(&directory), subject.durable);
    let (site, url) = serve(&case.trail);
    assert_accepts(case.auditor.python(&url), subject.durable);
    drop(site);
    for (path, spoiled) in case.spoiled(&subject) {
        let refused = case.auditor.python(&spoiled.to_string_lossy()).failure();
        assert!(!refused.stderr.is_empty(), "{path}: {}", refused.output());
    }
}

#[test]
fn strangers_accept_the_first_format_too() {
    let keys = golden().join("keys/trail.vkey");
    let auditor = Outsider::new(&keys, &golden().join("older.checkpoint"));
    auditor.assert_accept(&golden().join("trail"), 341);
}

/// A general file server, and its address.
fn serve(directory: &Path) -> (Process, String) {
    let mut server = tlog_python();
    server.args(["-m", "http.server", "--bind", "127.0.0.1"]);
    server.arg("--directory").arg(directory).arg("0");
    let server = Process::spawn("a static file server", &server);
    let url = clock::wait_for("its address", Duration::from_secs(20), || {
        let said = server.said();
        let (_, url) = said.split_once("(http://")?;
        let (url, _) = url.split_once(')')?;
        Some(format!("http://{url}"))
    });
    (server, url)
}
