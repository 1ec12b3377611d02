//! The gateway over loopback, with our own client and with raw sockets.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait by the runtime's clock"
)]

use std::time::Duration;

use crate::common::*;
use livetrail_engine::{
    AppSpec, CodecId, FrameFlags, Hops, MediaFrame, Reason, StaticKey, StaticKeys,
};
use livetrail_rtmp::{RtmpClient, RtmpConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

#[tokio::test]
async fn what_is_published_is_played_frame_by_frame_to_the_end() {
    let gateway = plain().await;
    let mut publisher = RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap();
    let frames = clip(100);
    let (first, rest) = frames.split_at(4);
    for frame in first {
        publisher.push(frame).await.unwrap();
    }
    // The player joins in the first GOP: configurations, then every frame.
    gateway.seen.wait_for("publish_started").await;
    let mut player = RtmpClient::new()
        .play(&gateway.url("live/cam"))
        .await
        .unwrap();
    let reader = tokio::spawn(async move {
        let mut played = Vec::new();
        while let Some(frame) = player.next().await.unwrap() {
            played.push(frame);
        }
        played
    });
    for frame in rest {
        publisher.push(frame).await.unwrap();
    }
    publisher.close().await.unwrap();
    let played = reader.await.unwrap();
    let media = |frames: &[MediaFrame]| {
        frames
            .iter()
            .filter(|f| !f.is_config())
            .cloned()
            .collect::<Vec<_>>()
    };
    let (sent, got) = (media(&frames), media(&played));
    assert_eq!(got.len(), sent.len());
    assert!(got == sent, "every frame is the one that was sent");
    assert!(
        frames[..3]
            .iter()
            .all(|config| played.iter().filter(|f| *f == config).count() == 1)
    );
    gateway.seen.wait_for("play_ended stream_ended").await;
    let labels = gateway.seen.labels();
    assert_eq!(
        labels,
        [
            "publish_started",
            "play_started",
            "publish_ended client_closed",
            "play_ended stream_ended"
        ]
    );
}

/// Viewers get frames in batches. Those of a server that passes the frames on would wait for each
/// batch a second time.
#[tokio::test]
async fn a_frame_for_another_server_waits_for_no_other() {
    let config = configured(|config| config.egress.send_interval = Duration::from_secs(1));
    let gateway = Gateway::start(config, |builder| builder).await;
    let url = gateway.url("live/cam");
    let mut publisher = RtmpClient::new().publish(&url).await.unwrap();
    let frames = clip(100);
    let (first, rest) = frames.split_at(4);
    for frame in first {
        publisher.push(frame).await.unwrap();
    }
    gateway.seen.wait_for("publish_started").await;
    let edge = RtmpClient::new().hops(Hops::default().then(&"edge".into()));
    let mut player = edge.play(&url).await.unwrap();
    let mut played = player.next().await.unwrap();
    // Each frame is sent after the one before it has come: in batches this would take 96 s.
    let all = timeout(Duration::from_secs(30), async {
        for frame in rest {
            publisher.push(frame).await.unwrap();
            while played.as_ref() != Some(frame) {
                played = player.next().await.unwrap();
            }
        }
    });
    all.await.expect("frames wait for others");
}

#[tokio::test]
async fn refusals_reach_the_client_and_are_recorded_once() {
    let gateway = plain().await;
    let client = RtmpClient::new();
    let (code, description) = refused(client.play(&gateway.url("live/nobody")).await);
    assert_eq!(code, "NetStream.Play.StreamNotFound");
    assert!(description.starts_with("stream_not_found"));
    let (code, _) = refused(client.publish(&gateway.url("other/cam")).await);
    assert_eq!(code, "NetConnection.Connect.InvalidApp");
    let _first = client.publish(&gateway.url("live/cam")).await.unwrap();
    let (code, description) = refused(client.publish(&gateway.url("live/cam")).await);
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.starts_with("already_publishing"));
    assert_eq!(
        gateway.seen.labels(),
        [
            "play_denied stream_not_found",
            "publish_denied app_not_found",
            "publish_started",
            "publish_denied already_publishing"
        ]
    );
}

#[tokio::test]
async fn a_token_is_asked_for_and_a_wrong_one_refused() {
    let keys = StaticKeys::new([StaticKey::new("studio", "right")]);
    let gateway =
        Gateway::start(RtmpConfig::default(), |builder| builder.authenticator(keys)).await;
    let client = RtmpClient::new();
    for path in ["live/cam", "live/cam?token=wrong"] {
        let (code, description) = refused(client.publish(&gateway.url(path)).await);
        assert_eq!(code, "NetStream.Publish.BadName");
        assert!(description.starts_with("unauthorized"), "{description}");
    }
    client
        .publish(&gateway.url("live/cam?token=right"))
        .await
        .unwrap();
    assert_eq!(
        gateway.seen.labels()[..3],
        [
            "publish_denied unauthorized",
            "publish_denied unauthorized",
            "publish_started"
        ]
    );
}

#[tokio::test]
async fn a_name_that_is_not_a_name_is_refused_on_record() {
    let gateway = plain().await;
    let client = RtmpClient::new();
    let (code, description) = refused(client.publish(&gateway.url("live/a/b/c")).await);
    assert_eq!(code, "NetStream.Publish.BadName");
    assert!(description.starts_with("bad_name"), "{description}");
    let (code, _) = refused(client.play(&gateway.url("live/a/\u{202e}b")).await);
    assert_eq!(code, "NetStream.Play.StreamNotFound");
    assert_eq!(
        gateway.seen.labels(),
        ["publish_denied bad_name", "play_denied bad_name"]
    );
}

#[tokio::test]
async fn a_kicked_publisher_is_notified_and_disconnected() {
    let gateway = plain().await;
    let mut publisher = RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap();
    gateway.seen.wait_for("publish_started").await;
    let session = gateway.engine.sessions()[0].context.session;
    gateway.engine.kick(session).unwrap();
    let in_a_minute = tokio::time::Instant::now() + Duration::from_secs(60);
    let (code, description) = refused(publisher.wait_until(in_a_minute).await);
    assert_eq!(code, "NetStream.Publish.Rejected");
    assert!(description.starts_with("kicked"), "{description}");
    gateway.seen.wait_for("publish_ended kicked").await;
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_is_evicted_while_a_write_is_pending() {
    let short = AppSpec::new("short")
        .subscriber_max_lag(16)
        .subscriber_stall_timeout(Duration::from_millis(500));
    let gateway = Gateway::start(RtmpConfig::default(), |builder| builder.application(short)).await;
    let mut publisher = RtmpClient::new()
        .publish(&gateway.url("short/cam"))
        .await
        .unwrap();
    for frame in clip(1) {
        publisher.push(&frame).await.unwrap();
    }
    let _player = RtmpClient::new()
        .play(&gateway.url("short/cam"))
        .await
        .unwrap();
    let big = MediaFrame::video(
        CodecId::H264,
        0,
        0,
        FrameFlags::KEYFRAME,
        vec![1; 1 << 20].into(),
    );
    let flood = tokio::spawn(async move {
        while publisher.push(&big).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    gateway.seen.wait_for("play_ended evicted").await;
    flood.abort();
    let played = gateway
        .seen
        .labels()
        .iter()
        .filter(|label| label.starts_with("play_ended"))
        .count();
    assert_eq!(played, 1);
}

#[tokio::test]
async fn a_publisher_that_vanishes_ends_its_session_and_its_viewers() {
    let gateway = plain().await;
    let publisher = RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap();
    let mut player = RtmpClient::new()
        .play(&gateway.url("live/cam"))
        .await
        .unwrap();
    drop(publisher);
    assert!(
        timeout(Duration::from_secs(5), player.next())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
    gateway.seen.wait_for("publish_ended client_closed").await;
}

#[tokio::test]
async fn a_viewer_that_vanishes_ends_its_session() {
    let gateway = plain().await;
    let _publisher = RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap();
    drop(
        RtmpClient::new()
            .play(&gateway.url("live/cam"))
            .await
            .unwrap(),
    );
    gateway.seen.wait_for("play_ended client_closed").await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_disconnected_and_leaves_no_record() {
    let config = configured(|config| config.handshake_timeout = Duration::from_millis(100));
    let gateway = Gateway::start(config, |builder| builder).await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    let mut half = TcpStream::connect(gateway.address).await.unwrap();
    half.write_all(&[3; 100]).await.unwrap();
    for stream in [&mut silent, &mut half] {
        let mut bytes = Vec::new();
        timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
            .await
            .unwrap()
            .ok();
    }
    assert!(gateway.seen.labels().is_empty());
}

#[tokio::test]
async fn two_thousand_silent_connections_leave_room_for_a_publisher_and_go() {
    let config = configured(|config| {
        config.handshake_timeout = Duration::from_secs(1);
        config.max_connections_per_ip = 0;
    });
    let gateway = Gateway::start(config, |builder| builder).await;
    let mut silent = Vec::new();
    for _ in 0..2_000 {
        match TcpStream::connect(gateway.address).await {
            Ok(stream) => silent.push(stream),
            // The test's own process may lack file descriptors.
            Err(_) => break,
        }
    }
    silent.truncate(silent.len() - silent.len() / 10);
    RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let all_gone = timeout(Duration::from_secs(10), async {
        while gateway.stats.counts().open > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(
        all_gone.await.is_ok(),
        "{} are left",
        gateway.stats.counts().open
    );
}

#[tokio::test]
async fn a_client_that_never_asks_is_disconnected() {
    let config = configured(|config| config.command_timeout = Duration::from_millis(100));
    let gateway = Gateway::start(config, |builder| builder).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(&[&[3][..], &[0; 3072]].concat())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        bytes.len(),
        3073,
        "the handshake and no status, for there was no connect"
    );
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_stopped_and_disconnected() {
    let config = configured(|config| config.command_timeout = Duration::from_millis(500));
    let gateway = Gateway::start(config, |builder| builder).await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream
        .write_all(&[&[3][..], &[0; 3072]].concat())
        .await
        .unwrap();
    let pings = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 6, 1, 2, 3, 4].repeat(10_000);
    let mut sent = 0;
    let cut_off = timeout(Duration::from_secs(10), async {
        while stream.write_all(&pings).await.is_ok() {
            sent += pings.len();
        }
    });
    assert!(cut_off.await.is_ok());
    // The server has stopped reading: only the buffers of both systems fill.
    assert!(sent < 64 << 20, "{sent} bytes were taken");
}

#[tokio::test]
async fn what_is_not_rtmp_is_hung_up_on() {
    let gateway = plain().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes))
        .await
        .unwrap()
        .ok();
    assert!(gateway.seen.labels().is_empty());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let config = configured(|config| config.max_connections_per_ip = 2);
    let gateway = Gateway::start(config, |builder| builder).await;
    let _held = [
        TcpStream::connect(gateway.address).await.unwrap(),
        TcpStream::connect(gateway.address).await.unwrap(),
    ];
    while gateway.stats.counts().open < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    let mut third = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(
        timeout(Duration::from_secs(5), third.read(&mut [0]))
            .await
            .unwrap()
            .unwrap_or(0),
        0
    );
    assert_eq!(
        (
            gateway.stats.counts().refused,
            gateway.stats.counts().accepted
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn a_server_that_stops_ends_its_sessions_and_says_so() {
    let gateway = plain().await;
    let mut publisher = RtmpClient::new()
        .publish(&gateway.url("live/cam"))
        .await
        .unwrap();
    let mut player = RtmpClient::new()
        .play(&gateway.url("live/cam"))
        .await
        .unwrap();
    gateway.stop.send(()).unwrap();
    let in_a_minute = tokio::time::Instant::now() + Duration::from_secs(60);
    assert_eq!(
        refused(publisher.wait_until(in_a_minute).await).0,
        "NetConnection.Connect.AppShutdown"
    );
    assert_eq!(
        refused(player.next().await).0,
        "NetConnection.Connect.AppShutdown"
    );
    drop((publisher, player));
    timeout(Duration::from_secs(5), gateway.task)
        .await
        .unwrap()
        .unwrap();
    let shutdown = Reason::ServerShutdown.label();
    let ended = gateway
        .seen
        .labels()
        .iter()
        .filter(|label| label.ends_with(shutdown))
        .count();
    assert_eq!(ended, 2, "{:?}", gateway.seen.labels());
}
