//! Many viewers of one stream, who join when they like: each gets every frame from its keyframe on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::Duration;

use system_tests::rtmp::{
    Message, assert_every_frame, flv_messages, flv_messages_of, play_to_the_end,
};
use system_tests::{Config, Server, Story, clip, http, resources, tool};

const ENDS: Duration = Duration::from_secs(30);

/// Viewers of each protocol.
const VIEWERS: usize = 40;

#[test]
fn eighty_viewers_who_join_one_after_the_other_get_every_frame_from_their_keyframe_on() {
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

/// With so many rings in the server while they watch.
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
