//! Other people's programs: found, or missing with the name of their package; and how the tests
//! call them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::process::{self, Process};

/// A command for `program`.
///
/// # Panics
/// When it is not installed; the message names the Debian package.
#[track_caller]
#[must_use]
pub fn tool(program: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(
        there,
        "`{program}` is not installed. It is in Debian's package `{package}`; `cargo xtask test --only packages` installs it"
    );
    Command::new(program)
}

/// A pipeline for `gst-launch-1.0`, with the elements that it is made of and the package of each.
///
/// # Panics
/// When GStreamer or one of the elements is not installed; the message names the Debian package.
#[track_caller]
#[must_use]
pub fn gst_launch(elements: &[(&str, &str)], pipeline: &str) -> Command {
    for (element, package) in elements {
        let mut inspect = tool("gst-inspect-1.0", "gstreamer1.0-tools");
        inspect.args(["--exists", element]);
        let found = process::run("gst-inspect-1.0", &inspect, Duration::from_secs(60));
        assert!(
            found.status.success(),
            "GStreamer's element `{element}` is not installed. It is in Debian's package `{package}`; `cargo xtask test --only packages` installs it"
        );
    }
    let mut command = tool("gst-launch-1.0", "gstreamer1.0-tools");
    // `-e`: when it is interrupted, it ends its streams first.
    command.args(["-q", "-e"]).args(pipeline.split_whitespace());
    command
}

/// `ffmpeg` without questions and banners, and with warnings.
#[track_caller]
#[must_use]
pub fn ffmpeg() -> Command {
    let mut command = tool("ffmpeg", "ffmpeg");
    command.args(["-hide_banner", "-nostdin", "-v", "warning", "-y"]);
    command
}

/// `ffmpeg` that sends `seconds` of `clip`, repeated if it is shorter, to `url` at playing speed,
/// or until it is [`interrupt`]ed. Writes the same to `kept`, if given.
///
/// # Panics
/// When ffmpeg is not installed or cannot be started.
#[track_caller]
#[must_use]
pub fn ffmpeg_publish(clip: &Path, url: &str, seconds: u32, kept: Option<&Path>) -> Process {
    publish_with(ffmpeg(), clip, url, seconds, kept)
}

/// As [`ffmpeg_publish`], with an ffmpeg of the test's choice.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
#[must_use]
pub fn publish_with(
    ffmpeg: Command,
    clip: &Path,
    url: &str,
    seconds: u32,
    kept: Option<&Path>,
) -> Process {
    let mut command = ffmpeg;
    command.args(["-stream_loop", "-1", "-re", "-i"]).arg(clip);
    let seconds = seconds.to_string();
    let mut output = |to: &Path| {
        command.args(["-map", "0", "-c", "copy", "-t", &seconds, "-f", "flv"]);
        command.arg(to);
    };
    if let Some(kept) = kept {
        output(kept);
    }
    output(Path::new(url));
    Process::spawn("ffmpeg that publishes", &command)
}

/// Ends an ffmpeg that publishes, as with Ctrl-C: it sends what it has and says goodbye.
///
/// # Panics
/// When it ends otherwise.
#[track_caller]
pub fn interrupt(publisher: Process) {
    let finished = publisher.end_by(Signal::INT, Duration::from_secs(30));
    let code = finished.status.code();
    // 255 is ffmpeg's way of saying that it was asked to.
    assert!(matches!(code, Some(0 | 255)), "{}", finished.output());
}

/// `ffmpeg` that writes what it gets from `url` into the FLV file `out` until the stream ends.
///
/// # Panics
/// When ffmpeg is not installed or cannot be started.
#[track_caller]
#[must_use]
pub fn ffmpeg_play(url: &str, out: &Path) -> Process {
    play_with(ffmpeg(), url, out)
}

/// As [`ffmpeg_play`], with an ffmpeg of the test's choice.
///
/// # Panics
/// When it cannot be started.
#[track_caller]
#[must_use]
pub fn play_with(ffmpeg: Command, url: &str, out: &Path) -> Process {
    let mut command = ffmpeg;
    // By default it analyses 5 s of a stream before it begins. Nothing is lost, but it would be
    // late at every end.
    command.args(["-analyzeduration", "500000", "-i", url]);
    command
        .args(["-map", "0", "-c", "copy", "-f", "flv"])
        .arg(out);
    Process::spawn("ffmpeg that plays", &command)
}

/// `livetrail` itself with these arguments, as a person would type it.
#[must_use]
pub fn livetrail(arguments: &[&str]) -> Command {
    let mut command = Command::new(crate::binary::livetrail());
    command.args(arguments);
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("LIVETRAIL_")) {
        command.env_remove(key);
    }
    command
}

/// Decodes the whole file.
///
/// # Panics
/// When ffmpeg finds a single error in it.
#[track_caller]
pub fn assert_decodes(file: &Path) {
    assert_decodes_with(ffmpeg(), file);
}

/// As [`assert_decodes`], with an ffmpeg of the test's choice.
///
/// # Panics
/// As [`assert_decodes`].
#[track_caller]
pub fn assert_decodes_with(ffmpeg: Command, file: &Path) {
    let mut command = ffmpeg;
    command.args(["-v", "repeat+error", "-xerror"]);
    command.args(["-err_detect", "explode", "-i"]).arg(file);
    command.args(["-f", "null", "-"]);
    let finished = process::run("ffmpeg that decodes", &command, Duration::from_secs(60)).success();
    // The null muxer complains about two audio frames in one millisecond of FLV's clock, which is
    // not an error of the decoders.
    let mut errors = finished
        .stderr
        .lines()
        .filter(|line| !line.starts_with("[null @ "));
    assert!(errors.next().is_none(), "{}", finished.output());
}
