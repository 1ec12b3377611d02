//! A running server, asked over its sockets.

mod site;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use livetrail_audit::{AuditRecord, Personal};
use livetrail_engine::{Attempt, CodecId, Credentials, FrameFlags, MediaFrame, StreamKey};
use livetrail_ledger::{Identity, Ledger, MemStore, PowerCut, Reader, SharedStore};
use livetrail_record::{TrailChecker, parse_canonical};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::config::{Application, ByteSize, NamedSecret, SecretText, Span};

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

fn config() -> Config {
    let mut config = Config {
        shutdown_timeout: Span::secs(8),
        ..Config::default()
    };
    config.trail.checkpoint_interval = "50ms".parse().unwrap();
    config.trail.wal_segment_size = ByteSize(9 << 20);
    config.trail.reserve_size = ByteSize(1 << 20);
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

fn identity() -> Identity {
    Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap()
}

/// A disk with an empty trail on it.
fn disk() -> MemStore {
    let disk = MemStore::new();
    let store: SharedStore = Arc::new(disk.clone());
    Ledger::create(&store, &identity()).unwrap();
    disk
}

async fn try_start(config: Config, disk: &MemStore) -> anyhow::Result<Server> {
    let store: SharedStore = Arc::new(disk.clone());
    let sinks = ConfiguredSinks::none();
    let trail = Trail::of_store(store, identity(), &config.trail, None, sinks)?;
    Server::start_with(config, trail).await
}

async fn start(config: Config, disk: &MemStore) -> Server {
    try_start(config, disk).await.unwrap()
}

fn trail(disk: &MemStore) -> Vec<AuditRecord> {
    let reader = Reader::open(Arc::new(disk.clone())).unwrap();
    let entries = reader.entries(0..u64::MAX).unwrap();
    entries
        .map(|entry| parse_canonical(&entry.unwrap()).unwrap())
        .collect()
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
    let disk = disk();
    let mut config = config();
    config.api.token = vec![
        token("day-shift", "secret-1"),
        token("night-shift", "secret-2"),
    ];
    let server = start(config, &disk).await;
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
    let stopped = server.stop().await;
    assert!(stopped.is_clean() && stopped.records.dropped == 0);
    let trail = trail(&disk);
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
    let disk = disk();
    let server = start(config(), &disk).await;
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
            "/metrics",
            "/trail/checkpoint",
            "/trail/handover/{key}",
            "/trail/proof",
            "/trail/tile/entries/{index}",
            "/trail/tile/{level}/{index}",
            "/trail/trail.retired",
            "/trail/trail.vkey",
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
        "livetrail_trail_entries_durable ",
        "livetrail_trail_entries_sealed ",
        "livetrail_trail_checkpoint_age_seconds ",
        "livetrail_trail_ledger_queue_bytes ",
        "livetrail_trail_ledger_backlog_bytes ",
        "livetrail_trail_disk_pressure ",
        "livetrail_trail_stopped 0",
        "livetrail_trail_sealing_late 0",
        "livetrail_rtmp_connections 0",
        "# EOF",
    ] {
        assert!(metrics.contains(line), "no {line}\n{metrics}");
    }
    assert_eq!(ask(api, "GET", "/nothing", None).await.status, 404);
    assert_eq!(ask(api, "POST", "/health", None).await.status, 405);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_health_red_and_refuses_publishers_until_there_is_room() {
    let disk = disk();
    let mut config = config();
    config.audit.deadline = "500ms".parse().unwrap();
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    // Nothing is free: the next segment, tile or checkpoint finds no room.
    disk.set_capacity(Some(1));
    let refused = loop {
        match server.engine().publish(attempt()).await {
            // The space is looked at once a second.
            Ok(publication) => drop(publication),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.reason.label(), "audit_unavailable");
    let mut told = Value::Null;
    for _ in 0..200 {
        let health = ask(api, "GET", "/health", None).await;
        told = health.json();
        if health.status == 503 && told["trouble"] == "disk_full" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (&told["status"], &told["trouble"]),
        (&"trail_failing".into(), &"disk_full".into())
    );
    let metrics = ask(api, "GET", "/metrics", None).await.text;
    for line in [
        "livetrail_trail_healthy 0",
        "livetrail_trail_disk_pressure 4",
    ] {
        assert!(metrics.contains(line), "no {line}\n{metrics}");
    }
    disk.set_capacity(None);
    let publication = loop {
        if let Ok(publication) = server.engine().publish(attempt()).await {
            break publication;
        }
    };
    drop(publication);
    let mut status = 0;
    for _ in 0..500 {
        status = ask(api, "GET", "/health", None).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, 200);
    assert!(server.stop().await.is_clean());
    let (findings, _) = TrailChecker::new().check(&trail(&disk));
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stops_is_red_within_a_second_and_media_goes_on() {
    let disk = disk();
    let server = start(config(), &disk).await;
    let api = server.addresses().api;
    let mut publication = server.engine().publish(attempt()).await.unwrap();
    server.trail.view().handle.halt("a witness has seen more");
    let red = tokio::time::timeout(Duration::from_secs(1), async {
        while ask(api, "GET", "/health", None).await.json()["trouble"] != "log_stopped" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    red.await.expect("red within a second");
    let metrics = ask(api, "GET", "/metrics", None).await.text;
    assert!(metrics.contains("livetrail_trail_stopped 1"), "{metrics}");
    publication.push(keyframe(0, 100)).unwrap();
    drop(publication);
    let refused = server.engine().publish(attempt()).await.err().unwrap();
    assert_eq!(refused.reason.label(), "audit_unavailable");
    assert!(!server.stop().await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_that_never_reads_is_evicted_and_its_connection_closed() {
    let disk = disk();
    let mut config = config();
    config.application = vec![Application {
        max_lag_frames: 20,
        stall_timeout: "400ms".parse().unwrap(),
        ..Application::default()
    }];
    let server = start(config, &disk).await;
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
    let trail = trail(&disk);
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
    let disk = disk();
    let first = config();
    let server = start(first.clone(), &disk).await;
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
        Some(Path::new("/not/there.toml")),
        [],
        &Overrides::default(),
    );
    server.reload(wrong);
    assert_eq!(server.engine().limits().max_publishers, 7);
    server.stop().await;
    let trail = trail(&disk);
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
    let disk = disk();
    let mut config = config();
    config.api.listen = Some(([127, 0, 0, 1], 0).into());
    let server = start(config, &disk).await;
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
    let disk = disk();
    let crashed = start(config(), &disk).await;
    let publication = crashed.engine().publish(attempt()).await.unwrap();
    // As the disk is in the middle of the session.
    let disk = disk.power_cut(PowerCut::Synced);
    drop(publication);
    crashed.stop().await;

    let next = start(config(), &disk).await;
    assert!(next.stop().await.is_clean());
    let trail = trail(&disk);
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
    let told = trail[2].detail.as_ref().map(Personal::expose).unwrap();
    assert!(
        told.contains("2 entries") && told.ends_with("sessions left open: 1"),
        "{told}"
    );
    assert_eq!(trail[2].count, Some(1));
    assert!(trail[3].inferred);
    assert_eq!(
        trail[3].reason.as_ref().map(|r| r.label()),
        Some("server_crash")
    );
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_and_the_trail_is_let_go() {
    let disk = disk();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for key in ["rtmp.listen", "http.listen"] {
        let mut config = config();
        let address = taken.local_addr().unwrap();
        match key {
            "rtmp.listen" => config.rtmp.listen = address,
            _ => config.http.listen = address,
        }
        let error = try_start(config, &disk).await.err().unwrap();
        assert!(format!("{error:#}").starts_with(key), "{error:#}");
    }
    assert!(start(config(), &disk).await.stop().await.is_clean());
}
