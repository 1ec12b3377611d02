//! What HLS costs the server, next to nginx that serves the same bytes as files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use livetrail_benches::{
    self as bench,
    hls::{
        client::{Load, Report, Source, Way},
        http,
        nginx::Nginx,
        publisher::Publisher,
    },
    viewers::{
        clip,
        server::{self, Kind, Server, Usage},
    },
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Viewers of plain HLS: playlists and segments
    Plain,
    /// Viewers of low-latency HLS, with reloads that the server holds, and parts
    LowLatency,
    /// What it costs to segment streams that nobody watches
    Segmenting,
}

#[derive(clap::Args)]
struct Options {
    /// Viewers; 2,000 unless given
    #[arg(long, global = true)]
    viewers: Option<usize>,
    /// Streams that are segmented
    #[arg(long, global = true, default_value_t = 100)]
    streams: usize,
    /// Seconds that are measured, in each turn
    #[arg(long, global = true, default_value_t = 10.0)]
    seconds: f64,
    #[arg(long, global = true, default_value_t = 3)]
    rounds: usize,
    /// Others: `files` (nginx serves the same bytes), `nginx-rtmp` (it makes them, too), or `none`
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        default_value = "files,nginx-rtmp"
    )]
    peers: Vec<String>,
    /// Our server's program; built from the workspace unless given. Several take turns
    #[arg(long, global = true)]
    livetrail: Vec<PathBuf>,
    /// The clip of a low rate, about 100 kbit/s
    #[arg(long, global = true)]
    light: bool,
    /// A short run: 200 viewers, 10 streams, 4 s, once
    #[arg(long, global = true)]
    quick: bool,
}

/// The duration of a segment, and how often viewers of plain HLS ask.
const SEGMENT: Duration = Duration::from_secs(2);
const PART: Duration = Duration::from_millis(500);
/// Viewers who come per second.
const JOINS_PER_SECOND: usize = 1_000;
/// After the viewers have come, before the measurement.
const SETTLE: Duration = Duration::from_secs(2);
/// How much a playlist lists: as short as it may be, so that memory is steady soon.
const WINDOW: Duration = Duration::from_secs(12);
const ENTRY: &str = "/live/s0/index.m3u8";

fn main() -> Result<()> {
    bench::nanos();
    let Arguments { part, mut options } = Arguments::parse();
    if options.quick {
        options.viewers.get_or_insert(200);
        (options.streams, options.seconds, options.rounds) = (10, 4.0, 1);
    }
    let files = bench::viewers::raise_open_files();
    let viewers = options.viewers.unwrap_or(2_000);
    ensure!(
        viewers as u64 + 100 < files,
        "{viewers} viewers need more than the {files} files that may be open here"
    );
    if options.livetrail.is_empty() {
        options.livetrail = vec![server::build("")?];
    }
    let clip = if options.light {
        clip::light()?
    } else {
        clip::at_hand()?
    };
    let wants = |which: Part| part.is_none_or(|part| part == which);
    if wants(Part::Plain) {
        compare(&options, viewers, &clip, false)?;
    }
    if wants(Part::LowLatency) {
        compare(&options, viewers, &clip, true)?;
    }
    if wants(Part::Segmenting) {
        segmenting(&options, &clip)?;
    }
    Ok(())
}

/// A server in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Candidate {
    Livetrail(PathBuf),
    Files,
    NginxRtmp,
}

impl Candidate {
    fn name(&self, all: &[PathBuf]) -> String {
        match self {
            Self::Livetrail(path) if all.len() > 1 => format!("livetrail {}", path.display()),
            Self::Livetrail(_) => "livetrail".to_owned(),
            Self::Files => "nginx, the same bytes as files".to_owned(),
            Self::NginxRtmp => "nginx-rtmp".to_owned(),
        }
    }
}

/// The result of a turn.
struct Sample {
    report: Report,
    /// Processor time without viewers, and with all of them, in milliseconds per second.
    idle_ms: f64,
    all_ms: f64,
    kib_per_viewer: f64,
    renderings_per_second: Option<f64>,
    viewers: usize,
}

impl Sample {
    fn micros_per_request(&self) -> f64 {
        let requests = self.report.requests() as f64 / self.report.seconds;
        self.all_ms * 1e3 / requests
    }

    /// Of the viewers alone.
    fn micros_of_viewers(&self) -> f64 {
        let requests = self.report.requests() as f64 / self.report.seconds;
        (self.all_ms - self.idle_ms) * 1e3 / requests
    }
}

fn compare(options: &Options, viewers: usize, clip: &Path, low_latency: bool) -> Result<()> {
    let mut candidates: Vec<_> = options
        .livetrail
        .iter()
        .cloned()
        .map(Candidate::Livetrail)
        .collect();
    let wants = |peer: &str| options.peers.iter().any(|other| other == peer);
    for (peer, candidate, with_rtmp) in [
        ("files", Candidate::Files, false),
        ("nginx-rtmp", Candidate::NginxRtmp, true),
    ] {
        // nginx-rtmp has no low latency.
        if !wants(peer) || (low_latency && with_rtmp) {
            continue;
        }
        if Nginx::is_there(with_rtmp) {
            candidates.push(candidate);
        } else {
            println!(
                "{peer} is left out: it is in Debian's packages `nginx` and `libnginx-mod-rtmp`"
            );
        }
    }
    let mut samples: Vec<Vec<Sample>> = candidates.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for turn in 0..candidates.len() {
            let at = (turn + round) % candidates.len();
            let sample = measure(&candidates[at], options, viewers, clip, low_latency);
            let name = candidates[at].name(&options.livetrail);
            let sample = sample.with_context(|| name.clone())?;
            eprintln!(
                "  {name}: {:.2} µs a request, load client {:.2} of a core",
                sample.micros_per_request(),
                sample.report.load_cpu_seconds / sample.report.seconds
            );
            samples[at].push(sample);
        }
    }
    let kind = if low_latency {
        "low-latency HLS, parts of 0.5 s"
    } else {
        "plain HLS, segments of 2 s"
    };
    println!(
        "\n### {kind}: {viewers} viewers, {} s in each turn, median of {} turns\n",
        options.seconds, options.rounds
    );
    print(&candidates, &samples, &options.livetrail, low_latency);
    Ok(())
}

fn measure(
    candidate: &Candidate,
    options: &Options,
    viewers: usize,
    clip: &Path,
    low_latency: bool,
) -> Result<Sample> {
    let seconds = Duration::from_secs_f64(options.seconds);
    let time = Time { viewers, seconds };
    let way = if low_latency {
        Way::Blocking
    } else {
        Way::Plain(SEGMENT)
    };
    match candidate {
        Candidate::Livetrail(program) => {
            let (server, publisher) = livetrail(program, clip, Some(low_latency), 1)?;
            let http = server.http();
            let source = Source::Entry(ENTRY.to_owned());
            let load = Load::new(http, way, source, viewers)?;
            let mut renderings = 0.0;
            let metric = || http::metric(http, "livetrail_hls_renderings_total");
            let mut sample = time.measure(
                load,
                Some(&publisher),
                || server.usage(),
                || {
                    renderings = metric()? - renderings;
                    Ok(())
                },
            )?;
            sample.renderings_per_second = Some(renderings / sample.report.seconds);
            Ok(sample)
        }
        Candidate::Files => {
            let (server, publisher) = livetrail(&options.livetrail[0], clip, Some(low_latency), 1)?;
            let folder = tempfile::tempdir()?;
            std::fs::set_permissions(
                folder.path(),
                std::os::unix::fs::PermissionsExt::from_mode(0o755),
            )?;
            let query = if low_latency { "?_HLS_skip=YES" } else { "" };
            let (prefix, names) = http::capture(server.http(), ENTRY, query, folder.path())?;
            drop((server, publisher));
            let nginx = Nginx::of_files(folder.path())?;
            let way = if low_latency { Way::Burst(PART) } else { way };
            let load = Load::new(nginx.http, way, Source::Files(prefix, names), viewers)?;
            time.measure(load, None, || nginx.usage(), || Ok(()))
        }
        Candidate::NginxRtmp => {
            let nginx = Nginx::of_streams()?;
            let url = format!("rtmp://{}/live/s%", nginx.rtmp);
            let mut publisher = Publisher::start(clip, &url, 1)?;
            publisher.unheard();
            std::thread::sleep(WINDOW);
            publisher.check()?;
            let source = Source::Live("/hls/".to_owned(), vec!["s0.m3u8".to_owned()]);
            let load = Load::new(nginx.http, way, source, viewers)?;
            time.measure(load, None, || nginx.usage(), || Ok(()))
        }
    }
}

/// What is measured, and for how long.
#[derive(Clone, Copy)]
struct Time {
    viewers: usize,
    seconds: Duration,
}

impl Time {
    /// Measures a server without viewers, then with them. `at_ends` is called before and after.
    fn measure(
        self,
        mut load: Load,
        publisher: Option<&Publisher>,
        usage: impl Fn() -> Result<Usage>,
        mut at_ends: impl FnMut() -> Result<()>,
    ) -> Result<Sample> {
        let before = usage()?;
        load.go_on(Duration::from_secs(4), publisher)?;
        let empty = usage()?;
        let over = Duration::from_secs_f64(self.viewers as f64 / JOINS_PER_SECOND as f64);
        load.join(over.max(SEGMENT), publisher)?;
        load.go_on(SETTLE, publisher)?;
        at_ends()?;
        let full = usage()?;
        let report = load.run(self.seconds, publisher)?;
        let after = usage()?;
        at_ends()?;
        if let Some(publisher) = publisher {
            publisher.check()?;
        }
        let per_second = |after: &Usage, before: &Usage| {
            let used = after.since(before);
            used.cpu_seconds * 1e3 / used.seconds
        };
        let grown = full.rss_bytes.saturating_sub(empty.rss_bytes);
        Ok(Sample {
            report,
            idle_ms: per_second(&empty, &before),
            all_ms: per_second(&after, &full),
            kib_per_viewer: grown as f64 / 1_024.0 / self.viewers as f64,
            renderings_per_second: None,
            viewers: self.viewers,
        })
    }
}

/// Our server with the trail in strict mode, and a publisher; `hls` is whether HLS has low latency.
/// Returns when its playlists are as long as they will be.
fn livetrail(
    program: &Path,
    clip: &Path,
    hls: Option<bool>,
    streams: usize,
) -> Result<(Server, Publisher)> {
    let kind = Kind::Livetrail {
        interval_ms: 10,
        threads: 0,
        http: true,
        tls: false,
        io_uring: true,
    };
    let more = match hls {
        Some(low_latency) => format!(
            "[hls]\nstart = \"publish\"\nlow_latency = {low_latency}\nsegment = \"2s\"\npart = \"500ms\"\n\
             window = \"{}s\"\n",
            WINDOW.as_secs()
        ),
        None => "[hls]\nenabled = false\n".to_owned(),
    };
    let server = Server::start_with(&kind, program, clip, &more)?;
    let url = server.publish_url().context("an address")?;
    let publisher = Publisher::start(clip, &url, streams)?;
    std::thread::sleep(WINDOW + SEGMENT);
    publisher.check()?;
    Ok((server, publisher))
}

fn print(
    candidates: &[Candidate],
    samples: &[Vec<Sample>],
    programs: &[PathBuf],
    low_latency: bool,
) {
    let spread = |of: &[Sample], decimals, value: &dyn Fn(&Sample) -> f64| {
        bench::spread(&of.iter().map(value).collect::<Vec<_>>(), decimals)
    };
    let files = candidates.iter().position(|one| *one == Candidate::Files);
    // A ratio is taken within a round.
    let ratio = |of: &[Sample], value: &dyn Fn(&Sample) -> f64| {
        files.map_or("–".to_owned(), |files| {
            let rounds = of.iter().zip(&samples[files]);
            let ratios = rounds.map(|(own, files)| value(own) / files.micros_per_request());
            bench::spread(&ratios.collect::<Vec<_>>(), 2)
        })
    };
    let of_all = |values: &dyn Fn(&Sample) -> Vec<f64>, of: &[Sample], share: f64| {
        let mut all: Vec<f64> = of.iter().flat_map(values).collect();
        all.sort_by(f64::total_cmp);
        let at = ((all.len() as f64 * share).ceil() as usize).saturating_sub(1);
        all.get(at).map_or("–".to_owned(), |ms| format!("{ms:.1}"))
    };
    let sum = |of: &[Sample], value: &dyn Fn(&Report) -> u64| -> u64 {
        of.iter().map(|sample| value(&sample.report)).sum()
    };
    let mut headings = vec![
        "server",
        "µs/request",
        "of files",
        "viewers alone, µs/request",
        "of files",
        "ms/viewer·s",
        "ms/s without viewers",
        "requests/s",
        "Mbit/s",
        "p50/p99/max ms",
        "KiB/viewer",
        "errors/late/stale",
    ];
    if low_latency {
        headings.extend([
            "first, p50/p99 ms",
            "last, p50/p99/max ms",
            "parts, missed",
            "renderings/s",
        ]);
    }
    let lines: Vec<_> = candidates
        .iter()
        .zip(samples)
        .map(|(candidate, of)| {
            let mut line = vec![
                candidate.name(programs),
                spread(of, 2, &Sample::micros_per_request),
                ratio(of, &Sample::micros_per_request),
                spread(of, 2, &Sample::micros_of_viewers),
                ratio(of, &Sample::micros_of_viewers),
                spread(of, 4, &|s| s.all_ms / s.viewers as f64),
                spread(of, 1, &|s| s.idle_ms),
                spread(of, 0, &|s| s.report.requests() as f64 / s.report.seconds),
                spread(of, 0, &|s| s.report.bytes as f64 * 8e-6 / s.report.seconds),
                format!(
                    "{}/{}/{}",
                    spread(of, 2, &|s| s.report.p50_ms),
                    spread(of, 2, &|s| s.report.p99_ms),
                    spread(of, 1, &|s| s.report.worst_ms)
                ),
                spread(of, 1, &|s| s.kib_per_viewer),
                format!(
                    "{}/{}/{}",
                    sum(of, &|r| r.errors),
                    sum(of, &|r| r.late),
                    sum(of, &|r| r.stale)
                ),
            ];
            if low_latency {
                line.push(format!(
                    "{}/{}",
                    of_all(&|s| s.report.first_ms.clone(), of, 0.5),
                    of_all(&|s| s.report.first_ms.clone(), of, 0.99)
                ));
                line.push(format!(
                    "{}/{}/{}",
                    of_all(&|s| s.report.last_ms.clone(), of, 0.5),
                    of_all(&|s| s.report.last_ms.clone(), of, 0.99),
                    of_all(&|s| s.report.last_ms.clone(), of, 1.0)
                ));
                line.push(format!(
                    "{}, {}",
                    sum(of, &|r| r.last_ms.len() as u64),
                    sum(of, &|r| r.missed as u64)
                ));
                line.push(spread(of, 1, &|s| s.renderings_per_second.unwrap_or(0.0)));
            }
            line
        })
        .collect();
    bench::table(&headings, &lines);
}

/// The same streams, segmented and not, in turns.
fn segmenting(options: &Options, clip: &Path) -> Result<()> {
    let ways = [
        ("without HLS", None),
        ("plain HLS", Some(false)),
        ("low-latency HLS", Some(true)),
    ];
    let mut used: Vec<Vec<f64>> = ways.iter().map(|_| Vec::new()).collect();
    let mut memory = used.clone();
    for round in 0..options.rounds {
        for turn in 0..ways.len() {
            let at = (turn + round) % ways.len();
            let (server, mut publisher) =
                livetrail(&options.livetrail[0], clip, ways[at].1, options.streams)?;
            publisher.unheard();
            let before = server.usage()?;
            std::thread::sleep(Duration::from_secs_f64(options.seconds));
            let after = server.usage()?;
            publisher.check()?;
            let of = after.since(&before);
            used[at].push(of.cpu_seconds * 1e3 / of.seconds);
            memory[at].push(after.rss_bytes as f64 / f64::from(1 << 20));
            eprintln!(
                "  {}: {:.1} ms/s",
                ways[at].0,
                of.cpu_seconds * 1e3 / of.seconds
            );
        }
    }
    println!(
        "\n### {} streams that are published, {} s in each turn, median of {} turns\n",
        options.streams, options.seconds, options.rounds
    );
    let lines: Vec<_> = ways
        .iter()
        .enumerate()
        .map(|(at, (name, _))| {
            let more: Vec<_> = used[at]
                .iter()
                .zip(&used[0])
                .map(|(own, without)| (own - without) / 10.0)
                .collect();
            vec![
                (*name).to_owned(),
                bench::spread(&used[at], 1),
                bench::spread(&more, 2),
                bench::spread(&memory[at], 1),
            ]
        })
        .collect();
    bench::table(&["", "ms/s", "more, % of a core", "resident MiB"], &lines);
    Ok(())
}
