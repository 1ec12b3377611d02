//! Child processes that leave nothing behind: separate process group, captured output, ended in any
//! case.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::clock;

/// This many bytes of one stream of output are kept. The rest is read and dropped.
const MAX_OUTPUT_BYTES: usize = 8 << 20;

/// A running child process. Dropping it kills it and everything that it has started.
pub struct Process {
    name: String,
    child: Child,
    pid: Pid,
    stdout: Captured,
    stderr: Captured,
    status: Option<ExitStatus>,
}

/// How a process ended, and its output.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The name of the process, for messages.
    pub name: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Finished {
    /// Asserts exit code 0.
    ///
    /// # Panics
    /// When it is another; the message has the output.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}", self.output());
        self
    }

    /// Asserts that it exited by itself, with another code than 0.
    ///
    /// # Panics
    /// When it exited with 0 or was ended by a signal; the message has the output.
    #[track_caller]
    pub fn failure(self) -> Self {
        let code = self.status.code();
        assert!(code.is_some_and(|code| code != 0), "{}", self.output());
        self
    }

    /// Name, status and output, for the message of a failed test.
    #[must_use]
    pub fn output(&self) -> String {
        format!(
            "{} ended with {}\n--- its output\n{}\n--- its errors\n{}\n---",
            self.name, self.status, self.stdout, self.stderr
        )
    }
}

impl Process {
    /// Starts `command` in a new process group. The kernel kills it when the thread that starts it
    /// dies.
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn spawn(name: &str, command: &Command) -> Self {
        let mut guarded = Command::new("setpriv");
        guarded.arg("--pdeathsig=KILL").arg("--");
        guarded.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => guarded.env(key, value),
                None => guarded.env_remove(key),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            guarded.current_dir(directory);
        }
        guarded.process_group(0).stdin(Stdio::null());
        guarded.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match guarded.spawn() {
            Ok(child) => child,
            Err(error) => {
                panic!("{name}: `setpriv` (package `util-linux`) cannot be started: {error}")
            }
        };
        Self {
            name: name.to_owned(),
            pid: Pid::from_child(&child),
            stdout: Captured::from(child.stdout.take()),
            stderr: Captured::from(child.stderr.take()),
            child,
            status: None,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a signal to the process alone.
    ///
    /// # Panics
    /// When it has ended.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended", self.name);
        if let Err(error) = rustix::process::kill_process(self.pid, signal) {
            panic!("{}: signal {signal:?}: {error}", self.name);
        }
    }

    /// Its output so far on both streams.
    #[must_use]
    pub fn said(&self) -> String {
        let mut said = self.stdout.text();
        said.push_str(&self.stderr.text());
        said
    }

    /// The largest number so far after this word at the beginning of a line of its output; 0 if
    /// none.
    #[must_use]
    pub fn largest_said(&self, word: &str) -> u64 {
        let said = self.said();
        let numbers = said
            .lines()
            .filter_map(|line| line.strip_prefix(word)?.trim().parse().ok());
        numbers.max().unwrap_or(0)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end within `timeout`; it is killed then and its output shown.
    #[track_caller]
    pub fn wait(mut self, timeout: Duration) -> Finished {
        let in_time = clock::poll(timeout, || self.ended()).is_some();
        let finished = self.reap();
        assert!(
            in_time,
            "waited {timeout:?} in vain for the end of {}",
            finished.output()
        );
        finished
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn end_by(self, signal: Signal, timeout: Duration) -> Finished {
        self.signal(signal);
        self.wait(timeout)
    }

    /// Kills it with SIGKILL, as a crash would.
    #[track_caller]
    pub fn crash(self) -> Finished {
        self.end_by(Signal::KILL, Duration::from_secs(10))
    }

    /// Checks whether it has ended, without taking its process id from the table, so that the group
    /// can still be named by it.
    fn ended(&self) -> Option<()> {
        if self.status.is_some() {
            return Some(());
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(self.pid), options) {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(()),
        }
    }

    /// Kills the group and takes what is left.
    fn reap(&mut self) -> Finished {
        if self.status.is_none() {
            // An error says that the group is gone already.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            self.status = self.child.wait().ok();
        }
        self.stdout.finish();
        self.stderr.finish();
        Finished {
            name: self.name.clone(),
            status: self.status.unwrap_or_default(),
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.reap();
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started or does not end within `timeout`.
#[track_caller]
#[must_use]
pub fn run(name: &str, command: &Command, timeout: Duration) -> Finished {
    Process::spawn(name, command).wait(timeout)
}

/// `command` as one would type it.
#[must_use]
pub fn typed(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

/// One stream of output, read by a thread of its own: a process never waits for us.
struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn from(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = stream.map(|mut stream| {
            let bytes = bytes.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = MAX_OUTPUT_BYTES.saturating_sub(bytes.len());
                    bytes.extend_from_slice(&buffer[..n.min(room)]);
                }
            })
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process and its group are gone: the stream ends.
    fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn dropping_a_process_kills_what_it_has_started() {
        let process = Process::spawn("sh", &shell("sleep 600 & echo $!; wait"));
        let grandchild = clock::wait_for("its first line", Duration::from_secs(10), || {
            let said = process.said();
            said.ends_with('\n').then(|| said.trim().to_owned())
        });
        drop(process);
        let proc = format!("/proc/{grandchild}/stat");
        clock::wait_until("the end of the grandchild", Duration::from_secs(10), || {
            // It ended, or is a zombie that its new parent has not reaped yet.
            std::fs::read_to_string(&proc).map_or(true, |stat| stat.contains(") Z "))
        });
    }

    #[test]
    fn status_and_output_are_kept() {
        let finished = run(
            "sh",
            &shell("echo out; echo err >&2; exit 3"),
            Duration::from_secs(10),
        );
        let finished = finished.failure();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str()),
            ("out\n", "err\n")
        );
    }

    #[test]
    #[should_panic(expected = "waited 50ms in vain for the end of sleeper")]
    fn a_process_that_does_not_end_in_time_is_a_failure() {
        let _ = Process::spawn("sleeper", &shell("sleep 600")).wait(Duration::from_millis(50));
    }
}
