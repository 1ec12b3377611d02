//! A PostgreSQL server for one test: a copy of one that was set up once for the process, on
//! loopback and a free port.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::clock;
use crate::process::run;
use crate::server::{free_port, own_address};

/// A start after a kill waits until the remaining processes have ended.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The directory from which new ones are copied, in the system's folder for temporary files. Change
/// the number when its contents change.
const TEMPLATE_NAME: &str = "livetrail-postgres-template-1";

/// Any client over loopback is trusted.
const TRUST: &str = "host all all 127.0.0.0/8 trust\n";

/// The user that owns it and may do anything, without a password.
const ADMINISTRATOR: &str = "postgres";

/// A running server. Dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    address: SocketAddr,
    settings: Vec<String>,
    running: Mutex<Option<Child>>,
}

impl Postgres {
    /// A new one, with an empty database.
    ///
    /// # Panics
    /// When PostgreSQL (Debian's `postgresql`) is not there or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// A new one; `prepare` may put files into its directory and returns further settings
    /// (`name=value`).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(prepare: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let dir = own_dir();
        let mut copy = as_owner(Command::new("cp"));
        copy.arg("--archive")
            .arg(template().join("data"))
            .arg(dir.path());
        run("cp", &copy, START_PATIENCE).success();
        let data = dir.path().join("data");
        let settings = prepare(&data);
        give_away(&data);
        let server = Self {
            dir,
            address: free_port(own_address()),
            settings,
            running: Mutex::new(None),
        };
        server.restart();
        server
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(ADMINISTRATOR)
    }

    /// A user's URL.
    #[must_use]
    pub fn url_of(&self, user: &str) -> String {
        format!("postgres://{user}@{}/postgres", self.address)
    }

    /// Runs SQL as the administrator, and returns the rows as `psql` prints them, unaligned and
    /// without headings.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        let output = self.try_sql(ADMINISTRATOR, sql);
        output.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL as this user.
    ///
    /// # Errors
    /// What `psql` said.
    ///
    /// # Panics
    /// When there is no `psql`.
    pub fn try_sql(&self, user: &str, sql: &str) -> Result<String, String> {
        let output = Command::new(program("psql"))
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--command", sql])
            .arg(self.url_of(user))
            .stdin(Stdio::null())
            .output()
            .expect("psql starts");
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// What it has logged.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).expect("a log")
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

    /// Starts it, over what it had on disk, at the same address. Returns when it answers.
    ///
    /// # Panics
    /// When it does not start in time.
    pub fn restart(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(running.is_none(), "it runs already");
        clock::wait_until("PostgreSQL answers", START_PATIENCE, || {
            let child = running.get_or_insert_with(|| self.spawn());
            // Processes of the killed server may still hold its memory: then the start fails, and
            // is repeated.
            if child.try_wait().expect("its status").is_some() {
                *running = None;
                return false;
            }
            TcpStream::connect(self.address).is_ok()
                && self.try_sql(ADMINISTRATOR, "SELECT 1").is_ok()
        });
    }

    fn spawn(&self) -> Child {
        let data = self.dir.path().join("data");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a log");
        let mut command = as_owner(Command::new(program("postgres")));
        command.arg("-D").arg(&data).process_group(0);
        let port = self.address.port();
        for setting in [
            &format!("listen_addresses={}", self.address.ip()),
            "unix_socket_directories=",
            "max_connections=60",
            "shared_buffers=64MB",
            &format!("port={port}"),
        ]
        .into_iter()
        .chain(self.settings.iter().map(String::as_str))
        {
            command.arg("-c").arg(setting);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log again"))
            .stderr(log)
            .spawn()
            .expect("postgres starts")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let running = self
            .running
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = running.take() {
            // At once, and with its children.
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
            let _ = child.wait();
        }
    }
}

/// A directory that `initdb` made once, for all runs on this machine; copies of it start at once.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let place = std::env::temp_dir().join(TEMPLATE_NAME);
        if !place.join("data").is_dir() {
            make_template(&place);
        }
        place
    })
}

/// Made next to its final path and renamed as a whole, since another run may do the same: then the
/// first one counts.
fn make_template(place: &Path) {
    let dir = own_dir();
    let mut command = as_owner(Command::new(program("initdb")));
    command
        .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
        .arg("--username")
        .arg(ADMINISTRATOR)
        .arg("--pgdata")
        .arg(dir.path().join("data"));
    run("initdb", &command, START_PATIENCE).success();
    std::fs::write(dir.path().join("data/pg_hba.conf"), TRUST).expect("pg_hba.conf");
    if std::fs::rename(dir.path(), place).is_err() {
        assert!(
            place.join("data").is_dir(),
            "no template in {}",
            place.display()
        );
    }
}

/// A directory for the user that the server runs as.
fn own_dir() -> TempDir {
    let dir = TempDir::with_prefix("livetrail-postgres").expect("a directory");
    give_away(dir.path());
    dir
}

fn give_away(path: &Path) {
    let Some(owner) = owner() else {
        return;
    };
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a directory").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                chown(entry.path(), Some(owner), Some(owner)).expect("a file is given away");
            }
        }
    }
    chown(path, Some(owner), Some(owner)).expect("a directory is given away");
}

/// PostgreSQL does not run as root: so it runs as this user, who owns nothing else.
fn owner() -> Option<u32> {
    const NOBODY: u32 = 65_534;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0);
    is_root.then_some(NOBODY)
}

/// The command, as the owner, and ended with the thread that starts it.
fn as_owner(command: Command) -> Command {
    let mut guarded = Command::new("setpriv");
    if let Some(owner) = owner() {
        guarded
            .arg(format!("--reuid={owner}"))
            .arg(format!("--regid={owner}"))
            .arg("--clear-groups");
    }
    guarded.arg("--pdeathsig=KILL").arg("--");
    guarded.arg(command.get_program()).args(command.get_args());
    // A user who cannot read our directory must not start in it.
    guarded.current_dir("/");
    guarded
}

/// A program of PostgreSQL: on the path, or where Debian keeps the newest version's.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join(name));
    let mut debian: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin").join(name))
        .collect();
    debian.sort();
    // Debian's own first: a wrapper on the path may want another cluster.
    debian
        .into_iter()
        .rev()
        .chain(on_path)
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("there is no `{name}`: install Debian's package `postgresql`"))
}
