//! Plays a stream over low-latency HLS in a browser for a long time, with three players at once:
//! `cargo run --release -p system-tests --example hls_browsers -- [--for 10m] [--segment 2s]`.
//!
//! Exit code 0: each played without a stall, hls.js and Shaka at most two seconds behind live half
//! of the time, and each is one session on the trail. 1: not so. 2: the command line is wrong.

#![allow(clippy::print_stdout, reason = "it prints its result")]

use std::process::ExitCode;
use std::time::Duration;

use system_tests::web::{Player, Players};
use system_tests::{CommandLine, Config, Server, clip, tool};

const USAGE: &str = "\
Plays a stream over low-latency HLS in Chromium, with hls.js, Shaka Player and video.js at once.

Usage: hls_browsers [OPTIONS]

  --for TIME      how long, such as 90s, 10m or 1h [default: 10m]
  --segment TIME  the duration of segments, in seconds [default: 2s]
  -h, --help      Print this

Prints how far each player is behind live, and its stalls, each minute and at the end.
Exit code 1: a player stalled, hls.js or Shaka is more than two seconds behind live half of the time,
or the trail has not one session for each player.";

/// The time after which a player has found its distance to live.
const SETTLE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let mut given = CommandLine::of_process(USAGE);
    let (mut span, mut segment) = (Duration::from_secs(600), Duration::from_secs(2));
    while let Some(argument) = given.take() {
        match argument.as_str() {
            "--for" => span = given.take_span("--for"),
            "--segment" => segment = given.take_span("--segment"),
            other => given.refuse(&format!("there is no `{other}`")),
        }
    }
    let config = Config::new().http("allow_origin = \"*\"");
    let settings = format!("[hls]\nsegment = \"{}ms\"", segment.as_millis());
    let mut server = Server::start(config.lines(&settings));
    let url = server.rtmp_url("live/cam");
    let seconds = u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
    let longer = seconds.saturating_add(600);
    let publisher = tool::ffmpeg_publish(clip::small(), &url, longer, None);
    server.await_frames("live/cam", 75);
    let origin = format!("http://{}", server.http());
    let mut players = Players::open(&Player::ALL, &origin, "live/cam", &[]);
    let _ = players.watch(SETTLE);
    let mut left = span;
    let mut is_good = true;
    while !left.is_zero() {
        let part = left.min(Duration::from_secs(60));
        for watched in players.watch(part) {
            println!("{watched}");
            is_good &= watched.is_steady();
            is_good &= watched.player == Player::VideoJs || watched.median_behind_s() <= 2.0;
        }
        left -= part;
    }
    let sessions = server.trail().count("play_started");
    println!(
        "{sessions} sessions on the trail of {} players",
        Player::ALL.len()
    );
    drop(players);
    tool::interrupt(publisher);
    server.stop();
    if is_good && sessions == Player::ALL.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
