//! The load client: thousands of viewers on one thread, each with one connection that stays open.
//!
//! A viewer asks like a player: for a playlist, then for the media that is new in it. Media of one
//! name must have the same bytes for all viewers.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::{http, publisher::Publisher};
use crate::{Latencies, nanos, thread_cpu};

const READ_BYTES: usize = 256 << 10;
/// The timeout for all viewers to have their first media.
const PATIENCE: Duration = Duration::from_secs(90);

/// How viewers learn what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They ask for each playlist once in this time, spread evenly over it, and then for the last
    /// segment.
    Plain(Duration),
    /// They ask for the playlist that has the next part, which the server holds, and then for the
    /// part. Only the first rendition.
    Blocking,
    /// The same requests for files: all viewers ask at once, once in this time.
    Burst(Duration),
}

/// What viewers ask for.
#[derive(Debug, Clone)]
pub enum Source {
    /// A multivariant playlist, from which each viewer gets addresses of its own.
    Entry(String),
    /// The path before the names, and the names of the playlists, which change.
    Live(String, Vec<String>),
    /// The same, and nothing ever changes.
    Files(String, Vec<String>),
}

/// What the viewers of a measurement have seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub seconds: f64,
    pub playlists: u64,
    pub media: u64,
    pub bytes: u64,
    /// Playlists that had nothing new.
    pub stale: u64,
    /// Times that a viewer was due and its last requests were not answered.
    pub late: u64,
    /// Answers other than 200, media that differ from what others got, and connections that ended.
    pub errors: u64,
    /// From a request to its answer; for [`Way::Blocking`] from the part's completion to the
    /// playlist.
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub worst_ms: f64,
    /// Parts whose playlist some viewer did not get, because the next one came before.
    pub missed: usize,
    /// For each part: from its completion to the first and to the last viewer's playlist.
    pub first_ms: Vec<f64>,
    pub last_ms: Vec<f64>,
    pub load_cpu_seconds: f64,
}

impl Report {
    pub fn requests(&self) -> u64 {
        self.playlists + self.media
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Connecting,
    Idle,
    Entry,
    Playlist,
    Media,
    /// Its connection has ended.
    Gone,
}

struct Viewer {
    socket: TcpStream,
    doing: Doing,
    prefix: Arc<str>,
    renditions: Arc<[String]>,
    /// Which of them is next.
    at: usize,
    /// The last segment of each.
    last: Vec<String>,
    /// The part that it waits for.
    awaited: Option<(u64, u32)>,
    asked_ns: u64,
    has_media: bool,
    answer: Answer,
}

/// An answer that is being read.
#[derive(Default)]
struct Answer {
    /// The head, and after it the content if it is not media.
    kept: Vec<u8>,
    head: Option<http::Head>,
    content_bytes: usize,
    crc: crc32fast::Hasher,
}

/// What happened to a part.
struct PartSeen {
    complete_ns: u64,
    first_ns: u64,
    last_ns: u64,
    answers: usize,
}

/// Viewers, and what they see.
pub struct Load {
    poll: Poll,
    events: Events,
    buffer: Vec<u8>,
    address: SocketAddr,
    way: Way,
    source: Source,
    viewers: Vec<Viewer>,
    count: usize,
    /// When viewers are due.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    with_media: usize,
    /// The length and the checksum of media by name.
    media: HashMap<String, (usize, u32)>,
    /// The last video frame that is known to be published.
    published_ns: u64,
    parts: HashMap<(u64, u32), PartSeen>,
    latencies: Latencies,
    measuring: bool,
    report: Report,
}

impl Load {
    /// Viewers who have not come yet.
    pub fn new(address: SocketAddr, way: Way, source: Source, count: usize) -> Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            buffer: vec![0; READ_BYTES],
            address,
            way,
            source,
            viewers: Vec::with_capacity(count),
            count,
            due: BinaryHeap::new(),
            with_media: 0,
            media: HashMap::new(),
            published_ns: 0,
            parts: HashMap::new(),
            latencies: Latencies::default(),
            measuring: false,
            report: Report::default(),
        })
    }

    /// Lets all viewers come within this time, and waits until each has got some media.
    pub fn join(&mut self, over: Duration, publisher: Option<&Publisher>) -> Result<()> {
        let (start, over_ns) = (nanos(), over.as_nanos() as u64);
        for n in 0..self.count {
            let after = over_ns * n as u64 / self.count.max(1) as u64;
            self.due.push(Reverse((start + after, n)));
        }
        let deadline = Instant::now() + over + PATIENCE;
        while self.with_media < self.count {
            self.turn(publisher)?;
            let (n, all) = (self.with_media, self.count);
            ensure!(
                Instant::now() < deadline,
                "only {n} of {all} viewers got media"
            );
            let errors = self.report.errors;
            ensure!(errors == 0, "{errors} errors while viewers joined");
        }
        Ok(())
    }

    /// Goes on without measuring.
    pub fn go_on(&mut self, time: Duration, publisher: Option<&Publisher>) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(publisher)?;
        }
        Ok(())
    }

    /// Measures.
    pub fn run(&mut self, time: Duration, publisher: Option<&Publisher>) -> Result<Report> {
        self.report = Report::default();
        self.latencies = Latencies::default();
        self.parts.clear();
        self.measuring = true;
        let (start, cpu) = (Instant::now(), thread_cpu());
        self.go_on(time, publisher)?;
        self.measuring = false;
        let mut report = std::mem::take(&mut self.report);
        report.seconds = start.elapsed().as_secs_f64();
        report.load_cpu_seconds = (thread_cpu() - cpu).as_secs_f64();
        let ms = |share| self.latencies.quantile(share) / 1e6;
        (report.p50_ms, report.p99_ms, report.worst_ms) = (ms(0.5), ms(0.99), ms(1.0));
        // Parts at both ends of the time were not seen by all.
        let ends = [self.parts.keys().min(), self.parts.keys().max()];
        let inner = self
            .parts
            .iter()
            .filter(|(key, _)| !ends.contains(&Some(key)));
        for (_, part) in inner {
            report.missed += usize::from(part.answers < self.count);
            let after = |ns: u64| ns.saturating_sub(part.complete_ns) as f64 / 1e6;
            report.first_ms.push(after(part.first_ns));
            report.last_ms.push(after(part.last_ns));
        }
        Ok(report)
    }

    fn turn(&mut self, publisher: Option<&Publisher>) -> Result<()> {
        if let Some(publisher) = publisher {
            self.published_ns = publisher.last_video_ns().unwrap_or(self.published_ns);
        }
        let now = nanos();
        while let Some(Reverse((at, n))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            self.is_due(n, at)?;
        }
        let most = Duration::from_millis(5);
        let wait = self.due.peek().map_or(most, |Reverse((at, _))| {
            Duration::from_nanos(at.saturating_sub(nanos())).min(most)
        });
        let polled = self.poll.poll(&mut self.events, Some(wait));
        if let Err(error) = polled {
            ensure!(error.kind() == ErrorKind::Interrupted, "{error}");
        }
        if let Some(publisher) = publisher {
            self.published_ns = publisher.last_video_ns().unwrap_or(self.published_ns);
        }
        let events: Vec<_> = self.events.iter().map(|event| event.token().0).collect();
        for n in events {
            self.is_ready(n)?;
        }
        Ok(())
    }

    /// A viewer comes, or asks again.
    fn is_due(&mut self, n: usize, at: u64) -> Result<()> {
        let next = match self.way {
            Way::Plain(period) => Some(at + period.as_nanos() as u64),
            Way::Burst(period) => {
                let period = period.as_nanos() as u64;
                Some((at / period + 1) * period)
            }
            Way::Blocking => None,
        };
        if let Some(next) = next {
            self.due.push(Reverse((next, n)));
        }
        match self.viewers.get(n).map(|viewer| viewer.doing) {
            None => self.connect(n),
            Some(Doing::Idle) => {
                self.viewers[n].at = 0;
                self.ask_playlist(n)
            }
            Some(_) => {
                self.report.late += 1;
                Ok(())
            }
        }
    }

    fn connect(&mut self, n: usize) -> Result<()> {
        let mut socket = TcpStream::connect(self.address).context("cannot connect")?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut socket, Token(n), interest)?;
        let (prefix, renditions) = match &self.source {
            Source::Entry(_) => ("".into(), Arc::default()),
            Source::Live(prefix, names) | Source::Files(prefix, names) => {
                (prefix.as_str().into(), names.as_slice().into())
            }
        };
        // They come in order.
        debug_assert_eq!(n, self.viewers.len());
        self.viewers.push(Viewer {
            socket,
            doing: Doing::Connecting,
            prefix,
            renditions,
            at: 0,
            last: vec![String::new(); 2],
            awaited: None,
            asked_ns: 0,
            has_media: false,
            answer: Answer::default(),
        });
        Ok(())
    }

    fn is_ready(&mut self, n: usize) -> Result<()> {
        match self.viewers[n].doing {
            Doing::Connecting => {
                if self.viewers[n].socket.take_error()?.is_some()
                    || self.viewers[n].socket.peer_addr().is_err()
                {
                    return Ok(());
                }
                let _ = self.viewers[n].socket.set_nodelay(true);
                match self.source.clone() {
                    Source::Entry(path) => self.ask(n, Doing::Entry, &path),
                    Source::Live(..) | Source::Files(..) => self.ask_playlist(n),
                }
            }
            Doing::Gone => Ok(()),
            _ => self.read(n),
        }
    }

    fn ask(&mut self, n: usize, doing: Doing, path: &str) -> Result<()> {
        let viewer = &mut self.viewers[n];
        viewer.doing = doing;
        viewer.asked_ns = nanos();
        let request = http::request(path);
        let written = viewer.socket.write(request.as_bytes());
        if !written.is_ok_and(|bytes| bytes == request.len()) {
            self.lose(n);
        }
        Ok(())
    }

    fn lose(&mut self, n: usize) {
        self.viewers[n].doing = Doing::Gone;
        self.report.errors += 1;
    }

    fn ask_playlist(&mut self, n: usize) -> Result<()> {
        let viewer = &self.viewers[n];
        let name = &viewer.renditions[viewer.at];
        let prefix = &viewer.prefix;
        let path = match (self.way, viewer.awaited) {
            (Way::Plain(_), _) => format!("{prefix}{name}"),
            (_, Some((sequence, part))) => {
                format!("{prefix}{name}?_HLS_msn={sequence}&_HLS_part={part}&_HLS_skip=YES")
            }
            _ => format!("{prefix}{name}?_HLS_skip=YES"),
        };
        self.ask(n, Doing::Playlist, &path)
    }

    fn read(&mut self, n: usize) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let read = self.viewers[n].socket.read(&mut buffer);
            match read {
                Ok(0) => {
                    self.lose(n);
                    break;
                }
                Ok(bytes) => {
                    if let Err(error) = self.take(n, &buffer[..bytes]) {
                        eprintln!("viewer {n}: {error:#}");
                        self.lose(n);
                        break;
                    }
                    // A stream socket that gave less than there is room for is empty.
                    if bytes < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => {
                    self.lose(n);
                    break;
                }
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    fn take(&mut self, n: usize, mut input: &[u8]) -> Result<()> {
        let viewer = &mut self.viewers[n];
        let answer = &mut viewer.answer;
        if self.measuring {
            self.report.bytes += input.len() as u64;
        }
        let head = match answer.head {
            Some(head) => head,
            None => {
                let whole = if answer.kept.is_empty() {
                    http::head(input)?
                } else {
                    answer.kept.extend_from_slice(input);
                    http::head(&answer.kept)?
                };
                let Some(head) = whole else {
                    if answer.kept.is_empty() {
                        answer.kept.extend_from_slice(input);
                    }
                    return Ok(());
                };
                let before = answer.kept.len().saturating_sub(input.len());
                answer.kept.clear();
                input = &input[head.bytes.saturating_sub(before)..];
                ensure!(
                    head.status == 200,
                    "status {} for {:?}",
                    head.status,
                    viewer.doing
                );
                answer.head = Some(head);
                head
            }
        };
        answer.content_bytes += input.len();
        ensure!(
            answer.content_bytes <= head.content_bytes,
            "too much content"
        );
        let is_complete = answer.content_bytes == head.content_bytes;
        match viewer.doing {
            Doing::Media => answer.crc.update(input),
            _ if is_complete && answer.kept.is_empty() => {
                viewer.answer = Answer::default();
                return self.text(n, input);
            }
            _ => answer.kept.extend_from_slice(input),
        }
        if is_complete {
            let answer = std::mem::take(&mut viewer.answer);
            return match viewer.doing {
                Doing::Media => self.media(n, head.content_bytes, answer.crc.finalize()),
                _ => self.text(n, &answer.kept),
            };
        }
        Ok(())
    }

    /// A playlist has come.
    fn text(&mut self, n: usize, text: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(text)?;
        let viewer = &mut self.viewers[n];
        if viewer.doing == Doing::Entry {
            let Source::Entry(entry) = &self.source else {
                return Ok(());
            };
            let (base, _) = entry.rsplit_once('/').context("a path")?;
            let names = http::renditions(text);
            let (token, _) = names
                .first()
                .and_then(|name| name.rsplit_once('/'))
                .context("no token")?;
            viewer.prefix = format!("{base}/{token}/").into();
            let names = names.iter().filter_map(|name| name.rsplit('/').next());
            viewer.renditions = names.map(str::to_owned).collect();
            return self.ask_playlist(n);
        }
        ensure!(
            viewer.doing == Doing::Playlist,
            "an answer that nobody asked for"
        );
        let now = nanos();
        let asked_ns = viewer.asked_ns;
        let awaited = viewer.awaited;
        let name = match self.way {
            Way::Plain(_) => http::last_segment(text).context("no segment")?,
            Way::Blocking | Way::Burst(_) => {
                viewer.awaited = Some(http::hint(text).context("no preload hint")?);
                http::last_part(text).context("no part")?
            }
        };
        let last = &mut viewer.last[viewer.at];
        if last == name && !matches!(self.source, Source::Files(..)) {
            self.report.stale += 1;
            self.report.playlists += u64::from(self.measuring);
            return self.next_rendition(n);
        }
        name.clone_into(last);
        let path = format!("{}{name}", viewer.prefix);
        if self.measuring {
            self.report.playlists += 1;
            match (self.way, awaited) {
                (Way::Blocking, Some(part)) => self.seen(part, now),
                _ => self.latencies.add(now - asked_ns),
            }
        }
        self.ask(n, Doing::Media, &path)
    }

    /// The playlist with this part has come.
    fn seen(&mut self, part: (u64, u32), now: u64) {
        let published_ns = self.published_ns;
        let seen = self.parts.entry(part).or_insert(PartSeen {
            complete_ns: published_ns,
            first_ns: now,
            last_ns: now,
            answers: 0,
        });
        seen.last_ns = now;
        seen.answers += 1;
        self.latencies.add(now.saturating_sub(seen.complete_ns));
    }

    fn media(&mut self, n: usize, bytes: usize, crc: u32) -> Result<()> {
        let viewer = &mut self.viewers[n];
        if !std::mem::replace(&mut viewer.has_media, true) {
            self.with_media += 1;
        }
        let name = &viewer.last[viewer.at];
        match self.media.get(name) {
            Some(known) => ensure!(
                *known == (bytes, crc),
                "{name} has other bytes for another viewer"
            ),
            None => {
                ensure!(bytes > 0, "{name} is empty");
                self.media.insert(name.clone(), (bytes, crc));
            }
        }
        self.report.media += u64::from(self.measuring);
        self.next_rendition(n)
    }

    fn next_rendition(&mut self, n: usize) -> Result<()> {
        let viewer = &mut self.viewers[n];
        if self.way == Way::Blocking {
            return self.ask_playlist(n);
        }
        viewer.at += 1;
        let is_plain = matches!(self.way, Way::Plain(_));
        if is_plain && viewer.at < viewer.renditions.len() {
            return self.ask_playlist(n);
        }
        viewer.doing = Doing::Idle;
        Ok(())
    }
}
