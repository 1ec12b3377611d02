//! Many viewers of one stream, which join at any time: each gets every frame from its keyframe on.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use system_tests::rtmp::{
    Message, RawRtmp, assert_every_frame, flv_messages, flv_messages_of, play_to_the_end,
};
use system_tests::{Config, Server, Story, clip, clock, http, resources, tool};

const ENDS: Duration = Duration::from_secs(30);

/// Viewers of each protocol.
const VIEWERS: usize = 40;

#[test]
fn eighty_viewers_that_join_one_by_one_get_every_frame_from_their_keyframe_on() {
    // By io_uring, where this system lets the server have it.
    let rings = match livetrail_uring::Ring::new() {
        Ok(_) => 1..=usize::MAX,
        Err(_) => 0..=0,
    };
    eighty_viewers_get_every_frame(Config::new(), rings);
}

#[test]
fn eighty_viewers_get_the_same_when_each_is_written_to_by_itself() {
    let off = "io_uring = \"off\"";
    eighty_viewers_get_every_frame(Config::new().rtmp(off).http(off), 0..=0);
}

/// An audience behind one address.
const AUDIENCE: usize = 5_000;

/// How many of them ask at the same time.
const KNOCKING: usize = 100;

/// Two seconds are promised. This bound is for a debug build on a busy machine.
const JOINED_WITHIN: Duration = Duration::from_secs(120);

#[test]
fn five_thousand_viewers_with_a_key_join_from_one_address_and_none_is_refused() {
    resources::allow_open_files(2 * AUDIENCE as u64 + 2_000);
    let config = Config::new()
        .default_budgets()
        .key("studio", "a-secret-of-the-studio", "publish")
        .key("audience", "a-secret-of-the-audience", "play");
    let mut server = Server::start(config);
    let (rtmp, http) = (server.rtmp(), server.http());
    let joined = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| publish_slowly(rtmp, &joined));
        server.await_frames("live/cam", 20);
        let watch = clock::Stopwatch::start();
        let knocking: Vec<_> = (0..KNOCKING)
            .map(|_| {
                scope.spawn(|| {
                    let viewers = (0..AUDIENCE / KNOCKING).map(|_| join(http));
                    viewers.collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let audience: Vec<TcpStream> = knocking
            .into_iter()
            .flat_map(|joins| joins.join().expect("no panic").expect("all are let in"))
            .collect();
        let took = watch.elapsed();
        assert!(took < JOINED_WITHIN, "{took:?}");
        // None of them may be a session shorter than a second.
        clock::wait_until("the last one is there for a second", ENDS, || {
            watch.elapsed() > took + Duration::from_millis(1_200)
        });
        joined.store(true, Ordering::Relaxed);
        publisher.join().expect("no panic").expect("a publisher");
        clock::wait_until("all have left", JOINED_WITHIN, || {
            server.sessions().is_empty()
        });
        drop(audience);
    });
    let trail = server.stop();
    for (action, count) in [
        ("play_started", AUDIENCE),
        ("play_ended", AUDIENCE),
        ("play_denied", 0),
        ("publish_denied", 0),
    ] {
        assert_eq!(trail.count(action), count, "{action}");
    }
}

/// Some frames at once, then five per second until `end` is set. The test is about joins, not about
/// how much is sent.
fn publish_slowly(to: SocketAddr, end: &AtomicBool) -> io::Result<()> {
    let mut publisher = RawRtmp::connect(to)?;
    publisher.open("live")?;
    let answer = publisher.publish("cam?token=a-secret-of-the-studio")?;
    assert_eq!(answer, "NetStream.Publish.Start");
    for (number, message) in flv_messages(clip::small()).iter().enumerate() {
        if end.load(Ordering::Relaxed) {
            break;
        }
        publisher.send(1, message)?;
        if number > 40 {
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// A viewer that has been admitted, and has the beginning of the stream.
fn join(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(JOINED_WITHIN))?;
    let path = "/live/cam.flv?token=a-secret-of-the-audience";
    stream.write_all(&http::request_bytes(to, "GET", path, &[]))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4 << 10];
    while !answer.windows(3).any(|three| three == b"FLV") {
        match stream.read(&mut buffer)? {
            0 => {
                let output = String::from_utf8_lossy(&answer).into_owned();
                return Err(io::Error::other(format!("turned away: {output}")));
            }
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(stream)
}

/// With this many rings in the server while they watch.
fn eighty_viewers_get_every_frame(config: Config, rings: RangeInclusive<usize>) {
    let mut server = Server::start(config);
    let (url, sent) = (server.rtmp_url("live/cam"), server.file("sent.flv"));
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 6, Some(&sent));
    server.await_frames("live/cam", 30);
    let (rtmp, http) = (server.rtmp(), server.http());
    let played: Vec<Vec<Message>> = std::thread::scope(|scope| {
        let mut viewers = Vec::new();
        for viewer in 1..=VIEWERS {
            viewers.push(scope.spawn(move || play_to_the_end(rtmp, "live", "cam")));
            viewers.push(scope.spawn(move || {
                let mut stream = TcpStream::connect(http).expect("a connection");
                stream.set_read_timeout(Some(ENDS)).expect("a timeout");
                let get = http::request_bytes(http, "GET", "/live/cam.flv", &[]);
                stream.write_all(&get).expect("a request is taken");
                let mut answer = Vec::new();
                stream
                    .read_to_end(&mut answer)
                    .expect("an answer with an end");
                let body = answer.windows(4).position(|window| window == b"\r\n\r\n");
                flv_messages_of(&answer[body.expect("a header") + 4..])
            }));
            // One after the other: spread over the stream's time and over its GOPs.
            server.await_frames("live/cam", 30 + 5 * viewer as u64);
        }
        let found = resources::rings(server.pid());
        assert!(rings.contains(&found), "{found} rings of {rings:?}");
        publisher.wait(ENDS).success();
        viewers
            .into_iter()
            .map(|viewer| viewer.join().expect("a viewer"))
            .collect()
    });

    let published = flv_messages(&sent);
    for (viewer, messages) in played.iter().enumerate() {
        assert_every_frame(viewer, messages, &published);
    }
    let mut expected = vec![Story::new("rtmp", "live/cam").published("client_closed")];
    for protocol in ["rtmp", "http-flv"] {
        let played = Story::new(protocol, "live/cam").played("stream_ended");
        expected.extend(vec![played; VIEWERS]);
    }
    server.stop().assert_sessions(&expected);
}
