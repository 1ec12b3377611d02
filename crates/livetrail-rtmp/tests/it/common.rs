//! A gateway with an engine on a free loopback port, the events of its observer, and a raw client.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use livetrail_engine::{
    AppSpec, CodecId, Engine, EngineBuilder, FrameFlags, MediaFrame, Observer, StreamEvent,
    StreamEventKind,
};
use livetrail_gateway::GatewayStats;
use livetrail_rtmp::{Error, RtmpConfig, RtmpServer, RtmpUrl};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<StreamEvent>>>);

impl Observer for Seen {
    fn on_event(&self, event: &StreamEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Seen {
    /// The labels and reasons of the events so far, in order.
    pub(crate) fn labels(&self) -> Vec<String> {
        let label = |kind: &StreamEventKind| match kind {
            StreamEventKind::PublishEnded { reason, .. }
            | StreamEventKind::PlayEnded { reason, .. }
            | StreamEventKind::PublishDenied { reason, .. }
            | StreamEventKind::PlayDenied { reason, .. } => format!("{} {reason}", kind.label()),
            _ => kind.label().to_owned(),
        };
        let seen = self.0.lock().unwrap();
        seen.iter().map(|event| label(&event.kind)).collect()
    }

    /// The same, each with its stream and the detail of its reason.
    pub(crate) fn lines(&self) -> Vec<String> {
        let labels = self.labels();
        let seen = self.0.lock().unwrap();
        let detail = |kind: &StreamEventKind| match kind {
            StreamEventKind::PublishEnded { detail, .. }
            | StreamEventKind::PlayEnded { detail, .. }
            | StreamEventKind::PublishDenied { detail, .. }
            | StreamEventKind::PlayDenied { detail, .. } => detail.clone(),
            _ => None,
        };
        let lines = labels.iter().zip(seen.iter()).map(|(label, event)| {
            let detail = detail(&event.kind).map(|detail| format!(": {detail}"));
            let key = &event.context.key;
            format!("{label} {key}{}", detail.unwrap_or_default())
        });
        lines.collect()
    }

    pub(crate) async fn wait_for(&self, label: &str) {
        let found = timeout(Duration::from_secs(10), async {
            while !self.labels().iter().any(|seen| seen == label) {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(found.await.is_ok(), "no {label} in {:?}", self.labels());
    }
}

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) engine: Engine,
    pub(crate) seen: Seen,
    pub(crate) stats: GatewayStats,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Gateway {
    pub(crate) async fn start(
        config: RtmpConfig,
        build: impl FnOnce(EngineBuilder) -> EngineBuilder,
    ) -> Self {
        let seen = Seen::default();
        let app = AppSpec::new("live");
        let builder = Engine::builder().application(app).observer(seen.clone());
        let engine = build(builder).build().unwrap();
        let server = RtmpServer::bind("127.0.0.1:0", engine.clone(), config)
            .await
            .unwrap();
        let (address, stats) = (server.local_addr(), server.stats());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            stopped.await.ok();
        }));
        Self {
            address,
            engine,
            seen,
            stats,
            stop,
            task,
        }
    }

    pub(crate) fn url(&self, path: &str) -> RtmpUrl {
        RtmpUrl::parse(&format!("rtmp://{}/{path}", self.address)).unwrap()
    }
}

pub(crate) fn configured(set: impl FnOnce(&mut RtmpConfig)) -> RtmpConfig {
    let mut config = RtmpConfig::default();
    set(&mut config);
    config
}

pub(crate) async fn plain() -> Gateway {
    Gateway::start(RtmpConfig::default(), |builder| builder).await
}

pub(crate) fn clip(frames: i64) -> Vec<MediaFrame> {
    let mut clip = vec![
        MediaFrame::data(
            CodecId::Amf0,
            0,
            FrameFlags::CONFIG,
            Bytes::from_static(b"\x02\x00\x0aonMetaData\x05"),
        ),
        MediaFrame::video(
            CodecId::H264,
            0,
            0,
            FrameFlags::CONFIG,
            Bytes::from_static(b"\x01config"),
        ),
        MediaFrame::audio(
            CodecId::Aac,
            0,
            FrameFlags::CONFIG,
            Bytes::from_static(&[0x12, 0x10]),
        ),
    ];
    for at in 0..frames {
        let key = if at % 25 == 0 {
            FrameFlags::KEYFRAME
        } else {
            FrameFlags::NONE
        };
        let size = if at % 25 == 0 { 150_000 } else { 3_000 };
        clip.push(MediaFrame::video(
            CodecId::H264,
            at * 40,
            at * 40 + 80,
            key,
            vec![at as u8; size].into(),
        ));
        clip.push(MediaFrame::audio(
            CodecId::Aac,
            at * 40 + 1,
            FrameFlags::NONE,
            vec![at as u8; 200].into(),
        ));
    }
    clip
}

pub(crate) fn refused<T>(result: Result<T, Error>) -> (String, String) {
    match result {
        Err(Error::Refused { code, description } | Error::Ended { code, description }) => {
            (code, description)
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("let in"),
    }
}

/// A client that sends exactly the bytes that a test chooses.
pub(crate) struct Raw(pub(crate) TcpStream);

pub(crate) fn text(text: &str) -> Vec<u8> {
    raw_text(text.as_bytes())
}

pub(crate) fn raw_text(text: &[u8]) -> Vec<u8> {
    [&[2][..], &(text.len() as u16).to_be_bytes(), text].concat()
}

pub(crate) fn number(n: f64) -> Vec<u8> {
    [&[0][..], &n.to_be_bytes()].concat()
}

pub(crate) fn flag(on: bool) -> Vec<u8> {
    vec![1, u8::from(on)]
}

/// A message in one chunk of any length: both sides agree on chunks of 65,536 bytes first.
pub(crate) fn message(type_id: u8, stream_id: u32, body: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (body.len() as u32).to_be_bytes();
    let header = [3, 0, 0, 0, a, b, c, type_id];
    [&header[..], &stream_id.to_le_bytes(), body].concat()
}

pub(crate) fn command(stream_id: u32, values: &[Vec<u8>]) -> Vec<u8> {
    message(20, stream_id, &values.concat())
}

pub(crate) fn connect_to(app: &[u8]) -> Vec<u8> {
    let object = [&[3, 0, 3][..], b"app", &raw_text(app), &[0, 0, 9]].concat();
    command(0, &[text("connect"), number(1.0), object])
}

/// `publish` or `play`.
pub(crate) fn ask(what: &str, name: &[u8]) -> Vec<u8> {
    command(1, &[text(what), number(5.0), vec![5], raw_text(name)])
}

impl Raw {
    /// Completes the handshake and sends all of these messages.
    pub(crate) async fn saying(gateway: &Gateway, messages: &[Vec<u8>]) -> Self {
        let mut stream = TcpStream::connect(gateway.address).await.unwrap();
        let chunk_size = [2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 1, 0, 0];
        let said = [&[3][..], &[0; 3072], &chunk_size, &messages.concat()].concat();
        stream.write_all(&said).await.unwrap();
        Self(stream)
    }

    pub(crate) async fn say(&mut self, message: &[u8]) {
        self.0.write_all(message).await.unwrap();
    }

    /// Reads until the server has sent this text, and returns everything.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut all = Vec::new();
        let heard = timeout(Duration::from_secs(10), async {
            let mut buffer = vec![0; 64 << 10];
            while !String::from_utf8_lossy(&all).contains(text) {
                match self.0.read(&mut buffer).await.unwrap_or(0) {
                    0 => return false,
                    n => all.extend_from_slice(&buffer[..n]),
                }
            }
            true
        });
        let heard = heard.await;
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(matches!(heard, Ok(true)), "no {text} in {all:?}");
        all
    }

    /// Reads until the server closes, and returns everything.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = Vec::new();
        let read = self.0.read_to_end(&mut all);
        let _ = timeout(Duration::from_secs(10), read).await.expect("open");
        String::from_utf8_lossy(&all).into_owned()
    }
}
