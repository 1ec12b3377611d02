//! The servers for sinks, next to ours: started by the system tests' harness, at a low priority,
//! and their resource use.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Lines, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// The line that [`SinkServers`] prints when it can be written to.
const READY: &str = "# ready";

/// The line that it prints when it has counted its records.
const COUNTED: &str = "# counted";

/// The timeout for an answer of our server about its sinks.
const PATIENCE: Duration = Duration::from_secs(5);

/// The timeout for all sinks to begin, and to get the last records.
const SINK_PATIENCE: Duration = Duration::from_secs(60);

/// Servers that run until this is dropped.
pub struct SinkServers {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The `[[sink]]` tables with which our server follows to each of them.
    pub config: String,
}

impl SinkServers {
    /// Starts them at the lowest priority, and waits until they can be written to.
    pub fn start(program: &Path) -> Result<Self> {
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("piped")?;
        let mut servers = Self {
            child,
            lines: BufReader::new(output).lines(),
            config: String::new(),
        };
        for line in servers.lines_until(READY)? {
            servers.config.push_str(&line);
            servers.config.push('\n');
        }
        Ok(servers)
    }

    /// How many records of this trail each of them holds, from its first one on and without a gap:
    /// counted there, and not reported by our server. For use after that server's end.
    pub fn held(&mut self, origin: &str) -> Result<HashMap<String, u64>> {
        let input = self.child.stdin.as_mut().context("piped")?;
        writeln!(input, "{origin}")?;
        let lines = self.lines_until(COUNTED)?;
        let counts = lines.iter().map(|line| {
            let (name, count) = line.split_once(' ').context("a sink and a number")?;
            Ok((name.to_owned(), count.parse()?))
        });
        counts.collect()
    }

    fn lines_until(&mut self, last: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for line in self.lines.by_ref() {
            let line = line?;
            if line == last {
                return Ok(lines);
            }
            lines.push(line);
        }
        let _ = self.child.kill();
        let status = self.child.wait()?;
        anyhow::bail!("the sinks' servers ended with {status}");
    }

    /// Processor time that they have used so far, including all their children, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut parents = HashMap::new();
        let mut ticks = HashMap::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|pid| pid.parse::<u32>().ok())
            else {
                continue;
            };
            // A process may end while we look.
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
                continue;
            };
            let stat = super::stat(&stat);
            parents.insert(pid, stat.parent);
            ticks.insert(pid, stat.ticks + stat.ticks_of_children);
        }
        let ours = self.child.id();
        let is_ours = |pid: u32| {
            let mut at = pid;
            while let Some(parent) = parents.get(&at).filter(|_| at != ours) {
                at = *parent;
            }
            at == ours
        };
        let sum: u64 = ticks
            .iter()
            .filter(|(pid, _)| is_ours(**pid))
            .map(|(_, ticks)| ticks)
            .sum();
        Ok(sum as f64 / super::TICKS_PER_SECOND)
    }
}

impl Drop for SinkServers {
    fn drop(&mut self) {
        // It ends with its input, and its servers with it.
        self.child.stdin = None;
        let _ = self.child.wait();
    }
}

/// The harness's program that starts them, with the flags of a release.
pub fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--quiet", "--release", "--locked"])
        .args(["--package", "system-tests", "--example", "sink_servers"])
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "the sinks' servers do not build");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release/examples/sink_servers"))
}

/// The state of our server's sinks: committed records, missing records, and errors, by the sink's
/// name.
pub fn sinks(http: SocketAddr) -> Result<HashMap<String, Sink>> {
    let mut stream = TcpStream::connect_timeout(&http, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nhost: {http}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let mut sinks: HashMap<String, Sink> = HashMap::new();
    for line in answer.lines() {
        let Some((metric, rest)) = line.split_once("{sink=\"") else {
            continue;
        };
        let (name, value) = rest.split_once("\"} ").context("a sink's metric")?;
        let value = value.parse()?;
        let sink = sinks.entry(name.to_owned()).or_default();
        match metric {
            "livetrail_sink_records_total" => sink.records = value,
            "livetrail_sink_lag_records" => sink.lag_records = value,
            "livetrail_sink_errors_total" => sink.errors = value,
            _ => {}
        }
    }
    Ok(sinks)
}

/// Waits until each sink has what the trail had at its start.
pub fn await_following(http: SocketAddr) -> Result<()> {
    await_all(http, |sink| sink.records > 0)
}

/// Waits until each sink has what is sealed.
pub fn await_caught_up(http: SocketAddr) -> Result<()> {
    await_all(http, |sink| sink.lag_records == 0)
}

fn await_all(http: SocketAddr, there: impl Fn(&Sink) -> bool) -> Result<()> {
    let deadline = Instant::now() + SINK_PATIENCE;
    loop {
        let sinks = sinks(http)?;
        if sinks.values().all(&there) {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "a sink does not follow: {sinks:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One of the servers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sink {
    pub records: u64,
    pub lag_records: u64,
    pub errors: u64,
}
