//! What a process holds, from `/proc`, and what it may hold.

use rustix::process::{Pid, Resource, Rlimit};

/// Resident memory in KiB.
///
/// # Panics
/// When the process is no more.
#[track_caller]
#[must_use]
pub fn resident_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(&path).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("a running process has VmRSS")
}

/// Open file descriptors.
///
/// # Panics
/// When the process is no more.
#[track_caller]
#[must_use]
pub fn open_files(pid: Pid) -> usize {
    let path = format!("/proc/{}/fd", pid.as_raw_nonzero());
    std::fs::read_dir(&path).expect("the process runs").count()
}

/// Lets this process, and those that it starts from now on, open `files` files.
///
/// # Panics
/// When the system does not allow so many.
#[track_caller]
pub fn allow_open_files(files: u64) {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= files) {
        return;
    }
    let wanted = Rlimit {
        current: Some(files),
        ..limit
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, wanted) {
        panic!("{files} open files are not allowed here (`ulimit -Hn`): {error}");
    }
}

/// Lets a running process write files up to this size, `None` any size: with the size that a file has, its disk is full.
///
/// # Panics
/// When the process is no more.
#[track_caller]
pub fn allow_file_bytes(pid: Pid, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    if let Err(error) = rustix::process::prlimit(Some(pid), Resource::Fsize, limit) {
        panic!("the file size limit of process {pid:?}: {error}");
    }
}
