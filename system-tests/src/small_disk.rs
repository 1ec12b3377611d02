//! A disk that can really be full, and fail: a small file system in a file, mounted for one test.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{self, Finished};
use crate::{clock, tool::tool};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The name of the file that takes the room.
const FILLER: &str = "filler";

/// The name of the file that the file system is in.
const IMAGE: &str = "image";

/// A file system of its own. Dropping it unmounts it.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// Makes an ext4 of this many MiB and mounts it, which only root may. `None` if the environment
    /// forbids it (`LIVETRAIL_NO_MOUNTS`): then the caller reports what it could not test.
    ///
    /// # Panics
    /// When it cannot be made; the message says what to do.
    #[track_caller]
    #[must_use]
    pub fn new(mib: u64) -> Option<Self> {
        if std::env::var_os("LIVETRAIL_NO_MOUNTS").is_some() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary directory");
        let image = folder.path().join(IMAGE);
        let file = File::create(&image).expect("a file for a file system");
        file.set_len(mib << 20).expect("its length");
        let mut mkfs = tool("mkfs.ext4", "e2fsprogs");
        // Nothing kept for root: full is full.
        mkfs.args(["-q", "-m", "0"]).arg(&image);
        process::run("mkfs.ext4", &mkfs, TIMEOUT).success();
        let disk = Self { folder };
        fs::create_dir(disk.path()).expect("a place to mount it");
        let mounted = disk.mount();
        assert!(
            mounted.status.success(),
            "a small file system cannot be mounted, so a full disk cannot be shown. Run this as root on a machine with loop devices, or set \
             LIVETRAIL_NO_MOUNTS=1 to leave out what needs it\n{}",
            mounted.output()
        );
        Some(disk)
    }

    /// Its root.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Fills the file system.
    ///
    /// # Panics
    /// When an error other than "no space" prevents that.
    #[track_caller]
    pub fn fill(&self) {
        let path = self.path().join(FILLER);
        // Large blocks first, then smaller ones, down to single bytes.
        let reserve = format!(
            "fallocate -l $(($(stat -f -c '%a*%S' '{0}') - 65536)) '{0}/{FILLER}'",
            self.path().display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &reserve]);
        let _ = process::run("fallocate", &shell, TIMEOUT);
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.expect("a file that takes the room");
        let mut bytes = vec![0xff; 64 << 10];
        while !bytes.is_empty() {
            match file.write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    bytes.truncate(bytes.len() / 2);
                }
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Uses space until this percentage is used, as a program without root rights sees it.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn fill_to(&self, percent: u64) {
        let size = rustix::fs::statvfs(self.path()).expect("the size of a file system");
        let available = size.f_bavail * size.f_frsize;
        let left = size.f_blocks * size.f_frsize * (100 - percent) / 100;
        let path = self.path().join(FILLER);
        let mut fallocate = Command::new("fallocate");
        let bytes = available.saturating_sub(left).to_string();
        fallocate.args(["-l", &bytes]).arg(path);
        process::run("fallocate", &fallocate, TIMEOUT).success();
    }

    /// Writes out what programs have written so far.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn sync(&self) {
        let mut sync = Command::new("sync");
        sync.arg("-f").arg(self.path());
        process::run("sync", &sync, TIMEOUT).success();
    }

    /// From now on every write fails, as after an error of the device that the file system does not
    /// survive. Files that are open stay so.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn break_down(&self) {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,abort"]).arg(self.path());
        process::run("mount -o remount,abort", &mount, TIMEOUT).success();
    }

    /// Ends [`break_down`](Self::break_down): mounts the file system again, with what it had taken
    /// before. Nobody may have a file open.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn repair(&self) {
        let mut umount = Command::new("umount");
        umount.arg(self.path());
        clock::wait_until("nobody uses the file system", TIMEOUT, || {
            umount.output().is_ok_and(|done| done.status.success())
        });
        self.mount().success();
    }

    #[track_caller]
    fn mount(&self) -> Finished {
        let mut mount = Command::new("mount");
        let image = self.folder.path().join(IMAGE);
        mount.args(["-o", "loop"]).arg(image).arg(self.path());
        process::run("mount", &mount, TIMEOUT)
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// When it cannot.
    #[track_caller]
    pub fn free(&self) {
        fs::remove_file(self.path().join(FILLER)).expect("the file that takes the room");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// This succeeds at once, even if a killed process has not ended yet.
fn unmount(path: &Path) {
    let mut umount = Command::new("umount");
    umount.arg("--lazy").arg(path);
    // A failing test must show its own error, not this one.
    let _ = umount.output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_when_filled_and_has_space_when_freed() {
        let Some(disk) = SmallDisk::new(8) else {
            return;
        };
        disk.fill();
        let full = fs::write(disk.path().join("more"), [1; 4096]);
        let full = full.map_err(|error| error.kind());
        assert_eq!(full, Err(ErrorKind::StorageFull));
        disk.free();
        fs::write(disk.path().join("more"), [1; 4096]).expect("room");
    }

    #[test]
    fn it_takes_nothing_while_it_is_broken_and_has_what_it_took_before() {
        let Some(disk) = SmallDisk::new(8) else {
            return;
        };
        let path = disk.path().join("kept");
        let mut kept = File::create(&path).expect("a file");
        kept.write_all(b"kept").expect("room");
        kept.sync_all().expect("a disk that works");
        disk.break_down();
        let failed = kept.write_all(b" no longer").map_err(|error| error.kind());
        assert_eq!(failed, Err(ErrorKind::ReadOnlyFilesystem));
        drop(kept);
        disk.repair();
        assert_eq!(fs::read(&path).expect("the file"), b"kept");
        fs::write(&path, "again").expect("a disk that works");
    }
}
