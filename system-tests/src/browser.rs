//! A browser: Chromium without a window, in which mpegts.js plays HTTP-FLV through Media Source
//! Extensions, as on a web page.
//!
//! The test serves the page, which reports its state four times a second. So nothing drives the
//! browser, and a browser that plays nothing reports why.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::Process;
use crate::{clock, web};

const PAGE: &str = include_str!("../browser/player.html");

/// From the start of a browser until it plays what a test expects, on a machine that is also busy.
const SHOWN_TIMEOUT: Duration = Duration::from_secs(60);

/// Reports that wait for the test.
const REPORTS: usize = 16;

/// A browser that plays one stream.
pub struct Browser {
    reports: Receiver<Shown>,
    process: Process,
    _profile: TempDir,
}

/// What a browser shows at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// Pictures that were decoded, and shown or too late.
    pub frames: u64,
    /// Where it is in the stream.
    pub milliseconds: u64,
    /// Such as `320x180`.
    pub picture: String,
    /// Bytes of sound that were decoded.
    pub sound_bytes: u64,
    /// What went wrong; empty when nothing did.
    pub errors: String,
}

impl Browser {
    /// Starts one that plays the stream at this address.
    ///
    /// # Panics
    /// When Chromium is not installed or the player's script cannot be downloaded; the message says
    /// what to do.
    #[track_caller]
    #[must_use]
    pub fn play(url: &str) -> Self {
        let script = web::folder().join("mpegts.js/dist/mpegts.js");
        let (sender, reports) = sync_channel(REPORTS);
        let page = serve(script, sender);
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = web::command(profile.path());
        command.arg(format!("http://{page}/?url={}", escaped(url)));
        Self {
            reports,
            process: Process::spawn("Chromium", &command),
            _profile: profile,
        }
    }

    /// Waits until it shows that.
    ///
    /// # Panics
    /// When the browser does not show that within a minute. The message has its last state.
    #[track_caller]
    pub fn await_shown(&mut self, what: &str, wanted: impl Fn(&Shown) -> bool) -> Shown {
        let mut last = Shown::default();
        let shown = clock::poll(SHOWN_TIMEOUT, || {
            if let Some(newest) = self.reports.try_iter().last() {
                last = newest;
            }
            (wanted(&last) || !self.process.is_running()).then(|| last.clone())
        });
        assert!(
            shown.as_ref().is_some_and(&wanted),
            "the browser does not show {what}, but {last:?}"
        );
        last
    }
}

/// Serves the page until the test ends.
fn serve(script: PathBuf, reports: SyncSender<Shown>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address for the page");
    let address = listener.local_addr().expect("its own address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (script, reports) = (script.clone(), reports.clone());
            thread::spawn(move || answer(&stream, &script, &reports));
        }
    });
    address
}

/// One request on a connection. Errors are the browser's: it asks again.
fn answer(stream: &TcpStream, script: &Path, reports: &SyncSender<Shown>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let target = request.split(' ').nth(1)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (kind, body) = match path {
        "/" => ("text/html", PAGE.as_bytes().to_vec()),
        "/mpegts.js" => ("text/javascript", std::fs::read(script).ok()?),
        "/report" => {
            // A test that does not wait misses some reports, and a test that has ended misses all.
            let _ = reports.try_send(Shown::parse(query));
            ("text/plain", Vec::new())
        }
        _ => ("text/plain", Vec::new()),
    };
    let mut stream = stream;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

impl Shown {
    fn parse(query: &str) -> Self {
        let fields: HashMap<_, _> = query
            .split('&')
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key, unescaped(value)))
            .collect();
        let text = |key| fields.get(key).cloned().unwrap_or_default();
        let number = |key| text(key).parse().unwrap_or_default();
        Self {
            frames: number("frames"),
            milliseconds: number("milliseconds"),
            picture: text("picture"),
            sound_bytes: number("sound_bytes"),
            errors: text("errors"),
        }
    }
}

pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match (digit(rest.next()), digit(rest.next())) {
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => bytes.push(b'?'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
