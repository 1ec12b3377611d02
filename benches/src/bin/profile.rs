//! The processor time of a server with a thousand viewers, by `perf`: shares, the hottest
//! functions, a flame graph.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use livetrail_benches::{
    self as bench,
    viewers::{
        bare,
        client::{Client, Plan},
        clip, gateway, load,
        server::{self, Kind, Server},
        stacks::{self, Shares},
    },
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Part {
    /// Attach viewers to a server that runs
    Load(load::Options),
    /// Send the clip's messages to every client, with bare `writev`
    Bare(bare::Options),
    /// Our RTMP gateway alone
    Gateway(gateway::Options),
}

#[derive(clap::Args)]
struct Options {
    #[arg(long, default_value = "livetrail")]
    server: Which,
    #[arg(long, default_value_t = 1_000)]
    viewers: usize,
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// In milliseconds, of ours and of bare `writev`
    #[arg(long, default_value_t = 10)]
    send_interval: u64,
    /// Our server's program; built from the workspace unless given
    #[arg(long)]
    livetrail: Option<PathBuf>,
    /// The flame graph
    #[arg(long, default_value = "target/viewers.svg")]
    svg: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Livetrail,
    /// Our RTMP gateway without the rest of the server
    Gateway,
    Nginx,
    Bare,
}

fn main() -> Result<()> {
    load::start_clock();
    let arguments = Arguments::parse();
    match &arguments.command {
        Some(Part::Load(options)) => load::run(options),
        Some(Part::Bare(options)) => bare::run(options),
        Some(Part::Gateway(options)) => gateway::run(options),
        None => profile(&arguments.options),
    }
}

fn profile(options: &Options) -> Result<()> {
    let interval_ms = options.send_interval;
    let kind = match options.server {
        Which::Livetrail => Kind::Livetrail {
            interval_ms,
            threads: 0,
            http: false,
            tls: false,
            io_uring: true,
        },
        Which::Gateway => Kind::Gateway {
            interval_ms,
            threads: 0,
            audited: false,
        },
        Which::Nginx => Kind::Nginx,
        Which::Bare => Kind::Bare {
            interval_ms,
            io_uring: false,
        },
    };
    if Command::new("perf").arg("--version").output().is_err() {
        println!("left out: `perf` (Debian's package `linux-perf`) is not there");
        return Ok(());
    }
    let program = match (&options.livetrail, options.server) {
        (Some(program), _) => program.clone(),
        (None, Which::Livetrail) => server::build("")?,
        (None, _) => PathBuf::new(),
    };
    let script = sample(&kind, &program, options)?;
    let stacks = stacks::parse(&script);
    ensure!(!stacks.is_empty(), "perf has sampled nothing");
    let title = format!(
        "{}, {} viewers, {} samples in {} s",
        kind.name(),
        options.viewers,
        stacks.len(),
        options.seconds
    );
    println!("{title}\n");
    print(&Shares(&stacks));
    std::fs::write(&options.svg, stacks::flame_graph(&stacks, &title))
        .with_context(|| format!("cannot write {}", options.svg.display()))?;
    println!("\nflame graph: {}", options.svg.display());
    Ok(())
}

/// The output of `perf script` for the measured time.
fn sample(kind: &Kind, program: &Path, options: &Options) -> Result<String> {
    let clip = clip::at_hand()?;
    let plan = Plan {
        viewers: options.viewers,
        seconds: f64::from(options.seconds) + 3.0,
        streams: 1,
        storm: 0,
        storm_seconds: 1.0,
        passing: 0.0,
        clip: &clip,
    };
    let server = Server::start(kind, program, &clip)?;
    let mut client = Client::start(&server, &plan)?;
    client.join()?;
    client.await_joined()?;
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("perf.data");
    let recorded = Command::new("perf")
        .args(["record", "-q", "-F", "999", "-g", "-o"])
        .arg(&data)
        .arg("-p")
        .arg(server.pid().to_string())
        .args(["--", "sleep", &options.seconds.to_string()])
        .stdout(Stdio::null())
        .status()
        .context("cannot start perf record")?;
    ensure!(recorded.success(), "perf record ended with {recorded}");
    let seen = client.report()?;
    ensure!(
        (seen.lost, seen.unplaced, seen.gaps) == (0, 0, 0),
        "not all viewers got all frames: {}",
        seen.line()
    );
    let script = Command::new("perf")
        .args(["script", "-F", "comm,ip,sym,dso", "-i"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()
        .context("perf script")?;
    Ok(String::from_utf8_lossy(&script.stdout).into_owned())
}

fn print(shares: &Shares<'_>) {
    let below = |functions: &[&str]| shares.below(functions);
    let rows = [
        ("in the kernel", shares.in_module("[kernel]")),
        (
            "below `io_uring_enter` (without: `writev`; nginx: `send`)",
            below(&[
                "__x64_sys_io_uring_enter",
                "do_writev",
                "__x64_sys_sendto",
                "__x64_sys_sendmsg",
            ]),
        ),
        ("– TCP's transmission", below(&["tcp_write_xmit"])),
        (
            "–– loopback's receiving side, booked to the sender",
            below(&["tcp_v4_rcv"]),
        ),
        ("––– waking the reader", below(&["sock_def_readable"])),
        (
            "– copying the bytes",
            below(&["_copy_from_iter", "skb_do_copy_data_nocache"]),
        ),
        (
            "in our program",
            shares.in_module("livetrail") + shares.in_module("profile"),
        ),
    ];
    let lines: Vec<_> = rows
        .into_iter()
        .map(|(what, share)| vec![what.to_owned(), format!("{share:.1} %")])
        .collect();
    bench::table(&["of all samples", "share"], &lines);
    println!();
    let hottest = shares.hottest(12).into_iter();
    let lines: Vec<_> = hottest
        .map(|(name, share)| vec![format!("`{name}`"), format!("{share:.1} %")])
        .collect();
    bench::table(&["function", "ends in it"], &lines);
}
