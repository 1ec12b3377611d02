//! Tests of a running server over its sockets.

mod operations;
mod personal;
mod relays;
mod roles;
mod secrets;
mod site;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use livetrail_audit::{AuditRecord, Personal};
use livetrail_engine::{Attempt, CodecId, Credentials, FrameFlags, MediaFrame, StreamKey};
use livetrail_ledger::{Identity, Ledger, MemStore, PowerCut, Reader, SharedStore};
use livetrail_record::{Opening, Reason, TrailChecker, opening_session, parse_canonical};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;
use crate::config::{ApiRoles, ApiToken, Application, ByteSize, Overrides, SecretText, Span};

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

fn token(name: &str, secret: &str) -> ApiToken {
    ApiToken {
        name: name.to_owned(),
        secret: Some(SecretText::new(secret)),
        secret_file: None,
        role: Some(ApiRoles::BEFORE_ROLES),
        application: None,
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
    let settings = trail_settings(&config)?;
    let trail = Trail::open_in(store, identity(), settings)?;
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

/// The openings of the records with this action so far.
async fn openings(server: &Server, disk: &MemStore, action: &str) -> Vec<Opening> {
    server.pipeline.sync().await.unwrap();
    let view = server.trail.view();
    let sealed = view.handle.sealed(view.handle.durable_entries());
    sealed.await.unwrap();
    let records = trail(disk).into_iter();
    let records = records
        .filter(|record| record.action.label() == action && record.extra.get("personal").is_some());
    let opening = |record: AuditRecord| {
        let id = opening_session(&record.action, record.session, record.boot, record.seq);
        let row = view.personal().with(|vault| vault.get(id.as_bytes()));
        Opening::parse(&row.unwrap().unwrap().opening).unwrap()
    };
    records.map(opening).collect()
}

/// A field of an opening.
fn field<'a>(opening: &'a Opening, name: &str) -> Option<&'a str> {
    opening.get(name).map(Personal::expose)
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
    assert_eq!(playback.end_reason(), Some(Reason::Kicked));

    let names = openings(&server, &disk, "admin_session_kicked").await;
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
    assert_eq!(kicked[0].by.as_deref(), Some("night-shift"));
    let [names] = &names[..] else {
        panic!("{names:?}");
    };
    assert!(field(names, "peer").is_some() && field(names, "user_agent").is_some());
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
            "/api/v1/drain",
            "/api/v1/erasures",
            "/api/v1/erasures/{request}/approvals",
            "/api/v1/holds",
            "/api/v1/holds/{hold}",
            "/api/v1/kicks",
            "/api/v1/pulls",
            "/api/v1/pushes",
            "/api/v1/sessions",
            "/api/v1/sessions/{id}",
            "/api/v1/sessions/{id}/expiry",
            "/api/v1/sessions/{id}/opening",
            "/api/v1/streams",
            "/api/v1/trail/entries",
            "/api/v1/trail/reviews",
            "/health",
            "/livez",
            "/metrics",
            "/readyz",
            "/trail/checkpoint",
            "/trail/cosigned/{witnesses}",
            "/trail/handover/{key}",
            "/trail/proof",
            "/trail/tile/entries/{index}",
            "/trail/tile/{level}/{index}",
            "/trail/trail.retired",
            "/trail/trail.vkey",
        ]
    );
    let problem = &document["components"]["schemas"]["Problem"]["properties"];
    assert!(problem["reason"].is_object(), "{document}");
    let kick = &document["paths"]["/api/v1/sessions/{id}"]["delete"];
    assert_eq!(kick["parameters"][0]["schema"]["format"], "uuid");
    assert!(kick["responses"]["429"]["content"]["application/problem+json"].is_object());
    assert!(document["paths"]["/health"]["head"].is_object());
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
        "livetrail_trail_entries_durable_total ",
        "livetrail_trail_entries_sealed_total ",
        "livetrail_trail_commit_seconds_count ",
        "livetrail_build_info{version=",
        "process_resident_memory_bytes ",
        "livetrail_api_requests_total{code=\"200\"} 1",
        "livetrail_api_wrong_tokens_total 0",
        "livetrail_http_connections_accepted_total ",
        "livetrail_trail_checkpoint_age_seconds ",
        "livetrail_trail_ledger_queue_bytes ",
        "livetrail_trail_ledger_backlog_bytes ",
        "livetrail_trail_disk_pressure ",
        "livetrail_trail_stopped 0",
        "livetrail_trail_sealing_late 0",
        "livetrail_rtmp_connections 0",
        "# TYPE livetrail_trail_dropped_total counter",
    ] {
        assert!(metrics.contains(line), "no {line}\n{metrics}");
    }
    assert!(!metrics.contains("# EOF") && !metrics.contains("# UNIT"));
    for (method, path, status, reason) in [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/health", 405, "method_not_allowed"),
        ("PUT", "/api/v1/streams", 405, "method_not_allowed"),
        ("GET", "/api/v1/sessions?role=bogus", 400, "bad_query"),
        ("GET", "/api/v1/sessions?rol=play", 400, "bad_query"),
        ("GET", "/api/v1/streams?x=1", 400, "bad_query"),
        ("GET", "/trail/proof", 400, "bad_query"),
        ("GET", "/trail/proof?index=0&x=1", 400, "bad_query"),
        ("GET", "/trail/tile/0/x", 400, "not_a_tile"),
        ("GET", "/trail/handover/00000000", 404, "no_hand_over"),
        ("DELETE", "/api/v1/sessions/%ff", 400, "not_a_session_id"),
    ] {
        let answer = ask(api, method, path, None).await;
        let problem = answer.json();
        assert_eq!(answer.status, status, "{method} {path}: {problem}");
        assert_eq!(problem["reason"], reason, "{method} {path}");
        assert_eq!(problem["status"], status, "{method} {path}");
        assert_eq!(problem["type"], "about:blank", "{method} {path}");
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_health_red_and_refuses_publishers_until_there_is_space() {
    let disk = disk();
    let mut config = config();
    config.audit.deadline = "500ms".parse().unwrap();
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    assert_eq!(ask(api, "GET", "/health", None).await.status, 200);
    // No space is free: the next segment, tile or checkpoint cannot be written.
    disk.set_capacity(Some(1));
    let refused = loop {
        match server.engine().publish(attempt()).await {
            // The server checks the space once per second.
            Ok(publication) => drop(publication),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.reason.label(), "audit_unavailable");
    let mut detail = Value::Null;
    for _ in 0..200 {
        let health = ask(api, "GET", "/health", None).await;
        detail = health.json();
        if health.status == 503 && detail["trouble"] == "disk_full" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (&detail["status"], &detail["trouble"]),
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
            "changed: limits, auth, api.token; API tokens added: ops; needs a restart: audit",
            "nothing changed; needs a restart: audit",
            "refused: /not/there.toml cannot be read"
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
    // The disk of this moment, in the middle of the session.
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
    let detail = trail[2].detail.as_ref().map(Personal::expose).unwrap();
    assert!(
        detail.contains("2 entries") && detail.contains("sessions left open: 1"),
        "{detail}"
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
        let error = format!("{error:#}");
        assert!(
            error.starts_with(key) && error.contains("another program"),
            "{error}"
        );
        assert!(
            trail(&disk).is_empty(),
            "a server that cannot listen was never there"
        );
    }
    let mut elsewhere = config();
    elsewhere.rtmp.listen = ([192, 0, 2, 1], 0).into();
    let error = try_start(elsewhere, &disk).await.err().unwrap();
    assert!(
        format!("{error:#}").contains("no such address"),
        "{error:#}"
    );
    assert!(start(config(), &disk).await.stop().await.is_clean());
}

fn key(name: &str, secret: &str) -> config::Key {
    let text = format!("[[auth.key]]\nname = {name:?}\nsecret = {secret:?}\n");
    toml::from_str::<Config>(&text).unwrap().auth.key.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_ends_its_sessions_and_opens_nothing() {
    let disk = disk();
    let mut first = config();
    first.auth.key = vec![
        key("gone", "secret-of-the-first"),
        key("kept", "secret-of-the-second"),
    ];
    let server = start(first.clone(), &disk).await;
    let with = |secret: &str| attempt().credentials(Credentials::token(secret));
    let gone = server
        .engine()
        .publish(with("secret-of-the-first"))
        .await
        .unwrap();
    let viewer = server
        .engine()
        .play(with("secret-of-the-second"))
        .await
        .unwrap();
    let mut second = first.clone();
    second.auth.key.remove(0);
    server.reload(Ok(second));
    assert_eq!(gone.end_reason(), Some(Reason::CredentialsRevoked));
    assert_ne!(viewer.end_reason(), Some(Reason::CredentialsRevoked));
    let again = server
        .engine()
        .publish(with("secret-of-the-first"))
        .await
        .err();
    assert_eq!(
        again.map(|denied| denied.reason),
        Some(Reason::Unauthorized)
    );
    // The last key is removed. `auto` alone would now mean everybody.
    let mut third = first.clone();
    third.auth.key.clear();
    server.reload(Ok(third));
    let stranger = server.engine().publish(attempt()).await.err();
    assert_eq!(
        stranger.map(|denied| denied.reason),
        Some(Reason::Unauthorized)
    );
    drop((gone, viewer));
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
            "changed: auth; keys removed: gone; sessions ended: 1",
            "changed: auth; keys removed: kept; sessions ended: 1; stays closed: publish, play",
        ]
    );
    let ends = trail
        .iter()
        .filter(|record| record.action.label() == "publish_ended");
    let reasons: Vec<_> = ends
        .filter_map(|r| r.reason.as_ref().map(|r| r.label().to_owned()))
        .collect();
    assert_eq!(reasons, ["credentials_revoked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_counted_slowed_down_and_on_record_and_a_right_one_still_gets_in() {
    let disk = disk();
    let mut config = config();
    config.api.token = vec![token("ops", "the-right-secret-1")];
    let server = start(config, &disk).await;
    let api = server.addresses().api;
    for _ in 0..10 {
        assert_eq!(ask(api, "GET", "/metrics", Some("wrong")).await.status, 401);
    }
    let answer = ask(api, "GET", "/trail/tile/entries/000", Some("wrong")).await;
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["reason"], "too_many_wrong_tokens");
    let metrics = ask(api, "GET", "/metrics", Some("the-right-secret-1")).await;
    assert_eq!(metrics.status, 200);
    for line in [
        "livetrail_api_wrong_tokens_total 11",
        "livetrail_api_requests_total{code=\"401\"} 10",
        "livetrail_api_requests_total{code=\"429\"} 1",
    ] {
        assert!(metrics.text.contains(line), "no {line}\n{}", metrics.text);
    }
    let names = openings(&server, &disk, "admin_denied").await;
    assert!(!names.is_empty());
    for names in &names {
        assert!(field(names, "peer").is_some() && field(names, "principal").is_none());
    }
    server.stop().await;
    let trail = trail(&disk);
    let denied: Vec<_> = trail
        .iter()
        .filter(|record| record.action.label() == "admin_denied")
        .collect();
    let counted: u64 = denied.iter().map(|record| record.count.unwrap_or(1)).sum();
    assert_eq!(counted, 11);
    let commits = |record: &&AuditRecord| record.extra.get("personal").is_some();
    assert!(denied.iter().all(commits));
    let (findings, _) = TrailChecker::new().check(&trail);
    assert!(findings.is_empty(), "{findings:?}");
}
