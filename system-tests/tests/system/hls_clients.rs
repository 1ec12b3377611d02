//! HLS with players of web pages and VLC, on one server: each plays, and is one session. hls.js and
//! Shaka continue when the publisher comes back.

use std::time::Duration;

use system_tests::web::{Player, Players};
use system_tests::{Config, Process, Server, Story, clip, clock, tool};

/// How long a player must play without a stall.
const STEADY: Duration = Duration::from_secs(10);

/// The time in which it must do so, on a machine that is also busy.
const TRIES: usize = 8;

/// How long the publisher is away.
const AWAY: Duration = Duration::from_secs(10);

/// How far the players for low latency are behind live at most. It is 2 s on a machine that does
/// nothing else (`examples/hls_browsers.rs`). Without parts they would be more than 3 s behind.
const BEHIND_S: f64 = 3.0;

#[test]
fn players_of_web_pages_stay_close_to_live_and_continue_with_the_publisher() {
    let config = Config::new().application("wait_for_publisher = \"60s\"");
    let mut server = Server::start(
        config
            .http("allow_origin = \"*\"")
            .lines("[hls]\nsegment = \"1s\""),
    );
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 600, None);
    server.await_frames("live/cam", 75);
    let origin = format!("http://{}", server.http());
    let vlc = Process::spawn("VLC", &vlc(&format!("{origin}/live/cam/index.m3u8")));
    let mut players = Players::open(&Player::ALL, &origin, "live/cam", &[]);
    await_steady(&mut players, Some(BEHIND_S));
    let sessions = Player::ALL.len();
    server.await_records("play_started", sessions + 1);
    clock::wait_until("bytes for every viewer", 6 * STEADY, || {
        let bytes = bytes(&server);
        bytes.len() == sessions + 1 && bytes.iter().all(|bytes| *bytes > 100_000)
    });
    drop(vlc);
    // It gives up when its only playlist was not there for a while.
    players.close(Player::VideoJs);
    server.await_records("play_ended", 2);

    let sessions = sessions - 1;
    tool::interrupt(publisher);
    // The players notice: they have less than this in their buffers.
    std::thread::sleep(AWAY);
    let before = bytes(&server);
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 600, None);
    await_steady(&mut players, None);
    let after = bytes(&server);
    assert_eq!((before.len(), after.len()), (sessions, sessions));
    assert!(
        before.iter().sum::<u64>() < after.iter().sum(),
        "{before:?} {after:?}"
    );
    drop(players);
    tool::interrupt(publisher);
    let played = |reason| Story::new("hls", "live/cam").played(reason);
    let published = Story::new("rtmp", "live/cam").published("client_closed");
    let mut stories = vec![played("server_shutdown"); sessions];
    stories.extend([played("idle"), played("idle"), published.clone(), published]);
    server.stop().assert_sessions(&stories);
}

/// Waits until each player has played for [`STEADY`] without a stall, and those for low latency
/// have been at most this many seconds behind live.
///
/// After a discontinuity (`None`) Shaka 5.2 continues ten seconds behind live, with short stalls
/// for which it makes up.
#[track_caller]
fn await_steady(players: &mut Players, behind_s: Option<f64>) {
    let low_latency = vec![Player::Own, Player::Shaka];
    let (mut unsteady, mut far) = match behind_s {
        Some(_) => (Player::ALL.to_vec(), low_latency),
        None => (low_latency, Vec::new()),
    };
    let mut seen = Vec::new();
    for _ in 0..TRIES {
        for watched in players.watch(STEADY) {
            let is_shaka_later = watched.player == Player::Shaka && behind_s.is_none();
            if watched.is_steady() || is_shaka_later && watched.continues() {
                unsteady.retain(|player| *player != watched.player);
            }
            if behind_s.is_some_and(|behind_s| watched.least_behind_s() <= behind_s) {
                far.retain(|player| *player != watched.player);
            }
            seen.push(watched.to_string());
        }
        if unsteady.is_empty() && far.is_empty() {
            return;
        }
        if behind_s.is_some() {
            players.go_to_live();
        }
    }
    let seen = seen.join("\n");
    panic!("{unsteady:?} stall, {far:?} are far behind live:\n{seen}");
}

/// The bytes that each viewer has got.
fn bytes(server: &Server) -> Vec<u64> {
    let sessions = server.sessions();
    let viewers = sessions.iter().filter(|session| session["role"] == "play");
    viewers
        .map(|session| session["bytes"].as_u64().unwrap_or_default())
        .collect()
}

/// VLC without a window. It refuses to run as root.
fn vlc(url: &str) -> std::process::Command {
    let mut command = tool::tool("setpriv", "util-linux");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    let vlc = tool::tool("cvlc", "vlc-bin");
    command.arg(vlc.get_program());
    command.args(["-I", "dummy", "--vout", "dummy", "--aout", "dummy", url]);
    command.env("HOME", "/nonexistent");
    command
}
