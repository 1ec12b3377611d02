//! Checks by independent software: PyPI's `aics-tlog`, over a directory and over any static file
//! server, and Go's reference implementation. Each accepts the ledger's files, and refuses a copy
//! with one changed byte.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use livetrail_ledger::{Reader, RealStore};
use system_tests::{Finished, Process, clock, run, tlog_python, tool};

use crate::copies::copy;
use crate::golden::golden;
use crate::subject::{Subject, TIMEOUT};

/// A build of a small program with an empty cache of Go's.
const BUILD_TIMEOUT: Duration = Duration::from_secs(300);

/// A trail, and the files of its auditor.
struct Case {
    trail: PathBuf,
    signer: String,
    cosigner: String,
    older: PathBuf,
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
        Self::of(subject.path(), &subject.vkey(), older)
    }

    fn of(trail: PathBuf, keys: &Path, older: PathBuf) -> Self {
        let keys = std::fs::read_to_string(keys).expect("the verifier keys");
        let (signer, cosigner) = keys.trim().split_once('\n').expect("two keys");
        Self {
            trail,
            signer: signer.to_owned(),
            cosigner: cosigner.to_owned(),
            older,
        }
    }

    fn go(&self, trail: &Path) -> Finished {
        let mut check = Command::new(go_program());
        check.arg(trail).arg(&self.signer).arg(&self.older);
        run("Go's tlog", &check, TIMEOUT)
    }

    /// `place` is a directory or the address of a site.
    fn python(&self, place: &str) -> Finished {
        let mut audit = tlog_python();
        audit.arg(sources().join("audit.py")).arg(place);
        audit.args([&self.signer, &self.cosigner]).arg(&self.older);
        run("aics-tlog", &audit, TIMEOUT)
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

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("outside")
}

/// The checker in Go, built once against the library of Debian's package, without network access.
fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go");
        let program = folder.join("check");
        let mut build = tool::tool("go", "golang-go");
        build.arg("build").arg("-o").arg(&program);
        build.arg(sources().join("check.go"));
        build
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", folder.join("cache"))
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0");
        let built = run("go build", &build, BUILD_TIMEOUT);
        assert!(
            built.status.success(),
            "Go's checker cannot be built; its library is Debian's `golang-golang-x-mod-dev`\n{}",
            built.output()
        );
        program
    })
}

#[track_caller]
fn assert_accepts(finished: Finished, entries: u64) {
    let finished = finished.success();
    let words = format!("{entries} entries, ");
    assert!(finished.stdout.starts_with(&words), "{}", finished.output());
}

#[test]
fn gos_reference_implementation_computes_every_tile_again_and_checks_proofs() {
    let mut subject = Subject::new();
    let case = Case::new(&mut subject);
    assert_accepts(case.go(&case.trail), subject.durable);
    for (path, spoiled) in case.spoiled(&subject) {
        let refused = case.go(&spoiled).failure();
        assert!(!refused.stderr.is_empty(), "{path}: {}", refused.output());
    }
}

#[test]
fn an_independent_client_audits_the_directory_and_any_static_site_of_it() {
    let mut subject = Subject::new();
    let case = Case::new(&mut subject);
    let directory = case.trail.to_string_lossy().into_owned();
    assert_accepts(case.python(&directory), subject.durable);
    let (site, url) = serve(&case.trail);
    assert_accepts(case.python(&url), subject.durable);
    drop(site);
    for (path, spoiled) in case.spoiled(&subject) {
        let refused = case.python(&spoiled.to_string_lossy()).failure();
        assert!(!refused.stderr.is_empty(), "{path}: {}", refused.output());
    }
}

#[test]
fn strangers_accept_the_first_format_too() {
    let case = Case::of(
        golden().join("trail"),
        &golden().join("keys/trail.vkey"),
        golden().join("older.checkpoint"),
    );
    assert_accepts(case.go(&case.trail), 341);
    assert_accepts(case.python(&case.trail.to_string_lossy()), 341);
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
