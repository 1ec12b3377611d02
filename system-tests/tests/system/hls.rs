//! HLS with players that are not ours: what is played is what was published, each viewer is one
//! session, and a publisher may come back.

use std::path::Path;
use std::time::Duration;

use system_tests::{Config, Packets, Process, Server, Signal, Story, clip, tool};

/// The timeout for the end of a client whose stream has ended.
const ENDS: Duration = Duration::from_secs(60);

/// The elements with which GStreamer plays HLS.
const GST_PLAY: &[(&str, &str)] = &[
    ("playbin3", "gstreamer1.0-plugins-base"),
    ("souphttpsrc", "gstreamer1.0-plugins-good"),
    ("hlsdemux2", "gstreamer1.0-plugins-good"),
    ("avdec_h264", "gstreamer1.0-libav"),
];

/// Where a stream is over HLS.
fn entry(server: &Server, stream: &str) -> String {
    format!("http://{}/{stream}/index.m3u8", server.http())
}

/// `ffmpeg` that writes what it plays until the stream ends.
fn play(url: &str, out: &Path) -> Process {
    let mut command = tool::ffmpeg();
    command.args(["-live_start_index", "-3", "-i", url]);
    command
        .args(["-map", "0", "-c", "copy", "-f", "flv"])
        .arg(out);
    Process::spawn("ffmpeg that plays HLS", &command)
}

#[test]
fn ffmpeg_and_gstreamer_play_hls_and_each_is_one_session() {
    let mut server = Server::start(Config::new().lines("[hls]\nsegment = \"1s\""));
    let (sent, played) = (server.file("sent.flv"), server.file("played.flv"));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, Some(&sent));
    server.await_frames("live/cam", 100);
    let entry = entry(&server, "live/cam");
    let ffmpeg = play(&entry, &played);
    let pipeline = format!("playbin3 uri={entry} video-sink=fakesink audio-sink=fakesink");
    let gstreamer = tool::gst_launch(GST_PLAY, &pipeline);
    let gstreamer = Process::spawn("GStreamer that plays HLS", &gstreamer);
    server.await_records("play_started", 2);
    // It leaves without a word, and its session ends by the clock.
    server.await_frames("live/cam", 500);
    gstreamer.end_by(Signal::KILL, ENDS);
    server.await_records("play_ended", 1);
    tool::interrupt(publisher);
    ffmpeg.wait(ENDS).success();
    server.await_records("play_ended", 2);

    tool::assert_decodes(&played);
    let (published, played) = (Packets::of(&sent), Packets::of(&played));
    assert!(played.video.len() > 100, "{} pictures", played.video.len());
    played.assert_continue(&published, true);
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("hls", "live/cam").played("idle"),
        Story::new("hls", "live/cam").played("stream_ended"),
    ]);
    let bytes: Vec<_> = trail.of("play_ended").map(|ended| ended.bytes).collect();
    assert!(
        bytes
            .iter()
            .all(|bytes| bytes.is_some_and(|bytes| bytes > 10_000)),
        "{bytes:?}"
    );
}

#[test]
fn a_viewer_of_hls_continues_when_the_publisher_comes_back() {
    let config = Config::new().application("wait_for_publisher = \"30s\"");
    let mut server = Server::start(config.lines("[hls]\nsegment = \"1s\""));
    let (first, second, played) = (
        server.file("first.flv"),
        server.file("second.flv"),
        server.file("played.flv"),
    );
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, Some(&first));
    server.await_frames("live/cam", 100);
    let viewer = play(&entry(&server, "live/cam"), &played);
    server.await_records("play_started", 1);
    server.await_frames("live/cam", 300);
    tool::interrupt(publisher);
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, Some(&second));
    server.await_records("publish_started", 2);
    server.await_frames("live/cam", 400);
    viewer.end_by(Signal::INT, ENDS);
    server.await_records("play_ended", 1);
    tool::interrupt(publisher);

    let [first, second, played] = [&first, &second, &played].map(|file| Packets::of(file));
    let number = |from: &Packets| {
        let is_of = |content: &str| from.video.iter().any(|packet| packet.content == content);
        played
            .video
            .iter()
            .filter(|packet| is_of(&packet.content))
            .count()
    };
    assert_eq!(number(&first).max(number(&second)), played.video.len());
    let steps = played
        .video
        .windows(2)
        .map(|pair| pair[1].dts_ms - pair[0].dts_ms);
    assert!(steps.clone().all(|step| step > 0), "time goes back");
    assert!(played.video.len() > 150, "{} pictures", played.video.len());
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("hls", "live/cam").played("idle"),
    ]);
}
