//! Clients that are not ours publish and play, and what is played is what was published.

use std::path::{Path, PathBuf};
use std::time::Duration;

use system_tests::{Config, Packets, Process, Server, Signal, Story, clip, ffmpeg8, run, tool};

/// The timeout for the end of a client whose stream has ended.
const ENDS: Duration = Duration::from_secs(30);

/// From libav: the encoder and its parser.
const GST_PUBLISH: &[(&str, &str)] = &[
    ("videotestsrc", "gstreamer1.0-plugins-base"),
    ("audiotestsrc", "gstreamer1.0-plugins-base"),
    ("x264enc", "gstreamer1.0-plugins-ugly"),
    ("h264parse", "gstreamer1.0-plugins-bad"),
    ("avenc_aac", "gstreamer1.0-libav"),
    ("aacparse", "gstreamer1.0-plugins-good"),
    ("flvmux", "gstreamer1.0-plugins-good"),
    ("rtmp2sink", "gstreamer1.0-plugins-bad"),
];

#[test]
fn ffmpeg_publishes_and_ffmpeg_plays_over_rtmp_and_http_flv_every_frame_from_the_joined_keyframe_on()
 {
    let mut server = Server::start(Config::new());
    let (sent, by_rtmp, by_http) = (
        server.file("sent.flv"),
        server.file("rtmp.flv"),
        server.file("http.flv"),
    );
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    // In the second GOP or later: the viewers join in the middle of one.
    server.await_frames("live/cam", 100);
    let viewers = [
        tool::ffmpeg_play(&url, &by_rtmp),
        tool::ffmpeg_play(&server.flv_url("live/cam"), &by_http),
    ];
    server.await_records("play_started", 2);
    server.await_frames("live/cam", 300);
    tool::interrupt(publisher);
    for viewer in viewers {
        viewer.wait(ENDS).success();
    }

    let published = Packets::of(&sent);
    for file in [&by_rtmp, &by_http] {
        tool::assert_decodes(file);
        let played = Packets::of(file);
        assert!(
            played.video.len() < published.video.len(),
            "the viewers join late"
        );
        played.assert_continue(&published, true);
    }
    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
    ]);
    trail.assert_server_records(&["server_started", "server_stopped"]);
    let ended = trail.of("publish_ended").next().expect("one");
    let frames = published.video.len() + published.audio.len();
    assert!(
        ended.frames.is_some_and(|told| told >= frames as u64),
        "{frames} packets were published, the trail says {:?}",
        ended.frames
    );
    assert_eq!(ended.dropped_frames.unwrap_or(0), 0);
}

#[test]
fn a_viewer_that_joins_in_a_long_gop_gets_it_from_its_start() {
    let mut server = Server::start(Config::new());
    let (sent, played) = (server.file("sent.flv"), server.file("played.flv"));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::one_gop(), &url, 40, Some(&sent));
    server.await_frames("live/cam", 100);
    let viewer = tool::ffmpeg_play(&server.flv_url("live/cam"), &played);
    server.await_records("play_started", 1);
    server.await_frames("live/cam", 200);
    tool::interrupt(publisher);
    viewer.wait(ENDS).success();

    tool::assert_decodes(&played);
    let (published, played) = (Packets::of(&sent), Packets::of(&played));
    played.assert_continue(&published, true);
    assert_eq!(played.video.len(), published.video.len());
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
    ]);
}

#[test]
fn gstreamer_publishes_and_gstreamer_plays() {
    let mut server = Server::start(Config::new());
    let (sent, played) = (server.file("sent.flv"), server.file("played.flv"));
    let url = server.rtmp_url("live/gst");
    let publish = format!(
        "flvmux name=mux streamable=true ! tee name=both \
         both. ! queue ! filesink location={} \
         both. ! queue ! rtmp2sink location={url} \
         videotestsrc num-buffers=1000 ! video/x-raw,width=320,height=180,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300 \
         ! video/x-h264,profile=baseline ! h264parse ! identity sync=true ! mux. \
         audiotestsrc num-buffers=1720 samplesperbuffer=1024 \
         ! audio/x-raw,rate=44100,channels=1 ! avenc_aac ! aacparse ! identity sync=true ! mux.",
        sent.display()
    );
    let publisher = Process::spawn(
        "GStreamer that publishes",
        &tool::gst_launch(GST_PUBLISH, &publish),
    );
    server.await_frames("live/gst", 60);
    let seen = server.file("seen.flv");
    let witness = tool::ffmpeg_play(&url, &seen);
    server.await_records("play_started", 1);
    let play = format!(
        "rtmp2src location={url} ! filesink location={}",
        played.display()
    );
    let elements = &[("rtmp2src", "gstreamer1.0-plugins-bad")];
    let viewer = Process::spawn("GStreamer that plays", &tool::gst_launch(elements, &play));
    server.await_records("play_started", 2);
    server.await_frames("live/gst", 200);
    // GStreamer ends its streams and closes the connection in order.
    publisher.end_by(Signal::INT, ENDS).success();
    viewer.wait(ENDS);
    witness.wait(ENDS).success();

    tool::assert_decodes(&played);
    // GStreamer's sink may close before it has sent its last packet; its viewers have received all
    // that arrived. GStreamer's source drops the one packet that it holds when it learns of the end
    // before its pipeline has taken that packet.
    let seen = Packets::of(&seen);
    seen.assert_continue(&Packets::of(&sent), false);
    let missing = Packets::of(&played).missing_at_end(&seen);
    assert!(missing <= 1, "the last {missing} packets are missing");
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/gst").published("client_closed"),
        Story::new("rtmp", "live/gst").played("stream_ended"),
        Story::new("rtmp", "live/gst").played("stream_ended"),
    ]);
}

#[test]
fn rtmpdump_plays() {
    let mut server = Server::start(Config::new());
    let (sent, played) = (server.file("sent.flv"), server.file("played.flv"));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 40, Some(&sent));
    server.await_frames("live/cam", 60);
    let mut dump = tool::tool("rtmpdump", "rtmpdump");
    dump.args(["--quiet", "--live", "--rtmp", &url, "--flv"])
        .arg(&played);
    let viewer = Process::spawn("rtmpdump", &dump);
    server.await_records("play_started", 1);
    server.await_frames("live/cam", 200);
    tool::interrupt(publisher);
    viewer.wait(ENDS);

    tool::assert_decodes(&played);
    Packets::of(&played).assert_continue(&Packets::of(&sent), true);
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
    ]);
}

#[test]
fn ffmpeg_8_publishes_and_plays_hevc_av1_and_vp9_with_opus_as_enhanced_rtmp() {
    let mut server = Server::start(Config::new());
    let codecs = ["hevc", "av1", "vp9"];
    let clips = codecs.map(clip::enhanced);
    let publishers: Vec<_> = codecs
        .iter()
        .zip(&clips)
        .map(|(codec, clip)| {
            let (url, sent) = (
                server.rtmp_url(&format!("live/{codec}")),
                server.file(&format!("{codec}-sent.flv")),
            );
            tool::publish_with(ffmpeg8(), clip, &url, 40, Some(&sent))
        })
        .collect();
    let mut viewers = Vec::new();
    for codec in codecs {
        let stream = format!("live/{codec}");
        server.await_frames(&stream, 60);
        for (way, url) in [
            ("rtmp", server.rtmp_url(&stream)),
            ("http", server.flv_url(&stream)),
        ] {
            let out = server.file(&format!("{codec}-{way}.flv"));
            viewers.push((codec, tool::play_with(ffmpeg8(), &url, &out), out));
        }
    }
    server.await_records("play_started", 6);
    for (codec, publisher) in codecs.iter().zip(publishers) {
        server.await_frames(&format!("live/{codec}"), 250);
        tool::interrupt(publisher);
    }
    for (codec, viewer, out) in viewers {
        viewer.wait(ENDS).success();
        tool::assert_decodes_with(ffmpeg8(), &out);
        let published = Packets::of(&remuxed(&server.file(&format!("{codec}-sent.flv"))));
        Packets::of(&remuxed(&out)).assert_continue(&published, true);
    }
    let expected = codecs.iter().flat_map(|codec| {
        let stream = format!("live/{codec}");
        [
            Story::new("rtmp", &stream).published("client_closed"),
            Story::new("rtmp", &stream).played("stream_ended"),
            Story::new("http-flv", &stream).played("stream_ended"),
        ]
    });
    server.stop().assert_sessions(&expected.collect::<Vec<_>>());
}

/// The same packets in a container that older tools read, too.
#[track_caller]
fn remuxed(flv: &Path) -> PathBuf {
    let mkv = flv.with_extension("mkv");
    let mut command = ffmpeg8();
    command
        .arg("-i")
        .arg(flv)
        .args(["-map", "0", "-c", "copy"])
        .arg(&mkv);
    run("ffmpeg that remuxes", &command, ENDS).success();
    mkv
}
