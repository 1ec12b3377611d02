//! The binary's other commands, against a server and against each other.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livetrail_record::{encode_line, parse_canonical};
use system_tests::tool::livetrail;
use system_tests::{
    Config, Packets, Process, Server, Signal, Story, Trail, clip, clock, run, tool,
};

const ENDS: Duration = Duration::from_secs(30);

#[test]
fn the_demo_shows_sessions_and_trail_and_keeps_a_sound_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept = folder.path().join("kept");
    let mut demo = livetrail(&["demo", "--keep", path(&kept)]);
    demo.current_dir(folder.path());
    let finished = run("livetrail demo", &demo, Duration::from_secs(60)).success();
    for shown in [
        "publish_started",
        "play_denied",
        "publish_denied",
        "unauthorized",
        "http-flv",
    ] {
        assert!(
            finished.stdout.contains(shown),
            "no {shown}\n{}",
            finished.output()
        );
    }
    assert!(
        !finished.stdout.contains('\x1b'),
        "no colours into a pipe\n{}",
        finished.output()
    );
    let trail = Trail::read(&kept);
    trail.assert_sound();
    trail.assert_verified(&[]);
    let ended = [
        "publish_ended",
        "play_ended",
        "publish_denied",
        "play_denied",
    ];
    assert_eq!(
        ended.map(|action| trail.count(action)),
        [1, 2, 1, 1],
        "\n{trail}"
    );
}

#[test]
fn our_publisher_and_our_viewer_carry_every_frame_over_rtmp_and_http_flv() {
    let mut server = Server::start(Config::new().key("studio-1", "opensesame-73-1150", "publish"));
    let (by_rtmp, by_http) = (server.file("rtmp.flv"), server.file("http.flv"));
    let url = server.rtmp_url("live/cam");
    let clip = path(clip::short());
    let wrong = livetrail(&["publish", clip, &url, "--token", "wrong"]);
    let refused = run("livetrail publish", &wrong, ENDS).failure();
    assert_eq!(refused.status.code(), Some(1), "{}", refused.output());

    let mut publish = livetrail(&["publish", clip, &url]);
    publish.env("LIVETRAIL_TOKEN", "opensesame-73-1150");
    let publisher = Process::spawn("livetrail publish", &publish);
    server.await_records("publish_started", 1);
    let play = |url: &str, out: &Path| {
        let command = livetrail(&["play", url, "-o", path(out), "--json"]);
        Process::spawn("livetrail play", &command)
    };
    let viewers = [
        play(&url, &by_rtmp),
        play(&server.flv_url("live/cam"), &by_http),
    ];
    let sent = publisher.wait(ENDS).success();
    assert!(
        !sent.stderr.contains('\r'),
        "a progress bar in a pipe\n{}",
        sent.output()
    );
    for viewer in viewers {
        let played = viewer.wait(ENDS).success();
        let summary = serde_json::from_str::<serde_json::Value>(&played.stdout);
        assert!(summary.is_ok(), "not JSON\n{}", played.output());
    }
    let published = Packets::of(clip::short());
    for file in [&by_rtmp, &by_http] {
        tool::assert_decodes(file);
        Packets::of(file).assert_continue(&published, true);
    }
    let missing = livetrail(&["play", &server.flv_url("live/none")]);
    assert_eq!(
        run("livetrail play", &missing, ENDS)
            .failure()
            .status
            .code(),
        Some(1)
    );

    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").then_because("publish_denied", "unauthorized"),
        Story::new("rtmp", "live/cam")
            .by("studio-1")
            .published("client_closed"),
        Story::new("rtmp", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
        Story::new("http-flv", "live/none").then_because("play_denied", "stream_not_found"),
    ]);
}

#[test]
fn our_viewer_stops_after_the_requested_seconds() {
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_frames("live/cam", 30);
    for url in [&url, &server.flv_url("live/cam")] {
        run(
            "livetrail play",
            &livetrail(&["play", url, "--seconds", "1"]),
            ENDS,
        )
        .success();
    }
    server.await_records("play_ended", 2);
    publisher.end_by(Signal::INT, ENDS);
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("rtmp", "live/cam").played("client_closed"),
        Story::new("http-flv", "live/cam").played("client_closed"),
    ]);
}

#[test]
fn the_trail_is_queried_followed_and_checked_while_the_server_writes_it() {
    let mut server = Server::start(Config::new());
    let data = server.data();
    let data = path(&data);
    let follow = livetrail(&["trail", "tail", "-f", "-n", "0", "--format", "tsv", data]);
    let tail = Process::spawn("livetrail trail tail -f", &follow);
    for stream in ["live/one", "live/two"] {
        let url = server.rtmp_url(stream);
        tool::ffmpeg_publish(clip::small(), &url, 1, None)
            .wait(ENDS)
            .success();
    }
    server.await_records("publish_ended", 2);
    clock::wait_until("tail tells of both streams", ENDS, || {
        let said = tail.said();
        said.matches("publish_ended\tlive\tone").count() == 1
            && said.matches("publish_ended\tlive\ttwo").count() == 1
    });
    // Not SIGINT: where the tests run in the background of a shell, that is ignored.
    tail.end_by(Signal::TERM, ENDS);
    server.stop();
    // What the entries have, without the names in the vault.
    let trail = server.trail();

    let query = |arguments: &[&str]| {
        let mut all = vec!["trail", "query", data];
        all.extend(arguments);
        run("livetrail trail query", &livetrail(&all), ENDS)
            .success()
            .stdout
    };
    let lines = query(&["--format", "tsv"]);
    let all: String = trail.records().iter().map(encode_line).collect();
    assert_eq!(lines, all);
    let json = query(&["--format", "json", "--stream", "two"]);
    let records: Vec<_> = json
        .lines()
        .map(|line| parse_canonical(line.as_bytes()).expect("canonical JSON"))
        .collect();
    let of_two: Vec<_> = trail
        .records()
        .iter()
        .filter(|record| record.stream.as_deref() == Some("two"))
        .cloned()
        .collect();
    assert_eq!(records, of_two);
    let session = of_two[0].session.expect("a session").to_string();
    let of_session = query(&[
        "--format",
        "tsv",
        "--session",
        &session,
        "--action",
        "publish_ended",
    ]);
    assert_eq!(of_session.lines().count(), 1, "{of_session}");
    let table = query(&["--since", "1h"]);
    assert!(
        table.contains("publish_started") && table.contains("server_stopped"),
        "{table}"
    );
    assert_eq!(query(&["--format", "tsv", "--until", "1h"]), "");
    run(
        "livetrail trail check",
        &livetrail(&["trail", "check", data]),
        ENDS,
    )
    .success();

    // One line less: a session without its end.
    let file = server.file("cut.tsv");
    let cut: String = lines
        .lines()
        .filter(|line| !line.contains("publish_ended\tlive\tone"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&file, cut).expect("a file");
    let unsound = run(
        "livetrail trail check",
        &livetrail(&["trail", "check", path(&file)]),
        ENDS,
    );
    assert_eq!(unsound.status.code(), Some(1), "{}", unsound.output());
}

#[test]
fn a_token_that_we_issue_lets_its_holder_do_what_it_says_and_nothing_else() {
    let secret = "signing-key-of-at-least-thirty-two-bytes";
    let mut server = Server::start(Config::new().token_key("tokens-1", secret));
    let token = |grant: &str| {
        let arguments = [
            "token",
            "issue",
            "--subject",
            "alice",
            "--stream",
            "cam",
            "--grant",
            grant,
        ];
        let mut issue = livetrail(&arguments);
        issue.env("LIVETRAIL_TOKEN_KEY", secret);
        run("livetrail token issue", &issue, ENDS)
            .success()
            .stdout
            .trim()
            .to_owned()
    };
    let (publish, play) = (token("publish"), token("play"));
    let url = |stream: &str, token: &str| server.rtmp_url(&format!("live/{stream}?token={token}"));
    for wrong in [url("cam", &play), url("other", &publish)] {
        tool::ffmpeg_publish(clip::small(), &wrong, 3, None)
            .wait(ENDS)
            .failure();
    }
    tool::ffmpeg_publish(clip::small(), &url("cam", &publish), 1, None)
        .wait(ENDS)
        .success();

    let trail = server.stop();
    let alice = trail
        .of("publish_started")
        .next()
        .and_then(|started| started.principal.clone());
    let alice = alice.expect("a principal").into_exposed();
    assert!(alice.contains("alice"), "{alice}");
    let denied = |stream| Story::new("rtmp", stream).then_because("publish_denied", "unauthorized");
    trail.assert_sessions(&[
        denied("live/cam"),
        denied("live/other"),
        Story::new("rtmp", "live/cam")
            .by(&alice)
            .published("client_closed"),
    ]);
    trail.assert_tells_nothing_of(&[secret, &publish, &play]);
}

#[test]
fn a_wrong_setting_is_named_with_its_line_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("livetrail.toml");
    std::fs::write(
        &file,
        "[limits]\nidle_timeout = \"30s\"\nmax_publisher = 3\n",
    )
    .expect("a file");
    let finished = run(
        "livetrail serve",
        &livetrail(&["serve", "--config", path(&file)]),
        ENDS,
    );
    assert_eq!(finished.status.code(), Some(2), "{}", finished.output());
    for named in ["max_publisher", "3", "max_publishers"] {
        assert!(
            finished.stderr.contains(named),
            "no {named}\n{}",
            finished.output()
        );
    }
}

#[test]
fn a_second_server_on_the_same_data_is_refused() {
    let mut server = Server::start(Config::new());
    let data = server.data();
    let second = livetrail(&[
        "serve",
        "--data",
        path(&data),
        "--rtmp",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ]);
    let refused = run("a second livetrail serve", &second, ENDS);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output());
    let words = "another process has the trail in";
    assert!(refused.stderr.contains(words), "{}", refused.output());
    server
        .stop()
        .assert_server_records(&["server_started", "server_stopped"]);
}

#[test]
fn a_directory_that_cannot_be_written_is_named_with_exit_code_2_and_can_still_be_read() {
    let mut server = Server::start(Config::new());
    server.stop();
    let data = server.data();
    let mut serve = read_only(&data);
    serve.args(["serve", "--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    serve.args(["--data", path(&data)]);
    let refused = run("livetrail serve", &serve, ENDS);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.output());
    for words in ["cannot be written", path(&data)] {
        assert!(refused.stderr.contains(words), "{}", refused.output());
    }
    let mut verify = read_only(&data);
    verify.args(["trail", "verify", path(&data)]);
    run("livetrail trail verify", &verify, ENDS).success();
    server.start_again();
    server.stop().assert_server_records(&[
        "server_started",
        "server_stopped",
        "server_started",
        "server_stopped",
    ]);
}

/// Our binary in a mount namespace of its own, in which nobody can write to the directory.
fn read_only(directory: &Path) -> Command {
    let mut command = tool::tool("unshare", "util-linux");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@""#;
    command.args(["--mount", "sh", "-c", script]);
    command.arg(directory).arg(system_tests::livetrail());
    command
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
