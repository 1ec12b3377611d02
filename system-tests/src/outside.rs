//! Independent software that checks the files of a trail: Go's reference implementation, and
//! PyPI's `aics-tlog`. No line of Livetrail takes part.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::process::{Finished, run};
use crate::{binary, python, tool};

/// For one check.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A build of a small program with an empty cache of Go's.
const BUILD_TIMEOUT: Duration = Duration::from_secs(300);

/// The files of an auditor: the verifier keys, and an older checkpoint.
#[derive(Debug, Clone)]
pub struct Outsider {
    signer: String,
    cosigner: String,
    older: PathBuf,
}

impl Outsider {
    /// With the keys in a file `trail.vkey`, and a file with an older checkpoint.
    ///
    /// # Panics
    /// When the file does not have two keys.
    #[track_caller]
    #[must_use]
    pub fn new(keys: &Path, older: &Path) -> Self {
        let keys = std::fs::read_to_string(keys).expect("the verifier keys");
        let (signer, cosigner) = keys.trim().split_once('\n').expect("two keys");
        Self {
            signer: signer.to_owned(),
            cosigner: cosigner.to_owned(),
            older: older.to_owned(),
        }
    }

    /// Go's reference implementation checks a directory.
    ///
    /// # Panics
    /// When Go or its library is not installed.
    #[track_caller]
    #[must_use]
    pub fn go(&self, trail: &Path) -> Finished {
        let mut check = Command::new(go_program());
        check.arg(trail).arg(&self.signer).arg(&self.older);
        run("Go's tlog", &check, TIMEOUT)
    }

    /// `aics-tlog` checks a directory, or the site at an address.
    ///
    /// # Panics
    /// When it cannot be installed.
    #[track_caller]
    #[must_use]
    pub fn python(&self, place: &str) -> Finished {
        let mut audit = python::tlog_python();
        audit.arg(sources().join("audit.py")).arg(place);
        audit.args([&self.signer, &self.cosigner]).arg(&self.older);
        run("aics-tlog", &audit, TIMEOUT)
    }

    /// Asserts that both accept a directory with this many entries.
    ///
    /// # Panics
    /// When one does not.
    #[track_caller]
    pub fn assert_accept(&self, trail: &Path, entries: usize) {
        for finished in [self.go(trail), self.python(&trail.to_string_lossy())] {
            assert_accepts(finished, entries as u64);
        }
    }
}

/// Asserts that a check was passed, with this many entries.
///
/// # Panics
/// When it was not.
#[track_caller]
pub fn assert_accepts(finished: Finished, entries: u64) {
    let finished = finished.success();
    let words = format!("{entries} entries, ");
    assert!(finished.stdout.starts_with(&words), "{}", finished.output());
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("outside")
}

/// The checker in Go, built once against the library of Debian's package, without network access.
#[track_caller]
fn go_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = binary::target().0.join("tmp/go");
        // Another test binary may build it at the same time.
        let program = folder.join(format!("check-{}", std::process::id()));
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
        let shared = folder.join("check");
        std::fs::rename(&program, &shared).expect("the program in its place");
        shared
    })
}
