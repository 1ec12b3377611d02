//! Clients that do less than they should: the server bounds and closes each of them.

use std::time::Duration;

use crate::common::*;
use axum::routing::get as route_get;
use livetrail_engine::{AppSpec, Engine, Reason, StreamEventKind};
use livetrail_http::HttpConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

fn limits() -> HttpConfig {
    let mut limits = HttpConfig::default();
    limits.header_timeout = Duration::from_millis(300);
    limits.write_stall_timeout = Duration::from_millis(500);
    limits.linger = Duration::from_millis(500);
    limits
}

/// Connects with the smallest window that the system allows, sends a request, and never reads.
async fn ask_and_never_read(address: std::net::SocketAddr, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_viewer_that_never_reads_is_evicted_and_its_connection_closed() {
    let app = AppSpec::new("live")
        .subscriber_max_lag(20)
        .subscriber_stall_timeout(Duration::from_millis(400))
        .gop_cache_bytes(256 << 20);
    let mut limits = limits();
    // The eviction must close the connection, not this timeout.
    limits.write_stall_timeout = Duration::from_secs(600);
    let mut server = serve(Engine::builder().application(app), limits).await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 1_000)).unwrap();
    let mut viewer = ask_and_never_read(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    let pushing = tokio::spawn(async move {
        for n in 1.. {
            publication.push(frame(n, n % 50 == 0, 200_000)).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let reason = event(&mut server.events, |e| match &e.kind {
        StreamEventKind::PlayEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert_eq!(reason, Reason::Evicted);
    let gateway = server.gateway.clone();
    until(|| gateway.counts().open == 0).await;
    assert_eq!(gateway.counts().cut, 1);
    // The kernel's buffered bytes come first, and then the end, without the last chunk of a
    // complete answer.
    let mut rest = Vec::new();
    let _ = within(viewer.read_to_end(&mut rest)).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    pushing.abort();
}

#[tokio::test]
async fn a_viewer_that_takes_nothing_ends_with_that_on_record() {
    let app = AppSpec::new("live")
        .subscriber_max_lag(1_000_000)
        .gop_cache_bytes(256 << 20);
    let mut server = serve(Engine::builder().application(app), limits()).await;
    let mut publication = publish(&server.engine).await;
    // This is more than the buffers of both ends hold.
    for n in 0..100 {
        publication.push(frame(n, n == 0, 1_000_000)).unwrap();
    }
    let viewer = ask_and_never_read(server.address, "/live/cam.flv").await;
    assert_eq!(
        why(&mut server).await,
        (
            Reason::ClientClosed,
            Some("it read nothing for 500ms".to_owned())
        )
    );
    drop(viewer);
    // A client whose connection breaks.
    let viewer = ask_and_never_read(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    let mut first = [0; 16];
    viewer.readable().await.unwrap();
    assert_eq!(viewer.try_read(&mut first).unwrap(), 16);
    // Closing with unread input resets the connection.
    drop(viewer);
    let (reason, detail) = why(&mut server).await;
    assert_eq!(reason, Reason::ClientClosed);
    let detail = detail.unwrap();
    assert!(detail.contains("ing failed: "), "{detail}");
}

/// Why the next viewer's session ended.
async fn why(server: &mut Server) -> (Reason, Option<String>) {
    event(&mut server.events, |e| match &e.kind {
        StreamEventKind::PlayEnded { reason, detail, .. } => {
            Some((reason.clone(), detail.as_ref().map(ToString::to_string)))
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn an_answer_that_is_never_read_ends_the_connection() {
    let server = serve_router(live(), limits(), |router| {
        router.route("/big", route_get(|| async { vec![0u8; 64 << 20] }))
    })
    .await;
    let mut client = ask_and_never_read(server.address, "/big").await;
    let gateway = server.gateway.clone();
    until(|| gateway.counts().open == 1).await;
    until(|| gateway.counts().open == 0).await;
    let mut rest = Vec::new();
    let _ = within(client.read_to_end(&mut rest)).await;
    assert!(rest.len() < 64 << 20);
}

#[tokio::test]
async fn silent_connections_are_bounded_and_closed() {
    let mut limits = limits();
    limits.max_connections = 100;
    limits.reserve = 0;
    let server = serve(live(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..150 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let gateway = server.gateway.clone();
    until(|| gateway.counts().accepted + gateway.counts().refused == 150).await;
    assert!(gateway.counts().refused >= 50);
    for stream in &mut silent {
        let mut rest = Vec::new();
        // The server closes in one of three ways: cleanly, with a reset, or after a 408.
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    until(|| gateway.counts().open == 0).await;
    let (head, _) = answer(get(server.address, "/live/cam.flv").await).await;
    assert!(
        head.starts_with("HTTP/1.0 404"),
        "others are served again: {head}"
    );
}

#[tokio::test]
async fn a_header_that_comes_too_slowly_or_is_too_long_ends_the_connection() {
    let server = serve(live(), limits()).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(b"GET /live/cam.flv HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = within(slow.read_to_end(&mut rest)).await;

    let long = format!(
        "GET /live/cam.flv HTTP/1.1\r\nX-Long: {}",
        "a".repeat(40_000)
    );
    let mut long = request(server.address, &long).await;
    rest.clear();
    let _ = within(long.read_to_end(&mut rest)).await;
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 431"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let server = serve(live(), limits()).await;
    let mut client = request(server.address, "GET /live/no.flv HTTP/1.1\r\nHost: x").await;
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.1 404"));
}

#[tokio::test]
async fn shutdown_lets_viewers_finish_and_waits_no_longer_than_it_says() {
    let server = serve(live(), limits()).await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 10)).unwrap();
    let viewer = get(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    server.engine.shutdown(Duration::from_secs(1)).await;
    server.stop.send(()).unwrap();
    within(server.serving).await.unwrap();
    let (head, body) = answer(viewer).await;
    assert!(head.starts_with("HTTP/1.0 200"));
    if !body.is_empty() {
        tags(&body);
    }
    assert!(TcpStream::connect(server.address).await.is_err());
}
