//! The judge of HLS on real streams. It plays what ffmpeg's own muxer writes, and finds the faults
//! that are known of it, and no others. On the server it finds none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use system_tests::hls_judge::{Http, Options, Rule, Verdict, judge};
use system_tests::{Config, Process, Server, Story, clip, clock, tool};
use tempfile::TempDir;

/// Long enough that segments are removed: six are listed, each of a second.
const WATCH: Duration = Duration::from_secs(16);

#[test]
fn ffmpegs_fragmented_mp4_breaks_two_rules() {
    let verdict = judged(&["-hls_segment_type", "fmp4"]);
    assert_known_faults(&verdict);
}

#[test]
fn ffmpegs_mpeg_ts_breaks_two_rules() {
    let verdict = judged(&["-hls_segment_type", "mpegts"]);
    assert_known_faults(&verdict);
}

#[test]
fn the_server_breaks_no_rule_while_its_publisher_reconnects() {
    let config = Config::new().application("wait_for_publisher = \"30s\"");
    let mut server = Server::start(config.lines("[hls]\nsegment = \"1s\""));
    let publish = || tool::ffmpeg_publish(clip::small(), &server.rtmp_url("live/cam"), 120, None);
    let publisher = publish();
    server.await_frames("live/cam", 100);
    let url = format!("http://{}/live/cam/index.m3u8", server.http());
    let options = Options {
        pauses: true,
        ..options()
    };
    let judge = thread::spawn(move || judge(&mut Http::new(), &url, WATCH, &options));
    server.await_frames("live/cam", 500);
    tool::interrupt(publisher);
    let publisher = publish();
    let verdict = judge.join().expect("a verdict");
    assert!(verdict.is_clean(), "{verdict}");
    let seen = verdict.seen;
    assert!(
        seen.parts > 20 && seen.segments > 10 && seen.discontinuities > 0,
        "{verdict}"
    );
    tool::interrupt(publisher);
    let published = Story::new("rtmp", "live/cam").published("client_closed");
    let judged = Story::new("hls", "live/cam").played("server_shutdown");
    let sessions = [judged, published.clone(), published];
    server.stop().assert_sessions(&sessions);
}

/// What Debian's ffmpeg does wrong if it copies a live stream: a multivariant playlist has no
/// `CODECS`, and segments are deleted two segments after they were listed.
#[track_caller]
fn assert_known_faults(verdict: &Verdict) {
    let broken: Vec<Rule> = verdict.broken().keys().copied().collect();
    assert_eq!(broken, [Rule::SegmentGoneEarly, Rule::Codecs], "{verdict}");
    let seen = verdict.seen;
    assert!(seen.segments >= 14 && seen.unlisted >= 2, "{verdict}");
}

/// Other tests keep the machine busy, so ffmpeg may be late.
fn options() -> Options {
    Options {
        late_ms: 5_000,
        ..Options::default()
    }
}

/// Watches a live stream that ffmpeg writes to files, which a small server offers.
fn judged(arguments: &[&str]) -> Verdict {
    let dir = TempDir::with_prefix("hls").expect("a directory");
    let mut command = tool::ffmpeg();
    command.args(["-re", "-i"]).arg(clip::small());
    command.args([
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        "1",
        "-hls_list_size",
        "6",
    ]);
    command.args(["-hls_flags", "delete_segments+program_date_time"]);
    command
        .args(["-master_pl_name", "index.m3u8"])
        .args(arguments);
    command.arg(dir.path().join("v.m3u8"));
    let ffmpeg = Process::spawn("ffmpeg that writes HLS", &command);
    let playlist = dir.path().join("index.m3u8");
    clock::wait_until("a playlist", Duration::from_secs(30), || playlist.is_file());
    let server = serve(dir.path().to_owned());
    let url = format!("http://{server}/index.m3u8");
    let verdict = judge(&mut Http::new(), &url, WATCH, &options());
    drop(ffmpeg);
    verdict
}

/// Serves the files of a directory until the test ends.
fn serve(dir: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("its own address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let dir = dir.clone();
            thread::spawn(move || answer(&stream, &dir));
        }
    });
    address
}

/// One request on a connection.
fn answer(stream: &TcpStream, dir: &Path) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request = lines.next()?;
    lines.find(String::is_empty)?;
    let target = request.split(' ').nth(1)?;
    let path = target.split('?').next()?;
    let name = path.rsplit('/').next()?.to_owned();
    let kind = match name.rsplit('.').next()? {
        "m3u8" => "application/vnd.apple.mpegurl",
        "ts" => "video/mp2t",
        _ => "video/mp4",
    };
    let (status, body) = match std::fs::read(dir.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}
