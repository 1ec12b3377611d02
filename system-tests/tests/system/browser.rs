//! HTTP-FLV in a browser, with an independent player.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use system_tests::{Browser, Config, Process, Server, clip, ffmpeg8, run, tool};

#[test]
fn a_browser_shows_av1_with_opus() {
    let mut server = Server::start(open_to_pages());
    let url = server.rtmp_url("live/av1");
    let publisher = tool::publish_with(ffmpeg8(), &clip::enhanced("av1"), &url, 120, None);
    server.await_frames("live/av1", 60);
    let mut browser = Browser::play(&server.flv_url("live/av1"));
    let shown = browser.await_shown("25 frames and sound", |shown| {
        shown.frames >= 25 && shown.sound_bytes > 0
    });
    assert_eq!(shown.picture, "320x180");
    assert_eq!(shown.errors, "");
    drop(browser);
    tool::interrupt(publisher);
    server.stop();
}

#[test]
fn a_browser_shows_a_camera_that_promises_sound_and_sends_none() {
    let mut server = Server::start(open_to_pages());
    let (silent, promising) = (server.file("silent.flv"), server.file("promising.flv"));
    let mut ffmpeg = tool::ffmpeg();
    ffmpeg.arg("-i").arg(clip::small());
    ffmpeg.args(["-map", "0:v", "-c", "copy"]).arg(&silent);
    run(
        "ffmpeg that takes the sound away",
        &ffmpeg,
        Duration::from_secs(30),
    )
    .success();
    promise_sound(&silent, &promising);
    let publisher = Process::spawn(
        "livetrail publish",
        &publish(&promising, &server.rtmp_url("live/camera")),
    );
    // More than a second: what has come by then decides.
    server.await_frames("live/camera", 60);
    let mut browser = Browser::play(&server.flv_url("live/camera"));
    let shown = browser.await_shown("25 frames", |shown| shown.frames >= 25);
    assert_eq!((shown.picture.as_str(), shown.sound_bytes), ("320x180", 0));
    assert_eq!(shown.errors, "");
    drop((browser, publisher));
    server.stop();
}

/// A server whose streams any page may play.
fn open_to_pages() -> Config {
    Config::new().http("allow_origin = \"*\"")
}

fn publish(file: &Path, url: &str) -> Command {
    let mut command = tool::livetrail(&["publish", "--loop", "0"]);
    command.arg(file).arg(url);
    command
}

/// The file with other metadata: `audiocodecid` is AAC's.
fn promise_sound(from: &Path, to: &Path) {
    const FILE_HEADER: usize = 13;
    const TAG_HEADER: usize = 11;
    let file = std::fs::read(from).expect("the clip");
    let (header, tags) = file.split_at(FILE_HEADER);
    let size = |bytes: &[u8]| {
        usize::from(bytes[1]) << 16 | usize::from(bytes[2]) << 8 | usize::from(bytes[3])
    };
    assert_eq!(tags[0], 18, "metadata comes first");
    let rest = &tags[TAG_HEADER + size(tags) + 4..];
    let body =
        b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x0caudiocodecid\0\x40\x24\0\0\0\0\0\0\0\0\x09";
    let tag = [&[18, 0, 0, body.len() as u8, 0, 0, 0, 0, 0, 0, 0][..], body].concat();
    let length = (tag.len() as u32).to_be_bytes();
    std::fs::write(to, [header, &tag, &length, rest].concat()).expect("the clip");
}
