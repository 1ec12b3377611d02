//! HTTP/2 over TLS: several answers on one connection, each within its own limits.

use std::{future::poll_fn, path::PathBuf, time::Duration};

use axum::{
    http::{Method, Request, StatusCode, Version},
    routing::get as route_get,
};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use livetrail_engine::{AppSpec, Engine, EngineBuilder, Reason, StreamEventKind};
use livetrail_gateway::{TlsAcceptor, Transport, connect_tls};
use livetrail_http::{HttpConfig, HttpGateway};
use livetrail_tls::{CertificateFiles, CertificateStore, ClientTls, ServerTls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use crate::common::*;

/// 2026-12-01, in seconds since 1970.
const NOW: u64 = 1_796_083_200;

struct Site {
    _folder: tempfile::TempDir,
    client: ClientTls,
    server: Server,
}

impl Site {
    async fn new(
        engine: EngineBuilder,
        limits: HttpConfig,
        routes: impl FnOnce(axum::Router) -> axum::Router,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = |name: &str, text: String| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let chain = file("chain.pem", made.cert.pem());
        let key = file("key.pem", made.signing_key.serialize_pem());
        let files = CertificateFiles::new(&chain, key);
        let store = CertificateStore::load(vec![files], NOW).unwrap();
        let tls = ServerTls::new(&store, HttpGateway::PROTOCOLS, None).unwrap();
        let acceptor = TlsAcceptor::new(tls, Duration::from_secs(10));
        let with = |gateway: HttpGateway| gateway.tls(acceptor).routes(routes);
        Self {
            client: ClientTls::new(Some(&chain), &["h2"]).unwrap(),
            server: serve_gateway(engine, limits, with).await,
            _folder: folder,
        }
    }

    async fn connect(&self) -> Transport {
        let stream = TcpStream::connect(self.server.address).await.unwrap();
        connect_tls(&self.client, "localhost", stream)
            .await
            .unwrap()
    }

    /// A client whose streams have a window of this many bytes.
    async fn client(&self, window: u32) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
        let mut builder = h2::client::Builder::new();
        builder
            .initial_window_size(window)
            .initial_connection_window_size(64 << 20);
        let (requests, connection) = builder.handshake(self.connect().await).await.unwrap();
        (requests, tokio::spawn(connection))
    }
}

fn ask(requests: &mut SendRequest<Bytes>, method: Method, path: &str) -> ResponseFuture {
    let request = Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("https://localhost{path}"))
        .body(())
        .unwrap();
    requests.send_request(request, true).unwrap().0
}

/// Reads an answer's body to its end, or to the error that ends it.
async fn body(mut stream: h2::RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = within(stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    Ok(all)
}

/// Reads what was sent before a stream was reset. Returns how many bytes that was, and the reason.
async fn until_reset(stream: &mut h2::RecvStream) -> (usize, Option<h2::Reason>) {
    let mut bytes = 0;
    loop {
        match within(stream.data()).await.expect("a reset, not an end") {
            Ok(data) => {
                bytes += data.len();
                stream.flow_control().release_capacity(data.len()).unwrap();
            }
            Err(error) => return (bytes, error.reason()),
        }
    }
}

#[tokio::test]
async fn a_stream_and_other_answers_share_a_connection() {
    let routes = |router: axum::Router| router.route("/about", route_get(|| async { "text" }));
    let site = Site::new(live(), HttpConfig::default(), routes).await;
    let mut publication = publish(&site.server.engine).await;
    publication.push(config()).unwrap();
    publication.push(frame(0, true, 100_000)).unwrap();
    let (mut requests, _connection) = site.client(1 << 20).await;
    let stream = within(ask(&mut requests, Method::GET, "/live/cam.flv"))
        .await
        .unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(stream.headers()["content-type"], "video/x-flv");
    let reading = tokio::spawn(body(stream.into_body()));
    for n in 1..50 {
        publication.push(frame(n, n % 10 == 0, 1_000)).unwrap();
    }
    let about = within(ask(&mut requests, Method::GET, "/about"))
        .await
        .unwrap();
    assert_eq!(body(about.into_body()).await.unwrap(), b"text");
    let head = within(ask(&mut requests, Method::HEAD, "/live/cam.flv"))
        .await
        .unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert!(body(head.into_body()).await.unwrap().is_empty());
    let missing = within(ask(&mut requests, Method::GET, "/live/none.flv"))
        .await
        .unwrap();
    assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    drop(publication);
    let (_, tags) = tags(&reading.await.unwrap().unwrap());
    let numbers: Vec<_> = tags.iter().filter_map(number).collect();
    assert_eq!(numbers, Vec::from_iter(0..50));
    assert_eq!(site.server.gateway.counts().accepted, 1);
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_a_slow_viewer_and_the_others_go_on() {
    let app = AppSpec::new("live")
        .subscriber_max_lag(20)
        .subscriber_stall_timeout(Duration::from_millis(400))
        .gop_cache_bytes(256 << 20);
    let mut limits = HttpConfig::default();
    // The eviction must end the stream, not this timeout.
    limits.write_stall_timeout = Duration::from_secs(600);
    let engine = Engine::builder().application(app);
    let mut site = Site::new(engine, limits, |router| router).await;
    let mut publication = publish(&site.server.engine).await;
    publication.push(frame(0, true, 10_000)).unwrap();
    let (mut requests, _connection) = site.client(60_000).await;
    let unread = within(ask(&mut requests, Method::GET, "/live/cam.flv"))
        .await
        .unwrap();
    let mut unread = unread.into_body();
    let read = within(ask(&mut requests, Method::GET, "/live/cam.flv"))
        .await
        .unwrap();
    let reading = tokio::spawn(body(read.into_body()));
    let pushing = async {
        for n in 1..1_000 {
            publication.push(frame(n, n % 50 == 0, 10_000)).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        drop(publication);
    };
    let evicted = event(&mut site.server.events, |e| match &e.kind {
        StreamEventKind::PlayEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    let (reason, ()) = tokio::join!(evicted, pushing);
    assert_eq!(reason, Reason::Evicted);
    // The other one got its end, and no frame was skipped for it.
    let (_, tags) = tags(&reading.await.unwrap().unwrap());
    assert_eq!(tags.iter().filter_map(number).count(), 1_000);
    // What was sent before is still there. After it the stream is reset, and not just ended.
    let (bytes, reason) = until_reset(&mut unread).await;
    assert_eq!(reason, Some(h2::Reason::CANCEL));
    assert!(bytes <= 60_000 + (16 << 10), "{bytes}");
}

#[tokio::test]
async fn an_answer_that_is_never_read_ends_alone() {
    let mut limits = HttpConfig::default();
    limits.write_stall_timeout = Duration::from_millis(300);
    let routes = |router: axum::Router| {
        router
            .route("/big", route_get(|| async { vec![0_u8; 8 << 20] }))
            .route("/about", route_get(|| async { "text" }))
    };
    let site = Site::new(live(), limits, routes).await;
    let (mut requests, _connection) = site.client(60_000).await;
    let mut unread = within(ask(&mut requests, Method::GET, "/big"))
        .await
        .unwrap()
        .into_body();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let about = within(ask(&mut requests, Method::GET, "/about"))
        .await
        .unwrap();
    assert_eq!(body(about.into_body()).await.unwrap(), b"text");
    let (bytes, reason) = until_reset(&mut unread).await;
    assert_eq!(reason, Some(h2::Reason::CANCEL));
    assert!(bytes <= 60_000 + (16 << 10), "{bytes}");
}

#[tokio::test]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let routes = |router: axum::Router| {
        let never = || async { std::future::pending::<&str>().await };
        router.route("/slow", route_get(never))
    };
    let site = Site::new(live(), HttpConfig::default(), routes).await;
    let (requests, connection) = site.client(60_000).await;
    let flood = async {
        let mut requests = requests;
        for _ in 0..10_000 {
            let Ok(ready) = requests.ready().await else {
                break;
            };
            requests = ready;
            let request = Request::get("https://localhost/slow").body(()).unwrap();
            let Ok((_, mut stream)) = requests.send_request(request, true) else {
                break;
            };
            tokio::task::yield_now().await;
            stream.send_reset(h2::Reason::CANCEL);
        }
    };
    within(flood).await;
    let _ = within(connection).await;
    let gateway = site.server.gateway.clone();
    until(|| gateway.counts().open == 0).await;
}

#[tokio::test]
async fn requests_at_once_and_headers_are_limited() {
    let routes = |router: axum::Router| router.route("/about", route_get(|| async { "text" }));
    let site = Site::new(live(), HttpConfig::default(), routes).await;
    let builder = h2::client::Builder::new();
    let (mut requests, mut connection) = builder
        .handshake::<_, Bytes>(site.connect().await)
        .await
        .unwrap();
    let about = ask(&mut requests, Method::GET, "/about");
    let about = async {
        let answer = about.await.unwrap();
        body(answer.into_body()).await.unwrap()
    };
    let mut about = std::pin::pin!(about);
    let text = within(poll_fn(|cx| {
        use std::{future::Future as _, pin::Pin};
        assert!(Pin::new(&mut connection).poll(cx).is_pending());
        about.as_mut().poll(cx)
    }));
    assert_eq!(text.await, b"text");
    assert_eq!(connection.max_concurrent_send_streams(), 32);
    let long = Request::get("https://localhost/about").header("x", "x".repeat(20 << 10));
    let (answer, _) = requests.send_request(long.body(()).unwrap(), true).unwrap();
    let _connection = tokio::spawn(connection);
    let status = within(answer).await.map(|answer| answer.status());
    assert!(
        matches!(
            status,
            Ok(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) | Err(_)
        ),
        "{status:?}"
    );
}

#[tokio::test]
async fn each_request_counts_for_its_address_until_it_is_answered() {
    let mut limits = HttpConfig::default();
    limits.max_connections_per_ip = 1;
    let routes = |router: axum::Router| {
        let never = || async { std::future::pending::<&str>().await };
        router
            .route("/slow", route_get(never))
            .route("/about", route_get(|| async { "text" }))
    };
    let site = Site::new(live(), limits, routes).await;
    let mut publication = publish(&site.server.engine).await;
    publication.push(frame(0, true, 1_000)).unwrap();
    let (mut requests, _connection) = site.client(60_000).await;
    // A stream does not count any more.
    let stream = within(ask(&mut requests, Method::GET, "/live/cam.flv"))
        .await
        .unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let slow = ask(&mut requests, Method::GET, "/slow");
    let over = within(ask(&mut requests, Method::GET, "/about"))
        .await
        .unwrap();
    assert_eq!(over.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(slow);
    let about = within(ask(&mut requests, Method::GET, "/about"))
        .await
        .unwrap();
    assert_eq!(about.status(), StatusCode::OK);
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

#[tokio::test]
async fn a_header_that_never_ends_closes_the_connection() {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const CONTINUATION: u8 = 9;
    let site = Site::new(live(), HttpConfig::default(), |router| router).await;
    let mut client = site.connect().await;
    let begin = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        raw(SETTINGS, 0, 0, &[]),
        raw(HEADERS, 0, 1, &[]),
    ];
    client.write_all(&begin.concat()).await.unwrap();
    let flood = async {
        // A literal field without indexing: the name `x`, the value `y`.
        let field = [0, 1, b'x', 1, b'y'].repeat(100);
        let more = raw(CONTINUATION, 0, 1, &field);
        let mut sent = 0_usize;
        while client.write_all(&more).await.is_ok() {
            sent += more.len();
            assert!(sent < 64 << 20, "the connection is still open");
        }
    };
    within(flood).await;
    let gateway = site.server.gateway.clone();
    until(|| gateway.counts().open == 0).await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let mut limits = HttpConfig::default();
    limits.header_timeout = Duration::from_millis(300);
    limits.linger = Duration::from_millis(300);
    let site = Site::new(live(), limits, |router| router).await;
    // One that follows the protocol, and one that says nothing after its handshake.
    let (_requests, connection) = site.client(60_000).await;
    let mut silent = site.connect().await;
    within(connection).await.unwrap().unwrap();
    let mut rest = Vec::new();
    let _ = within(silent.read_to_end(&mut rest)).await;
    let gateway = site.server.gateway.clone();
    until(|| gateway.counts().open == 0).await;
}
