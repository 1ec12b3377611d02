//! Proxies in front of the gateway: whose word counts, and for whom the limits hold.

use std::net::{IpAddr, SocketAddr};

use crate::common::*;
use axum::{extract::ConnectInfo, routing::get as route_get};
use livetrail_engine::{PeerSource, Reason, SessionContext, StreamEventKind};
use livetrail_gateway::{DenyRules, TrustedProxies};
use livetrail_http::{HttpConfig, HttpGateway};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

const PROXY: &str = "127.0.0.77";
const STRANGER: &str = "127.0.0.78";

fn trusting(require_proxy: bool) -> impl FnOnce(HttpGateway) -> HttpGateway {
    let proxies = [format!("{PROXY}/32"), "10.0.0.0/8".to_owned()];
    let proxies = proxies.map(|network| network.parse().unwrap());
    let deny = DenyRules::new(["198.51.100.0/24", "127.0.0.77/32"].map(|net| net.parse().unwrap()));
    move |gateway| {
        let seen = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        gateway
            .trust(TrustedProxies::new(proxies, require_proxy))
            .deny(deny)
            .routes(|router| router.route("/seen", route_get(seen)))
    }
}

/// Connects from an address, and sends these bytes.
async fn send(from: &str, to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket
        .bind(SocketAddr::new(from.parse().unwrap(), 0))
        .unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// The status and the body of the answer to `/seen` with these header lines.
async fn seen(from: &str, to: SocketAddr, before: &[u8], headers: &str) -> String {
    let request = format!("GET /seen HTTP/1.0\r\n{headers}\r\n");
    let stream = send(from, to, &[before, request.as_bytes()].concat()).await;
    let (head, body) = answer(stream).await;
    let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let body = String::from_utf8(body).unwrap();
    if status == "200" { body } else { status }
}

/// Whether the gateway closes without an answer.
async fn is_closed(mut stream: TcpStream) -> bool {
    let mut byte = [0; 1];
    let read = within(tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await;
    read.unwrap_or(0) == 0
}

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 80\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test]
async fn only_a_trusted_proxy_names_the_client_of_a_request() {
    let server = serve_gateway(live(), HttpConfig::default(), trusting(false)).await;
    let to = server.address;
    for (headers, client) in [
        (
            "X-Forwarded-For: 192.0.2.66, 203.0.113.7, 10.0.0.2\r\n",
            "203.0.113.7:0",
        ),
        (
            "Forwarded: for=192.0.2.66\r\nForwarded: for=\"[2001:db8::7]:5\"\r\n",
            "[2001:db8::7]:5",
        ),
        (
            "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=\"203.0.113.7:5\"\r\n",
            "203.0.113.7:5",
        ),
        // One of them came from the client, and the proxy passed it on.
        (
            "X-Forwarded-For: 203.0.113.7\r\nForwarded: for=192.0.2.66\r\n",
            "400",
        ),
        ("X-Forwarded-For: 203.0.113.7\r\nForwarded: junk\r\n", "400"),
        ("X-Forwarded-For: unknown\r\n", "400"),
        ("X-Forwarded-For: 198.51.100.9\r\n", "403"),
    ] {
        assert_eq!(seen(PROXY, to, b"", headers).await, client, "{headers}");
        let own = seen(STRANGER, to, b"", headers).await;
        assert!(own.starts_with(STRANGER), "{own}");
    }
    assert!(seen(PROXY, to, b"", "").await.starts_with(PROXY));
    // The client of the connection is not a proxy, so its headers do not count.
    let client = seen(PROXY, to, LINE, "X-Forwarded-For: 192.0.2.66\r\n").await;
    assert_eq!(client, "203.0.113.7:51234");
    let counts = server.gateway.counts();
    assert_eq!((counts.forwarded_ignored, counts.proxy_refused), (8, 3));
    assert_eq!((counts.proxied, counts.refused), (1, 0));
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_is_for_trusted_proxies_alone() {
    let server = serve_gateway(live(), HttpConfig::default(), trusting(true)).await;
    let to = server.address;
    assert_eq!(seen(PROXY, to, LINE, "").await, "203.0.113.7:51234");
    assert!(seen(PROXY, to, LOCAL, "").await.starts_with(PROXY));
    let request = b"GET /seen HTTP/1.0\r\n\r\n";
    let denied = b"PROXY TCP4 198.51.100.9 192.0.2.1 1 80\r\nGET /seen HTTP/1.0\r\n\r\n";
    assert!(is_closed(send(PROXY, to, denied).await).await);
    for (from, first) in [
        (STRANGER, LINE),
        (STRANGER, LOCAL),
        (PROXY, request),
        (PROXY, b"PROXY TCP4 junk\r\n"),
    ] {
        assert!(is_closed(send(from, to, first).await).await, "{first:?}");
    }
    assert_eq!(server.gateway.counts().proxy_refused, 4);
    assert!(seen(STRANGER, to, b"", "").await.starts_with(STRANGER));
}

#[tokio::test]
async fn a_session_knows_its_client_and_its_proxy_and_a_health_check_is_none() {
    let mut server = serve_gateway(live(), HttpConfig::default(), trusting(false)).await;
    let _publication = publish(&server.engine).await;
    let play = b"GET /live/cam.flv HTTP/1.0\r\n";
    let with = |headers: &str| [&play[..], headers.as_bytes(), b"\r\n"].concat();
    let check = send(PROXY, server.address, &[LOCAL, &with("")].concat()).await;
    let (head, _) = answer(check).await;
    assert!(head.starts_with("HTTP/1.0 403"), "{head}");
    let mut viewers = Vec::new();
    for (bytes, peer, source) in [
        (
            with("X-Forwarded-For: 203.0.113.7\r\n"),
            "203.0.113.7:0",
            PeerSource::Forwarded,
        ),
        (
            [LINE, &with("")].concat(),
            "203.0.113.7:51234",
            PeerSource::ProxyV1,
        ),
    ] {
        viewers.push(send(PROXY, server.address, &bytes).await);
        let context = event(&mut server.events, |event| {
            let SessionContext {
                peer,
                via,
                peer_source,
                ..
            } = &*event.context;
            let started = event.kind == StreamEventKind::PlayStarted;
            started.then_some((*peer, *via, *peer_source))
        })
        .await;
        let via: IpAddr = PROXY.parse().unwrap();
        assert_eq!(context, (peer.parse().ok(), Some(via), source));
    }
}

#[tokio::test]
async fn behind_a_proxy_each_client_has_its_own_limit() {
    struct Slow;
    #[async_trait::async_trait]
    impl livetrail_engine::Gate for Slow {
        async fn confirm(&self, _: &SessionContext) -> Result<(), Reason> {
            std::future::pending().await
        }
        fn overdue(&self) -> Reason {
            Reason::AuditUnavailable
        }
    }
    let mut limits = HttpConfig::default();
    limits.max_connections_per_ip = 1;
    let server = serve_gateway(live().gate(Slow), limits, trusting(false)).await;
    let engine = server.engine.clone();
    // The publisher waits as well, and its stream is there.
    let publishing = tokio::spawn(async move { publish(&engine).await });
    until(|| !server.engine.sessions().is_empty()).await;
    let ask = async |client: &str| {
        let request = format!("GET /live/cam.flv HTTP/1.0\r\nX-Forwarded-For: {client}\r\n\r\n");
        send(PROXY, server.address, request.as_bytes()).await
    };
    let _first = ask("203.0.113.7").await;
    until(|| server.engine.sessions().len() == 2).await;
    let (head, _) = answer(ask("203.0.113.7").await).await;
    assert!(
        head.contains(" 429 ") && head.contains("retry-after: 1"),
        "{head}"
    );
    let _other = ask("203.0.113.8").await;
    until(|| server.engine.sessions().len() == 3).await;
    publishing.abort();
}
