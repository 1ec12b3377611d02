//! A server that is killed under viewers of HLS: after the restart each session is closed, once.

use system_tests::{Config, Server, Story, clip, tool};

const VIEWERS: usize = 20;

#[test]
fn viewers_of_hls_are_closed_once_after_the_server_was_killed() {
    let mut server = Server::start(Config::new().lines("[hls]\nsegment = \"1s\""));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 120, None);
    server.await_frames("live/cam", 75);
    for _ in 0..VIEWERS {
        join(&server);
    }
    server.await_records("play_started", VIEWERS);
    server.crash();
    publisher.crash();

    server.start_again();
    let mut stories = vec![
        Story::new("hls", "live/cam")
            .then("play_started")
            .crashed("play_ended");
        VIEWERS
    ];
    stories.push(
        Story::new("rtmp", "live/cam")
            .then("publish_started")
            .crashed("publish_ended"),
    );
    server.stop().assert_sessions(&stories);
}

/// A viewer of its own, which loads its media playlist.
#[track_caller]
fn join(server: &Server) {
    let entry = server.get("/live/cam/index.m3u8");
    assert_eq!(entry.status, 200, "{}", entry.text());
    let text = entry.text();
    let name = text.lines().find(|line| line.starts_with("s/"));
    let playlist = format!("/live/cam/{}", name.expect("a playlist for the viewer"));
    let answer = server.get(&playlist);
    assert_eq!(answer.status, 200, "{}", answer.text());
}
