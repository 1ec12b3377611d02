//! Installs the package in a folder, and runs the server from there as its unit would: as another
//! user, without capabilities, notifying its manager. While it serves viewers, the package is
//! upgraded.
//!
//! There may be no service manager on this machine. What the unit's filter of system calls allows
//! is compared with the calls that the server makes, as `strace` sees them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::Package;
use crate::clock::Stopwatch;
use crate::process::read;

/// The user that the server runs as here: `nobody`.
const USER: u32 = 65_534;

/// The longest time for one step.
const MOST: Duration = Duration::from_secs(60);

/// What an administrator adds to the configuration for TLS.
const TLS: &str = "\n[[tls.certificate]]\nchain = \"chain.pem\"\nkey = \"key.pem\"\n";

/// Files that must be there after an installation.
const INSTALLED: [&str; 8] = [
    "usr/bin/livetrail-verify",
    "usr/lib/systemd/system/livetrail.service",
    "usr/lib/sysusers.d/livetrail.conf",
    "usr/share/man/man1/livetrail.1.gz",
    "usr/share/man/man1/livetrail-serve.1.gz",
    "usr/share/bash-completion/completions/livetrail",
    "usr/share/doc/livetrail/livetrail.cdx.json",
    "usr/share/doc/livetrail/examples/livetrail.toml",
];

pub(crate) fn check(package: &Package, run: impl Fn(Command) -> Result<()>) -> Result<()> {
    let at = Installation::empty()?;
    run(at.dpkg(&["--install"], Some(&package.deb)))?;
    for file in INSTALLED {
        ensure!(at.root.join(file).is_file(), "{file} is not installed");
    }
    // A changed or missing file has a line.
    let changed = read(&mut at.dpkg(&["--verify", "livetrail"], None))?;
    ensure!(changed.is_empty(), "not as packed:\n{changed}");
    let bash = at
        .root
        .join("usr/share/bash-completion/completions/livetrail");
    read(Command::new("bash").arg("-n").arg(bash))?;

    let unit = at.root.join("usr/lib/systemd/system/livetrail.service");
    check_unit(&unit)?;
    let trace = at.folder.join("calls");
    at.prepare()?;
    let mut server = at.start(Some(&trace))?;
    at.upgrade_under_viewers(&mut server, package, &run)?;
    check_calls(&unit, &trace)?;

    // The next version continues the trail.
    let mut server = at.start(None)?;
    server.signal("TERM")?;
    server.ends()?;
    run(at.dpkg(&["--purge", "livetrail"], None))?;
    ensure!(!at.root.join("usr/bin/livetrail").exists(), "it is removed");
    ensure!(
        at.data().join("trail/checkpoint").is_file(),
        "the trail stays"
    );
    Ok(())
}

/// A folder with the files of a Debian system that `dpkg` needs, and our package.
struct Installation {
    folder: PathBuf,
    root: PathBuf,
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Installation {
    fn empty() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("livetrail-package-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        for of_dpkg in ["info", "updates", "triggers"] {
            fs::create_dir_all(root.join("var/lib/dpkg").join(of_dpkg))?;
        }
        for empty in ["status", "available"] {
            fs::write(root.join("var/lib/dpkg").join(empty), "")?;
        }
        Ok(Self { folder, root })
    }

    fn data(&self) -> PathBuf {
        self.root.join("var/lib/livetrail")
    }

    fn program(&self) -> PathBuf {
        self.root.join("usr/bin/livetrail")
    }

    fn dpkg(&self, action: &[&str], deb: Option<&Path>) -> Command {
        let mut command = Command::new("dpkg");
        // There is no shell in that root, and no other package.
        command.args(["--force-script-chrootless", "--force-depends"]);
        // What follows an action is a package.
        command.arg("--log=/dev/null").arg("--root").arg(&self.root);
        command.args(action).args(deb);
        command
    }

    /// What an administrator does once.
    fn prepare(&self) -> Result<()> {
        fs::create_dir_all(self.data())?;
        let key = self.config_folder().join("key.pem");
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj"]);
        openssl.args(["/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl.arg("-out").arg(self.chain()).arg("-keyout");
        read(openssl.arg(&key))?;
        let config = fs::read_to_string(self.config())?;
        fs::write(self.config(), config + TLS)?;
        for of_server in [
            self.data(),
            self.folder.clone(),
            self.config(),
            self.config_folder(),
            key,
        ] {
            chown(&of_server, Some(USER), Some(USER))?;
        }
        let mut init = self.restricted();
        init.arg(self.program())
            .args(["trail", "init"])
            .arg(self.data());
        read(&mut init)?;
        Ok(())
    }

    fn config_folder(&self) -> PathBuf {
        self.root.join("etc/livetrail")
    }

    fn chain(&self) -> PathBuf {
        self.config_folder().join("chain.pem")
    }

    fn config(&self) -> PathBuf {
        self.config_folder().join("livetrail.toml")
    }

    /// The beginning of a command that runs with as little as the unit gives.
    fn restricted(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}")]);
        command.args(["--clear-groups", "--no-new-privs"]);
        command.args(["--inh-caps=-all", "--bounding-set=-all"]);
        // Files as `ProtectSystem=strict` would leave them: this user owns nothing else.
        command.current_dir(self.data());
        command
    }

    fn start(&self, trace: Option<&Path>) -> Result<Server> {
        let path = self.folder.join("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path)?;
        chown(&path, Some(USER), Some(USER))?;
        manager.set_read_timeout(Some(MOST))?;
        let mut command = self.restricted();
        if let Some(trace) = trace {
            // With -D the server is our child, and strace is not.
            command.args(["strace", "-D", "-f", "-qqq", "-e", "signal=none", "-o"]);
            command.arg(trace);
        }
        command.arg(self.program()).arg("serve");
        command.arg("--config").arg(self.config());
        command.arg("--data").arg(self.data());
        command.args(["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        command.env("LIVETRAIL__RTMP__TLS_LISTEN", "127.0.0.1:0");
        command.env("LIVETRAIL__HTTP__TLS_LISTEN", "127.0.0.1:0");
        command.env("NOTIFY_SOCKET", &path);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("setpriv starts")?;
        let mut server = Server {
            child,
            manager,
            rtmp: String::new(),
            rtmps: String::new(),
            http: String::new(),
        };
        let ready = server.heard("READY=1")?;
        let address = |after: &str| -> Result<String> {
            let rest = ready.split(after).nth(1).context(ready.clone())?;
            let end = rest.find([',', '\n']).unwrap_or(rest.len());
            Ok(rest[..end].to_owned())
        };
        server.rtmp = address("RTMP on ")?;
        server.rtmps = address("RTMPS on ")?;
        server.http = address("HTTP on ")?;
        Ok(server)
    }

    /// A stream with two viewers, one over TLS. They stay while the package is upgraded and until
    /// the server has drained.
    fn upgrade_under_viewers(
        &self,
        server: &mut Server,
        package: &Package,
        run: &impl Fn(Command) -> Result<()>,
    ) -> Result<()> {
        let url = format!("rtmp://{}/live/cam", server.rtmp);
        let mut clients = Clients::default();
        clients.start(Command::new("ffmpeg").args([
            "-loglevel",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=160x90:rate=10",
            "-c:v",
            "libx264",
            "-g",
            "10",
            "-f",
            "flv",
            &url,
        ]))?;
        server.until("/api/v1/streams", "\"cam\"")?;
        clients.start(Command::new(self.program()).args(["play", &url]))?;
        let over_tls = format!("rtmps://{}/live/cam", server.rtmps);
        let mut viewer = Command::new(self.program());
        viewer.args(["play", &over_tls, "--ca"]).arg(self.chain());
        clients.start(&mut viewer)?;
        server.until("/metrics", "livetrail_sessions{role=\"play\"} 2")?;
        server.signal("HUP")?;
        server.heard("RELOADING=1\nMONOTONIC_USEC=")?;
        server.heard("READY=1")?;

        run(self.dpkg(&["--install"], Some(&package.next()?)))?;
        let sessions = server.get("/api/v1/sessions")?;
        ensure!(sessions.matches("\"session\"").count() == 3, "{sessions}");
        ensure!(server.get("/readyz")?.contains("ready"), "it serves on");

        server.signal("QUIT")?;
        server.until("/readyz", "draining")?;
        let late = Command::new(self.program()).args(["play", &url]).output()?;
        ensure!(!late.status.success(), "a late viewer is refused");
        let words = String::from_utf8_lossy(&late.stderr).into_owned();
        ensure!(words.contains("server_draining"), "{words}");
        let sessions = server.get("/api/v1/sessions")?;
        ensure!(sessions.matches("\"session\"").count() == 3, "{sessions}");
        drop(clients);
        server.heard("STOPPING=1")?;
        server.ends()
    }
}

/// A server that was started from the package.
struct Server {
    child: Child,
    manager: UnixDatagram,
    rtmp: String,
    rtmps: String,
    http: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Waits until the server notifies its manager of this.
    fn heard(&self, what: &str) -> Result<String> {
        let mut buffer = [0; 4_096];
        loop {
            let length = self
                .manager
                .recv(&mut buffer)
                .with_context(|| format!("the server does not notify of {what:?}"))?;
            let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            if text.starts_with(what) {
                return Ok(text.into_owned());
            }
        }
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        read(Command::new("kill").args([&format!("-{name}"), &pid])).map(drop)
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(&self.http)?;
        stream.set_read_timeout(Some(MOST))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Asks until the answer has these words.
    fn until(&self, path: &str, words: &str) -> Result<()> {
        let watch = Stopwatch::start();
        loop {
            let answer = self.get(path)?;
            if answer.contains(words) {
                return Ok(());
            }
            ensure!(watch.elapsed() < MOST, "{path} has no {words:?}: {answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the end, which must be orderly.
    fn ends(&mut self) -> Result<()> {
        let watch = Stopwatch::start();
        while watch.elapsed() < MOST {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server does not end")
    }
}

/// Clients that end with this value.
#[derive(Default)]
struct Clients(Vec<Child>);

impl Clients {
    fn start(&mut self, command: &mut Command) -> Result<()> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.0.push(command.spawn()?);
        Ok(())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The service manager knows every word of the unit, and calls it well confined.
fn check_unit(unit: &Path) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--threshold=20"]);
    read(command.arg(unit)).context("`systemd-analyze security` rates the unit above 2.0")?;
    Ok(())
}

/// The unit's filter allows every call that the server has made.
fn check_calls(unit: &Path, trace: &Path) -> Result<()> {
    let allowed = allowed(&fs::read_to_string(unit)?)?;
    let trace = fs::read_to_string(trace)?;
    let made: BTreeSet<_> = trace.lines().filter_map(call).collect();
    ensure!(
        made.contains("openat") && made.contains("clock_adjtime"),
        "{made:?}"
    );
    let refused: Vec<_> = made
        .iter()
        .filter(|call| !allowed.contains(**call))
        .collect();
    ensure!(
        refused.is_empty(),
        "the unit's SystemCallFilter refuses {refused:?}"
    );
    Ok(())
}

/// The call of a line of `strace -f`: `1234 openat(…) = 3`.
fn call(line: &str) -> Option<&str> {
    let rest = line.split_once(' ')?.1.trim_start();
    let name = rest.split_once('(')?.0;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

/// The calls that a unit's filter allows, with its sets resolved.
fn allowed(unit: &str) -> Result<BTreeSet<String>> {
    let mut words: Vec<String> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="))
        .flat_map(|filter| filter.split_whitespace().map(str::to_owned))
        .collect();
    ensure!(!words.is_empty(), "the unit has no filter");
    let (mut calls, mut sets) = (BTreeSet::new(), BTreeSet::new());
    while let Some(word) = words.pop() {
        if !word.starts_with('@') {
            calls.insert(word);
        } else if sets.insert(word.clone()) {
            let set = read(Command::new("systemd-analyze").args(["syscall-filter", &word]))?;
            let lines = set.lines().skip(1).map(str::trim);
            let names = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
            words.extend(names.map(str::to_owned));
        }
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_from_its_line() {
        assert_eq!(call("12 openat(AT_FDCWD, \"/\") = 3"), Some("openat"));
        assert_eq!(
            call("12  futex(0x7, FUTEX_WAIT <unfinished ...>"),
            Some("futex")
        );
        assert_eq!(call("12 <... futex resumed>) = 0"), None);
        assert_eq!(call("12 +++ exited with 0 +++"), None);
    }
}
