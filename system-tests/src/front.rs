//! Proxies of others in front of a server: Debian's haproxy, nginx, stunnel and varnish.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::clock;
use crate::process::Process;
use crate::server::free_address;
use crate::tool::tool;

const START_PATIENCE: Duration = Duration::from_secs(30);

/// A running proxy. Dropping it ends it.
pub struct Front {
    addresses: Vec<SocketAddr>,
    process: Process,
    _dir: TempDir,
}

impl Front {
    /// haproxy with `listeners` addresses, from which `settings` makes its sections. Its clients
    /// and servers may be silent for ten seconds.
    ///
    /// # Panics
    /// When haproxy is not there or does not start.
    #[must_use]
    pub fn haproxy(listeners: usize, settings: impl FnOnce(&[SocketAddr]) -> String) -> Self {
        let settings = |addresses: &[SocketAddr], _: &Path| {
            format!(
                "defaults\n  timeout connect 5s\n  timeout client 10s\n  timeout server 10s\n{}\n",
                settings(addresses)
            )
        };
        Self::start("haproxy", "haproxy", listeners, settings, |file| {
            ["-db".into(), "-f".into(), file.into()].to_vec()
        })
    }

    /// nginx with `listeners` addresses, from which `settings` makes the blocks `stream` and
    /// `http`.
    ///
    /// # Panics
    /// When nginx or its module for streams is not there, or it does not start.
    #[must_use]
    pub fn nginx(listeners: usize, settings: impl FnOnce(&[SocketAddr]) -> String) -> Self {
        let settings = |addresses: &[SocketAddr], dir: &Path| {
            format!(
                "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\nworker_processes 1;\n\
                 daemon off;\nerror_log stderr;\npid {}/pid;\nevents {{}}\n{}\n",
                dir.display(),
                settings(addresses)
            )
        };
        Self::start("nginx", "nginx-light", listeners, settings, |file| {
            ["-c".into(), file.into()].to_vec()
        })
    }

    /// stunnel that ends TLS with this certificate and forwards to `target`, with a PROXY header.
    /// Both are in PEM.
    ///
    /// # Panics
    /// When stunnel is not there or does not start.
    #[must_use]
    pub fn stunnel(target: SocketAddr, certificate: &str, key: &str) -> Self {
        let settings = |addresses: &[SocketAddr], dir: &Path| {
            let file = |name: &str, text: &str| {
                let path = dir.join(name);
                std::fs::write(&path, text).expect("a file");
                path.display().to_string()
            };
            let (certificate, key) = (file("chain.pem", certificate), file("key.pem", key));
            format!(
                "foreground = yes\npid =\nsyslog = no\ndebug = warning\n[front]\naccept = {}\nconnect = {target}\n\
                 protocol = proxy\ncert = {certificate}\nkey = {key}\nTIMEOUTclose = 0\n",
                addresses[0]
            )
        };
        Self::start("stunnel4", "stunnel4", 1, settings, |file| {
            [file.into()].to_vec()
        })
    }

    /// varnish with these settings, in its own language. Objects are kept in memory.
    ///
    /// # Panics
    /// When varnish is not there or does not start.
    #[must_use]
    pub fn varnish(settings: &str) -> Self {
        let dir = TempDir::with_prefix("livetrail-varnish").expect("a directory");
        let (file, address) = (dir.path().join("default.vcl"), free_address());
        std::fs::write(&file, settings).expect("a file");
        let mut command = tool("varnishd", "varnish");
        // Without the jail it needs no user of its own.
        command.args(["-j", "none", "-F", "-s", "malloc,64m", "-a"]);
        command.arg(address.to_string());
        command.arg("-n").arg(dir.path().join("state"));
        command.arg("-f").arg(file);
        Self::listening("varnishd", &command, vec![address], dir)
    }

    fn start(
        program: &str,
        package: &str,
        listeners: usize,
        settings: impl FnOnce(&[SocketAddr], &Path) -> String,
        arguments: impl FnOnce(&Path) -> Vec<std::ffi::OsString>,
    ) -> Self {
        let dir = TempDir::with_prefix("livetrail-front").expect("a directory");
        let addresses: Vec<SocketAddr> = (0..listeners).map(|_| free_address()).collect();
        let file = dir.path().join("settings");
        std::fs::write(&file, settings(&addresses, dir.path())).expect("a file");
        let mut command: Command = tool(program, package);
        command.args(arguments(&file));
        Self::listening(program, &command, addresses, dir)
    }

    fn listening(
        program: &str,
        command: &Command,
        addresses: Vec<SocketAddr>,
        dir: TempDir,
    ) -> Self {
        let mut front = Self {
            addresses,
            process: Process::spawn(program, command),
            _dir: dir,
        };
        for address in front.addresses.clone() {
            clock::wait_until("the proxy listens", START_PATIENCE, || {
                assert!(front.process.is_running(), "{}", front.process.said());
                TcpStream::connect(address).is_ok()
            });
        }
        front
    }

    /// One of its addresses.
    #[must_use]
    pub fn address(&self, n: usize) -> SocketAddr {
        self.addresses[n]
    }
}

/// An address for clients: loopback, and nobody else's.
#[must_use]
pub const fn client_address(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 210, 0, n)
}
