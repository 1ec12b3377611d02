//! Receivers of OpenTelemetry's logs whose reading part is independent: one in Python with the
//! messages that OpenTelemetry publishes, which keeps the input in a file before it answers; and a
//! whole collector, Rotel, in front of it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clock;
use crate::process::Process;
use crate::python::otlp_python;
use crate::server::free_address;
use crate::wheel::Packed;

const PROGRAM: &str = include_str!("otlp-receiver.py");

const PATIENCE: Duration = Duration::from_secs(30);

const ROTEL: Packed = Packed {
    what: "a collector of OpenTelemetry (Rotel)",
    package: "rotel==0.0.1a15",
    sha256: "2f4117e58410c933e0dc042a268ef738dab2e3a5d63b5831209acdac2a6ddcb7",
    path: "rotel/rotel-agent",
    variable: "LIVETRAIL_ROTEL",
    // The package is made for one version of Python, but needs none to run.
    tags: &[
        "--only-binary=:all:",
        "--python-version=3.11",
        "--abi=cp311",
        "--platform=manylinux_2_34_x86_64",
    ],
};

/// A receiver of logs, running or not. Dropping it ends it and removes what it received.
pub struct OtlpCollector {
    folder: TempDir,
    address: SocketAddr,
    running: Mutex<Option<Process>>,
}

impl OtlpCollector {
    /// One without TLS.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    /// A receiver; `prepare` gets its folder and its address and may put `server.pem` and
    /// `server.key` there.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(prepare: impl FnOnce(&std::path::Path, SocketAddr)) -> Self {
        let folder = TempDir::with_prefix("livetrail-otlp").expect("a folder");
        let address = free_address();
        prepare(folder.path(), address);
        let collector = Self {
            folder,
            address,
            running: Mutex::new(None),
        };
        std::fs::write(collector.file("receiver.py"), PROGRAM).expect("a program");
        collector.behaves("{}");
        collector.restart();
        collector
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
    /// `words`, `rejected`.
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
        let mut command = otlp_python();
        command.arg(self.file("receiver.py"));
        command.arg(self.address.ip().to_string());
        command.arg(self.address.port().to_string());
        command.arg(self.folder.path());
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        let process = running.insert(Process::spawn("a receiver of OTLP", &command));
        await_listener(process, self.address);
    }

    /// Every record that it received, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Value> {
        self.lines("received")
    }

    /// Calls `each` with every record that it received, in order, one at a time.
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

    /// Every request that it got, in order: path, headers, number of records.
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

/// A whole collector that sends everything on. Dropping it ends it.
pub struct Rotel {
    address: SocketAddr,
    _running: Process,
}

impl Rotel {
    /// One before this receiver.
    ///
    /// # Panics
    /// When it (PyPI's `rotel`) cannot be downloaded or does not start.
    #[must_use]
    pub fn before(receiver: &OtlpCollector) -> Self {
        let (address, unused) = (free_address(), free_address());
        let mut command = Command::new(ROTEL.program());
        command.arg("start");
        command.arg(format!("--otlp-http-endpoint={address}"));
        command.arg(format!("--otlp-grpc-endpoint={unused}"));
        command.args(["--exporter=otlp", "--otlp-exporter-protocol=http"]);
        command.arg(format!(
            "--otlp-exporter-endpoint=http://{}",
            receiver.address()
        ));
        let mut running = Process::spawn("rotel", &command);
        await_listener(&mut running, address);
        Self {
            address,
            _running: running,
        }
    }

    /// Where it listens for OTLP over HTTP.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

fn await_listener(process: &mut Process, address: SocketAddr) {
    clock::wait_until("a receiver listens", PATIENCE, || {
        assert!(process.is_running(), "it ended\n{}", process.said());
        std::net::TcpStream::connect(address).is_ok()
    });
}
