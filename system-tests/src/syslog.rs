//! Receivers of syslog by other authors, on loopback and a free port: Debian's rsyslog and
//! syslog-ng, each of which writes its input to a file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use livetrail_tlog::leaf_hash;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::clock;
use crate::debian::Unpacked;
use crate::process::Process;
use crate::server::free_address;

const PATIENCE: Duration = Duration::from_secs(30);

/// What each line of a received message begins with.
const MARK: &str = "[livetrail@32473 index=\"";

/// Which receiver, and how it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// rsyslog with the TLS of OpenSSL. It answers a `close_notify` with its own, as it must.
    Rsyslog,
    /// The same, but senders must show a certificate of the authority.
    RsyslogWithCertificates,
    /// rsyslog with GnuTLS, which ends a connection without a `close_notify`.
    RsyslogGtls,
    /// rsyslog without TLS.
    RsyslogPlain,
    /// syslog-ng with TLS.
    SyslogNg,
}

/// A receiver, running or not. Dropping it ends it and removes what it received.
pub struct Receiver {
    kind: Kind,
    folder: TempDir,
    address: SocketAddr,
    running: Mutex<Option<Process>>,
}

impl Receiver {
    /// One of this kind.
    ///
    /// # Panics
    /// When its program cannot be downloaded or does not start.
    #[must_use]
    pub fn start(kind: Kind) -> Self {
        let folder = TempDir::with_prefix("livetrail-syslog").expect("a folder");
        let address = free_address();
        make_certificates(folder.path(), address.ip());
        let receiver = Self {
            kind,
            folder,
            address,
            running: Mutex::new(None),
        };
        receiver.restart();
        receiver
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file next to its input: `ca.pem`, `client.pem`, `client.key`, and those of an authority
    /// that it does not know (`other.pem`, `other-client.pem`, `other-client.key`).
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&self) {
        drop(self.take());
    }

    /// Ends it in order: what it keeps in memory is written first.
    ///
    /// # Panics
    /// When it does not run, or does not end in time.
    pub fn stop(&self) {
        self.take().end_by(Signal::TERM, PATIENCE);
    }

    /// Starts it, with its earlier input, at the same address. Returns when it accepts connections.
    ///
    /// # Panics
    /// When it does not start in time, or runs already.
    pub fn restart(&self) {
        self.restart_believing("ca.pem");
    }

    /// The same, and it takes certificates of the authority in this file alone.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_believing(&self, authority: &str) {
        let command = match self.kind {
            Kind::SyslogNg => self.syslog_ng(),
            _ => self.rsyslog(&self.settings(authority)),
        };
        self.run(&command);
    }

    fn run(&self, command: &Command) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        let process = running.insert(Process::spawn("a receiver of syslog", command));
        clock::wait_until("the receiver listens", PATIENCE, || {
            assert!(process.is_running(), "it ended\n{}", process.said());
            std::net::TcpStream::connect(self.address).is_ok()
        });
    }

    /// The same with rsyslog and this configuration, whose files and address are replaced by those
    /// of the test.
    ///
    /// # Panics
    /// As [`restart`](Self::restart).
    pub fn restart_with(&self, configuration: &str) {
        let here = self.folder.path().display().to_string();
        let (ip, port) = (self.address.ip(), self.address.port());
        let text = configuration
            .replace("/etc/trail", &here)
            .replace("/var/log/trail", &format!("{here}/received"))
            .replace("127.0.0.1", &ip.to_string())
            .replace("6514", &port.to_string());
        self.run(&self.rsyslog(&text));
    }

    /// Index and bytes of each message about this log in the order in which they were written. A
    /// message that a kill truncated is omitted, because its receipt was not acknowledged.
    ///
    /// # Panics
    /// When a message has another hash than its own field.
    #[must_use]
    pub fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        // What syslog-ng keeps in memory it writes when it ends.
        if self.kind == Kind::SyslogNg {
            self.stop();
        }
        let mut held = Vec::new();
        self.each(origin, &mut |index, entry| {
            held.push((index, entry.to_vec()))
        });
        if self.kind == Kind::SyslogNg {
            self.restart();
        }
        held
    }

    /// The same, one after the other.
    ///
    /// # Panics
    /// As [`held`](Self::held), and when what it received cannot be read.
    pub fn each(&self, origin: &str, found: &mut dyn FnMut(u64, &[u8])) {
        let Ok(file) = File::open(self.file("received")) else {
            return;
        };
        let of_log = format!(" origin=\"{origin}\"");
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        while lines.read_line(&mut line).expect("text") > 0 {
            // After a truncated message the next one begins on the same line. No message contains
            // the mark: its quotes would be escaped.
            let last = line.rfind(MARK).map(|at| &line[at + MARK.len()..]);
            match last.and_then(whole) {
                Some((data, index, entry)) if data.contains(&of_log) => found(index, entry),
                _ => {}
            }
            line.clear();
        }
    }

    fn take(&self) -> Process {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.take().expect("it runs")
    }

    fn settings(&self, authority: &str) -> String {
        let here = self.folder.path().display();
        let (ip, port) = (self.address.ip(), self.address.port());
        let driver = match self.kind {
            Kind::RsyslogGtls => "gtls",
            _ => "ossl",
        };
        let mode = match self.kind {
            Kind::RsyslogWithCertificates => "x509/certvalid",
            _ => "anon",
        };
        // Records may have 64 KiB. Input is written before more is read, so that a kill loses
        // nothing that was read.
        let mut text = format!(
            "global(workDirectory=\"{here}\" maxMessageSize=\"128k\" parser.escapeControlCharactersOnReceive=\"off\"\n\
             defaultNetstreamDriver=\"{driver}\" defaultNetstreamDriverCAFile=\"{here}/{authority}\"\n\
             defaultNetstreamDriverCertFile=\"{here}/server.pem\" defaultNetstreamDriverKeyFile=\"{here}/server.key\")\n\
             main_queue(queue.type=\"Direct\")\n"
        );
        if self.kind == Kind::RsyslogPlain {
            text.push_str("module(load=\"imtcp\")\n");
        } else {
            let _ = writeln!(
                text,
                "module(load=\"imtcp\" StreamDriver.Name=\"{driver}\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"{mode}\")"
            );
        }
        let _ = write!(
            text,
            "template(name=\"trail\" type=\"string\" string=\"%structured-data%\\t%msg%\\n\")\n\
             ruleset(name=\"trail\" queue.type=\"Direct\") {{\n  action(type=\"omfile\" file=\"{here}/received\" template=\"trail\")\n}}\n\
             input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\" ruleset=\"trail\")\n"
        );
        text
    }

    fn rsyslog(&self, settings: &str) -> Command {
        std::fs::write(self.file("rsyslog.conf"), settings).expect("a configuration");
        let rsyslog = rsyslog();
        let mut command = rsyslog.command("usr/sbin/rsyslogd");
        command.args(["-n", "-i", "NONE"]);
        command.arg("-f").arg(self.file("rsyslog.conf"));
        command
            .arg("-M")
            .arg(rsyslog.path("usr/lib/x86_64-linux-gnu/rsyslog"));
        command
    }

    fn syslog_ng(&self) -> Command {
        let here = self.folder.path().display();
        let (ip, port) = (self.address.ip(), self.address.port());
        let text = format!(
            "@version: 3.38\n\
             options {{ log-msg-size(131072); keep-hostname(yes); use-dns(no); dns-cache(no); stats-freq(0); }};\n\
             source trail {{ syslog(ip(\"{ip}\") port({port}) transport(\"tls\") log-iw-size(10000)\n\
               tls(key-file(\"{here}/server.key\") cert-file(\"{here}/server.pem\") peer-verify(optional-untrusted))); }};\n\
             destination received {{ file(\"{here}/received\" template(\"${{SDATA}}\\t${{MSG}}\\n\") template-escape(no)); }};\n\
             log {{ source(trail); destination(received); flags(flow-control); }};\n"
        );
        std::fs::write(self.file("syslog-ng.conf"), text).expect("a configuration");
        let syslog_ng = syslog_ng();
        let mut command = syslog_ng.command("usr/sbin/syslog-ng");
        command.args(["--foreground", "--no-caps", "--stderr"]);
        command.arg("--cfgfile").arg(self.file("syslog-ng.conf"));
        for (option, file) in [
            ("--persist-file", "persist"),
            ("--pidfile", "pid"),
            ("--control", "control"),
        ] {
            command.arg(option).arg(self.file(file));
        }
        command
            .arg("--module-path")
            .arg(syslog_ng.path("usr/lib/syslog-ng/3.38"));
        command
    }
}

/// Structured data after the mark, index and message, if the message is complete, with the hash in
/// it.
fn whole(piece: &str) -> Option<(&str, u64, &[u8])> {
    let line = piece.strip_suffix('\n')?;
    let (data, message) = line.split_once("\"]\t")?;
    let (index, data) = data.split_once('"')?;
    let leaf = leaf_hash(message.as_bytes()).to_string();
    assert!(data.contains(&format!(" leaf=\"{leaf}\"")), "{line}");
    Some((data, index.parse().ok()?, message.as_bytes()))
}

fn rsyslog() -> &'static Unpacked {
    static PROGRAM: OnceLock<Unpacked> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let packages = [
            "rsyslog",
            "rsyslog-gnutls",
            "rsyslog-openssl",
            "libestr0",
            "libfastjson4",
            "liblognorm5",
        ];
        Unpacked::provide("rsyslog", &packages, &[])
    })
}

fn syslog_ng() -> &'static Unpacked {
    static PROGRAM: OnceLock<Unpacked> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let packages = [
            "syslog-ng-core",
            "libglib2.0-0",
            "libivykis0",
            "libjson-c5",
            "libnet1",
            "libpcre3",
            "libwrap0",
        ];
        Unpacked::provide("syslog-ng", &packages, &["usr/lib/syslog-ng"])
    })
}

/// Two authorities, each with a server's certificate for this address and the proxies', and a
/// client's.
fn make_certificates(folder: &Path, address: IpAddr) {
    for (authority_file, prefix) in [("ca.pem", ""), ("other.pem", "other-")] {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = format!("authority {prefix}");
        authority.distinguished_name.push(DnType::CommonName, name);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key"))
                .expect("an authority");
        std::fs::write(folder.join(authority_file), authority.pem()).expect("a file");
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["127.0.0.1".to_owned(), address.to_string()];
            let mut certificate = CertificateParams::new(names).expect("names");
            certificate
                .distinguished_name
                .push(DnType::CommonName, name);
            let certificate = certificate
                .signed_by(&key, &authority)
                .expect("a certificate");
            let file = |kind| folder.join(format!("{prefix}{name}.{kind}"));
            std::fs::write(file("pem"), certificate.pem()).expect("a file");
            std::fs::write(file("key"), key.serialize_pem()).expect("a file");
        }
    }
}
