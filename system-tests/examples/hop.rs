//! What a hop between two nodes costs: `cargo run --release -p system-tests --example hop [VIEWERS
//! [SECONDS]]`.
//!
//! Three servers on this machine: two origins, and an edge that pulls from them. A publisher sends
//! 25 frames per second to each origin. Viewers watch at the edge. Prints how many sessions the
//! origin has for them, by how much later a frame comes at the edge than at the origin, and after
//! how long the edge has frames of the second origin when the first is killed. `LIVETRAIL_BIN`
//! names the server.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

use system_tests::clock::{Stopwatch, wait_until};
use system_tests::rtmp::{Message, RawRtmp};
use system_tests::{CommandLine, Config, Server, http, resources};

const USAGE: &str = "\
What a hop between two nodes costs.

Usage: hop [VIEWERS [SECONDS]]

  VIEWERS     at the edge [default: 2000]
  SECONDS     for which frames are compared [default: 20]
  -h, --help  Print this";

const PATIENCE: Duration = Duration::from_secs(120);

const KEY: &str = "a-secret-of-the-nodes";

/// Between two frames of the publisher.
const INTERVAL: Duration = Duration::from_millis(40);

/// In front of a frame's number, which has eight digits.
const MARK: &[u8] = b"hop-frame-";

/// When each frame came, by its number.
type Arrivals = Mutex<HashMap<u64, Duration>>;

fn main() {
    let mut given = CommandLine::of_process(USAGE);
    let mut number = |of, or| {
        let text = given.take();
        text.map_or(or, |text| given.number(of, &text, 1))
    };
    let (viewers, seconds) = (number("VIEWERS", 2_000), number("SECONDS", 20));
    resources::allow_open_files(4 * viewers + 1_000);
    let origin = |name: &str| {
        let config = Config::new().node(name).auth("publish = \"open\"");
        let config = config.auth("play = \"open\"").key("edge", KEY, "play");
        Server::start(config)
    };
    let (mut first, second) = (origin("origin-a"), origin("origin-b"));
    let origins = [("origin-a", first.rtmp()), ("origin-b", second.rtmp())];
    let edge = Server::start(Config::new().node("edge").pull(&origins, KEY));
    let (over, clock) = (AtomicBool::new(false), Stopwatch::start());
    let (at_origin, at_edge) = (Arrivals::default(), Arrivals::default());
    let (over, at_origin, at_edge) = (&over, &at_origin, &at_edge);
    std::thread::scope(|scope| {
        for origin in [first.rtmp(), second.rtmp()] {
            // The first one is killed, so its publisher ends with an error.
            scope.spawn(move || drop(publish(origin, over)));
        }
        first.await_frames("live/cam", 10);
        second.await_frames("live/cam", 10);
        let audience: Result<Vec<_>, _> = (0..viewers).map(|_| join(edge.http())).collect();
        let mut audience = audience.expect("all are let in");
        let of_edge = |server: &Server, name: &str| {
            let sessions = server.sessions();
            let named = sessions.iter().filter(|one| one["principal"] == name);
            named.count()
        };
        let sessions = of_edge(&first, "edge");
        println!("{viewers} viewers at the edge, sessions at the origin: {sessions}");
        let at_first = join(first.http()).expect("a viewer");
        let measured = join(edge.http()).expect("a viewer");
        let part = audience.len().div_ceil(4);
        while !audience.is_empty() {
            let part = audience.split_off(audience.len().saturating_sub(part));
            scope.spawn(move || take(part, over));
        }
        scope.spawn(move || watch(at_first, at_origin, clock, over));
        scope.spawn(move || watch(measured, at_edge, clock, over));
        sleep(Duration::from_secs(seconds));
        let late = compare(at_origin, at_edge);
        println!(
            "a hop adds {:?} in the median, {:?} at p99, {:?} at most ({} frames)",
            quantile(&late, 50),
            quantile(&late, 99),
            quantile(&late, 100),
            late.len()
        );

        first.crash();
        let since = Stopwatch::start();
        at_edge.lock().expect("no panic").clear();
        wait_until("the second origin", PATIENCE, || {
            of_edge(&edge, "node:origin-b") == 1
        });
        wait_until("a frame", PATIENCE, || {
            !at_edge.lock().expect("no panic").is_empty()
        });
        println!(
            "the edge has frames of the second origin after {:?}",
            since.elapsed()
        );
        let sessions = edge.sessions();
        let left = sessions.iter().filter(|one| one["role"] == "play").count() as u64;
        println!("viewers whose session has ended: {}", (viewers + 1) - left);
        over.store(true, Ordering::Relaxed);
    });
}

/// Sends keyframes with their numbers, at their times.
fn publish(to: SocketAddr, over: &AtomicBool) -> io::Result<()> {
    let mut publisher = RawRtmp::connect(to)?;
    publisher.open("live")?;
    publisher.publish("cam")?;
    let started = Stopwatch::start();
    for number in 0_u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        // A keyframe of H.264 with one unit, whose content nobody reads.
        let mut body = vec![0x17, 1, 0, 0, 0, 0, 0, 7, 0xc7, 0x65];
        body.extend_from_slice(MARK);
        body.extend_from_slice(format!("{number:08}").as_bytes());
        body.resize(9 + 1_991, 0);
        let at = INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
        let timestamp = u32::try_from(at.as_millis()).unwrap_or(u32::MAX);
        let message = Message {
            type_id: 9,
            timestamp,
            body,
        };
        publisher.send(1, &message)?;
        sleep((at + INTERVAL).saturating_sub(started.elapsed()));
    }
    Ok(())
}

/// A viewer that has been admitted, and has the beginning of the stream.
fn join(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&http::request_bytes(to, "GET", "/live/cam.flv", &[]))?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4 << 10]);
    while !answer.windows(3).any(|three| three == b"FLV") {
        match stream.read(&mut buffer)? {
            0 => return Err(io::Error::other("turned away")),
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(stream)
}

/// Reads what comes to these viewers.
fn take(mut viewers: Vec<TcpStream>, over: &AtomicBool) {
    for viewer in &viewers {
        viewer.set_nonblocking(true).expect("a socket");
    }
    let mut buffer = vec![0; 64 << 10];
    while !over.load(Ordering::Relaxed) {
        for viewer in &mut viewers {
            let _ = viewer.read(&mut buffer);
        }
        sleep(Duration::from_millis(100));
    }
}

/// Notes when each frame comes.
fn watch(mut viewer: TcpStream, arrivals: &Arrivals, clock: Stopwatch, over: &AtomicBool) {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    while !over.load(Ordering::Relaxed) {
        let Ok(read @ 1..) = viewer.read(&mut buffer) else {
            return;
        };
        let now = clock.elapsed();
        bytes.extend_from_slice(&buffer[..read]);
        let end = MARK.len() + 8;
        let mut done = 0;
        while let Some(at) = find(&bytes[done..]).map(|at| done + at) {
            let Some(frame) = bytes.get(at + MARK.len()..at + end) else {
                break;
            };
            let number = std::str::from_utf8(frame)
                .ok()
                .and_then(|text| text.parse().ok());
            if let Some(number) = number {
                let mut arrivals = arrivals.lock().expect("no panic");
                arrivals.entry(number).or_insert(now);
            }
            done = at + end;
        }
        let rest = bytes.len().saturating_sub(end).max(done);
        bytes.drain(..rest);
    }
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK)
}

/// By how much later each frame came at the edge, sorted. The first frames were in memory.
fn compare(at_origin: &Arrivals, at_edge: &Arrivals) -> Vec<Duration> {
    let (at_origin, at_edge) = (at_origin.lock(), at_edge.lock());
    let (at_origin, at_edge) = (at_origin.expect("no panic"), at_edge.expect("no panic"));
    let first = at_origin.keys().chain(at_edge.keys()).min().copied();
    let late = at_origin.iter().filter_map(|(number, origin)| {
        let edge = at_edge.get(number)?;
        (*number > first? + 25).then(|| edge.saturating_sub(*origin))
    });
    let mut late: Vec<_> = late.collect();
    late.sort_unstable();
    late
}

fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
