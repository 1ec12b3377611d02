//! An independent witness: PyPI's `aics-witness`, which keeps to C2SP tlog-witness.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::{Process, Signal, clock, run, tlog_python};

/// How long it may take to be made, to start and to end.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A test's own witness. Dropping it ends it.
pub struct Witness {
    home: PathBuf,
    /// Where it is asked.
    pub url: String,
    /// Its verifier key.
    pub key: String,
    process: Option<Process>,
}

impl Witness {
    /// Makes one with a key of its own; `home` is its directory, not there yet.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        std::fs::create_dir(&home).expect("a directory for a witness");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        drop(listener);
        let mut witness = Self {
            home,
            url: format!("http://{address}"),
            key: String::new(),
            process: None,
        };
        let made = witness.command("init", &["--name", "witness.example/w1"]);
        let made = run("aics-witness init", &made, TIMEOUT).success();
        let key = |word: &&str| word.starts_with("witness.example/w1+");
        let mut words = made.stdout.split_whitespace();
        witness.key = words.find(key).expect("its verifier key").to_owned();
        witness
    }

    fn command(&self, what: &str, arguments: &[&str]) -> Command {
        let mut command = tlog_python();
        command.args(["-m", "aics_witness", what, "--config"]);
        command.arg(self.home.join("witness.json")).args(arguments);
        command
    }

    /// Makes a log known to it, and starts it.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(&mut self, origin: &str, vkey: &str) {
        self.know(origin, vkey);
        self.start_again();
    }

    /// Starts it with what it knows.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_again(&mut self) {
        let listen = self.url.trim_start_matches("http://").to_owned();
        let serve = self.command("serve", &["--listen", &listen, "--log-level", "DEBUG"]);
        let process = Process::spawn("aics-witness", &serve);
        clock::wait_until("the witness", TIMEOUT, || {
            std::net::TcpStream::connect(&listen).is_ok()
        });
        self.process = Some(process);
    }

    /// Makes a further key of a log known to it, before its next start.
    ///
    /// # Panics
    /// When it refuses the key.
    #[track_caller]
    pub fn know(&self, origin: &str, vkey: &str) {
        let known = self.command("add-log", &["--origin", origin, "--vkey", vkey]);
        run("aics-witness add-log", &known, TIMEOUT).success();
    }

    /// Pauses it (`SIGSTOP`), so that it accepts connections and does not answer, or resumes it
    /// (`SIGCONT`).
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process
            .as_ref()
            .expect("a running witness")
            .signal(signal);
    }

    /// How often it has cosigned since it was started.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn cosigned(&self) -> usize {
        let said = self.process.as_ref().expect("a running witness").said();
        said.matches("POST /add-checkpoint -> 200").count()
    }

    /// Ends it, and counts its answers with a status.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn answers(&mut self) -> impl Fn(u16) -> usize + use<> {
        let process = self.process.take().expect("a running witness");
        let finished = process.end_by(Signal::TERM, TIMEOUT);
        move |status| {
            let line = format!("POST /add-checkpoint -> {status}");
            finished.stderr.matches(&line).count()
        }
    }
}
