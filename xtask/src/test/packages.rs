//! The programs that the system tests start. They are installed where that is allowed, else named
//! with the way to get them.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use anyhow::{Result, bail};

use super::{Context, Outcome};
use crate::process::on_path;

/// How to find out whether a package is installed.
pub(crate) enum Probe {
    Program(&'static str),
    /// An element of GStreamer, which comes from a plugin package rather than as a program.
    GstElement(&'static str),
    /// A folder of sources.
    Folder(&'static str),
    /// A file of another program, such as a module.
    File(&'static str),
}

/// What is needed, and the Debian package that has it.
const NEEDED: &[(Probe, &str)] = &[
    (Probe::Program("ffmpeg"), "ffmpeg"),
    (Probe::Program("ffprobe"), "ffmpeg"),
    // A browser, and the tool that downloads its player.
    (Probe::Program("chromium"), "chromium"),
    (Probe::Program("npm"), "npm"),
    (Probe::Program("cvlc"), "vlc-bin"),
    (
        Probe::File("/usr/lib/x86_64-linux-gnu/vlc/plugins/demux/libadaptive_plugin.so"),
        "vlc-plugin-base",
    ),
    (Probe::Program("rtmpdump"), "rtmpdump"),
    (Probe::Program("strace"), "strace"),
    (Probe::Program("curl"), "curl"),
    (Probe::Program("faketime"), "faketime"),
    (Probe::Program("mkfs.ext4"), "e2fsprogs"),
    (Probe::Program("psql"), "postgresql"),
    (Probe::Program("stunnel4"), "stunnel4"),
    (Probe::Program("logrotate"), "logrotate"),
    // Proxies in front of the server.
    (Probe::Program("haproxy"), "haproxy"),
    (Probe::Program("nginx"), "nginx-light"),
    (
        Probe::File("/usr/lib/nginx/modules/ngx_stream_module.so"),
        "libnginx-mod-stream",
    ),
    // A cache in front.
    (Probe::Program("varnishd"), "varnish"),
    // An authority that speaks ACME, for tests.
    (Probe::Program("pebble"), "pebble"),
    (Probe::Program("jq"), "jq"),
    // What knows the sets of system calls in units, and rates them.
    (Probe::Program("systemd-analyze"), "systemd"),
    // What building librdkafka with TLS takes.
    (Probe::Program("pkg-config"), "pkg-config"),
    (Probe::Folder("/usr/include/openssl"), "libssl-dev"),
    // Go's reference implementation of these logs, which checks us.
    (Probe::Program("go"), "golang-go"),
    (
        Probe::Folder("/usr/share/gocode/src/golang.org/x/mod/sumdb"),
        "golang-golang-x-mod-dev",
    ),
    (Probe::Program("gst-launch-1.0"), "gstreamer1.0-tools"),
    (
        Probe::GstElement("videotestsrc"),
        "gstreamer1.0-plugins-base",
    ),
    (Probe::GstElement("flvmux"), "gstreamer1.0-plugins-good"),
    (Probe::GstElement("rtmp2sink"), "gstreamer1.0-plugins-bad"),
    (Probe::GstElement("rtmp2src"), "gstreamer1.0-plugins-bad"),
    (Probe::GstElement("x264enc"), "gstreamer1.0-plugins-ugly"),
    (Probe::GstElement("avdec_h264"), "gstreamer1.0-libav"),
];

/// Installs the packages that the tests need and that are missing.
pub(crate) fn provide(context: &mut Context) -> Result<Outcome> {
    let installed = install(NEEDED, |command| context.must(command))?;
    Ok(Outcome::Passed(installed))
}

/// Installs those of these packages that are missing, with the command that `run` gets. Returns
/// what was installed, in words.
pub(crate) fn install(
    needed: &[(Probe, &'static str)],
    run: impl FnOnce(Command) -> Result<()>,
) -> Result<String> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(String::new());
    }
    let install = format!(
        "apt-get update && apt-get install --yes --no-install-recommends {}",
        missing.join(" ")
    );
    if !on_path("apt-get") {
        bail!(
            "missing: {}. These are the names of Debian's packages; install the same programs with this system's package manager, then run this again",
            missing.join(", ")
        );
    }
    if !is_root() {
        bail!(
            "missing: {}. Run this, then try again:\n  sudo sh -c '{install}'",
            missing.join(", ")
        );
    }
    let mut command = Command::new("sh");
    command
        .args(["-c", &install])
        .env("DEBIAN_FRONTEND", "noninteractive");
    run(command)?;
    let still = self::missing(needed);
    if !still.is_empty() {
        bail!("installed, yet not found: {}", still.join(", "));
    }
    Ok(format!("installed {}", missing.join(", ")))
}

/// The packages that are missing, each once.
fn missing(needed: &[(Probe, &'static str)]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needed
        .iter()
        .filter(|(probe, _)| !is_there(probe))
        .map(|(_, package)| *package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_there(probe: &Probe) -> bool {
    match probe {
        Probe::Program(name) => on_path(name),
        Probe::GstElement(name) => Command::new("gst-inspect-1.0")
            .args(["--exists", name])
            .output()
            .is_ok_and(|output| output.status.success()),
        Probe::Folder(path) => std::path::Path::new(path).is_dir(),
        Probe::File(path) => std::path::Path::new(path).is_file(),
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_no_machine_has_is_reported_as_missing() {
        assert!(!is_there(&Probe::Program("no-such-program-at-all")));
        assert!(!is_there(&Probe::GstElement("nosuchelement")));
        assert!(!is_there(&Probe::Folder("/no/such/folder")));
        assert!(is_there(&Probe::Program("sh")));
    }
}
