//! A `livetrail serve` of a test's own: it has its own addresses and data, and is stopped in any
//! way that a test needs.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::clock::{wait_for, wait_until};
use crate::config::Config;
use crate::http::{self, Answer};
use crate::process::{Finished, Process, run};
use crate::rtmp::RawRtmp;
use crate::trail::Trail;
use crate::{binary, config, faketime};

/// From the start to the first healthy answer, on a slow machine that builds something else at the
/// same time.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// For what the server does within a second when it can.
const SOON: Duration = Duration::from_secs(15);

/// The maximum number of checkpoints that are kept for the verification of the trail.
const MOST_CHECKPOINTS: usize = 32;

/// A server. If it is dropped in a test that fails, it prints its log and its trail. In any case it
/// is killed.
pub struct Server {
    config: Config,
    folder: TempDir,
    rtmp: SocketAddr,
    http: SocketAddr,
    process: Option<Process>,
    earlier: Vec<Finished>,
    /// The file with the time that its wall clock shows, of a server whose clock the test sets.
    time: Option<PathBuf>,
    /// How many files it may have open at most, of a server that the test restricts in this way.
    open_files: Option<u64>,
    /// The checkpoints that were published while the test watched.
    checkpoints: Mutex<VecDeque<Vec<u8>>>,
}

impl Server {
    /// Starts one and waits until it is healthy.
    ///
    /// # Panics
    /// When it does not become so.
    #[track_caller]
    #[must_use]
    pub fn start(config: Config) -> Self {
        Self::start_in(config, &std::env::temp_dir())
    }

    /// As [`start`](Self::start), with all that it keeps below this directory.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    #[must_use]
    pub fn start_in(config: Config, directory: &Path) -> Self {
        let mut server = Self::prepare(config, directory);
        server.start_again();
        server
    }

    /// Like [`start`](Self::start), with a wall clock that the test sets; see [`faketime`] for the
    /// possible values.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    #[must_use]
    pub fn start_at(config: Config, time: &str) -> Self {
        let mut server = Self::prepare(config, &std::env::temp_dir());
        server.time = Some(server.file("time"));
        server.set_time(time);
        server.start_again();
        server
    }

    /// As [`start`](Self::start), with a hard limit on open files.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[track_caller]
    #[must_use]
    pub fn start_with_open_files(config: Config, files: u64) -> Self {
        let mut server = Self::prepare(config, &std::env::temp_dir());
        server.open_files = Some(files);
        server.start_again();
        server
    }

    /// Sets the wall clock of a server that was begun with [`start_at`](Self::start_at).
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn set_time(&self, time: &str) {
        faketime::set(self.time.as_ref().expect("a clock to set"), time);
    }

    #[track_caller]
    fn prepare(config: Config, directory: &Path) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("livetrail-system-")
            .tempdir_in(directory)
            .expect("a temporary folder");
        let address = own_address();
        let server = Self {
            config,
            folder,
            rtmp: free_port(address),
            http: free_port(address),
            process: None,
            earlier: Vec::new(),
            time: None,
            open_files: None,
            checkpoints: Mutex::default(),
        };
        server.write_config();
        let mut init = Command::new(binary::livetrail());
        init.args(["trail", "init"]).arg(server.data());
        run("livetrail trail init", &init, SOON).success();
        server
    }

    /// Starts it, with the data and addresses that it had, and waits until it is healthy.
    ///
    /// # Panics
    /// When it does not become so, or still runs.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        self.process = Some(Process::spawn("livetrail serve", &self.command()));
        let http = self.http;
        let healthy = crate::clock::poll(START_TIMEOUT, || {
            if !self.process.as_mut().is_some_and(Process::is_running) {
                return Some(false);
            }
            let answer = http::request(http, "GET", "/health", &[]);
            answer
                .is_ok_and(|answer| answer.status == 200)
                .then_some(true)
        });
        assert!(
            healthy == Some(true),
            "the server does not start\n--- its configuration\n{}",
            self.config.to_toml(self.rtmp, self.http, &self.data())
        );
    }

    /// The command that starts it, for a start that must fail.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match self.open_files {
            None => Command::new(binary::livetrail()),
            Some(files) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(binary::livetrail());
                shell
            }
        };
        command.arg("serve");
        command.arg("--config").arg(self.config_file());
        command.current_dir(self.folder.path());
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("LIVETRAIL_")) {
            command.env_remove(key);
        }
        if let Some(time) = &self.time {
            faketime::apply(&mut command, time);
        }
        command
    }

    /// Another configuration for the next start or reload.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn set_config(&mut self, config: Config) {
        self.config = config;
        self.write_config();
    }

    /// Where a stream (`app/stream`, with `?token=` if need be) is over RTMP.
    #[must_use]
    pub fn rtmp_url(&self, stream: &str) -> String {
        format!("rtmp://{}/{stream}", self.rtmp)
    }

    /// Where a stream (`app/stream`) is over HTTP-FLV.
    #[must_use]
    pub fn flv_url(&self, stream: &str) -> String {
        match stream.split_once('?') {
            Some((stream, query)) => format!("http://{}/{stream}.flv?{query}", self.http),
            None => format!("http://{}/{stream}.flv", self.http),
        }
    }

    /// The RTMP listener.
    #[must_use]
    pub fn rtmp(&self) -> SocketAddr {
        self.rtmp
    }

    /// The HTTP listener.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// A path in the server's temporary folder, for a test's own files.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The trail as it is published now.
    ///
    /// # Panics
    /// When it cannot be read.
    #[track_caller]
    #[must_use]
    pub fn trail(&self) -> Trail {
        let trail = Trail::read(&self.data());
        let mut seen = kept(&self.checkpoints);
        if seen.back().is_none_or(|last| last != trail.checkpoint()) {
            if seen.len() == MOST_CHECKPOINTS {
                seen.pop_front();
            }
            seen.push_back(trail.checkpoint().to_vec());
        }
        trail
    }

    /// Waits until the trail has `count` records of this action.
    ///
    /// # Panics
    /// When it does not get them.
    #[track_caller]
    pub fn await_records(&self, action: &str, count: usize) -> Trail {
        let what = format!("{count} {action} in the trail");
        wait_for(&what, SOON, || {
            let trail = self.trail();
            (trail.count(action) >= count).then_some(trail)
        })
    }

    /// Waits until the stream has taken this many frames in.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn await_frames(&self, stream: &str, frames: u64) {
        let what = format!("{frames} frames of {stream}");
        wait_until(&what, SOON, || {
            config::frames_of(&self.get("/api/v1/streams").json(), stream) >= frames
        });
    }

    /// How many frames of the stream have come in.
    #[must_use]
    pub fn frames(&self, stream: &str) -> u64 {
        config::frames_of(&self.get("/api/v1/streams").json(), stream)
    }

    /// Lets the trail grow by at least this many records: the start and the end of publishers that
    /// leave at once.
    ///
    /// # Panics
    /// When one is not admitted.
    #[track_caller]
    pub fn grow(&self, records: u64) {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..records.div_ceil(2) {
            // A name of its own: the server may not have ended the session before it yet.
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut publisher = RawRtmp::connect(self.rtmp).expect("a handshake");
            publisher.open("live").expect("a connection");
            let answer = publisher.publish(&format!("grow-{n}"));
            assert_eq!(answer.expect("an answer"), "NetStream.Publish.Start");
        }
    }

    /// `GET` of a path.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        http::get(self.http, path)
    }

    /// The sessions that the API reports.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn sessions(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/sessions");
        assert_eq!(answer.status, 200, "{}", answer.text());
        config::list_of(&answer.json(), "sessions")
    }

    /// The running server's process id.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.process.as_ref().expect("the server runs").pid()
    }

    /// Sends the running server a signal.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process
            .as_ref()
            .expect("the server runs")
            .signal(signal);
    }

    /// What the running server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::said).unwrap_or_default()
    }

    /// Stops it with SIGTERM, asserts exit code 0 and a sound trail, and gives that with its names.
    ///
    /// # Panics
    /// When any of that fails.
    #[track_caller]
    pub fn stop(&mut self) -> Trail {
        self.stop_by(Signal::TERM)
    }

    /// As [`stop`](Self::stop), with another signal.
    ///
    /// # Panics
    /// As [`stop`](Self::stop).
    #[track_caller]
    pub fn stop_by(&mut self, signal: Signal) -> Trail {
        let trail = self.end_gracefully(signal);
        trail.assert_sound();
        trail.assert_lossless();
        trail
    }

    /// As [`stop`](Self::stop), for a trail that may have lost records if it reports them.
    ///
    /// # Panics
    /// As [`stop`](Self::stop).
    #[track_caller]
    pub fn stop_after_losses(&mut self) -> Trail {
        let trail = self.end_gracefully(Signal::TERM);
        trail.assert_sound();
        trail
    }

    /// Stops it with SIGTERM when it cannot do all its work: returns its status, and asserts that
    /// it ends within `timeout`.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop_within(&mut self, timeout: Duration) -> ExitStatus {
        self.end_by(Signal::TERM, timeout);
        let ended = self.earlier.last().expect("it has just ended");
        ended.status
    }

    #[track_caller]
    fn end_gracefully(&mut self, signal: Signal) -> Trail {
        self.end_by(signal, Duration::from_secs(20));
        let status = self.earlier.last().map(|ended| ended.status);
        assert!(
            status.is_some_and(|status| status.success()),
            "the server ends with {status:?}"
        );
        let panicked = self
            .earlier
            .iter()
            .any(|ended| ended.stderr.contains("panicked at"));
        assert!(!panicked, "something panicked in the server");
        let trail = self.trail();
        let seen: Vec<_> = kept(&self.checkpoints).iter().cloned().collect();
        trail.assert_verified(&seen);
        trail.with_names()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn crash(&mut self) {
        self.end_by(Signal::KILL, Duration::from_secs(10));
    }

    #[track_caller]
    fn end_by(&mut self, signal: Signal, timeout: Duration) {
        let process = self.process.take().expect("the server runs");
        self.earlier.push(process.end_by(signal, timeout));
    }

    /// What the run that ended last wrote to its standard output.
    ///
    /// # Panics
    /// When none has ended.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.earlier.last().expect("a run that has ended").stdout
    }

    /// The data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("livetrail.toml")
    }

    #[track_caller]
    fn write_config(&self) {
        let text = self.config.to_toml(self.rtmp, self.http, &self.data());
        std::fs::write(self.config_file(), text).expect("a configuration file");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut told = String::new();
            for (at, earlier) in self.earlier.iter().enumerate() {
                let _ = writeln!(told, "=== server, run {}: {}", at + 1, earlier.output());
            }
            if let Some(process) = &self.process {
                let _ = writeln!(told, "=== server, running\n{}", process.said());
            }
            match Trail::try_read(&self.data()) {
                Ok(trail) => drop(writeln!(told, "=== {trail}")),
                Err(error) => drop(writeln!(told, "=== the trail: {error}")),
            }
            tell(&told);
        }
    }
}

/// What a failed test shows.
#[expect(
    clippy::print_stderr,
    reason = "the test runner shows it with the failed test"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// A loopback address with a free port, which nobody else of this process gets.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    free_port(own_address())
}

/// A loopback address for this server only, so that its ports are free also after a restart: from
/// the process id and a count.
pub(crate) fn own_address() -> Ipv4Addr {
    static COUNT: AtomicU8 = AtomicU8::new(1);
    let pid = std::process::id();
    let [_, _, high, low] = pid.to_be_bytes();
    // 127.0.0.x is what everything else uses.
    let high = 1 + (high % 254);
    Ipv4Addr::new(127, high, low, COUNT.fetch_add(1, Ordering::Relaxed).max(1))
}

#[track_caller]
pub(crate) fn free_port(address: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((address, 0)).expect("a free port on a loopback address");
    listener
        .local_addr()
        .expect("a bound listener has an address")
}

fn kept<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
