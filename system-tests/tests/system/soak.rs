//! A soak test: viewers come, go, stall and are evicted, publishers go and return, all at random
//! and at once. Every reading viewer gets the stream without a gap, unless the trail reports lost
//! frames; memory is flat; the trail accounts for every session.
//!
//! Twenty seconds in the ordinary run; `cargo xtask soak` continues for minutes.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use system_tests::clock::{Stopwatch, poll, wait_until, wall_ms};
use system_tests::rtmp::{Message, RawRtmp, flv_messages, flv_messages_of};
use system_tests::{Config, Server, clip, http, resources, socket};

const SOON: Duration = Duration::from_secs(20);

/// Threads that watch, one viewer after the other.
const WATCHERS: u64 = 16;

/// Streams, each with a publisher that returns again and again: one small, and one that fills a
/// viewer's buffers in two seconds.
const STREAMS: usize = 2;
const HEAVY: usize = 1;

/// No publication is longer: their times do not overlap.
const PUBLICATION_MS: u32 = 20_000;

/// What a viewer's side buffers that does not read.
const NARROW_BYTES: usize = 4 << 10;

/// The server's allowed growth from the second quarter of the time to the last: the contents of the
/// two streams differ by some megabytes at any moment, and so does the memory that the allocator
/// keeps.
const SLACK_KIB: u64 = 20 << 10;

#[test]
fn viewers_and_publishers_come_and_go_at_random_and_each_loss_is_reported_and_nothing_grows() {
    let config = Config::new()
        .application("max_lag_frames = 100")
        .application("stall_timeout = \"1s\"");
    let mut server = Server::start(config);
    let files = resources::open_files(server.pid());
    let soak = Soak::new(&server);
    let lasts = Duration::from_secs(number("LIVETRAIL_SOAK_SECONDS").unwrap_or(20));
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for stream in 0..STREAMS {
            let soak = &soak;
            scope.spawn(move || soak.publish_again_and_again(stream));
        }
        for watcher in 0..WATCHERS {
            let soak = &soak;
            scope.spawn(move || soak.watch_again_and_again(watcher));
        }
        let watch = Stopwatch::start();
        while watch.elapsed() < lasts && !soak.is_over() {
            memory.push(resources::resident_kib(server.pid()));
            poll(Duration::from_millis(200), || soak.is_over().then_some(()));
        }
        soak.over.store(true, Ordering::Relaxed);
    });

    wait_until("all sessions are over", SOON, || {
        server.sessions().is_empty()
    });
    wait_until("all sockets are closed", SOON, || {
        resources::open_files(server.pid()) <= files + 8
    });
    let (early, late) = (quarter(&memory, 1), quarter(&memory, 3));
    assert!(
        late <= early + SLACK_KIB,
        "memory grew from {early} KiB to {late} KiB: {memory:?}"
    );
    let trail = server.stop();
    let lost: u64 = trail
        .records()
        .iter()
        .filter_map(|r| r.dropped_frames)
        .sum();
    let seen = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert!(
        lost > 0 || seen(&soak.holes) == 0,
        "viewers found {} holes of which the trail says nothing",
        seen(&soak.holes)
    );
    assert_eq!(trail.count("publish_started"), seen(&soak.published));
    let started = trail.count("play_started");
    assert!(started >= seen(&soak.played), "{started} plays on record");
    assert!(seen(&soak.checked) > 0, "nobody got anything");
    assert!(trail.count("subscriber_evicted") > 0, "nobody was evicted");
    say(&format!(
        "{lasts:?}, seed {}: {} publications, {started} plays, {} evicted, {} frames read and in order, {} holes, \
         {early} to {late} KiB",
        soak.seed,
        seen(&soak.published),
        trail.count("subscriber_evicted"),
        seen(&soak.checked),
        seen(&soak.holes),
    ));
}

/// The state that all threads share.
struct Soak {
    rtmp: SocketAddr,
    http: SocketAddr,
    clips: [Vec<Message>; STREAMS],
    seed: u64,
    over: AtomicBool,
    /// Of each stream: the place of each message, by type and time.
    sent: [Mutex<HashMap<(u8, u32), usize>>; STREAMS],
    published: AtomicUsize,
    played: AtomicUsize,
    checked: AtomicUsize,
    holes: AtomicUsize,
}

impl Soak {
    fn new(server: &Server) -> Self {
        let seed = number("LIVETRAIL_SOAK_SEED").unwrap_or_else(wall_ms);
        Self {
            rtmp: server.rtmp(),
            http: server.http(),
            clips: [clip::small(), clip::heavy()].map(flv_messages),
            seed,
            over: AtomicBool::new(false),
            sent: Default::default(),
            published: AtomicUsize::new(0),
            played: AtomicUsize::new(0),
            checked: AtomicUsize::new(0),
            holes: AtomicUsize::new(0),
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Waits for this long, or until the soak test ends.
    fn pause(&self, ms: u64) {
        poll(Duration::from_millis(ms), || self.is_over().then_some(()));
    }

    fn publish_again_and_again(&self, stream: usize) {
        // Whatever ends this thread ends the soak: nobody has to wait for its time.
        let _end = EndsWith(&self.over);
        let mut dice = Dice::new(self.seed, 1_000 + stream as u64);
        let mut first_ms = 0;
        while !self.is_over() {
            let mut raw = RawRtmp::connect(self.rtmp).expect("a handshake");
            raw.open("live").expect("a connection");
            let answer = raw.publish(&format!("cam{stream}")).expect("an answer");
            if answer != "NetStream.Publish.Start" {
                // The server has not noticed yet that the publisher before has left.
                assert_eq!(answer, "NetStream.Publish.BadName");
                self.pause(20);
                continue;
            }
            self.published.fetch_add(1, Ordering::Relaxed);
            let lasts_ms = 2_000 + dice.below(7_000);
            self.publish(stream, &mut raw, first_ms, lasts_ms);
            first_ms += PUBLICATION_MS;
            // The connection is dropped without a message; sometimes at once followed by the next.
            drop(raw);
            if dice.below(2) == 0 {
                self.pause(dice.below(700));
            }
        }
    }

    fn publish(&self, stream: usize, raw: &mut RawRtmp, first_ms: u32, lasts_ms: u64) {
        let watch = Stopwatch::start();
        for message in &self.clips[stream] {
            let due = Duration::from_millis(u64::from(message.timestamp));
            if let Some(wait) = due.checked_sub(watch.elapsed()) {
                std::thread::sleep(wait);
            }
            if self.is_over() || watch.elapsed() > Duration::from_millis(lasts_ms) {
                return;
            }
            let message = Message {
                timestamp: first_ms + message.timestamp,
                ..message.clone()
            };
            if is_frame(&message) {
                let mut sent = lock(&self.sent[stream]);
                let place = sent.len();
                sent.insert((message.type_id, message.timestamp), place);
            }
            raw.send(1, &message).expect("media is taken");
        }
    }

    fn watch_again_and_again(&self, watcher: u64) {
        let _end = EndsWith(&self.over);
        let mut dice = Dice::new(self.seed, watcher);
        while !self.is_over() {
            let stream = usize::try_from(dice.below(STREAMS as u64)).expect("a stream");
            let ms = 50 + dice.below(3_000);
            match dice.below(8) {
                0..=2 => self.watch_rtmp(stream, ms),
                3..=4 => self.watch_flv(stream, ms),
                5 => self.stall_rtmp(HEAVY),
                6 => self.stall_flv(HEAVY),
                // The viewer left before it could get anything.
                _ => drop(self.play(RawRtmp::connect(self.rtmp).expect("a handshake"), stream)),
            }
        }
    }

    /// Begins to play. Returns `None` when nobody publishes at the moment.
    fn play(&self, mut raw: RawRtmp, stream: usize) -> Option<RawRtmp> {
        raw.open("live").expect("a connection");
        match raw.play(&format!("cam{stream}")) {
            Ok(code) if code == "NetStream.Play.Start" => {
                self.played.fetch_add(1, Ordering::Relaxed);
                Some(raw)
            }
            _ => {
                self.pause(20);
                None
            }
        }
    }

    fn watch_rtmp(&self, stream: usize, ms: u64) {
        let raw = RawRtmp::connect(self.rtmp).expect("a handshake");
        let Some(mut raw) = self.play(raw, stream) else {
            return;
        };
        let (watch, mut messages) = (Stopwatch::start(), Vec::new());
        while watch.elapsed() < Duration::from_millis(ms) && !self.is_over() {
            match raw.receive() {
                Ok(message) => messages.push(message),
                Err(_) => break,
            }
        }
        self.check(stream, &messages);
    }

    fn watch_flv(&self, stream: usize, ms: u64) {
        let mut socket = TcpStream::connect(self.http).expect("a connection");
        self.ask(&mut socket, stream);
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        let (watch, mut answer, mut buffer) = (Stopwatch::start(), Vec::new(), [0; 16 << 10]);
        while watch.elapsed() < Duration::from_millis(ms) && !self.is_over() {
            match socket.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => answer.extend_from_slice(&buffer[..n]),
            }
        }
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        match head {
            Some(head) if answer.get(9..12) == Some(b"200") => {
                self.check(stream, &flv_messages_of(&answer[head + 4..]));
            }
            _ => self.pause(20),
        }
    }

    fn stall_rtmp(&self, stream: usize) {
        let narrow = socket::connect_narrow(self.rtmp, NARROW_BYTES);
        let Ok(raw) = RawRtmp::over(narrow) else {
            return;
        };
        if let Some(mut raw) = self.play(raw, stream) {
            self.pause(6_000);
            // Evicted or not, the viewer gets only whole messages.
            let mut messages = Vec::new();
            while let Ok(message) = raw.receive() {
                messages.push(message);
                if messages.len() > 50 {
                    break;
                }
            }
            self.check(stream, &messages);
        }
    }

    fn stall_flv(&self, stream: usize) {
        let mut socket = socket::connect_narrow(self.http, NARROW_BYTES);
        self.ask(&mut socket, stream);
        self.pause(6_000);
    }

    fn ask(&self, socket: &mut TcpStream, stream: usize) {
        let get = http::request_bytes(self.http, "GET", &format!("/live/cam{stream}.flv"), &[]);
        socket.write_all(&get).expect("a request is taken");
    }

    /// A viewer's messages are those that were published, from a keyframe on; after each gap there
    /// is a keyframe, too.
    fn check(&self, stream: usize, messages: &[Message]) {
        let sent = lock(&self.sent[stream]);
        let mut next = None;
        for message in messages.iter().filter(|message| is_frame(message)) {
            let place = sent.get(&(message.type_id, message.timestamp)).copied();
            let place = place.expect("it was published");
            if next != Some(place) {
                let keyframe = message.type_id == 9 && message.body[0] >> 4 == 1;
                assert!(
                    keyframe,
                    "after {next:?} comes {place}, which is no keyframe"
                );
                assert!(next.is_none_or(|next| next < place), "it goes back");
                self.holes
                    .fetch_add(usize::from(next.is_some()), Ordering::Relaxed);
            }
            next = Some(place + 1);
            self.checked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sound or picture, and no decoder configuration.
fn is_frame(message: &Message) -> bool {
    [8, 9].contains(&message.type_id) && message.body.get(1).is_some_and(|kind| *kind != 0)
}

/// Ends the soak when a thread ends, also in a panic.
struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Random numbers (SplitMix64), of each thread its own.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, thread: u64) -> Self {
        Self(seed.wrapping_add(thread.wrapping_mul(0xd134_2543_de82_ef95)))
    }

    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// The median of a quarter of the samples, 0 to 3.
fn quarter(samples: &[u64], number: usize) -> u64 {
    let part = samples.len() / 4;
    let mut values = samples[number * part..][..part].to_vec();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a line for people who watch (`--nocapture`, or a test that fails).
#[allow(clippy::print_stdout, reason = "tests talk to people")]
fn say(line: &str) {
    println!("{line}");
}
