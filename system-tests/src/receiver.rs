//! Receivers of HTTP requests in Python, which keep the input in a file before they answer. A file
//! next to it changes the answers.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clock;
use crate::process::Process;
use crate::server::free_address;

const PATIENCE: Duration = Duration::from_secs(30);

/// What kind of receiver it is.
pub(crate) struct Program {
    /// For people.
    pub(crate) what: &'static str,
    /// In Python.
    pub(crate) text: &'static str,
    /// The Python that runs it.
    pub(crate) python: fn() -> Command,
}

/// A receiver of requests, running or not. Dropping it ends it and removes what it received.
pub struct Receiver {
    program: &'static Program,
    folder: TempDir,
    address: SocketAddr,
    running: Mutex<Option<Process>>,
}

impl Receiver {
    /// A receiver; `prepare` gets its folder and its address and may put files there.
    pub(crate) fn start(
        program: &'static Program,
        prepare: impl FnOnce(&Path, SocketAddr),
    ) -> Self {
        let folder = TempDir::with_prefix("livetrail-receiver").expect("a folder");
        let address = free_address();
        prepare(folder.path(), address);
        let receiver = Self {
            program,
            folder,
            address,
            running: Mutex::new(None),
        };
        std::fs::write(receiver.file("receiver.py"), program.text).expect("a program");
        receiver.behaves("{}");
        receiver.restart();
        receiver
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file in its folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its behaviour from now on, in JSON: `{}` for normal, otherwise some of `status`, `headers`,
    /// and what else its program reads.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn behaves(&self, how: &str) {
        // The file is replaced as a whole, so that no request reads half of it.
        let new = self.file("behaviour.new");
        std::fs::write(&new, how).expect("a behaviour");
        std::fs::rename(new, self.file("behaviour")).expect("in its place");
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(running.take().expect("it runs"));
    }

    /// Starts it, with its earlier input, at the same address. Returns when it accepts connections.
    ///
    /// # Panics
    /// When it does not start in time.
    pub fn restart(&self) {
        let mut command = (self.program.python)();
        command.arg(self.file("receiver.py"));
        command.arg(self.address.ip().to_string());
        command.arg(self.address.port().to_string());
        command.arg(self.folder.path());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        let process = running.insert(Process::spawn(self.program.what, &command));
        await_listener(process, self.address);
    }

    /// Everything that it received, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Value> {
        self.lines("received")
    }

    /// Calls `each` with everything that it received, in order, one at a time.
    ///
    /// # Panics
    /// When its file cannot be read.
    pub fn each_received(&self, mut each: impl FnMut(Value)) {
        let Ok(file) = File::open(self.file("received")) else {
            return;
        };
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(record) = serde_json::from_slice(&line.expect("a line")) {
                each(record);
            }
        }
    }

    /// Every request that it got, in order: path, headers, and what else its program writes.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.lines("requests")
    }

    /// A request that a kill cut off is skipped: it was not answered.
    fn lines(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.file(name)).unwrap_or_default();
        let lines = text.lines().map(serde_json::from_str);
        lines.filter_map(Result::ok).collect()
    }
}

pub(crate) fn await_listener(process: &mut Process, address: SocketAddr) {
    clock::wait_until("a receiver listens", PATIENCE, || {
        assert!(process.is_running(), "it ended\n{}", process.said());
        std::net::TcpStream::connect(address).is_ok()
    });
}
