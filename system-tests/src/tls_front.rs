//! TLS in front of a server that has none: Debian's `stunnel4`, which uses OpenSSL, with a
//! certificate of the test.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::clock;
use crate::process::Process;
use crate::server::free_port;
use crate::tool::tool;

const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running front. Dropping it ends it.
pub struct TlsFront {
    address: SocketAddr,
    process: Process,
    _dir: TempDir,
}

impl TlsFront {
    /// A front on 127.0.0.1, which is `localhost`, that shows this certificate and forwards
    /// everything to `target`. Both are in PEM.
    ///
    /// # Panics
    /// When stunnel is not there or does not start.
    #[must_use]
    pub fn start(target: SocketAddr, certificate: &str, key: &str) -> Self {
        let dir = TempDir::with_prefix("livetrail-tls").expect("a directory");
        let address = free_port(Ipv4Addr::LOCALHOST);
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let (certificate, key) = (file("chain.pem", certificate), file("key.pem", key));
        let settings = format!(
            "foreground = yes\npid =\nsyslog = no\ndebug = warning\n[front]\naccept = {address}\nconnect = {target}\n\
             cert = {}\nkey = {}\nTIMEOUTclose = 0\n",
            certificate.display(),
            key.display()
        );
        let mut command: Command = tool("stunnel4", "stunnel4");
        command.arg(file("stunnel.conf", &settings));
        let mut front = Self {
            address,
            process: Process::spawn("stunnel4", &command),
            _dir: dir,
        };
        clock::wait_until("stunnel listens", START_PATIENCE, || {
            assert!(front.process.is_running(), "{}", front.process.said());
            TcpStream::connect(address).is_ok()
        });
        front
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}
