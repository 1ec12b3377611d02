//! Our binaries: built once by cargo, into the folder and with the profile of the tests themselves.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::process;

/// A cold build on two slow cores.
const BUILD_TIMEOUT: Duration = Duration::from_secs(20 * 60);

/// The path of the binary, with every sink. Built at the first call; `LIVETRAIL_BIN` names an
/// existing one.
///
/// # Panics
/// When it cannot be built; the message has the compiler's output.
#[must_use]
pub fn livetrail() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LIVETRAIL_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(
            "livetrail-server",
            "livetrail",
            &["--features", "kafka-tls"],
        ),
    })
}

/// The `livetrail-verify` binary, with all sources. Built at the first call; `LIVETRAIL_VERIFY_BIN`
/// names an existing one.
///
/// # Panics
/// As [`livetrail`].
#[must_use]
pub fn livetrail_verify() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let features = ["--features", "postgres,s3"];
    BINARY.get_or_init(|| match std::env::var_os("LIVETRAIL_VERIFY_BIN") {
        Some(path) => PathBuf::from(path),
        None => build("livetrail-verify", "livetrail-verify", &features),
    })
}

/// The workspace's root folder.
#[must_use]
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cargo's target folder and the folder of the profile below it, derived from this test's own path:
/// `target/debug/deps/system-…`, or for an example `target/release/examples/sinks_speed`.
#[must_use]
pub(crate) fn target() -> (PathBuf, String) {
    let here = std::env::current_exe().expect("the test's own path");
    let profile = here
        .ancestors()
        .find(|folder| folder.ends_with("deps") || folder.ends_with("examples"))
        .and_then(Path::parent)
        .expect("a test runs in `target/<profile>/deps`");
    let target = profile.parent().expect("a profile's folder has a parent");
    let name = profile.file_name().unwrap_or_default();
    (target.to_path_buf(), name.to_string_lossy().into_owned())
}

fn build(package: &str, binary: &str, further: &[&str]) -> PathBuf {
    let (target, folder) = target();
    let profile = if folder == "debug" { "dev" } else { &folder };
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace()).args([
        "build",
        "--package",
        package,
        "--bin",
        binary,
        "--message-format",
        "json-render-diagnostics",
        "--profile",
        profile,
    ]);
    command.args(further).arg("--target-dir").arg(target);
    let finished = process::run("cargo build", &command, BUILD_TIMEOUT);
    assert!(
        finished.status.success(),
        "{binary} cannot be built\n{}",
        finished.stderr
    );
    let executable = finished
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == binary)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    executable.unwrap_or_else(|| panic!("cargo built no `{binary}`\n{}", finished.output()))
}
