//! A running server, asked over its sockets.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use livetrail_audit::{AuditRecord, FileTrail, Personal, SinkError};
use livetrail_engine::{Attempt, CodecId, Credentials, FrameFlags, MediaFrame, StreamKey};
use livetrail_record::TrailChecker;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::config::{Application, NamedSecret, SecretText, Span};

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, token: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let token = token.map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: test/1\r\n{token}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head[9..12].parse().unwrap(),
        text: body.to_owned(),
    }
}

fn config(data: &std::path::Path) -> Config {
    let mut config = Config {
        data: data.to_owned(),
        shutdown_timeout: Span::secs(3),
        ..Config::default()
    };
    config.rtmp.listen = ([127, 0, 0, 1], 0).into();
    config.http.listen = ([127, 0, 0, 1], 0).into();
    config
}

fn token(name: &str, secret: &str) -> NamedSecret {
    NamedSecret {
        name: name.to_owned(),
        secret: Some(SecretText::new(secret)),
        secret_file: None,
    }
}

fn attempt() -> Attempt {
    Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test")
}

fn keyframe(ms: i64, bytes: usize) -> MediaFrame {
    let payload = vec![0; bytes].into();
    MediaFrame::video(CodecId::H264, ms, ms, FrameFlags::KEYFRAME, payload)
}

fn trail(data: &std::path::Path) -> Vec<AuditRecord> {
    let lines = FileTrail::open(data.join(TRAIL_FILE)).unwrap();
    lines.map(|line| line.unwrap().record).collect()
}

fn labels(trail: &[AuditRecord]) -> Vec<&str> {
    trail.iter().map(|record| record.action.label()).collect()
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(10), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("took longer than 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_streams_and_sessions_and_kicks_one_on_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.api.token = vec![
        token("day-shift", "secret-1"),
        token("night-shift", "secret-2"),
    ];
    let server = Server::start(config).await.unwrap();
    let api = server.addresses().api;
    let mut publication = server.engine().publish(attempt()).await.unwrap();
    publication.push(keyframe(0, 100)).unwrap();
    let playback = server.engine().play(attempt()).await.unwrap();

    for path in [
        "/api/v1/streams",
        "/api/v1/sessions",
        "/metrics",
        "/api/v1/openapi.json",
    ] {
        assert_eq!(ask(api, "GET", path, None).await.status, 401, "{path}");
        assert_eq!(
            ask(api, "GET", path, Some("wrong")).await.status,
            401,
            "{path}"
        );
        assert_eq!(
            ask(api, "GET", path, Some("secret-1")).await.status,
            200,
            "{path}"
        );
    }
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    let streams = ask(api, "GET", "/api/v1/streams", Some("secret-1"))
        .await
        .json();
    assert_eq!(streams["streams"][0]["stream"], "cam");
    assert_eq!(streams["streams"][0]["viewers"], 1);
    assert_eq!(streams["streams"][0]["frames"], 1);
    let playing = ask(api, "GET", "/api/v1/sessions?role=play", Some("secret-1"))
        .await
        .json();
    let playing = playing["sessions"].as_array().unwrap();
    assert_eq!(playing.len(), 1);
    assert_eq!(playing[0]["session"], playback.session().to_string());

    let kick = format!("/api/v1/sessions/{}", playback.session());
    assert_eq!(ask(api, "DELETE", &kick, None).await.status, 401);
    assert_eq!(
        ask(api, "DELETE", &kick, Some("secret-2")).await.status,
        204
    );
    assert_eq!(
        ask(api, "DELETE", &kick, Some("secret-2")).await.status,
        404
    );
    assert_eq!(
        ask(api, "DELETE", "/api/v1/sessions/x", Some("secret-2"))
            .await
            .status,
        400
    );
    assert_eq!(playback.end_reason().map(|r| r.label()), Some("kicked"));

    drop(publication);
    let report = server.stop().await;
    assert!(report.durable && report.dropped == 0);
    let trail = trail(dir.path());
    let kicked: Vec<_> = trail
        .iter()
        .filter(|record| record.action.label() == "admin_session_kicked")
        .collect();
    assert_eq!(kicked.len(), 1);
    assert_eq!(kicked[0].session, Some(playback.session().as_uuid()));
    let who = kicked[0].principal.as_ref().map(Personal::expose);
    assert_eq!(who, Some("night-shift"));
    assert!(kicked[0].peer.is_some() && kicked[0].user_agent.is_some());
    let (findings, report) = TrailChecker::new().check(&trail);
    assert!(
        findings.is_empty() && report.open.is_empty(),
        "{findings:?}"
    );
}

#[tokio::test]
async fn the_document_describes_every_path_and_metrics_have_what_was_counted() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path())).await.unwrap();
    let api = server.addresses().api;
    let document = ask(api, "GET", "/api/v1/openapi.json", None).await.json();
    let paths: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        paths,
        [
            "/api/v1/sessions",
            "/api/v1/sessions/{id}",
            "/api/v1/streams",
            "/health",
            "/metrics"
        ]
    );
    let role = &document["paths"]["/api/v1/sessions"]["get"]["parameters"][0];
    assert_eq!(
        (&role["in"], &role["required"]),
        (&"query".into(), &false.into())
    );

    let wrong = attempt().credentials(Credentials::none());
    assert!(server.engine().play(wrong).await.is_err());
    let metrics = ask(api, "GET", "/metrics", None).await.text;
    for line in [
        "livetrail_sessions_denied_total{role=\"play\",reason=\"stream_not_found\"} 1",
        "livetrail_sessions{role=\"publish\"} 0",
        "livetrail_trail_healthy 1",
        "livetrail_trail_dropped_total 0",
        "livetrail_trail_offered_total 1",
        "livetrail_rtmp_connections 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no {line}\n{metrics}");
    }
    assert_eq!(ask(api, "GET", "/nothing", None).await.status, 404);
    assert_eq!(ask(api, "POST", "/health", None).await.status, 405);
    server.stop().await;
}

/// Says of itself that it fails, until it does not.
#[derive(Default)]
struct Failing {
    fails: AtomicBool,
}

#[async_trait]
impl AuditSink for Failing {
    async fn write(&self, _record: AuditRecord) {}

    async fn flush(&self) -> Result<(), SinkError> {
        self.failing().map_or(Ok(()), Err)
    }

    fn failing(&self) -> Option<SinkError> {
        let fails = self.fails.load(Ordering::SeqCst);
        fails.then(|| SinkError::Other("no room".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_that_cannot_record_makes_health_red_and_refuses_publishers_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Arc::new(Failing::default());
    let mut config = config(dir.path());
    config.audit.deadline = "500ms".parse().unwrap();
    let server = Server::start_with(config, Trail::of(sink.clone()))
        .await
        .unwrap();
    let api = server.addresses().api;
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    sink.fails.store(true, Ordering::SeqCst);
    let refused = server.engine().publish(attempt()).await.err().unwrap();
    assert_eq!(refused.reason.label(), "audit_unavailable");
    let health = ask(api, "GET", "/health", None).await;
    assert_eq!(health.status, 503, "{}", health.text);
    assert_eq!(health.json()["status"], "trail_failing");
    let metrics = ask(api, "GET", "/metrics", None).await.text;
    assert!(metrics.contains("livetrail_trail_healthy 0"), "{metrics}");
    sink.fails.store(false, Ordering::SeqCst);
    let publication = server.engine().publish(attempt()).await;
    assert!(publication.is_ok());
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_never_reads_is_evicted_and_its_connection_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.application = vec![Application {
        max_lag_frames: 20,
        stall_timeout: "400ms".parse().unwrap(),
        ..Application::default()
    }];
    let server = Server::start(config).await.unwrap();
    let mut publication = server.engine().publish(attempt()).await.unwrap();
    publication.push(keyframe(0, 100)).unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut viewer = socket.connect(server.addresses().http).await.unwrap();
    let head = b"GET /live/cam.flv HTTP/1.1\r\nHost: x\r\n\r\n";
    viewer.write_all(head).await.unwrap();
    until(|| server.engine().sessions().len() == 2).await;
    let mut ms = 0;
    until(|| {
        ms += 10;
        publication.push(keyframe(ms, 100_000)).unwrap();
        server.engine().sessions().len() == 1
    })
    .await;
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), viewer.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the connection is still open");
    drop(publication);
    server.stop().await;
    let trail = trail(dir.path());
    assert_eq!(
        labels(&trail),
        [
            "server_started",
            "publish_started",
            "play_started",
            "subscriber_evicted",
            "play_ended",
            "publish_ended",
            "server_stopped"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_keys_limits_and_tokens_and_says_what_needs_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = config(dir.path());
    let server = Server::start(first.clone()).await.unwrap();
    let api = server.addresses().api;
    let mut second = first.clone();
    second.auth.publish = toml::from_str::<Config>("[auth]\npublish = \"keys\"")
        .unwrap()
        .auth
        .publish;
    second.limits.max_publishers = 7;
    second.api.token = vec![token("ops", "secret-1")];
    second.audit.capacity = 5;
    server.reload(Ok(second.clone()));
    assert!(server.engine().publish(attempt()).await.is_err());
    assert_eq!(server.engine().limits().max_publishers, 7);
    assert_eq!(ask(api, "GET", "/api/v1/streams", None).await.status, 401);
    server.reload(Ok(second));
    let wrong = config::load(
        Some(&dir.path().join("not-there")),
        [],
        &Overrides::default(),
    );
    server.reload(wrong);
    assert_eq!(server.engine().limits().max_publishers, 7);
    server.stop().await;
    let trail = trail(dir.path());
    let details: Vec<_> = trail
        .iter()
        .filter(|record| record.action.label() == "admin_config_changed")
        .filter_map(|record| record.detail.as_ref().map(Personal::expose))
        .collect();
    assert_eq!(
        details,
        [
            "changed: limits, auth, api.token; needs a restart: audit",
            "nothing changed; needs a restart: audit"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_can_have_an_address_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    config.api.listen = Some(([127, 0, 0, 1], 0).into());
    let server = Server::start(config).await.unwrap();
    let Addresses { http, api, .. } = server.addresses();
    assert_ne!(http, api);
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    assert_eq!(ask(http, "GET", "/health", None).await.status, 404);
    assert_eq!(ask(http, "GET", "/api/v1/sessions", None).await.status, 404);
    let playback = ask(api, "GET", "/live/cam.flv", None).await;
    assert_eq!(playback.json()["reason"], "not_found");
    let playback = ask(http, "GET", "/live/cam.flv", None).await;
    assert_eq!(playback.json()["reason"], "stream_not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_open_is_closed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let crashed = Server::start(config(dir.path())).await.unwrap();
    let publication = crashed.engine().publish(attempt()).await.unwrap();
    crashed.pipeline.sync().await.unwrap();
    let before = std::fs::read(dir.path().join(TRAIL_FILE)).unwrap();
    drop(publication);
    crashed.stop().await;
    // As the disk was in the middle of the session, with a line that was being written.
    let torn = [before.as_slice(), b"1795344899233\tpubl"].concat();
    std::fs::write(dir.path().join(TRAIL_FILE), torn).unwrap();

    Server::start(config(dir.path()))
        .await
        .unwrap()
        .stop()
        .await;
    let trail = trail(dir.path());
    assert_eq!(
        labels(&trail),
        [
            "server_started",
            "publish_started",
            "server_started",
            "publish_ended",
            "server_stopped"
        ]
    );
    assert!(trail[3].inferred);
    assert_eq!(
        trail[3].reason.as_ref().map(|r| r.label()),
        Some("server_crash")
    );
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for key in ["rtmp.listen", "http.listen"] {
        let mut config = config(&dir.path().join(key));
        let address = taken.local_addr().unwrap();
        match key {
            "rtmp.listen" => config.rtmp.listen = address,
            _ => config.http.listen = address,
        }
        let error = Server::start(config).await.err().unwrap();
        assert!(format!("{error:#}").starts_with(key), "{error:#}");
    }
}
