//! nginx: it serves files, and with Debian's RTMP module it also makes them.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::viewers::server::{NGINX_RTMP, Usage, free_address};

const PATIENCE: Duration = Duration::from_secs(10);

/// An nginx with one worker that runs until it is dropped.
pub struct Nginx {
    child: Child,
    pub http: SocketAddr,
    /// Where it takes RTMP, if it does.
    pub rtmp: SocketAddr,
    _dir: TempDir,
}

impl Nginx {
    /// Serves the files of a folder.
    pub fn of_files(folder: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let http = free_address()?;
        let config = common(dir.path(), "") + &serving(http, folder, "open_file_cache max=1000;");
        Self::start(dir, http, free_address()?, &config)
    }

    /// Takes streams over RTMP and serves them over HLS, with segments of 2 s and a window of 30 s.
    pub fn of_streams() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (http, rtmp) = (free_address()?, free_address()?);
        let files = dir.path().join("www");
        fs::create_dir_all(files.join("hls"))?;
        let module = format!("load_module {NGINX_RTMP};\n");
        let config = common(dir.path(), &module)
            + &format!(
                "rtmp {{ access_log off; server {{ listen {rtmp}; application live {{ live on; hls on; \
                 hls_path {}; hls_fragment 2s; hls_playlist_length 30s; }} }} }}\n",
                files.join("hls").display()
            )
            // A cache of open files would give the same playlist for a minute.
            + &serving(http, &files, "");
        Self::start(dir, http, rtmp, &config)
    }

    /// Whether it can run here.
    pub fn is_there(with_rtmp: bool) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let is_there = std::env::split_paths(&path).any(|path| path.join("nginx").is_file());
        is_there && (!with_rtmp || Path::new(NGINX_RTMP).exists())
    }

    fn start(dir: TempDir, http: SocketAddr, rtmp: SocketAddr, config: &str) -> Result<Self> {
        let path = dir.path().join("nginx.conf");
        fs::write(&path, config)?;
        // Its worker may be another user.
        fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )?;
        let child = Command::new("nginx")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(path)
            .arg("-e")
            .arg(dir.path().join("error.log"))
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start nginx")?;
        let nginx = Self {
            child,
            http,
            rtmp,
            _dir: dir,
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(http).is_err() {
            ensure!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.child.id())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn common(dir: &Path, modules: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 19900;\n\
         pid {}; error_log stderr crit; {modules}events {{ worker_connections 19800; }}\n",
        dir.join("nginx.pid").display()
    )
}

/// Files as fast as nginx serves them.
fn serving(listen: SocketAddr, folder: &Path, cache: &str) -> String {
    format!(
        "http {{ access_log off; sendfile on; tcp_nopush on; {cache}\n\
         keepalive_requests 1000000; keepalive_timeout 300s;\n\
         types {{ application/vnd.apple.mpegurl m3u8; video/mp4 m4s mp4; video/mp2t ts; }}\n\
         server {{ listen {listen} backlog=4096; root {}; }} }}\n",
        folder.display()
    )
}
