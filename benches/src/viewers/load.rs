//! The load client: thousands of viewers on one thread, and what they have seen.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::mpsc::{Receiver, sync_channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use livetrail_rtmp::RtmpUrl;
use livetrail_tls::ClientTls;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{
    clip::{self, Clip, Published},
    timeline::Timeline,
    tls::Tls,
    viewer::{Target, Viewer},
};
use crate::{Latencies, nanos, process_cpu};

/// The number of frames by which our publisher may be ahead of the client.
const MAX_TOLD: usize = 65_536;
const READ_BYTES: usize = 128 << 10;
/// The timeout for all viewers to be admitted and to know their position in the stream.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause after that, before the measurement, so that the effects of joining are over.
const SETTLE: Duration = Duration::from_secs(1);

/// Viewers to attach.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// `rtmp://HOST/APP/STREAM`, `http://HOST/APP/STREAM.flv`, `rtmps` or `https` with `--ca`, or
    /// `raw://HOST` (chunks without a handshake); `%` becomes the stream's number
    pub url: String,
    #[arg(long, default_value_t = 1_000)]
    pub viewers: usize,
    /// Measured after all have joined
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Over which the viewers join
    #[arg(long, default_value_t = 2.0)]
    pub join_seconds: f64,
    #[arg(long, default_value_t = 1)]
    pub streams: usize,
    /// This many more viewers join during the measurement
    #[arg(long, default_value_t = 0)]
    pub storm: usize,
    #[arg(long, default_value_t = 2.0)]
    pub storm_seconds: f64,
    /// This many viewers per second join during the measurement, and leave as soon as they know
    /// their position in the stream
    #[arg(long, default_value_t = 0.0)]
    pub passing: f64,
    /// The authority that has signed the server's certificate, for `rtmps` and `https`; the name in
    /// the certificate is `localhost`
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Publish to this RTMP address first: viewers are then compared with the published messages,
    /// and latency counts from there
    #[arg(long)]
    pub publish: Option<String>,
    /// The FLV file to publish; made with ffmpeg unless given
    #[arg(long)]
    pub clip: Option<PathBuf>,
    /// Stop here after the publisher has begun, until a line comes on standard input
    #[arg(long, hide = true)]
    pub wait: bool,
}

/// What all viewers share.
pub(super) struct Shared {
    timelines: Vec<Timeline>,
    published: Option<Receiver<Published>>,
    measuring: bool,
    latencies: Latencies,
}

impl Shared {
    /// The stream's frames; all that our publisher has sent by now are there.
    pub(super) fn timeline(&mut self, stream: usize) -> &mut Timeline {
        &mut self.timelines[stream]
    }

    pub(super) fn is_published(&self) -> bool {
        self.published.is_some()
    }

    /// Viewers of the storm may still be joining.
    pub(super) fn latency(&mut self, storm: bool, latency_ns: u64) {
        if self.measuring && !storm {
            self.latencies.add(latency_ns);
        }
    }

    pub(super) fn listen(&mut self) {
        if let Some(published) = &self.published {
            for one in published.try_iter() {
                self.timelines[one.stream].push(one.message, one.at_ns);
            }
        }
    }
}

/// What the viewers of a measurement have seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub viewers: usize,
    /// Viewers that were admitted and are gone, or that were never admitted.
    pub lost: usize,
    /// Without a keyframe that is known.
    pub unplaced: usize,
    pub gaps: u64,
    /// Frames of the viewer that got least and most in the measured time.
    pub least_frames: u64,
    pub most_frames: u64,
    pub bytes: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub worst_ms: f64,
    /// The time from the last request to the first keyframe.
    pub join_p50_ms: f64,
    pub join_p99_ms: f64,
    /// The same for viewers that joined in the storm.
    pub storm_p50_ms: f64,
    pub storm_p99_ms: f64,
    /// Viewers that came and left during the measurement, and how long each waited from its last
    /// request until it was admitted.
    pub passed: u64,
    pub let_in_p50_ms: f64,
    pub let_in_p99_ms: f64,
    pub seconds: f64,
    pub load_cpu_seconds: f64,
}

impl Report {
    fn fields(&mut self) -> [(&'static str, Field<'_>); 19] {
        use Field::{Count, Float, Size};
        [
            ("viewers", Size(&mut self.viewers)),
            ("lost", Size(&mut self.lost)),
            ("unplaced", Size(&mut self.unplaced)),
            ("gaps", Count(&mut self.gaps)),
            ("least_frames", Count(&mut self.least_frames)),
            ("most_frames", Count(&mut self.most_frames)),
            ("bytes", Count(&mut self.bytes)),
            ("p50_ms", Float(&mut self.p50_ms)),
            ("p99_ms", Float(&mut self.p99_ms)),
            ("worst_ms", Float(&mut self.worst_ms)),
            ("join_p50_ms", Float(&mut self.join_p50_ms)),
            ("join_p99_ms", Float(&mut self.join_p99_ms)),
            ("storm_p50_ms", Float(&mut self.storm_p50_ms)),
            ("storm_p99_ms", Float(&mut self.storm_p99_ms)),
            ("passed", Count(&mut self.passed)),
            ("let_in_p50_ms", Float(&mut self.let_in_p50_ms)),
            ("let_in_p99_ms", Float(&mut self.let_in_p99_ms)),
            ("seconds", Float(&mut self.seconds)),
            ("load_cpu_seconds", Float(&mut self.load_cpu_seconds)),
        ]
    }

    /// One line, `name=value` for each.
    pub fn line(mut self) -> String {
        let fields = self.fields().map(|(name, field)| match field {
            Field::Size(n) => format!("{name}={n}"),
            Field::Count(n) => format!("{name}={n}"),
            Field::Float(x) => format!("{name}={x:.3}"),
        });
        fields.join(" ")
    }

    /// From such a line.
    pub fn parse(line: &str) -> Result<Self> {
        let mut report = Self::default();
        for pair in line.split_whitespace() {
            let (name, value) = pair.split_once('=').context("not a report")?;
            for (known, field) in report.fields() {
                match field {
                    _ if known != name => {}
                    Field::Size(n) => *n = value.parse()?,
                    Field::Count(n) => *n = value.parse()?,
                    Field::Float(x) => *x = value.parse()?,
                }
            }
        }
        Ok(report)
    }
}

enum Field<'a> {
    Size(&'a mut usize),
    Count(&'a mut u64),
    Float(&'a mut f64),
}

/// The line that the client prints before its report, when the measurement begins.
pub const MEASURING: &str = "measuring";
/// The line before the first viewer joins.
pub const JOINING: &str = "joining";

/// Attaches viewers. Prints when it begins to measure, and then what it has seen.
pub fn run(options: &Options) -> Result<()> {
    super::raise_open_files();
    let mut load = Load::new(options)?;
    if options.publish.is_some() {
        load.await_publishers(options.streams)?;
    }
    println!("{JOINING}");
    if options.wait {
        std::io::stdin().read_line(&mut String::new())?;
    }
    load.join(options)?;
    println!("{MEASURING}");
    println!("{}", load.measure(options)?.line());
    Ok(())
}

struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    targets: Vec<Target>,
    address: SocketAddr,
    tls: Option<ClientTls>,
    viewers: Vec<Option<Viewer>>,
    lost: usize,
    passing: Passing,
    shared: Shared,
}

/// Viewers who join and leave again.
#[derive(Default)]
struct Passing {
    /// How many have joined so far.
    came: usize,
    /// The numbers of the viewers that are connected.
    here: Vec<usize>,
    gaps: u64,
    let_in: Latencies,
}

fn numbered(url: &str, stream: usize) -> String {
    url.replace('%', &stream.to_string())
}

impl Load {
    fn new(options: &Options) -> Result<Self> {
        let streams = 0..options.streams.max(1);
        let secure = ["rtmps://", "https://"]
            .iter()
            .any(|scheme| options.url.starts_with(scheme));
        let targets: Vec<_> = streams
            .clone()
            .map(|stream| target(&numbered(&options.url, stream)))
            .collect::<Result<_>>()?;
        let address = targets[0].0;
        let published = match &options.publish {
            None => None,
            Some(url) => {
                let path = options.clip.clone().map_or_else(clip::at_hand, Ok)?;
                let clip = Clip::open(&path)?;
                let urls = streams
                    .clone()
                    .map(|stream| Ok(RtmpUrl::parse(&numbered(url, stream))?))
                    .collect::<Result<_>>()?;
                let (told, published) = sync_channel(MAX_TOLD);
                std::thread::Builder::new()
                    .name("publisher".to_owned())
                    .spawn(move || {
                        if let Err(error) = clip::publish(clip, urls, told) {
                            eprintln!("the publisher ended: {error:#}");
                            std::process::exit(1);
                        }
                    })?;
                Some(published)
            }
        };
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            buffer: vec![0; READ_BYTES],
            targets: targets.into_iter().map(|(_, target)| target).collect(),
            address,
            tls: if secure {
                Some(ClientTls::new(options.ca.as_deref(), &[])?)
            } else {
                None
            },
            viewers: Vec::new(),
            lost: 0,
            passing: Passing::default(),
            shared: Shared {
                timelines: streams.map(|_| Timeline::default()).collect(),
                published,
                measuring: false,
                latencies: Latencies::default(),
            },
        })
    }

    /// Waits until every stream has begun: for two seconds of media, so that there is a keyframe
    /// for joining viewers.
    fn await_publishers(&mut self, streams: usize) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while (0..streams).any(|stream| self.shared.timeline(stream).end() < 136) {
            if Instant::now() > deadline {
                bail!("the streams do not begin");
            }
            std::thread::sleep(Duration::from_millis(20));
            self.shared.listen();
        }
        Ok(())
    }

    /// All viewers, evenly over the time for joining, until all know their position in the stream.
    fn join(&mut self, options: &Options) -> Result<()> {
        let over = Duration::from_secs_f64(options.join_seconds.max(0.001));
        let (start, deadline) = (Instant::now(), Instant::now() + over + PATIENCE);
        while self.viewers.len() < options.viewers || !self.all_placed() {
            if Instant::now() > deadline {
                break;
            }
            self.connect_due(start, over, 0, options.viewers, false)?;
            self.turn(Duration::from_millis(1))?;
        }
        let settled = Instant::now() + SETTLE;
        while Instant::now() < settled {
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn measure(&mut self, options: &Options) -> Result<Report> {
        let before: Vec<_> = self.viewers.iter_mut().map(frames_and_bytes).collect();
        let (start, cpu) = (Instant::now(), process_cpu());
        let end = start + Duration::from_secs_f64(options.seconds);
        let storm = Duration::from_secs_f64(options.storm_seconds.max(0.001));
        self.shared.measuring = true;
        while Instant::now() < end {
            self.connect_due(start, storm, options.viewers, options.storm, true)?;
            self.pass_through(start, options.passing)?;
            let hurried = options.storm > 0 || options.passing > 0.0;
            let wait = if hurried { 1 } else { 10 };
            self.turn(Duration::from_millis(wait))?;
        }
        self.shared.measuring = false;
        let mut report = Report {
            seconds: start.elapsed().as_secs_f64(),
            load_cpu_seconds: (process_cpu() - cpu).as_secs_f64(),
            viewers: options.viewers + options.storm,
            lost: self.lost,
            gaps: self.passing.gaps,
            passed: self.passing.let_in.count(),
            least_frames: u64::MAX,
            ..Report::default()
        };
        for (viewer, (frames, bytes)) in self.viewers.iter_mut().zip(before) {
            let (frames_now, bytes_now) = frames_and_bytes(viewer);
            report.least_frames = report.least_frames.min(frames_now - frames);
            report.most_frames = report.most_frames.max(frames_now - frames);
            report.bytes += bytes_now - bytes;
        }
        let (mut joined, mut stormed) = (Latencies::default(), Latencies::default());
        for viewer in self.viewers.iter_mut().flatten() {
            let place = viewer.place();
            report.gaps += place.counts.gaps;
            report.unplaced += usize::from(!place.is_placed());
            let waits = if place.storm {
                &mut stormed
            } else {
                &mut joined
            };
            place.waited_ns().into_iter().for_each(|ns| waits.add(ns));
        }
        let ms = |latencies: &Latencies, share| latencies.quantile(share) / 1e6;
        let latencies = &self.shared.latencies;
        (report.p50_ms, report.p99_ms) = (ms(latencies, 0.5), ms(latencies, 0.99));
        report.worst_ms = ms(latencies, 1.0);
        (report.join_p50_ms, report.join_p99_ms) = (ms(&joined, 0.5), ms(&joined, 0.99));
        (report.storm_p50_ms, report.storm_p99_ms) = (ms(&stormed, 0.5), ms(&stormed, 0.99));
        let let_in = &self.passing.let_in;
        (report.let_in_p50_ms, report.let_in_p99_ms) = (ms(let_in, 0.5), ms(let_in, 0.99));
        Ok(report)
    }

    /// Connects as many of `count` viewers, numbered from `first`, as should be there at this time.
    fn connect_due(
        &mut self,
        start: Instant,
        over: Duration,
        first: usize,
        count: usize,
        storm: bool,
    ) -> Result<()> {
        let share = (start.elapsed().as_secs_f64() / over.as_secs_f64()).min(1.0);
        let due = first + (share * count as f64) as usize;
        while self.viewers.len() < due {
            self.connect(storm)?;
        }
        Ok(())
    }

    /// One more viewer; its number.
    fn connect(&mut self, storm: bool) -> Result<usize> {
        let number = self.viewers.len();
        let stream = number % self.targets.len();
        let mut socket = TcpStream::connect(self.address).context("cannot connect")?;
        self.poll.registry().register(
            &mut socket,
            Token(number),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let tls = self.tls.as_ref().map(Tls::new).transpose()?;
        let viewer = Viewer::new(socket, &self.targets[stream], tls, number, stream, storm)?;
        self.viewers.push(Some(viewer));
        Ok(number)
    }

    /// Lets the viewers join that are due, and those leave that know their position.
    fn pass_through(&mut self, start: Instant, per_second: f64) -> Result<()> {
        let due = (start.elapsed().as_secs_f64() * per_second) as usize;
        while self.passing.came < due {
            let number = self.connect(true)?;
            self.passing.here.push(number);
            self.passing.came += 1;
        }
        for number in std::mem::take(&mut self.passing.here) {
            // A viewer that is gone was lost, and counted.
            let Some(viewer) = &mut self.viewers[number] else {
                continue;
            };
            if !viewer.place().is_placed() {
                self.passing.here.push(number);
                continue;
            }
            self.passing.gaps += viewer.place().counts.gaps;
            if let Some(waited) = viewer.place().let_in_ns() {
                self.passing.let_in.add(waited);
            }
            self.poll.registry().deregister(viewer.socket())?;
            self.viewers[number] = None;
        }
        Ok(())
    }

    /// Serves each viewer that has something to read or to write.
    fn turn(&mut self, wait: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => other?,
        }
        for event in &self.events {
            let number = event.token().0;
            let Some(viewer) = self.viewers.get_mut(number).and_then(Option::as_mut) else {
                continue;
            };
            let mut served = Ok(());
            if event.is_writable() {
                served = viewer.write();
            }
            if served.is_ok() && event.is_readable() {
                served = viewer.read(&mut self.buffer, &mut self.shared);
            }
            if let Err(error) = served {
                if self.lost == 0 {
                    eprintln!("viewer {number}: {error:#}");
                }
                self.lost += 1;
                let _ = self.poll.registry().deregister(viewer.socket());
                self.viewers[number] = None;
            }
        }
        Ok(())
    }

    fn all_placed(&mut self) -> bool {
        let mut here = self.viewers.iter_mut().flatten();
        here.all(|viewer| viewer.place().is_placed())
    }
}

fn frames_and_bytes(viewer: &mut Option<Viewer>) -> (u64, u64) {
    viewer.as_mut().map_or((0, 0), |viewer| {
        let counts = &viewer.place().counts;
        (counts.frames, counts.bytes)
    })
}

fn target(url: &str) -> Result<(SocketAddr, Target)> {
    let resolve = |authority: &str| {
        let mut found = authority
            .to_socket_addrs()
            .with_context(|| format!("{authority} is not host:port"))?;
        found.next().context("the host has no address")
    };
    if let Some(rest) = ["http://", "https://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
    {
        let (authority, path) = rest.split_once('/').context("the address has no path")?;
        let target = Target::Http(authority.to_owned(), format!("/{path}"));
        return Ok((resolve(authority)?, target));
    }
    if let Some(authority) = url.strip_prefix("raw://") {
        return Ok((resolve(authority)?, Target::Raw));
    }
    let url = RtmpUrl::parse(url)?;
    let address = resolve(&format!("{}:{}", url.host, url.port))?;
    Ok((address, Target::Rtmp(url)))
}

/// This starts the clock before the first viewer.
pub fn start_clock() {
    nanos();
}
