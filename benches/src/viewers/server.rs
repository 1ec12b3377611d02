//! The measured servers: started with our configuration; the operating system reports their
//! resource use.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::tls;

/// The timeout for a server to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// The timeout for an orderly end, with viewers that have just left.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// A sink on the server's standard output. If it is configured, its lines are counted.
pub const STDOUT_SINK: &str = "[[sink]]\nname = \"stdout\"\n[sink.stdout]\n";

/// Where Debian puts nginx's module.
pub const NGINX_RTMP: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// The program that is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Our server, the trail in strict mode for publishers and viewers, with this `send_interval`.
    Livetrail {
        interval_ms: u64,
        threads: usize,
        http: bool,
        /// RTMPS or HTTPS.
        tls: bool,
        /// By io_uring where the system has it, as by default; else never.
        io_uring: bool,
    },
    /// [`gateway`](super::gateway).
    Gateway {
        interval_ms: u64,
        threads: usize,
        audited: bool,
    },
    /// nginx with the RTMP module, as Debian packages it and with its defaults: each message is
    /// written at once.
    Nginx,
    /// [`bare`](super::bare).
    Bare { interval_ms: u64, io_uring: bool },
}

impl Kind {
    /// For the table.
    pub fn name(&self) -> String {
        let threads = |threads: usize| match threads {
            0 => String::new(),
            1 => " 1 thread".to_owned(),
            n => format!(" {n} threads"),
        };
        let (name, interval_ms) = match *self {
            Self::Livetrail {
                interval_ms,
                threads: n,
                http,
                tls,
                io_uring,
            } => {
                let protocol = match (http, tls) {
                    (false, false) => "RTMP",
                    (false, true) => "RTMPS",
                    (true, false) => "HTTP-FLV",
                    (true, true) => "HTTPS-FLV",
                };
                let way = if io_uring { "" } else { " by writev" };
                let name = format!("livetrail {protocol}{way}{}", threads(n));
                (name, interval_ms)
            }
            Self::Gateway {
                interval_ms,
                threads: n,
                audited,
            } => {
                let trail = if audited { "audited" } else { "unaudited" };
                (format!("gateway {trail}{}", threads(n)), interval_ms)
            }
            Self::Nginx => ("nginx-rtmp".to_owned(), 0),
            Self::Bare {
                interval_ms,
                io_uring,
            } => {
                let way = if io_uring { "io_uring" } else { "writev" };
                (format!("bare {way}"), interval_ms)
            }
        };
        match interval_ms {
            0 => format!("{name}, at once"),
            ms => format!("{name}, every {ms} ms"),
        }
    }

    /// The same without TLS, if it has TLS.
    pub fn plain(&self) -> Option<Self> {
        let mut plain = self.clone();
        match &mut plain {
            Self::Livetrail { tls, .. } => std::mem::take(tls).then_some(plain),
            _ => None,
        }
    }

    /// The program that this server needs and this machine lacks.
    pub fn missing(&self) -> Option<&'static str> {
        let there = |program: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
        };
        match self {
            Self::Nginx if !there("nginx") || !Path::new(NGINX_RTMP).exists() => {
                Some("Debian's packages `nginx` and `libnginx-mod-rtmp`")
            }
            _ => None,
        }
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    rtmp: SocketAddr,
    http: SocketAddr,
    /// The chain of the server's certificate, and where it speaks TLS.
    tls: Option<(PathBuf, SocketAddr)>,
    kind: Kind,
    dir: TempDir,
    /// Reads its standard output to the end, when that is a sink.
    output: Option<JoinHandle<std::io::Result<u64>>>,
}

/// The trail of one of our servers after its end.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The trail's name.
    pub origin: String,
    /// How many records it has.
    pub records: u64,
    /// Lines on standard output, when that was a sink.
    pub lines: Option<u64>,
}

impl Server {
    /// Starts it and waits until it listens. `livetrail` is our server's program.
    pub fn start(kind: &Kind, livetrail: &Path, clip: &Path) -> Result<Self> {
        Self::start_with(kind, livetrail, clip, "")
    }

    /// As [`start`](Self::start), with this at the end of our server's configuration.
    pub fn start_with(kind: &Kind, livetrail: &Path, clip: &Path, more: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (rtmp, http) = (free_address()?, free_address()?);
        let mut secure = None;
        let mut command = match kind {
            Kind::Livetrail {
                interval_ms,
                threads,
                http: by_http,
                tls: by_tls,
                io_uring,
            } => {
                let path = dir.path().join("livetrail.toml");
                let sending = sending(*interval_ms, *threads, *io_uring);
                let mut config = livetrail_config(dir.path(), rtmp, http, &sending);
                if *by_http {
                    // RTMP is for publishers, so the files that may be open are for viewers.
                    config = config.replacen("= 60000", "= 2000", 1);
                }
                if *by_tls {
                    let address = free_address()?;
                    let (chain, key) = tls::certificate(dir.path())?;
                    let section = if *by_http { "[http]\n" } else { "[rtmp]\n" };
                    let listen = format!("{section}tls_listen = \"{address}\"\n");
                    config = config.replacen(section, &listen, 1);
                    config += &format!("[[tls.certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
                    secure = Some((chain, address));
                }
                fs::write(&path, config + more)?;
                // A build from before ledgers has no such command, and creates its trail itself.
                let mut init = Command::new(livetrail);
                init.args(["trail", "init"]).arg(dir.path().join("data"));
                let init = init.stdout(Stdio::null()).stderr(Stdio::null()).status();
                let _ = init.with_context(|| format!("cannot start {}", livetrail.display()))?;
                let mut command = Command::new(livetrail);
                command.arg("serve").arg("--config").arg(path);
                command
            }
            Kind::Nginx => {
                let path = dir.path().join("nginx.conf");
                fs::write(&path, nginx_config(dir.path(), rtmp))?;
                let mut command = Command::new("nginx");
                command.arg("-p").arg(dir.path()).arg("-c").arg(path);
                command.arg("-e").arg(dir.path().join("error.log"));
                command
            }
            Kind::Gateway {
                interval_ms,
                threads,
                audited,
            } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("gateway");
                command.arg("--port").arg(rtmp.port().to_string());
                command.arg("--interval-ms").arg(interval_ms.to_string());
                command.arg("--egress-threads").arg(threads.to_string());
                if *audited {
                    command.arg("--trail").arg(dir.path().join("trail"));
                }
                command
            }
            Kind::Bare {
                interval_ms,
                io_uring,
            } => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("bare").arg("--clip").arg(clip);
                command.arg("--port").arg(rtmp.port().to_string());
                command.arg("--interval-ms").arg(interval_ms.to_string());
                if *io_uring {
                    command.arg("--io-uring");
                }
                command
            }
        };
        super::raise_open_files();
        // The sink refuses to write into nothing.
        let stdout = match more.contains(STDOUT_SINK) {
            true => Stdio::piped(),
            false => Stdio::null(),
        };
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("cannot start {}", kind.name()))?;
        let output = child.stdout.take();
        let output = output.map(|output| std::thread::spawn(move || count_lines(output)));
        let mut server = Self {
            child,
            rtmp,
            http,
            tls: secure,
            kind: kind.clone(),
            dir,
            output,
        };
        server.await_listening()?;
        Ok(server)
    }

    /// Where viewers go; `%` stands for the stream's number.
    pub fn play_url(&self) -> String {
        match (&self.kind, &self.tls) {
            (Kind::Livetrail { http: true, .. }, Some((_, address))) => {
                format!("https://{address}/live/s%.flv")
            }
            (_, Some((_, address))) => format!("rtmps://{address}/live/s%"),
            (Kind::Livetrail { http: true, .. }, None) => {
                format!("http://{}/live/s%.flv", self.http)
            }
            (Kind::Bare { .. }, None) => format!("raw://{}", self.rtmp),
            _ => format!("rtmp://{}/live/s%", self.rtmp),
        }
    }

    /// The authority that viewers trust, if they use TLS.
    pub fn ca(&self) -> Option<&Path> {
        self.tls.as_ref().map(|(chain, _)| chain.as_path())
    }

    /// Where the publisher goes, if it needs one.
    pub fn publish_url(&self) -> Option<String> {
        let wanted = !matches!(self.kind, Kind::Bare { .. });
        wanted.then(|| format!("rtmp://{}/live/s%", self.rtmp))
    }

    /// Where it answers over HTTP, if it does.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Ends our server in order: what it has recorded is sealed and goes to the sinks.
    pub fn stop(mut self) -> Result<Ended> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let deadline = Instant::now() + STOP_PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "the server ended with {status}");
        let lines = self.output.take().map(|output| {
            let lines = output.join().map_err(|_| anyhow!("the reader panicked"))?;
            anyhow::Ok(lines?)
        });
        // The name, the size, the root (C2SP tlog-checkpoint).
        let path = self.dir.path().join("data/trail/checkpoint");
        let checkpoint =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut text = checkpoint.lines();
        Ok(Ended {
            origin: text.next().context("a name")?.to_owned(),
            records: text.next().context("a size")?.parse()?,
            lines: lines.transpose()?,
        })
    }

    fn await_listening(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.rtmp).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}", self.kind.name());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen", self.kind.name());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn count_lines(mut output: ChildStdout) -> std::io::Result<u64> {
    let mut bytes = vec![0; 64 << 10];
    let mut lines = 0;
    loop {
        match output.read(&mut bytes)? {
            0 => return Ok(lines),
            n => lines += bytes[..n].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

/// Builds our server with the flags of a release and these additional features from the workspace;
/// returns the program's path.
pub fn build(features: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--quiet", "--profile", "dist", "--locked"])
        .args(["--package", "livetrail-server", "--features", features])
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the server does not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("dist").join("livetrail"))
}

/// A port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// How frames are sent, for either gateway.
fn sending(interval_ms: u64, threads: usize, io_uring: bool) -> String {
    let mut lines = format!("send_interval = \"{interval_ms}ms\"\negress_threads = {threads}\n");
    if !io_uring {
        // Omitted otherwise, because an older build does not know the setting.
        lines += "io_uring = \"off\"\n";
    }
    lines
}

fn livetrail_config(dir: &Path, rtmp: SocketAddr, http: SocketAddr, sending: &str) -> String {
    let data = dir.join("data");
    format!(
        "node = \"bench\"\ndata = {data:?}\n[log]\nfilter = \"warn\"\n\
         [rtmp]\nlisten = \"{rtmp}\"\nmax_connections = 60000\nmax_connections_per_ip = 0\n{sending}\
         [http]\nlisten = \"{http}\"\nmax_connections = 60000\nmax_connections_per_ip = 0\n{sending}\
         [limits]\nmax_publishers = 10000\n\
         [audit]\npublish = \"strict\"\nplay = \"strict\"\n"
    )
}

fn nginx_config(dir: &Path, rtmp: SocketAddr) -> String {
    let pid = dir.join("nginx.pid");
    format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 60000;\n\
         pid {}; error_log stderr crit; load_module {NGINX_RTMP};\n\
         events {{ worker_connections 60000; }}\n\
         rtmp {{ access_log off; server {{ listen {rtmp}; application live {{ live on; }} }} }}\n",
        pid.display()
    )
}

/// What a process has used, all its threads together.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Nanoseconds on a processor, of each thread.
    cpu_ns: HashMap<u64, u64>,
    /// The name of each thread.
    names: HashMap<u64, String>,
    /// Voluntary and involuntary context switches of each thread.
    switches: HashMap<u64, (u64, u64)>,
    /// The processor time of the whole process in ticks, with threads that have ended.
    ticks: u64,
    pub rss_bytes: u64,
    at: Instant,
}

/// The difference of two.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    pub cpu_seconds: f64,
    /// Also of threads that have ended in between; a multiple of 10 ms.
    pub whole_cpu_seconds: f64,
    pub voluntary: u64,
    pub involuntary: u64,
    pub seconds: f64,
}

impl Usage {
    /// Of this process.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self {
            cpu_ns: HashMap::new(),
            names: HashMap::new(),
            switches: HashMap::new(),
            ticks: 0,
            rss_bytes: 0,
            at: Instant::now(),
        };
        let process = PathBuf::from(format!("/proc/{pid}"));
        for thread in fs::read_dir(process.join("task"))? {
            let path = thread?.path();
            let id = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            // A thread may end while we look.
            let (Some(id), Ok(run), Ok(status), Ok(name)) = (
                id,
                fs::read_to_string(path.join("schedstat")),
                fs::read_to_string(path.join("status")),
                fs::read_to_string(path.join("comm")),
            ) else {
                continue;
            };
            usage.names.insert(id, name.trim_end().to_owned());
            let ns = run.split(' ').next().and_then(|ns| ns.parse().ok());
            usage.cpu_ns.insert(id, ns.context("schedstat")?);
            let switches = (
                field(&status, "voluntary_ctxt_switches:"),
                field(&status, "nonvoluntary_ctxt_switches:"),
            );
            usage.switches.insert(id, switches);
        }
        usage.ticks = super::stat(&fs::read_to_string(process.join("stat"))?).ticks;
        let status = fs::read_to_string(process.join("status"))?;
        usage.rss_bytes = field(&status, "VmRSS:") * 1_024;
        Ok(usage)
    }

    /// Processor time since `before` of the threads whose name this function accepts, in seconds.
    pub fn of_threads(&self, before: &Self, named: impl Fn(&str) -> bool) -> f64 {
        let mut seconds = 0.0;
        for (id, ns) in &self.cpu_ns {
            if self.names.get(id).is_some_and(|name| named(name)) {
                let then = before.cpu_ns.get(id).copied().unwrap_or(0);
                seconds += ns.saturating_sub(then) as f64 / 1e9;
            }
        }
        seconds
    }

    /// Since `before`. Threads that have ended in between are counted only in `whole_cpu_seconds`.
    pub fn since(&self, before: &Self) -> Used {
        let mut used = Used {
            seconds: (self.at - before.at).as_secs_f64(),
            whole_cpu_seconds: (self.ticks - before.ticks) as f64 / super::TICKS_PER_SECOND,
            ..Used::default()
        };
        for (id, ns) in &self.cpu_ns {
            let then = before.cpu_ns.get(id).copied().unwrap_or(0);
            used.cpu_seconds += ns.saturating_sub(then) as f64 / 1e9;
        }
        for (id, (voluntary, involuntary)) in &self.switches {
            let then = before.switches.get(id).copied().unwrap_or((0, 0));
            used.voluntary += voluntary.saturating_sub(then.0);
            used.involuntary += involuntary.saturating_sub(then.1);
        }
        used
    }
}

/// The number behind a line's name; 0 when there is none.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
