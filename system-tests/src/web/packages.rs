//! Players of web pages from the npm registry, each of an exact version, once per machine.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::{binary, process, tool};

const PACKAGE: &str = include_str!("../../browser/package.json");
const LOCK: &str = include_str!("../../browser/package-lock.json");

/// The timeout for the packages.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(240);

/// The folder `node_modules` with the packages.
///
/// # Panics
/// When npm is not installed, or the registry cannot be reached.
#[track_caller]
pub(crate) fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = FOLDER.get_or_init(|| {
        let all = binary::target().0.join("tmp").join("system-tests");
        // Part of the name: another lock file, another folder.
        let folder = all.join(format!("npm-{:x}", crc(LOCK.as_bytes())));
        if !folder.is_dir() {
            install(&all, &folder);
        }
        folder
    });
    folder.join("node_modules")
}

#[track_caller]
fn install(all: &Path, folder: &Path) {
    let making = all.join(format!("npm-{}", std::process::id()));
    std::fs::create_dir_all(&making).expect("a folder for the packages");
    std::fs::write(making.join("package.json"), PACKAGE).expect("a package");
    std::fs::write(making.join("package-lock.json"), LOCK).expect("a lock file");
    let mut npm = tool::tool("npm", "npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.current_dir(&making);
    process::run("npm that installs players", &npm, INSTALL_TIMEOUT).success();
    // The folder gets its name when it is complete. Another test may have been faster.
    if std::fs::rename(&making, folder).is_err() {
        std::fs::remove_dir_all(&making).expect("the other folder goes");
    }
}

/// Only distinguishes lock files.
fn crc(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |sum: u32, byte| sum.rotate_left(5) ^ u32::from(*byte))
}
