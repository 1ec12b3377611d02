//! Receivers of OpenTelemetry's logs whose reading part is independent: one in Python with the
//! messages that OpenTelemetry publishes, which keeps the input in a file before it answers; and a
//! whole collector, Rotel, in front of it.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::python::otlp_python;
use crate::receiver::{Program, Receiver, await_listener};
use crate::server::free_address;
use crate::wheel::Packed;

const PROGRAM: Program = Program {
    what: "a receiver of OTLP",
    text: include_str!("otlp-receiver.py"),
    python: otlp_python,
};

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

/// A receiver of logs, running or not. Dropping it ends it and removes what it received. A
/// behaviour is some of `status`, `headers`, `words` and `rejected`.
pub struct OtlpCollector(Receiver);

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
    pub fn start_with(prepare: impl FnOnce(&Path, SocketAddr)) -> Self {
        Self(Receiver::start(&PROGRAM, prepare))
    }
}

impl Deref for OtlpCollector {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.0
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
