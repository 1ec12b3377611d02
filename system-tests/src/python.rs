//! Software from the Python package index that checks us: a tile-log client and a witness. Into an environment of their own in
//! cargo's target folder, made once, each package by its hash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{binary, process};

/// What the environment has. Where a package is built for each Python, there is a hash for each of [`NAMES`].
const PACKAGES: &str = "\
aics-tlog==0.2.1 --hash=sha256:e8cd2be003001576353bbd1a139b68252baf85df8e5d356c5ff26f3c417efdfc
aics-witness==0.1.0 --hash=sha256:cd3f5acd2e79a8e29411a5a810b65ad7c5709d468cf1e889533bb0d5e5fe8400
cryptography==50.0.2 --hash=sha256:9dab55f57c74c3cad24c323bacbbd04be4705ba6eb0d92e920b1fc4837ed5079
cffi==2.1.1 --hash=sha256:c1453022f490d2459a11819d83ad1d586e9ff65a12ac3e705ffebd46d3685dcf \
 --hash=sha256:a931079504ecc49efed7744c476a5c343a92fabf66dec2db95edb1b2fdc770e2
pycparser==3.12 --hash=sha256:a076f3f489b39b43ed13563a1dafe42447445bec2e294154ec5c57fcdda4c85e
";

/// The versions of Python that the packages run on and that there are hashes for.
const NAMES: &[&str] = &["3.13", "3.12"];

const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

/// The Python of an environment that has `aics-tlog` and `aics-witness`: call them with `-m aics_tlog` and `-m aics_witness`.
///
/// Made when first asked for, from a Python 3.12 or 3.13 that is on the path, or that pyenv has; `LIVETRAIL_PYTHON` names one.
///
/// # Panics
/// When it is not there and cannot be made; the message says what to do.
#[track_caller]
#[must_use]
pub fn tlog_python() -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PYTHON.get_or_init(provide));
    // Nothing of the caller's own Python, and words as they come.
    command.args(["-I", "-u"]);
    command
}

#[track_caller]
fn provide() -> PathBuf {
    let folder = binary::target().0.join("tmp").join("system-tests");
    std::fs::create_dir_all(&folder).expect("a folder for environments");
    // Several test programs may want it at once: one makes it, the others wait. The lock goes with the file.
    let lock = File::create(folder.join("python.lock")).expect("a file to lock");
    lock.lock().expect("a lock on it");
    let home = folder.join("python");
    let python = home.join("bin").join("python");
    let stamp = home.join("made-of");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == PACKAGES) && runs(&python) {
        return python;
    }
    // An older one, or one that was not finished.
    let _ = std::fs::remove_dir_all(&home);
    make(&home, &python);
    std::fs::write(&stamp, PACKAGES).expect("a note in the environment");
    python
}

#[track_caller]
fn make(home: &Path, python: &Path) {
    let mut venv = Command::new(interpreter());
    venv.args(["-I", "-m", "venv"]).arg(home);
    process::run("python -m venv", &venv, INSTALL_TIMEOUT).success();
    let wanted = home.join("requirements.txt");
    std::fs::write(&wanted, PACKAGES).expect("a list of packages");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.args(["--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.args(["--require-hashes", "--requirement"]).arg(&wanted);
    let got = process::run("pip", &pip, INSTALL_TIMEOUT);
    assert!(
        got.status.success(),
        "the tile-log client and the witness that check us cannot be had with pip\n{}",
        got.told()
    );
}

#[track_caller]
fn interpreter() -> PathBuf {
    if let Some(path) = std::env::var_os("LIVETRAIL_PYTHON") {
        return PathBuf::from(path);
    }
    let mut candidates = Vec::new();
    for version in NAMES {
        candidates.push(PathBuf::from(format!("python{version}")));
        candidates.extend(of_pyenv(version));
    }
    candidates.push(PathBuf::from("python3"));
    candidates
        .into_iter()
        .find(|candidate| runs(candidate))
        .unwrap_or_else(|| {
            panic!(
                "no Python {} is there, which the tile-log client and the witness that check us need. Install one \
                 (`pyenv install 3.13` or the system's package manager), or set LIVETRAIL_PYTHON to the path of one",
                NAMES.join(" or ")
            )
        })
}

/// The Pythons of this version that pyenv has, in use or not.
fn of_pyenv(version: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| std::env::home_dir().map(|home| home.join(".pyenv")));
    let Some(versions) = root.and_then(|root| std::fs::read_dir(root.join("versions")).ok()) else {
        return Vec::new();
    };
    let prefix = format!("{version}.");
    versions
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path().join("bin").join("python3"))
        .collect()
}

/// Whether this is a Python of one of the versions. A name on the path may be pyenv's for one that is not in use.
fn runs(python: &Path) -> bool {
    let mut ask = Command::new(python);
    ask.args([
        "-I",
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])",
    ]);
    let said = ask.output().ok().filter(|output| output.status.success());
    said.is_some_and(|output| NAMES.contains(&String::from_utf8_lossy(&output.stdout).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_the_client_and_the_witness() {
        for module in ["aics_tlog", "aics_witness"] {
            let mut python = tlog_python();
            python.args(["-m", module, "--version"]);
            let said = process::run(module, &python, INSTALL_TIMEOUT).success();
            let version = if module == "aics_tlog" {
                "0.2.1"
            } else {
                "0.1.0"
            };
            assert!(said.stdout.contains(version), "{}", said.told());
        }
    }

    #[test]
    fn what_is_no_python_of_these_versions_is_not_taken() {
        assert!(!runs(Path::new("/bin/true")));
        assert!(!runs(Path::new("/no/such/python")));
    }
}
