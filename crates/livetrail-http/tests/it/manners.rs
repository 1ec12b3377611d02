//! Requests as they occur: keys in odd positions, invalid names, the habits of proxies, and clients
//! that do not wait.

use std::time::Duration;

use crate::common::*;
use async_trait::async_trait;
use axum::routing::get as route_get;
use livetrail_engine::{
    Admission, AppSpec, Attempt, Authenticator, Engine, Reason, Role, StaticKey, StaticKeys,
    StreamEventKind, StreamKey, Verdict,
};
use livetrail_http::HttpConfig;
use tokio::{io::AsyncReadExt, net::TcpStream};

/// Never answers viewers.
struct Hangs;

#[async_trait]
impl Authenticator for Hangs {
    async fn authenticate(&self, role: Role, _: &Attempt) -> Verdict {
        match role {
            Role::Publish => Verdict::Allow(Admission::anyone()),
            Role::Play => std::future::pending().await,
        }
    }
}

async fn denied(server: &mut Server) -> (Reason, StreamKey) {
    event(&mut server.events, |e| match &e.kind {
        StreamEventKind::PlayDenied { reason, .. } => Some((reason.clone(), e.context.key.clone())),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_takes_its_attempt_along() {
    let mut server = serve(live().authenticator(Hangs), HttpConfig::default()).await;
    let _publication = publish(&server.engine).await;
    for version in ["1.0", "1.1\r\nHost: x"] {
        let head = format!("GET /live/cam.flv HTTP/{version}");
        let viewer = request(server.address, &head).await;
        let gateway = server.gateway.clone();
        until(|| gateway.counts().open == 1).await;
        drop(viewer);
        let (reason, _) = denied(&mut server).await;
        assert_eq!(reason, Reason::ClientClosed);
        until(|| gateway.counts().open == 0).await;
    }
}

#[tokio::test]
async fn a_gateway_stops_although_somebody_waits_to_be_admitted() {
    let mut limits = HttpConfig::default();
    limits.linger = Duration::from_secs(600);
    let server = serve(live().authenticator(Hangs), limits).await;
    let _publication = publish(&server.engine).await;
    let viewer = get(server.address, "/live/cam.flv").await;
    let gateway = server.gateway.clone();
    until(|| gateway.counts().open == 1).await;
    server.stop.send(()).unwrap();
    let (head, _) = answer(viewer).await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    within(server.serving).await.unwrap();
}

#[tokio::test]
async fn a_time_without_end_is_no_limit() {
    let mut limits = HttpConfig::default();
    limits.header_timeout = Duration::MAX;
    limits.write_stall_timeout = Duration::MAX;
    limits.linger = Duration::MAX;
    let server = serve(live(), limits).await;
    let (head, _) = answer(get(server.address, "/live/cam.flv").await).await;
    assert!(head.starts_with("HTTP/1.0 404"), "{head}");
}

#[tokio::test]
async fn names_that_are_not_names_are_refused_on_record() {
    let mut server = serve(live(), HttpConfig::default()).await;
    for (path, key) in [
        ("/live/.flv", "live/-"),
        ("/live/%00.flv", "live/_"),
        ("/live/a%2Fb.flv", "live/a/b"),
        ("/live/%ff.flv", "live/_"),
        ("/live/a/b/c.flv", "live/a_b/c"),
        ("/live/%E2%80%AEgpj.flv", "live/_gpj"),
        ("/live/cam%3Ftoken=SECRET.flv", "live/cam"),
    ] {
        let (head, body) = answer(get(server.address, path).await).await;
        assert!(head.starts_with("HTTP/1.0 400"), "{path}: {head}");
        let head = head.to_lowercase();
        assert!(
            head.contains("content-type: application/problem+json"),
            "{head}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&problem["reason"], &problem["status"]),
            (&"bad_name".into(), &400.into())
        );
        let (reason, refused) = denied(&mut server).await;
        assert_eq!(
            (reason, refused.to_string().as_str()),
            (Reason::BadName, key),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_instance_is_a_part_of_the_streams_address() {
    let server = serve(live(), HttpConfig::default()).await;
    let key = StreamKey::parse("live", "tenantA/cam").unwrap();
    let mut publication = server
        .engine
        .publish(Attempt::new(key, "test"))
        .await
        .unwrap();
    publication.push(frame(0, true, 10)).unwrap();
    let viewer = get(server.address, "/live/tenantA/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    for path in ["/live/cam.flv", "/live/tenantB/cam.flv"] {
        let (head, _) = answer(get(server.address, path).await).await;
        assert!(head.starts_with("HTTP/1.0 404"), "{head}");
    }
    publication.end(Reason::ClientClosed);
    assert!(answer(viewer).await.0.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn a_key_works_wherever_a_client_puts_it() {
    let keys = StaticKeys::new([StaticKey::new("viewer", "a+b/c==")]);
    let mut server = serve(live().authenticator(keys), HttpConfig::default()).await;
    let attempt =
        Attempt::new(key(), "test").credentials(livetrail_engine::Credentials::token("a+b/c=="));
    let _publication = server.engine.publish(attempt).await.unwrap();
    for target in [
        "/live/cam.flv?token=a+b/c==",
        "/live/cam.flv?token=a%2Bb%2Fc%3D%3D",
        "/live/cam.flv%3Ftoken=a+b/c==",
        "/live/cam.flv;token=a+b/c==",
        "/live/cam.flv&token=a+b/c==",
    ] {
        let head = format!("HEAD {target} HTTP/1.0");
        let (head, _) = answer(request(server.address, &head).await).await;
        assert!(head.starts_with("HTTP/1.0 200"), "{target}: {head}");
    }
    let pasted = "/live/x/y/a+b%2Fc==.flv";
    let (head, _) = answer(get(server.address, pasted).await).await;
    assert!(head.starts_with("HTTP/1.0 400"), "{head}");
    let (_, key) = denied(&mut server).await;
    assert_eq!(key.to_string(), "live/key:viewer");
}

#[tokio::test]
async fn a_request_says_once_for_which_host_it_is() {
    let server = serve(live(), HttpConfig::default()).await;
    for head in [
        "GET /live/cam.flv HTTP/1.1",
        "GET /live/cam.flv HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET /live/cam.flv HTTP/1.1\r\nHost: [::1]evil",
    ] {
        let head = format!("{head}\r\nConnection: close");
        let (answer, body) = answer(request(server.address, &head).await).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
        assert!(String::from_utf8_lossy(&body).contains("Host"));
    }
}

#[tokio::test]
async fn a_preflight_is_allowed_what_it_asks_for() {
    let server = serve(live(), HttpConfig::default()).await;
    let head = "OPTIONS /live/cam.flv HTTP/1.0\r\nOrigin: http://page.example\r\nAccess-Control-Request-Method: GET";
    let (plain, _) = answer(request(server.address, head).await).await;
    assert!(
        plain
            .to_lowercase()
            .contains("access-control-allow-headers: authorization, range")
    );
    let asked = format!("{head}\r\nAccess-Control-Request-Headers: range, x-player");
    let (echoed, _) = answer(request(server.address, &asked).await).await;
    assert!(
        echoed
            .to_lowercase()
            .contains("access-control-allow-headers: range, x-player")
    );
}

#[tokio::test]
async fn a_proxy_of_http_1_0_gets_one_header_about_its_connection() {
    let server = serve(live(), HttpConfig::default()).await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 10)).unwrap();
    let head = "GET /live/cam.flv HTTP/1.0\r\nConnection: keep-alive";
    let viewer = request(server.address, head).await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    publication.end(Reason::ClientClosed);
    let (head, body) = answer(viewer).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(!head.to_lowercase().contains("keep-alive"), "{head}");
    assert_eq!(tags(&body).1.len(), 1);
}

#[tokio::test]
async fn what_is_no_stream_is_answered_although_every_slot_is_taken() {
    let mut limits = HttpConfig::default();
    limits.max_connections = 3;
    limits.reserve = 2;
    let mut server = serve_router(live(), limits, |router| {
        router.route("/health", route_get(|| async { "fine" }))
    })
    .await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 10)).unwrap();
    let mut open = Vec::new();
    // Three take the slots, and many more send nothing.
    for _ in 0..20 {
        open.push(TcpStream::connect(server.address).await.unwrap());
    }
    let gateway = server.gateway.clone();
    until(|| gateway.counts().refused == 15).await;
    let (head, body) = answer(get(server.address, "/health").await).await;
    assert!(
        head.starts_with("HTTP/1.0 200") && body == b"fine",
        "{head}"
    );
    let (head, _) = answer(get(server.address, "/live/cam.flv").await).await;
    assert!(head.starts_with("HTTP/1.0 429"), "{head}");
    assert!(head.to_lowercase().contains("retry-after: "), "{head}");
    assert_eq!(denied(&mut server).await, (Reason::LimitReached, key()));
}

#[tokio::test]
async fn an_address_has_a_limit_that_its_viewers_do_not_count_towards() {
    let mut limits = HttpConfig::default();
    limits.max_connections_per_ip = 2;
    limits.reserve = 0;
    let server = serve(live(), limits).await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 10)).unwrap();
    let mut viewers = Vec::new();
    for n in 0..10 {
        viewers.push(get(server.address, "/live/cam.flv").await);
        let engine = server.engine.clone();
        until(|| engine.sessions().len() == n + 2).await;
    }
    let mut silent = Vec::new();
    for _ in 0..12 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let gateway = server.gateway.clone();
    until(|| gateway.counts().refused == 10).await;
    assert_eq!(gateway.counts().open, 12);
    let mut closed = 0;
    for stream in &mut silent {
        let read = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut [0; 1])).await;
        closed += u32::from(read.is_ok());
    }
    assert_eq!(closed, 10);
}

#[tokio::test]
async fn a_viewer_waits_for_a_publisher_and_stays_through_its_reconnect() {
    let app = AppSpec::new("live").wait_for_publisher(Duration::from_secs(60));
    let server = serve(Engine::builder().application(app), HttpConfig::default()).await;
    let viewer = get(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 1).await;
    let viewing = engine.sessions()[0].context.session;
    for n in 0..3 {
        let mut publication = publish(&engine).await;
        publication.push(frame(n, true, 100)).unwrap();
        let taken = || {
            engine
                .sessions()
                .iter()
                .any(|s| s.context.session == viewing && s.totals.frames == u64::from(n) + 1)
        };
        until(taken).await;
        publication.end(Reason::ClientClosed);
    }
    server.engine.shutdown(Duration::from_secs(1)).await;
    let (head, body) = answer(viewer).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let numbers: Vec<_> = tags(&body).1.iter().filter_map(number).collect();
    assert_eq!(numbers, [0, 1, 2]);
}
