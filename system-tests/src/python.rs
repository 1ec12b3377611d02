//! Software from the Python package index: programs that check us, and an S3 server. Each kind has
//! an environment in cargo's target folder, made once, each package by its hash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{binary, process};

/// An environment, and what is needed to make it.
struct Environment {
    /// Its name, for its folder and for messages.
    name: &'static str,
    /// For people.
    what: &'static str,
    /// Its packages, in pip's format. For a package that is built per Python version, there is a
    /// hash for each of `versions`.
    packages: &'static str,
    /// The versions of Python that the packages run on and that there are hashes for.
    versions: &'static [&'static str],
}

const TLOG: Environment = Environment {
    name: "python",
    what: "the tile-log client and the witness that check us",
    packages: TLOG_PACKAGES,
    versions: &["3.13", "3.12"],
};

/// LocalStack, of which only S3 is started. The hashes are those for Linux on x86-64.
const S3: Environment = Environment {
    name: "python-s3",
    what: "the S3 server with Object Lock",
    packages: include_str!("s3-packages.txt"),
    versions: &["3.13"],
};

/// A validator of OpenAPI documents. The hashes are those for Linux on x86-64.
const OPENAPI: Environment = Environment {
    name: "python-openapi",
    what: "the validator of OpenAPI documents",
    packages: include_str!("openapi-packages.txt"),
    versions: &["3.13"],
};

/// OpenTelemetry's own package for reading its messages. The hashes are those for Linux on x86-64.
const OTLP: Environment = Environment {
    name: "python-otlp",
    what: "OpenTelemetry's own messages for Python",
    packages: OTLP_PACKAGES,
    versions: &["3.13", "3.12", "3.11", "3.10"],
};

const OTLP_PACKAGES: &str = "\
opentelemetry-proto==1.45.2 --hash=sha256:03a7ca1b43f89fd5b965d5975902bb2515c0c86e2428b456836e9a6149c6235a
protobuf==7.36.2 --hash=sha256:89f23aa53c24553a2416fd4fd1ec06f74fa42b14b546d8883128813f775bbfd2
";

const TLOG_PACKAGES: &str = "\
aics-tlog==0.2.1 --hash=sha256:e8cd2be003001576353bbd1a139b68252baf85df8e5d356c5ff26f3c417efdfc
aics-witness==0.1.0 --hash=sha256:cd3f5acd2e79a8e29411a5a810b65ad7c5709d468cf1e889533bb0d5e5fe8400
cryptography==50.0.2 --hash=sha256:9dab55f57c74c3cad24c323bacbbd04be4705ba6eb0d92e920b1fc4837ed5079
cffi==2.1.1 --hash=sha256:c1453022f490d2459a11819d83ad1d586e9ff65a12ac3e705ffebd46d3685dcf \
 --hash=sha256:a931079504ecc49efed7744c476a5c343a92fabf66dec2db95edb1b2fdc770e2
pycparser==3.12 --hash=sha256:a076f3f489b39b43ed13563a1dafe42447445bec2e294154ec5c57fcdda4c85e
";

const INSTALL_TIMEOUT: Duration = Duration::from_secs(300);

/// The Python of an environment that has `aics-tlog` and `aics-witness`: call them with `-m
/// aics_tlog` and `-m aics_witness`.
///
/// Made at the first call, from a Python 3.12 or 3.13 on the path, or of pyenv; `LIVETRAIL_PYTHON`
/// names one.
///
/// # Panics
/// When it is not there and cannot be made; the message says what to do.
#[track_caller]
#[must_use]
pub fn tlog_python() -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    isolated(PYTHON.get_or_init(|| provide(&TLOG)))
}

/// The Python of an environment that has LocalStack's S3, in the same way; of Python 3.13.
///
/// # Panics
/// As [`tlog_python`].
#[track_caller]
pub(crate) fn s3_python() -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    isolated(PYTHON.get_or_init(|| provide(&S3)))
}

/// The Python of an environment that has OpenTelemetry's messages, in the same way; of Python 3.10
/// or later.
///
/// # Panics
/// As [`tlog_python`].
#[track_caller]
pub(crate) fn otlp_python() -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    isolated(PYTHON.get_or_init(|| provide(&OTLP)))
}

/// The Python of an environment that has `openapi_spec_validator`: call it with `-m`. Made in the
/// same way, from Python 3.13.
///
/// # Panics
/// As [`tlog_python`].
#[track_caller]
#[must_use]
pub fn openapi_python() -> Command {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    isolated(PYTHON.get_or_init(|| provide(&OPENAPI)))
}

/// Nothing of the caller's own Python, and words as they come.
fn isolated(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-I", "-u"]);
    command
}

#[track_caller]
fn provide(environment: &Environment) -> PathBuf {
    let folder = binary::target().0.join("tmp").join("system-tests");
    std::fs::create_dir_all(&folder).expect("a folder for environments");
    // Several test programs may want it at once: one makes it, the others wait. The lock ends with
    // the file.
    let lock =
        File::create(folder.join(format!("{}.lock", environment.name))).expect("a file to lock");
    lock.lock().expect("a lock on it");
    let home = folder.join(environment.name);
    let python = home.join("bin").join("python");
    let stamp = home.join("made-of");
    if std::fs::read_to_string(&stamp).is_ok_and(|made| made == environment.packages)
        && runs(&python, environment.versions)
    {
        return python;
    }
    // An older one, or one that was not finished.
    let _ = std::fs::remove_dir_all(&home);
    make(environment, &home, &python);
    std::fs::write(&stamp, environment.packages).expect("a note in the environment");
    python
}

#[track_caller]
fn make(environment: &Environment, home: &Path, python: &Path) {
    let mut venv = Command::new(interpreter(environment));
    venv.args(["-I", "-m", "venv"]).arg(home);
    process::run("python -m venv", &venv, INSTALL_TIMEOUT).success();
    let wanted = home.join("requirements.txt");
    std::fs::write(&wanted, environment.packages).expect("a list of packages");
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
    pip.args(["--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.args(["--require-hashes", "--requirement"]).arg(&wanted);
    let got = process::run("pip", &pip, INSTALL_TIMEOUT);
    assert!(
        got.status.success(),
        "{} cannot be installed with pip\n{}",
        environment.what,
        got.output()
    );
}

#[track_caller]
fn interpreter(environment: &Environment) -> PathBuf {
    let named = std::env::var_os("LIVETRAIL_PYTHON").map(PathBuf::from);
    let mut candidates = Vec::from_iter(named);
    for version in environment.versions {
        candidates.push(PathBuf::from(format!("python{version}")));
        candidates.extend(of_pyenv(version));
    }
    candidates.push(PathBuf::from("python3"));
    candidates
        .into_iter()
        .find(|candidate| runs(candidate, environment.versions))
        .unwrap_or_else(|| {
            panic!(
                "no Python {} is there, which {} need. Install one (`pyenv install 3.13` or the system's package \
                 manager), or set LIVETRAIL_PYTHON to the path of one",
                environment.versions.join(" or "),
                environment.what
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

/// Whether this is a Python of one of the versions. A name on the path may be pyenv's for an
/// inactive one.
fn runs(python: &Path, versions: &[&str]) -> bool {
    let mut ask = Command::new(python);
    ask.args([
        "-I",
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2])",
    ]);
    let said = ask.output().ok().filter(|output| output.status.success());
    said.is_some_and(|output| versions.contains(&String::from_utf8_lossy(&output.stdout).trim()))
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
            assert!(said.stdout.contains(version), "{}", said.output());
        }
    }

    #[test]
    fn what_is_no_python_of_these_versions_is_not_taken() {
        assert!(!runs(Path::new("/bin/true"), TLOG.versions));
        assert!(!runs(Path::new("/no/such/python"), TLOG.versions));
    }
}
