//! The resources of a process, from `/proc`, and their limits.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit};

use crate::process::Process;
use crate::{clock, tool};

/// To attach to all threads of a process.
const ATTACHED: Duration = Duration::from_secs(30);

/// Resident memory in KiB.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn resident_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(&path).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("a running process has VmRSS")
}

/// Open file descriptors, without the [`rings`]: a server has one for each sender thread, from the
/// gateway's first viewer on.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn open_files(pid: Pid) -> usize {
    targets(pid).filter(|target| !is_ring(target)).count()
}

/// io_urings that a process has.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn rings(pid: Pid) -> usize {
    targets(pid).filter(|target| is_ring(target)).count()
}

/// What a process's file descriptors are.
#[track_caller]
fn targets(pid: Pid) -> impl Iterator<Item = PathBuf> {
    let path = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let files = std::fs::read_dir(&path).expect("the process runs");
    // One that was closed meanwhile has no target any more.
    files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
}

fn is_ring(target: &Path) -> bool {
    target.as_os_str() == "anon_inode:[io_uring]"
}

/// Bytes that a process has written or will have written to disks, as the kernel counts them;
/// writes to sockets and pipes do not count.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn written_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/io", pid.as_raw_nonzero());
    let io = std::fs::read_to_string(&path).expect("the process runs");
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|line| line.trim().parse().ok())
        .expect("the kernel accounts for input and output")
}

/// Processor time that all threads of a process have had, as the scheduler accounts for it.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn processor_time(pid: Pid) -> Duration {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let tasks = std::fs::read_dir(tasks).expect("the process runs");
    // A thread that ends meanwhile is counted neither now nor in any later call.
    let nanos = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Seconds of processor time that a process has used so far, to a hundredth, including its threads
/// that have ended.
///
/// # Panics
/// When the process has ended.
#[track_caller]
#[must_use]
pub fn cpu_seconds(pid: Pid) -> f64 {
    let path = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let stat = std::fs::read_to_string(&path).expect("the process runs");
    // Behind the program's name, which may have anything in it: proc(5), fields 3 and on.
    let (_, rest) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = rest.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// Seconds of processor time of this process's threads that have this name and have not ended.
#[must_use]
pub(crate) fn cpu_seconds_of_threads(name: &str) -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let folder = thread.ok()?.path();
        let called = std::fs::read_to_string(folder.join("comm")).ok()?;
        let spent = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        let spent = spent.split(' ').next()?.parse::<f64>().ok()?;
        (called.trim() == name).then_some(spent)
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Lets this process, and those that it starts from now on, open `files` files.
///
/// # Panics
/// When the system does not allow that many.
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

/// From now on a running process finds no space for its write-ahead log, as on a full disk, until
/// the returned process is ended with SIGINT. Its other writes and its sends are not affected.
///
/// # Panics
/// When strace is missing, or may not attach to it.
#[track_caller]
#[must_use]
pub fn no_space(pid: Pid) -> Process {
    inject(pid, "pwrite64,fallocate", "error=ENOSPC")
}

/// From now on every sync of a running process takes half a minute, until the returned process is
/// ended with SIGINT.
///
/// # Panics
/// As [`no_space`].
#[track_caller]
#[must_use]
pub fn hanging_syncs(pid: Pid) -> Process {
    inject(pid, "fsync,fdatasync", "delay_enter=30000000")
}

#[track_caller]
fn inject(pid: Pid, calls: &str, what: &str) -> Process {
    let mut strace = tool::tool("strace", "strace");
    strace.args(["-f", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:{what}")]);
    strace.args(["-p", &pid.to_string()]);
    let injecting = Process::spawn("strace", &strace);
    clock::wait_until(
        "strace is attached; it must be allowed to (CAP_SYS_PTRACE)",
        ATTACHED,
        || injecting.said().contains("attached"),
    );
    injecting
}
