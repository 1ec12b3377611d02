//! RTMPS and HTTPS: clients that are not ours, certificates that are exchanged, and handshakes that
//! never end.

#![allow(clippy::print_stderr, reason = "the long forms show their figures")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use system_tests::{
    Authority, Config, Packets, Process, Server, Signal, Story, clip, clock, free_address,
    resources, run, tool,
};

const ENDS: Duration = Duration::from_secs(30);

/// Variables with the sizes of the long forms, which `cargo xtask flood` sets.
const LONG_SWAPS: &str = "LIVETRAIL_TLS_SWAPS";
const LONG_HALF_OPEN: &str = "LIVETRAIL_TLS_HALF_OPEN";

/// The size of the long form, or of the short one.
fn at_length(variable: &str, short: u64) -> u64 {
    let long = std::env::var(variable).ok();
    long.map_or(short, |text| text.parse().expect("a number"))
}

/// A server with RTMPS and HTTPS, and its authority.
struct Site {
    authority: Authority,
    server: Server,
    rtmps: SocketAddr,
    https: SocketAddr,
}

impl Site {
    fn start(config: Config) -> Self {
        let (authority, rtmps, https) = (Authority::new(), free_address(), free_address());
        authority.sign("server", &[rtmps, https], 2100);
        let config = config
            .rtmp(&format!("tls_listen = \"{rtmps}\""))
            .http(&format!("tls_listen = \"{https}\""))
            .lines(&authority.lines("server"));
        Self {
            server: Server::start(config),
            authority,
            rtmps,
            https,
        }
    }

    /// Requests a path by `openssl s_client`, and returns what it and the server say.
    fn s_client(&self, options: &str, path: &str) -> String {
        let (ca, https) = (self.authority.ca(), self.https);
        let script = format!(
            "printf 'GET {path} HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' | \
             openssl s_client -connect {https} -servername localhost -CAfile {ca:?} \
             -verify_return_error -ign_eof {options} 2>&1"
        );
        let mut command = tool::tool("sh", "dash");
        command.arg("-c").arg(script);
        run("openssl s_client", &command, ENDS).stdout
    }
}

#[test]
fn clients_that_are_not_ours_publish_and_play_over_tls_and_so_do_ours() {
    let mut site = Site::start(Config::new());
    let ca = site.authority.ca();
    let ca = ca.to_str().expect("a path");
    let rtmps = format!("rtmps://{}/live/cam", site.rtmps);
    let https = format!("https://localhost:{}/live/cam.flv", site.https.port());
    let resolve = format!("localhost:{}:{}", site.https.port(), site.https.ip());
    let sent = site.server.file("sent.flv");
    let publisher = tool::ffmpeg_publish(clip::small(), &rtmps, 40, Some(&sent));
    site.server.await_frames("live/cam", 100);
    let file = |name: &str| site.server.file(name);
    let ours = |url: &str, out: &std::path::Path| {
        let out = out.to_str().expect("a path");
        let command = tool::livetrail(&["play", url, "-o", out, "--ca", ca]);
        Process::spawn("livetrail play", &command)
    };
    let mut curl = tool::tool("curl", "curl");
    curl.args([
        "--silent",
        "--show-error",
        "--cacert",
        ca,
        "--resolve",
        &resolve,
    ])
    .args([
        "--output",
        file("curl.flv").to_str().expect("a path"),
        &https,
    ]);
    let viewers = [
        tool::ffmpeg_play(&rtmps, &file("ffmpeg-rtmps.flv")),
        tool::ffmpeg_play(
            &format!("https://{}/live/cam.flv", site.https),
            &file("ffmpeg-https.flv"),
        ),
        ours(&rtmps, &file("ours-rtmps.flv")),
        ours(
            &format!("https://{}/live/cam.flv", site.https),
            &file("ours-https.flv"),
        ),
        Process::spawn("curl", &curl),
    ];
    site.server.await_records("play_started", 5);

    for (options, version) in [
        ("-tls1_2", "TLSv1.2"),
        ("-tls1_3 -alpn other,http/1.1", "TLSv1.3"),
    ] {
        let said = site.s_client(options, "/live/none.flv");
        assert!(said.contains("HTTP/1.1 404"), "{said}");
        assert!(said.contains(&format!("New, {version}")), "{said}");
        assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
        let is_chosen = said.contains("ALPN protocol: http/1.1");
        assert_eq!(is_chosen, options.contains("alpn"), "{said}");
    }
    let refused = site.s_client("-tls1_1", "/live/none.flv");
    assert!(!refused.contains("HTTP/1.1"), "{refused}");

    site.server.await_frames("live/cam", 300);
    tool::interrupt(publisher);
    for viewer in viewers {
        viewer.wait(ENDS).success();
    }
    let published = Packets::of(&sent);
    for name in [
        "ffmpeg-rtmps.flv",
        "ffmpeg-https.flv",
        "ours-rtmps.flv",
        "ours-https.flv",
        "curl.flv",
    ] {
        tool::assert_decodes(&file(name));
        Packets::of(&file(name)).assert_continue(&published, true);
    }
    // Our client does not trust a server whose authority it does not know.
    let command = tool::livetrail(&["play", &rtmps]);
    let untrusted = run("livetrail play", &command, ENDS).failure();
    assert!(
        untrusted.stderr.contains("TLS handshake failed"),
        "{}",
        untrusted.output()
    );

    let metrics = site.server.get("/metrics").text();
    for wanted in [
        "livetrail_certificate_expiry_timestamp_seconds{name=\"localhost\"} 4102444800",
        "livetrail_tls_handshakes_total{gateway=\"rtmp\",outcome=\"completed\"} 3",
        "livetrail_tls_handshakes_total{gateway=\"rtmp\",outcome=\"failed\"} 1",
    ] {
        assert!(metrics.contains(wanted), "no {wanted}\n{metrics}");
    }
    site.server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/none").then_because("play_denied", "stream_not_found"),
        Story::new("http-flv", "live/none").then_because("play_denied", "stream_not_found"),
    ]);
}

#[test]
fn hls_is_played_over_http_2() {
    let mut site = Site::start(Config::new().lines("[hls]\nsegment = \"1s\""));
    let publisher =
        tool::ffmpeg_publish(clip::small(), &site.server.rtmp_url("live/cam"), 120, None);
    site.server.await_frames("live/cam", 75);
    let (origin, resolve) = (
        format!("https://localhost:{}/live/cam/", site.https.port()),
        format!("localhost:{}:{}", site.https.port(), site.https.ip()),
    );
    let get = |name: &str| {
        let mut curl = tool::tool("curl", "curl");
        curl.args([
            "-sS",
            "--fail",
            "--http2",
            "--resolve",
            &resolve,
            "--cacert",
        ]);
        curl.arg(site.authority.ca());
        // Twice on one connection, the second time at once.
        curl.args(["-w", "\n%{http_version} %{num_connects}\n"]);
        let url = format!("{origin}{name}");
        curl.args([&url, &url]);
        let answers = run("curl", &curl, ENDS).success().stdout;
        assert!(answers.contains("\n2 1\n"), "{answers}");
        assert!(answers.ends_with("\n2 0\n"), "{answers}");
        answers
    };
    let entry = get("index.m3u8");
    let playlist = entry.lines().find(|line| line.starts_with("s/"));
    let playlist = playlist.expect("a playlist for the viewer");
    let text = get(playlist);
    let first = text.lines().find_map(|line| {
        let number = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?;
        number.parse::<u64>().ok()
    });
    // Held until that segment begins.
    let later = first.expect("a number") + text.matches("#EXTINF").count() as u64 / 2 + 1;
    let text = get(&format!("{playlist}?_HLS_msn={later}&_HLS_part=0"));
    assert!(text.contains("#EXT-X-PART:"), "{text}");
    tool::interrupt(publisher);
    site.server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("hls", "live/cam").played("server_shutdown"),
    ]);
}

#[test]
fn gstreamer_publishes_and_plays_over_rtmps() {
    let mut site = Site::start(Config::new());
    // It knows only the authorities of the system.
    let location = format!(
        "location=rtmps://{}/live/gst tls-validation-flags=no-flags",
        site.rtmps
    );
    let publish = format!(
        "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 bitrate=300 \
         ! video/x-h264,profile=baseline ! h264parse ! flvmux streamable=true ! rtmp2sink {location}"
    );
    let elements = &[
        ("videotestsrc", "gstreamer1.0-plugins-base"),
        ("x264enc", "gstreamer1.0-plugins-ugly"),
        ("h264parse", "gstreamer1.0-plugins-bad"),
        ("flvmux", "gstreamer1.0-plugins-good"),
        ("rtmp2sink", "gstreamer1.0-plugins-bad"),
    ];
    let publish = tool::gst_launch(elements, &publish);
    let publisher = Process::spawn("GStreamer that publishes", &publish);
    site.server.await_frames("live/gst", 25);
    let played = site.server.file("played.flv");
    let play = format!(
        "rtmp2src {location} ! filesink location={}",
        played.display()
    );
    let play = tool::gst_launch(&[("rtmp2src", "gstreamer1.0-plugins-bad")], &play);
    let viewer = Process::spawn("GStreamer that plays", &play);
    site.server.await_records("play_started", 1);
    site.server.await_frames("live/gst", 100);
    publisher.end_by(Signal::INT, ENDS).success();
    viewer.wait(ENDS);
    tool::assert_decodes(&played);
    site.server.stop().assert_sessions(&[
        Story::new("rtmp", "live/gst").published("client_closed"),
        Story::new("rtmp", "live/gst").played("stream_ended"),
    ]);
}

/// One join: a handshake, and the head of an answer.
fn join(address: SocketAddr, config: &Arc<rustls::ClientConfig>) -> std::io::Result<()> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = rustls::ClientConnection::new(config.clone(), name);
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(ENDS))?;
    let mut stream = rustls::StreamOwned::new(connection.expect("a connection"), socket);
    stream.write_all(
        b"GET /live/none.flv HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    assert_eq!(&head, b"HTTP/1.1 404");
    Ok(())
}

#[allow(clippy::print_stderr, reason = "the long form shows its figures")]
#[test]
fn certificates_are_exchanged_under_joins_and_an_invalid_pair_changes_nothing() {
    let warning = "[tls]\nexpiry_warning = \"3650d\"";
    let site = Site::start(Config::new().auth("play = \"open\"").lines(warning));
    let Site {
        authority,
        mut server,
        rtmps,
        https,
    } = site;
    let ca = CertificateDer::from_pem_file(authority.ca()).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Arc::new(client);

    // A session that goes on through all exchanges.
    let url = format!("rtmps://{rtmps}/live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 60, None);
    server.await_frames("live/cam", 10);

    let (stop, joined) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let threads = if at_length(LONG_SWAPS, 20) > 20 { 8 } else { 2 };
    let joins: Vec<_> = (0..threads)
        .map(|_| {
            let (stop, joined, client) = (stop.clone(), joined.clone(), client.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    join(https, &client).expect("a join");
                    joined.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let swaps = at_length(LONG_SWAPS, 20);
    let joins_per_swap = if swaps > 20 { 50 } else { 3 };
    let watch = clock::Stopwatch::start();
    for swap in 1..=swaps {
        authority.sign(
            "server",
            &[rtmps, https],
            2100 + i32::try_from(swap).expect("a year"),
        );
        server.signal(Signal::HUP);
        let target = joined.load(Ordering::Relaxed) + joins_per_swap;
        clock::wait_until("further joins", ENDS, || {
            joined.load(Ordering::Relaxed) >= target
        });
    }
    stop.store(true, Ordering::Relaxed);
    for thread in joins {
        thread.join().expect("no join failed");
    }
    let (count, seconds) = (
        joined.load(Ordering::Relaxed),
        watch.elapsed().as_secs_f64(),
    );
    eprintln!("{swaps} certificates exchanged under {count} joins in {seconds:.1} s");

    // The certificate of another key, an expired one, and half a file. The last valid one stays.
    let degraded = |server: &Server| {
        clock::wait_until("a degraded server", ENDS, || {
            let health = server.get("/health").json();
            health["certificates_invalid"] == serde_json::json!(["localhost"])
        });
    };
    authority.sign("other", &[rtmps, https], 2100);
    let (chain, key) = (authority.path("server.pem"), authority.path("server.key"));
    std::fs::copy(authority.path("other.pem"), &chain).expect("a copy");
    degraded(&server);
    authority.sign("server", &[rtmps, https], 2021);
    degraded(&server);
    let whole = std::fs::read(authority.path("other.pem")).expect("a file");
    std::fs::write(&chain, &whole[..whole.len() / 2]).expect("a file");
    degraded(&server);
    std::fs::write(&chain, whole).expect("a file");
    std::fs::copy(authority.path("other.key"), &key).expect("a copy");
    clock::wait_until("a healthy server", ENDS, || {
        server.get("/health").json()["status"] == "ok"
    });
    // One that is valid, and expires within `expiry_warning`, is served and named.
    authority.sign("server", &[rtmps, https], 2030);
    clock::wait_until("a certificate that expires", ENDS, || {
        let health = server.get("/health").json();
        health["status"] == "degraded"
            && health["certificates_expiring"] == serde_json::json!(["localhost"])
            && health["certificates_invalid"].is_null()
    });

    tool::interrupt(publisher);
    let trail = server.stop();
    let published: Vec<_> = trail.of("publish_started").collect();
    assert_eq!(published.len(), 1, "the session was not cut");
    assert!(trail.count("admin_config_changed") >= 20);

    // The same pairs do not start a server.
    std::fs::copy(authority.path("other.key"), &key).expect("a copy");
    for (until, words) in [(2021, "has expired"), (0, "not the key")] {
        match until {
            0 => {
                authority.sign("server", &[rtmps, https], 2100);
                std::fs::copy(authority.path("other.key"), &key).expect("a copy");
            }
            until => authority.sign("server", &[rtmps, https], until),
        }
        let refused = run("livetrail serve", &server.command(), ENDS).failure();
        assert!(refused.stderr.contains(words), "{}", refused.output());
    }
}

#[allow(clippy::print_stderr, reason = "the long form shows its figures")]
#[test]
fn handshakes_that_never_end_are_bounded_and_harm_nobody() {
    let count = at_length(LONG_HALF_OPEN, 1_000);
    // The long form takes longer than a handshake may take in the short one.
    let timeout = if count > 1_000 { 60 } else { 3 };
    let config = Config::new()
        .rtmp("max_connections_per_ip = 0")
        .rtmp(&format!("max_connections = {}", count + 100))
        .http("max_connections = 50")
        .lines(&format!("[tls]\nhandshake_timeout = \"{timeout}s\""));
    // The server keeps as many files for its listener without TLS.
    resources::allow_open_files(count * 2 + 1_600);
    let mut site = Site::start(config);
    let before = resources::resident_kib(site.server.pid());
    let half_open: Vec<_> = (0..count)
        .map(|n| {
            let mut socket = TcpStream::connect(site.rtmps).expect("a connection");
            // Some say nothing, others begin a message and do not go on.
            if n % 2 == 0 {
                let _ = socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
            }
            socket
        })
        .collect();
    let url = format!("rtmps://{}/live/cam", site.rtmps);
    let ca = site.authority.ca();
    let clip = clip::short().to_str().expect("a path");
    let command = tool::livetrail(&[
        "publish",
        clip,
        &url,
        "--fast",
        "--ca",
        ca.to_str().expect("a path"),
    ]);
    run("livetrail publish", &command, ENDS).success();
    let grown = resources::resident_kib(site.server.pid()).saturating_sub(before);
    eprintln!("{grown} KiB for {count} handshakes");
    assert!(grown < count * 32, "{grown} KiB for {count} handshakes");
    // The server closes each when its time is over.
    for mut socket in half_open {
        socket.set_read_timeout(Some(ENDS)).expect("a timeout");
        let closed = match socket.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(_) => socket.read(&mut [0; 64]).map_or(true, |read| read == 0),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(closed, "it is still open");
    }
    site.server
        .stop()
        .assert_sessions(&[Story::new("rtmp", "live/cam").published("client_closed")]);
}

#[test]
fn clients_show_certificates_to_publish_to_play_and_to_use_the_api_on_record() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (rtmps, https) = (free_address(), free_address());
    authority.sign("server", &[rtmps, https], 2100);
    let encoder = "spiffe://example.org/encoder/7";
    let operator = "spiffe://example.org/ops/bob";
    for (file, name) in [
        ("encoder", encoder),
        ("wall", "Wall.example.org"),
        ("operator", operator),
    ] {
        authority.sign_client(file, name);
    }
    other.sign_client("encoder", encoder);
    let config = Config::new()
        .auth("play = \"keys\"")
        .rtmp(&format!("tls_listen = \"{rtmps}\""))
        .rtmp("client_certificates = \"require\"")
        .http(&format!("tls_listen = \"{https}\""))
        .http("client_certificates = \"request\"")
        .lines(&format!("[tls]\nclient_ca = {:?}", authority.ca()))
        .lines(&authority.lines("server"))
        .lines("[[auth.certificate]]\nname = \"spiffe://example.org/encoder/*\"")
        .lines("applications = [\"live\"]\ngrant = \"publish\"")
        .lines("[[auth.certificate]]\nname = \"wall.example.org\"\ngrant = \"play\"")
        .lines("[[api.certificate]]\nname = \"spiffe://example.org/ops/*\"")
        .lines("role = \"operator\"");
    let mut server = Server::start(config);
    let url = format!("rtmps://{rtmps}/live/cam");

    // ffmpeg publishes with its certificate. Without one, and with one of another authority, the
    // handshake fails.
    let mut ffmpeg = tool::ffmpeg();
    ffmpeg.args(["-stream_loop", "-1", "-re", "-i"]);
    ffmpeg.arg(clip::small());
    ffmpeg.args(["-map", "0", "-c", "copy", "-t", "60", "-f", "flv"]);
    ffmpeg.arg("-cert_file").arg(authority.path("encoder.pem"));
    ffmpeg.arg("-key_file").arg(authority.path("encoder.key"));
    let publisher = Process::spawn("ffmpeg that publishes", ffmpeg.arg(&url));
    server.await_records("publish_started", 1);
    let publish = |pair: Option<&Authority>| {
        let clip = clip::short().to_str().expect("a path");
        let mut command = tool::livetrail(&["publish", clip, &format!("{url}2"), "--fast"]);
        command.arg("--ca").arg(authority.ca());
        if let Some(of) = pair {
            command.arg("--cert").arg(of.path("encoder.pem"));
            command.arg("--cert-key").arg(of.path("encoder.key"));
        }
        run("livetrail publish", &command, ENDS)
    };
    publish(Some(&authority)).success();
    publish(None).failure();
    publish(Some(&other)).failure();

    // curl plays with the certificate of a player, and uses the API with that of an operator.
    let curl = |pair: Option<&str>, path: &str, more: &[&str]| {
        let mut curl = tool::tool("curl", "curl");
        curl.args(["--silent", "--max-time", "20"]);
        curl.args(["--write-out", "\n%{http_code}", "--cacert"])
            .arg(authority.ca());
        if let Some(pair) = pair {
            curl.arg("--cert")
                .arg(authority.path(&format!("{pair}.pem")));
            curl.arg("--key")
                .arg(authority.path(&format!("{pair}.key")));
        }
        curl.args(more).arg(format!("https://{https}{path}"));
        curl
    };
    let answer = |pair: Option<&str>, path: &str, more: &[&str]| {
        run("curl", &curl(pair, path, more), ENDS).stdout
    };
    let kept = server.file("wall.flv");
    let kept = ["--output", kept.to_str().expect("a path")];
    let wall = Process::spawn("curl", &curl(Some("wall"), "/live/cam.flv", &kept));
    server.await_records("play_started", 1);
    for path in ["/live/cam.flv", "/api/v1/sessions"] {
        assert!(answer(None, path, &[]).ends_with("401"), "{path}");
        assert!(
            answer(Some("encoder"), path, &[]).ends_with("401"),
            "{path}"
        );
    }
    let sessions = answer(Some("operator"), "/api/v1/sessions?role=publish", &[]);
    assert!(
        sessions.contains(encoder) && sessions.ends_with("200"),
        "{sessions}"
    );
    let json = sessions.lines().next().expect("a body");
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let id = json["sessions"][0]["session"].as_str().expect("a session");
    let path = format!("/api/v1/sessions/{id}");
    let kicked = answer(Some("operator"), &path, &["-X", "DELETE"]);
    assert!(kicked.ends_with("204"), "{kicked}");
    publisher.wait(ENDS);
    let played = wall.wait(ENDS);
    assert!(played.stdout.ends_with("200"), "{}", played.output());

    let trail = server.stop();
    trail.assert_sessions(&[
        Story::new("rtmp", "live/cam")
            .by(encoder)
            .published("kicked"),
        Story::new("rtmp", "live/cam2")
            .by(encoder)
            .published("client_closed"),
        Story::new("http-flv", "live/cam")
            .by("wall.example.org")
            .played("stream_ended"),
        Story::new("http-flv", "live/cam").then_because("play_denied", "unauthorized"),
        Story::new("http-flv", "live/cam").then_because("play_denied", "unauthorized"),
    ]);
    let kick = trail.of("admin_session_kicked").next().expect("a record");
    assert_eq!(kick.by.as_deref(), Some(operator));
}
