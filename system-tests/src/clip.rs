//! Test clips, made by ffmpeg once per machine and kept in cargo's target folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{binary, ffmpeg8, process, tool};

/// Part of the files' names: another number for other content.
const VERSION: u32 = 3;

/// Frames between keyframes that are a second apart.
const SECOND: &str = "25";

/// 40 s of a test picture and a tone: H.264 baseline 320x180 at 25 fps with a keyframe every
/// second, AAC mono; about 300 kbit/s.
///
/// # Panics
/// When ffmpeg is not installed or fails.
#[track_caller]
#[must_use]
pub fn small() -> &'static Path {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    CLIP.get_or_init(|| {
        provide("small", SECOND, |command| {
            command.args([
                "-f",
                "lavfi",
                "-i",
                "testsrc2=size=320x180:rate=25:duration=40",
            ]);
            command.args([
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=44100:duration=40",
            ]);
            command.args(["-b:v", "250k", "-maxrate", "300k", "-bufsize", "300k"]);
        })
    })
}

/// 12 s of noise at about 16 Mbit/s, otherwise as [`small`]: fills the buffers of a viewer that
/// does not read.
///
/// # Panics
/// When ffmpeg is not installed or fails.
#[track_caller]
#[must_use]
pub fn heavy() -> &'static Path {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    CLIP.get_or_init(|| {
        provide("heavy", SECOND, |command| {
            let noise = "color=gray:size=640x360:rate=25:duration=12,noise=alls=100:allf=t+u";
            command.args(["-f", "lavfi", "-i", noise]);
            command.args([
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=44100:duration=12",
            ]);
            command.args(["-b:v", "16M", "-maxrate", "16M", "-bufsize", "4M"]);
        })
    })
}

/// 14 s of [`small`] in a single GOP: every viewer, whenever it joins, begins at the start.
///
/// # Panics
/// When ffmpeg is not installed or fails.
#[track_caller]
#[must_use]
pub fn one_gop() -> &'static Path {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    let whole = small();
    CLIP.get_or_init(|| {
        provide("one-gop", "1000", |command| {
            command.arg("-t").arg("14").arg("-i").arg(whole);
        })
    })
}

/// The first 8 s of [`small`].
///
/// # Panics
/// When ffmpeg is not installed or fails.
#[track_caller]
#[must_use]
pub fn short() -> &'static Path {
    static CLIP: OnceLock<PathBuf> = OnceLock::new();
    let whole = small();
    CLIP.get_or_init(|| {
        provide("short", SECOND, |command| {
            command.arg("-t").arg("8").arg("-i").arg(whole);
        })
    })
}

/// 6 s with reordered pictures at 30 fps, whose times are rounded to milliseconds, a keyframe every
/// two seconds, and MP3 or AAC.
///
/// # Panics
/// When ffmpeg is not installed or fails.
#[track_caller]
#[must_use]
pub fn reordered(has_mp3: bool) -> &'static Path {
    static CLIPS: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    let (name, encoder) = if has_mp3 {
        ("reordered-mp3", "libmp3lame")
    } else {
        ("reordered", "aac")
    };
    let make_it = |command: &mut Command| {
        let picture = "testsrc2=size=320x180:rate=30:duration=6";
        let tone = "sine=frequency=440:sample_rate=44100:duration=6";
        command.args(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone]);
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"]);
        command.args(["-b_strategy", "0", "-pix_fmt", "yuv420p", "-g", "60"]);
        command.args(["-c:a", encoder, "-b:a", "64k", "-ac", "2"]);
    };
    CLIPS[usize::from(has_mp3)].get_or_init(|| make(tool::ffmpeg(), name, make_it))
}

/// 40 s like [`small`], with codecs that FLV supports only since enhanced RTMP: `hevc`, `av1` or
/// `vp9`, with Opus.
///
/// # Panics
/// When ffmpeg 8 cannot be downloaded or fails, and for another name.
#[track_caller]
#[must_use]
pub fn enhanced(codec: &str) -> PathBuf {
    let encoder: &[&str] = match codec {
        "hevc" => &[
            "libx265",
            "-preset",
            "ultrafast",
            "-tune",
            "zerolatency",
            "-x265-params",
            "log-level=none:keyint=25:min-keyint=25",
        ],
        // The browser's player cannot read all that SVT-AV1 writes.
        "av1" => &[
            "libaom-av1",
            "-usage",
            "realtime",
            "-cpu-used",
            "8",
            "-b:v",
            "200k",
        ],
        "vp9" => &[
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-lag-in-frames",
            "0",
        ],
        other => panic!("no clip has {other}"),
    };
    make(ffmpeg8(), codec, |command| {
        command.args([
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x180:rate=25:duration=40",
        ]);
        command.args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=48000:duration=40",
        ]);
        command
            .args(["-g", "25", "-pix_fmt", "yuv420p", "-c:v"])
            .args(encoder);
        command.args(["-c:a", "libopus", "-b:a", "64k", "-ac", "1"]);
    })
}

#[track_caller]
fn provide(name: &str, gop: &str, content: impl FnOnce(&mut Command)) -> PathBuf {
    make(tool::ffmpeg(), name, |command| {
        content(command);
        command.args([
            "-c:v",
            "libx264",
            "-profile:v",
            "baseline",
            "-preset",
            "ultrafast",
        ]);
        command.args(["-tune", "zerolatency", "-pix_fmt", "yuv420p"]);
        command.args(["-g", gop, "-keyint_min", gop, "-sc_threshold", "0"]);
        command.args(["-c:a", "aac", "-b:a", "64k", "-ac", "1"]);
    })
}

#[track_caller]
fn make(ffmpeg: Command, name: &str, content: impl FnOnce(&mut Command)) -> PathBuf {
    let folder = binary::target().0.join("tmp").join("system-tests");
    std::fs::create_dir_all(&folder).expect("a folder for clips");
    let clip = folder.join(format!("{name}-{VERSION}.flv"));
    if clip.is_file() {
        return clip;
    }
    // Under another name first, so that an existing clip is complete, even when another test makes
    // it at the same time.
    let making = folder.join(format!("{name}-{}.flv", std::process::id()));
    let mut command = ffmpeg;
    content(&mut command);
    command.args(["-shortest", "-f", "flv"]).arg(&making);
    process::run(
        "ffmpeg that makes a clip",
        &command,
        Duration::from_secs(120),
    )
    .success();
    std::fs::rename(&making, &clip).expect("a clip under its name");
    clip
}
