//! An engine behind a gateway on a free loopback port, and a client that speaks plain HTTP/1.0.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use livetrail_engine::{
    AppSpec, Attempt, CodecId, Engine, EngineBuilder, FrameFlags, MediaFrame, Publication,
    StreamEvent, StreamKey,
};
use livetrail_gateway::GatewayStats;
use livetrail_http::{HttpConfig, HttpGateway};
use livetrail_media::flv::{Demuxer, Header, Tag};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{broadcast, oneshot},
    task::JoinHandle,
};

pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) events: broadcast::Receiver<StreamEvent>,
    pub(crate) address: SocketAddr,
    pub(crate) gateway: GatewayStats,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) serving: JoinHandle<()>,
}

pub(crate) async fn serve(engine: EngineBuilder, limits: HttpConfig) -> Server {
    serve_router(engine, limits, |router| router).await
}

pub(crate) async fn serve_router(
    engine: EngineBuilder,
    limits: HttpConfig,
    with: impl FnOnce(axum::Router) -> axum::Router,
) -> Server {
    serve_gateway(engine, limits, |gateway| gateway.routes(with)).await
}

pub(crate) async fn serve_gateway(
    engine: EngineBuilder,
    limits: HttpConfig,
    with: impl FnOnce(HttpGateway) -> HttpGateway,
) -> Server {
    let engine = engine.build().unwrap();
    let events = engine.subscribe_events();
    let gateway = HttpGateway::bind("127.0.0.1:0", engine.clone(), limits);
    let gateway = with(gateway.await.unwrap());
    let (address, stats) = (gateway.local_addr(), gateway.stats());
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(gateway.run(async {
        let _ = stopped.await;
    }));
    Server {
        engine,
        events,
        address,
        gateway: stats,
        stop,
        serving,
    }
}

pub(crate) fn live() -> EngineBuilder {
    Engine::builder().application(AppSpec::new("live"))
}

pub(crate) fn key() -> StreamKey {
    StreamKey::parse("live", "cam").unwrap()
}

pub(crate) async fn publish(engine: &Engine) -> Publication {
    engine.publish(Attempt::new(key(), "test")).await.unwrap()
}

pub(crate) fn config() -> MediaFrame {
    MediaFrame::video(
        CodecId::H264,
        0,
        0,
        FrameFlags::CONFIG,
        Bytes::from_static(b"avcC"),
    )
}

/// Frame `n` at 40 ms each; its payload is its number, followed by `bytes` zero bytes.
pub(crate) fn frame(n: u32, keyframe: bool, bytes: usize) -> MediaFrame {
    let flags = if keyframe {
        FrameFlags::KEYFRAME
    } else {
        FrameFlags::NONE
    };
    let mut payload = n.to_be_bytes().to_vec();
    payload.resize(4 + bytes, 0);
    let ms = i64::from(n) * 40;
    MediaFrame::video(CodecId::H264, ms, ms, flags, payload.into())
}

/// The number that [`frame`] put into a tag's payload.
pub(crate) fn number(tag: &Tag) -> Option<u32> {
    let frame = tag.decode().ok()?.into_frame()?;
    if frame.is_config() {
        return None;
    }
    Some(u32::from_be_bytes(frame.payload.get(..4)?.try_into().ok()?))
}

pub(crate) async fn request(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    stream
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> TcpStream {
    request(address, &format!("GET {path} HTTP/1.0")).await
}

/// An answer: its head as text, and its body.
pub(crate) async fn answer(mut stream: TcpStream) -> (String, Vec<u8>) {
    let mut all = Vec::new();
    within(stream.read_to_end(&mut all)).await.unwrap();
    split(&all)
}

pub(crate) fn split(all: &[u8]) -> (String, Vec<u8>) {
    let at = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    (
        String::from_utf8(all[..at].to_vec()).unwrap(),
        all[at + 4..].to_vec(),
    )
}

pub(crate) fn tags(body: &[u8]) -> (Header, Vec<Tag>) {
    let mut demuxer = Demuxer::new();
    demuxer.push(body);
    let mut tags = Vec::new();
    while let Some(tag) = demuxer.next_tag().unwrap() {
        tags.push(tag);
    }
    assert!(demuxer.is_at_boundary(), "the body ends inside a tag");
    (demuxer.header().unwrap(), tags)
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future)
        .await
        .expect("took longer than 10 s")
}

/// Waits for the first event that matches.
pub(crate) async fn event<T>(
    events: &mut broadcast::Receiver<StreamEvent>,
    mut fits: impl FnMut(&StreamEvent) -> Option<T>,
) -> T {
    within(async {
        loop {
            if let Some(found) = fits(&events.recv().await.unwrap()) {
                return found;
            }
        }
    })
    .await
}

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
