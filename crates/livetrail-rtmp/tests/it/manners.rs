//! Clients as they exist: they send messages that nobody understands, leave while they wait, pause,
//! and split addresses in different ways.

use std::{sync::Arc, time::Duration};

use crate::common::*;
use async_trait::async_trait;
use livetrail_engine::{
    AppSpec, Attempt, Authenticator, CodecId, FrameFlags, MediaFrame, Role, StaticKey, StaticKeys,
    StreamKey, Verdict,
};
use livetrail_rtmp::{RtmpClient, RtmpConfig};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{sleep, timeout},
};

/// Never answers.
struct Hangs;

#[async_trait]
impl Authenticator for Hangs {
    async fn authenticate(&self, _: Role, _: &Attempt) -> Verdict {
        std::future::pending().await
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let held = timeout(Duration::from_secs(10), async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(held.await.is_ok(), "{what}");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_takes_its_attempt_along() {
    let gateway = Gateway::start(RtmpConfig::default(), |b| b.authenticator(Hangs)).await;
    let publisher = Raw::saying(&gateway, &[connect_to(b"live"), ask("publish", b"cam")]).await;
    // This client has sent more ahead than the server reads, so a read does not reveal that it has
    // closed.
    let early = vec![message(9, 1, &[0x17; 60_000]); 40];
    let wants = [vec![connect_to(b"live"), ask("publish", b"low")], early].concat();
    let busy = tokio::spawn({
        let address = gateway.address;
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let said = [&[3][..], &[0; 3072], &wants.concat()].concat();
            let _ = timeout(
                Duration::from_millis(500),
                tokio::io::AsyncWriteExt::write_all(&mut stream, &said),
            )
            .await;
        }
    });
    let player = Raw::saying(&gateway, &[connect_to(b"live"), ask("play", b"cam")]).await;
    let stats = gateway.stats.clone();
    until("three wait", || stats.counts().open >= 2).await;
    busy.await.unwrap();
    drop((publisher, player));
    until("all are gone", || stats.counts().open == 0).await;
    let mut lines = gateway.seen.lines();
    lines.sort();
    assert_eq!(
        lines,
        [
            "play_denied client_closed live/cam",
            "publish_denied client_closed live/cam",
            "publish_denied client_closed live/low"
        ]
    );
}

#[tokio::test]
async fn a_server_stops_at_once_although_somebody_waits_to_be_admitted() {
    let gateway = Gateway::start(RtmpConfig::default(), |b| b.authenticator(Hangs)).await;
    let mut waits = Raw::saying(&gateway, &[connect_to(b"live"), ask("publish", b"cam")]).await;
    // The answer to `connect` comes although the next answer is pending.
    waits.until("NetConnection.Connect.Success").await;
    gateway.stop.send(()).unwrap();
    let stopped = timeout(Duration::from_secs(4), gateway.task).await;
    assert!(stopped.is_ok(), "sooner than connections are cut off");
}

#[tokio::test]
async fn a_time_without_end_is_no_limit() {
    let config = configured(|config| {
        config.handshake_timeout = Duration::MAX;
        config.command_timeout = Duration::MAX;
        config.write_stall_timeout = Duration::MAX;
        config.linger = Duration::MAX;
    });
    let gateway = Gateway::start(config, |builder| builder).await;
    for _ in 0..20 {
        let publisher = RtmpClient::new().publish(&gateway.url("live/cam")).await;
        publisher.unwrap().close().await.unwrap();
    }
}

#[tokio::test]
async fn every_refused_attempt_is_on_record() {
    let gateway = plain().await;
    let long = "x".repeat(300);
    let cut = "x".repeat(255);
    for (messages, line) in [
        (
            vec![connect_to(b"live"), ask("publish", b"a\x07b")],
            "publish_denied bad_name live/a_b",
        ),
        (
            vec![connect_to(b"live"), ask("play", b"")],
            "play_denied bad_name live/-",
        ),
        (
            vec![connect_to(b"live"), ask("publish", long.as_bytes())],
            &*format!("publish_denied bad_name live/{cut}"),
        ),
        (
            vec![connect_to(b"no\x01app"), ask("play", b"cam")],
            "publish_denied bad_name no_app/-",
        ),
        (
            vec![ask("publish", b"cam")],
            "publish_denied protocol_error -/cam",
        ),
        (
            vec![message(20, 0, &[9, 9, 9])],
            "publish_denied bad_name -/-",
        ),
    ] {
        let before = gateway.seen.lines().len();
        let mut client = Raw::saying(&gateway, &messages).await;
        client.rest().await;
        let lines = gateway.seen.lines();
        assert_eq!(lines.len(), before + 1, "{lines:?}");
        assert!(lines[before].starts_with(line), "{line}: {lines:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_is_skipped_and_named_on_record() {
    let gateway = plain().await;
    let asks = [connect_to(b"live"), ask("publish", b"cam")];
    let mut publisher = Raw::saying(&gateway, &asks).await;
    publisher.until("NetStream.Publish.Start").await;
    // One byte of sound, an unknown codec, and a control message without content.
    for bad in [
        message(8, 1, &[0xaf]),
        message(9, 1, &[0x22, 0]),
        message(4, 0, &[]),
    ] {
        publisher.say(&bad).await;
    }
    publisher.say(&message(8, 1, &[0xaf, 1, 1, 2, 3])).await;
    let engine = gateway.engine.clone();
    until("a frame", || {
        engine.streams().iter().any(|s| s.qos.audio_frames == 1)
    })
    .await;
    drop(publisher);
    gateway.seen.wait_for("publish_ended client_closed").await;
    let lines = gateway.seen.lines();
    assert!(lines[1].contains("dropped"), "{lines:?}");
}

#[tokio::test]
async fn why_an_error_ended_a_session_is_on_record() {
    let gateway = plain().await;
    let asks = [connect_to(b"live"), ask("publish", b"cam")];
    let mut publisher = Raw::saying(&gateway, &asks).await;
    publisher.until("NetStream.Publish.Start").await;
    // A chunk size of 0: the input after it cannot be read.
    publisher
        .say(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        .await;
    gateway.seen.wait_for("publish_ended protocol_error").await;
    let lines = gateway.seen.lines();
    assert!(
        lines[1].ends_with(": chunk size 0x0 is not allowed"),
        "{lines:?}"
    );
    assert!(
        publisher
            .rest()
            .await
            .contains("chunk size 0x0 is not allowed")
    );
}

#[tokio::test]
async fn instances_are_streams_of_their_own_with_their_applications_settings() {
    let gateway = plain().await;
    let asks = |app: &[u8]| [connect_to(app), ask("publish", b"cam")];
    let mut publishers = Vec::new();
    for app in [&b"live"[..], b"live/tenantA", b"live/tenantB"] {
        let mut publisher = Raw::saying(&gateway, &asks(app)).await;
        publisher.until("NetStream.Publish.Start").await;
        publishers.push(publisher);
    }
    let streams = gateway.engine.streams();
    let keys: Vec<_> = streams
        .iter()
        .map(|s| s.publisher.key.to_string())
        .collect();
    assert_eq!(keys, ["live/cam", "live/tenantA/cam", "live/tenantB/cam"]);
    let mut same = Raw::saying(&gateway, &asks(b"live/_definst_")).await;
    assert!(same.rest().await.contains("already_publishing"));
    let _player = RtmpClient::new()
        .play(&gateway.url("live/tenantA/cam"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_key_works_with_slashes_plus_and_question_marks_however_it_is_cut() {
    let secret = "ab+c/dE?f/gh==";
    let keys = || StaticKeys::new([StaticKey::new("studio", secret)]);
    let gateway = Gateway::start(RtmpConfig::default(), |b| b.authenticator(keys())).await;
    for (app, name) in [
        (&b"live"[..], &b"cam?token=ab+c/dE?f/gh=="[..]),
        (b"live/cam?token=ab+c", b"dE?f/gh=="),
        (b"live/cam", b"?token=ab+c/dE?f/gh=="),
        (b"live?token=ab%2Bc/dE?f/gh==", b"cam"),
    ] {
        let mut client = Raw::saying(&gateway, &[connect_to(app), ask("publish", name)]).await;
        client.until("NetStream.Publish.Start").await;
        client
            .say(&command(
                1,
                &[text("deleteStream"), number(0.0), vec![5], number(1.0)],
            ))
            .await;
        client.until("NetStream.Unpublish.Success").await;
    }
    // A key that was pasted as a name, or split where there is no stream, is not on record either.
    for (app, name, line) in [
        (
            &b"live"[..],
            &b"ab+c/dE?f/gh=="[..],
            "unauthorized live/ab+c/dE",
        ),
        (
            b"live",
            b"x/y/ab+c%2FdE%3Ff%2Fgh==",
            "bad_name live/key:studio",
        ),
        (b"live?token=ab+c", b"dE?f/gh==", "bad_name live/-"),
    ] {
        let mut client = Raw::saying(&gateway, &[connect_to(app), ask("publish", name)]).await;
        client.rest().await;
        let lines = gateway.seen.lines();
        assert_eq!(*lines.last().unwrap(), format!("publish_denied {line}"));
    }
    // A wrong key is refused, and no part of it becomes a name.
    let wrong = [
        connect_to(b"live/cam?token=wrong"),
        ask("publish", b"SECRET"),
    ];
    let mut client = Raw::saying(&gateway, &wrong).await;
    assert!(client.rest().await.contains("unauthorized"));
    let lines = gateway.seen.lines();
    assert_eq!(
        lines.last().unwrap(),
        "publish_denied unauthorized live/cam"
    );
}

fn picture(ms: i64, keyframe: bool) -> MediaFrame {
    let flags = if keyframe {
        FrameFlags::KEYFRAME
    } else {
        FrameFlags::NONE
    };
    MediaFrame::video(CodecId::H264, ms, ms, flags, vec![b'p'; 2_000].into())
}

#[tokio::test]
async fn a_paused_viewer_gets_nothing_is_not_evicted_and_resumes_at_a_keyframe() {
    let short = AppSpec::new("short")
        .subscriber_max_lag(16)
        .subscriber_stall_timeout(Duration::from_millis(200));
    let gateway = Gateway::start(RtmpConfig::default(), |b| b.application(short)).await;
    let key = StreamKey::parse("short", "cam").unwrap();
    let mut publication = gateway
        .engine
        .publish(Attempt::new(key, "test"))
        .await
        .unwrap();
    publication.push(picture(0, true)).unwrap();
    let mut player = Raw::saying(&gateway, &[connect_to(b"short"), ask("play", b"cam")]).await;
    player.until("pppp").await;
    let pause = |on| {
        command(
            1,
            &[text("pause"), number(0.0), vec![5], flag(on), number(0.0)],
        )
    };
    player.say(&pause(true)).await;
    let tail = player.until("NetStream.Pause.Notify").await;
    assert!(!tail.ends_with('p'), "nothing comes behind the answer");
    // This is long enough for a slow player to be evicted, at the pace of the test.
    for n in 1..200 {
        publication.push(picture(n * 40, n % 20 == 0)).unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    let mut nothing = [0; 1];
    let read = timeout(Duration::from_millis(300), player.0.read(&mut nothing)).await;
    assert!(read.is_err(), "a paused player is sent nothing");
    player.say(&pause(false)).await;
    let heard = player.until("NetStream.Unpause.Notify").await;
    if !heard.contains("pppp") {
        player.until("pppp").await;
    }
    assert!(
        !gateway
            .seen
            .labels()
            .iter()
            .any(|label| label.contains("evicted"))
    );
    publication.end(livetrail_engine::Reason::ClientClosed);
    gateway.seen.wait_for("play_ended stream_ended").await;
}

#[tokio::test]
async fn a_pause_has_an_end() {
    let config = configured(|config| config.pause_timeout = Duration::from_millis(100));
    let gateway = Gateway::start(config, |builder| builder).await;
    let key = StreamKey::parse("live", "cam").unwrap();
    let _publication = gateway
        .engine
        .publish(Attempt::new(key, "test"))
        .await
        .unwrap();
    let mut player = Raw::saying(&gateway, &[connect_to(b"live"), ask("play", b"cam")]).await;
    player.until("NetStream.Play.Start").await;
    let pause = command(
        1,
        &[text("pause"), number(0.0), vec![5], flag(true), number(0.0)],
    );
    player.say(&pause).await;
    player.rest().await;
    let lines = gateway.seen.lines();
    assert!(
        lines.last().unwrap().contains("play_ended idle live/cam: "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn viewers_do_not_count_among_the_connections_without_a_session() {
    let config = configured(|config| config.max_connections_per_ip = 2);
    let gateway = Gateway::start(config, |builder| builder).await;
    let url = Arc::new(gateway.url("live/cam"));
    let _publisher = RtmpClient::new().publish(&url).await.unwrap();
    let mut players = Vec::new();
    for _ in 0..10 {
        players.push(RtmpClient::new().play(&url).await.unwrap());
    }
    assert_eq!(gateway.stats.counts().refused, 0);
}

#[tokio::test]
async fn a_viewer_waits_for_a_publisher_and_stays_through_its_reconnect() {
    let app = AppSpec::new("patient").wait_for_publisher(Duration::from_secs(60));
    let gateway = Gateway::start(RtmpConfig::default(), |b| b.application(app)).await;
    let url = gateway.url("patient/cam");
    let mut player = RtmpClient::new().play(&url).await.unwrap();
    for round in 0..3 {
        let mut publisher = RtmpClient::new().publish(&url).await.unwrap();
        let sent = picture(round * 40, true);
        publisher.push(&sent).await.unwrap();
        let played = timeout(Duration::from_secs(10), player.next())
            .await
            .unwrap();
        assert_eq!(played.unwrap().unwrap().payload, sent.payload);
        publisher.close().await.unwrap();
    }
    let plays = gateway.seen.labels();
    let plays = plays.iter().filter(|label| label.starts_with("play"));
    assert_eq!(plays.collect::<Vec<_>>(), ["play_started"]);
}
