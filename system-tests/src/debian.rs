//! Programs of Debian that cannot be installed next to each other, or that would start a service on
//! the machine. Their packages are downloaded once and unpacked into cargo's target folder; nothing
//! is installed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{binary, process};

const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// Where packages have their libraries.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Packages in a folder of their own.
#[derive(Debug)]
pub struct Unpacked {
    root: PathBuf,
    libraries: Vec<PathBuf>,
}

impl Unpacked {
    /// The packages of these names, unpacked together under `name`, including dependencies that few
    /// machines have. `libraries` are further folders in there.
    ///
    /// # Panics
    /// When they are missing and cannot be downloaded; the message says what to do.
    #[track_caller]
    #[must_use]
    pub fn provide(name: &str, packages: &[&str], libraries: &[&str]) -> Self {
        let folder = binary::target().0.join("tmp").join("system-tests");
        std::fs::create_dir_all(&folder).expect("a folder for packages");
        // Several test programs may want them at once: one unpacks, the others wait. The lock ends
        // with the file.
        let lock = File::create(folder.join(format!("debian-{name}.lock"))).expect("a file");
        lock.lock().expect("a lock on it");
        let root = folder.join(format!("debian-{name}"));
        let stamp = root.join("made-of");
        let made_of = packages.join("\n");
        if std::fs::read_to_string(&stamp).ok().as_ref() != Some(&made_of) {
            // An older one, or one that was not finished.
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(&root).expect("a folder for packages");
            unpack(packages, &root);
            std::fs::write(&stamp, made_of).expect("a note next to the packages");
        }
        let all = LIBRARIES.iter().chain(libraries);
        Self {
            libraries: all.map(|folder| root.join(folder)).collect(),
            root,
        }
    }

    /// A file of the packages.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A program of the packages, with their libraries.
    ///
    /// # Panics
    /// When a library has a name that no list can hold.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.path(program));
        let libraries = std::env::join_paths(&self.libraries).expect("a list of folders");
        command.env("LD_LIBRARY_PATH", libraries);
        command
    }
}

#[track_caller]
fn unpack(packages: &[&str], root: &Path) {
    let mut download = Command::new("apt-get");
    download.args(["--quiet", "download"]).args(packages);
    download.current_dir(root);
    let mut got = process::run("apt-get download", &download, DOWNLOAD_TIMEOUT);
    if !got.status.success() {
        // Lists that are missing, or older than the packages. Only root may get new ones.
        let mut update = Command::new("apt-get");
        update.args(["--quiet", "update"]);
        let _ = process::run("apt-get update", &update, DOWNLOAD_TIMEOUT);
        got = process::run("apt-get download", &download, DOWNLOAD_TIMEOUT);
    }
    assert!(
        got.status.success(),
        "Debian's packages {packages:?} cannot be had; run `apt-get update` as root and try again\n{}",
        got.output()
    );
    for file in std::fs::read_dir(root).expect("the folder").flatten() {
        let mut extract = Command::new("dpkg-deb");
        extract.arg("--extract").arg(file.path()).arg(root);
        if file.path().extension().is_some_and(|kind| kind == "deb") {
            process::run("dpkg-deb", &extract, DOWNLOAD_TIMEOUT).success();
        }
    }
}
