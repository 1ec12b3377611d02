//! Honest publishers and viewers: each of their sessions must be on record.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use system_tests::clock::Stopwatch;
use system_tests::rtmp::{Message, RawRtmp, flv_messages};
use system_tests::{clip, http};

use super::{AUDIENCE, Doors, STUDIO};

/// How long a publisher stays when it comes again and again.
const STAYS: Duration = Duration::from_secs(2);

/// A viewer stays for at least this long, and up to twice as long: more than a second, so that it
/// does not count as churn.
const WATCHES: Duration = Duration::from_millis(1_300);

/// The timeout for anything that the server should do at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A publisher of the clip.
pub(super) struct Publisher {
    stop: Arc<AtomicBool>,
    sessions: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Publisher {
    /// A publisher that stays until it is stopped.
    pub(super) fn steady(doors: Doors, stream: &'static str) -> Self {
        Self::run(doors, stream, None)
    }

    /// A publisher that leaves after two seconds, and returns at once.
    pub(super) fn again_and_again(doors: Doors, stream: &'static str) -> Self {
        Self::run(doors, stream, Some(STAYS))
    }

    fn run(doors: Doors, stream: &'static str, stays: Option<Duration>) -> Self {
        let (stop, sessions) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let thread = std::thread::spawn({
            let (stop, sessions, rtmp) = (stop.clone(), sessions.clone(), doors.rtmp);
            let clip = flv_messages(clip::small());
            move || {
                let mut admitted = Vec::new();
                while !stop.load(Relaxed) {
                    let until = |watch: Stopwatch| {
                        stop.load(Relaxed) || stays.is_some_and(|time| watch.elapsed() >= time)
                    };
                    admitted.push(publish(rtmp, stream, &clip, until));
                    sessions.fetch_add(1, Relaxed);
                }
                admitted
            }
        });
        Self {
            stop,
            sessions,
            thread,
        }
    }

    /// Sessions that have ended so far.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// Stops. Returns the time that each session took to be admitted.
    #[track_caller]
    pub(super) fn stop(self) -> Vec<Duration> {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("an honest publisher is let in")
    }
}

/// Publishes in real time. Returns the time from the request to the answer.
fn publish(
    rtmp: SocketAddr,
    stream: &str,
    clip: &[Message],
    until: impl Fn(Stopwatch) -> bool,
) -> Duration {
    let (app, name) = stream.split_once('/').expect("an application and a name");
    let mut raw = RawRtmp::connect(rtmp).expect("a handshake");
    raw.open(app).expect("a connection");
    let asked = Stopwatch::start();
    let answer = raw.publish(&format!("{name}?token={}", STUDIO.1));
    let admitted = asked.elapsed();
    assert_eq!(answer.expect("an answer"), "NetStream.Publish.Start");
    let watch = Stopwatch::start();
    let length_ms = clip.last().map_or(0, |last| last.timestamp) + 40;
    for round in 0.. {
        for message in clip {
            let timestamp = round * length_ms + message.timestamp;
            let due = Duration::from_millis(timestamp.into());
            if until(watch) {
                // The stream is in use until the server notices that the publisher has left.
                let _ = raw.stream().shutdown(Shutdown::Write);
                assert!(raw.closes_within(PATIENCE), "the server lets go of it");
                return admitted;
            }
            std::thread::sleep(due.saturating_sub(watch.elapsed()));
            let message = Message {
                timestamp,
                ..message.clone()
            };
            raw.send(1, &message).expect("a frame is taken");
        }
    }
    admitted
}

/// Viewers who come and go.
pub(super) struct Audience {
    stop: Arc<AtomicBool>,
    sessions: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Audience {
    /// This many viewers at a time, each of which stays for one to three seconds and comes back.
    pub(super) fn come_and_go(doors: Doors, stream: &'static str, viewers: u64) -> Self {
        let (stop, sessions) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..viewers).map(|viewer| {
            let (stop, sessions, to) = (stop.clone(), sessions.clone(), doors.http);
            std::thread::spawn(move || {
                let more = WATCHES * u32::try_from(viewer).unwrap_or(0) / 20;
                while !stop.load(Relaxed) {
                    watch(to, stream, WATCHES + more);
                    sessions.fetch_add(1, Relaxed);
                }
            })
        });
        Self {
            threads: threads.collect(),
            stop,
            sessions,
        }
    }

    /// Sessions that have ended so far.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// Stops. Returns the number of sessions.
    #[track_caller]
    pub(super) fn stop(self) -> usize {
        self.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("an honest viewer is let in");
        }
        self.sessions.load(Relaxed)
    }
}

fn watch(to: SocketAddr, stream: &str, time: Duration) {
    let mut viewer = TcpStream::connect(to).expect("a connection");
    viewer.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let path = format!("/{stream}.flv?token={}", AUDIENCE.1);
    let get = http::request_bytes(to, "GET", &path, &[]);
    viewer.write_all(&get).expect("a request is taken");
    let mut part = vec![0; 64 << 10];
    let read = viewer.read(&mut part).expect("an answer");
    let head = String::from_utf8_lossy(&part[..read]);
    assert!(
        head.starts_with("HTTP/1.0 200") || head.starts_with("HTTP/1.1 200"),
        "{head}"
    );
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        assert!(viewer.read(&mut part).expect("the stream goes on") > 0);
    }
}
