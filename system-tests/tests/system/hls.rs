//! HLS with players that are not ours: what is played is what was published, each viewer is one
//! session, and a publisher may come back.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use livetrail_record::{AuditRecord, Value};
use system_tests::{
    Config, Packet, Packets, Process, Server, Signal, Story, Trail, clip, clock, http, tool,
};

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
fn ffmpeg_plays_an_application_with_mpeg_ts() {
    let settings = "[hls]\nsegment = \"1s\"\nmpegts_applications = [\"live\"]";
    let mut server = Server::start(Config::new().lines(settings));
    let (sent, played) = (server.file("sent.flv"), server.file("played.flv"));
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, Some(&sent));
    server.await_frames("live/cam", 100);
    let viewer = play(&entry(&server, "live/cam"), &played);
    server.await_records("play_started", 1);
    let index = http::get(server.http(), "/live/cam/index.m3u8").text();
    assert!(index.ends_with("/main.m3u8\n"), "{index}");
    server.await_frames("live/cam", 500);
    tool::interrupt(publisher);
    viewer.wait(ENDS).success();
    server.await_records("play_ended", 1);

    tool::assert_decodes(&played);
    let (published, played) = (Packets::of(&sent), Packets::of(&played));
    for (sent, played) in [
        (&published.video, &played.video),
        (&published.audio, &played.audio),
    ] {
        assert!(played.len() > 100, "{} packets", played.len());
        // They last as long as they did, up to the millisecond of FLV.
        let length = |packets: &[Packet]| {
            let (first, last) = (packets.first(), packets.last());
            last.map_or(0, |last| last.dts_ms) - first.map_or(0, |first| first.dts_ms)
        };
        let expected = length(&sent[sent.len() - played.len()..]);
        let found = length(played);
        assert!(found.abs_diff(expected) <= 2, "{found} ms of {expected}");
    }
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("hls", "live/cam").played("stream_ended"),
    ]);
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

/// The address of the video playlist for a viewer that asks the entry now, and its token.
fn admitted(server: &Server) -> (String, String) {
    let answer = server.get("/live/cam/index.m3u8");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let mut names = text.split(['\n', '"']);
    let name = names.find(|name| name.starts_with("s/") && name.contains("/v"));
    let name = name.unwrap_or_else(|| panic!("no video playlist: {text}"));
    let token = name.split('/').nth(1).expect("a token").to_owned();
    (format!("/live/cam/{name}"), token)
}

fn text_of<'a>(record: &'a AuditRecord, field: &str) -> Option<&'a str> {
    match record.extra.get(field) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// The tokens' ids of the viewers that began, in their order.
fn viewer_tokens(trail: &Trail) -> Vec<String> {
    let ids = trail.of("play_started");
    ids.filter_map(|record| text_of(record, "viewer_token").map(str::to_owned))
        .collect()
}

/// Replaces a secret file at once.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("a new file");
    std::fs::set_permissions(&new, Permissions::from_mode(0o600)).expect("its mode");
    std::fs::rename(&new, file).expect("its place");
}

#[test]
fn a_viewers_address_outlives_the_server_unless_it_was_kicked_and_keys_are_exchanged() {
    let config = Config::new().log_filter("trace").log_personal();
    let mut server = Server::start(config.lines("[hls]\nsegment = \"1s\""));
    let publish = |server: &Server| {
        let url = server.rtmp_url("live/cam");
        let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, None);
        server.await_frames("live/cam", 60);
        publisher
    };
    let publisher = publish(&server);
    let (address, first) = admitted(&server);
    assert_eq!(server.get(&address).status, 200);
    server.await_records("play_started", 1);
    // A viewer that is kicked stays out.
    let (kicked, _) = admitted(&server);
    assert_eq!(server.get(&kicked).status, 200);
    let trail = server.await_records("play_started", 2);
    let session = trail.of("play_started").filter_map(|it| it.session).last();
    let session = format!("/api/v1/sessions/{}", session.expect("a session"));
    let answer = http::request(server.http(), "DELETE", &session, &[]);
    assert_eq!(answer.expect("an answer").status, 204);
    assert_eq!(server.get(&kicked).status, 403);
    server.await_records("token_revoked", 1);
    server.crash();
    publisher.wait(ENDS);

    server.start_again();
    let publisher = publish(&server);
    assert_eq!(server.get(&kicked).status, 403);
    assert_eq!(server.get(&address).status, 200);
    let trail = server.await_records("play_started", 3);
    let ids = viewer_tokens(&trail);
    assert_eq!(ids.first(), ids.get(2));
    let sessions: Vec<_> = trail.of("play_started").map(|it| it.session).collect();
    assert_ne!(sessions.first(), sessions.get(2));

    // A token in other places is in no answer, log or record.
    for path in [
        format!("/live/cam/s/{first}/index.m3u8"),
        format!("/live/cam/s/{first}/x.flv"),
        format!("/live/{first}/s/{first}/video.m3u8"),
        format!("/live/cam/s/{first}/nothing.here"),
        format!("/live/cam/s/{first}"),
        format!("/{first}/cam/index.m3u8?token={first}"),
        format!("/live/none.flv%3Ftoken={first}.flv"),
        format!("/live/other/s/{first}/video.m3u8?_HLS_msn=x"),
        format!("/api/v1/{first}?token={first}"),
        format!("/api/cam/index.m3u8?token={first}"),
    ] {
        let headers = [
            format!("user-agent: player {first}"),
            format!("referer: http://example.com/live/cam/s/{first}/"),
        ];
        let headers = headers.each_ref().map(String::as_str);
        let answer = http::request(server.http(), "GET", &path, &headers).expect("an answer");
        assert!(!answer.text().contains(&first), "{}", answer.text());
    }

    // Another key comes first; the one before still opens.
    let keys = server.data().join("trail/private/hls.keys");
    let before = std::fs::read_to_string(&keys).expect("the keys");
    let new_key = format!("{} {}\n", clock::wall_ms() / 1_000, "0f".repeat(32));
    replace(&keys, &format!("{new_key}{before}"));
    server.signal(Signal::HUP);
    // The version, and most of the key's id. What follows is random.
    let key_of = |token: &str| token.get(..6).map(str::to_owned);
    clock::wait_until("another key seals", ENDS, || {
        key_of(&admitted(&server).1) != key_of(&first)
    });
    let (other, second) = admitted(&server);
    assert_eq!(server.get(&other).status, 200);
    assert_eq!(server.get(&address).status, 200);
    // A file without the key refuses its tokens.
    replace(&keys, &new_key);
    clock::wait_until("the token of the removed key is refused", ENDS, || {
        server.get(&address).status == 403
    });
    assert_eq!(server.get(&other).status, 200);
    // One that others may read is refused, and what was in force stays so.
    std::fs::set_permissions(&keys, Permissions::from_mode(0o644)).expect("its mode");
    clock::wait_until("the file is refused", ENDS, || {
        server.log().contains("has mode 0644")
    });
    assert_eq!(server.get(&other).status, 200);

    tool::interrupt(publisher);
    let log = server.log();
    let trail = server.stop();
    let changes = trail.of("admin_config_changed");
    let details = changes.filter_map(|record| Some(record.detail.as_ref()?.expose().to_owned()));
    let details: Vec<_> = details.filter(|it| it.starts_with("keys of")).collect();
    let numbers = details.iter().map(|it| it.split(' ').count() - 4);
    assert_eq!(numbers.collect::<Vec<_>>(), [2, 1, 1], "{details:?}");
    assert!(details.last().is_some_and(|it| it.ends_with(": refused")));
    assert_eq!(viewer_tokens(&trail).len(), 4);
    trail.assert_tells_nothing_of(&[&first, &second]);
    for token in [&first, &second] {
        assert!(!log.contains(token.as_str()), "the log has a token");
    }
}
