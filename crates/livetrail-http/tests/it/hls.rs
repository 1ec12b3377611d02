//! HLS over real sockets: who has a session, what is held and woken, what is refused.

use std::time::Duration;

use livetrail_engine::{
    AppSpec, CodecId, Credentials, Engine, EngineBuilder, FrameFlags, Grant, MediaFrame,
    Publication, Reason, StaticKey, StaticKeys, StreamEvent, StreamEventKind,
};
use livetrail_hls::token::{Key, Keys};
use livetrail_http::{Hls, HlsCounts, HlsOptions, HlsStart, HttpConfig, HttpGateway};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::{broadcast, oneshot},
};

use crate::common::{answer, event, get, key, publish, request, split, until, within};

pub(crate) const AVC: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";

pub(crate) struct Server {
    pub(crate) engine: Engine,
    hls: Hls,
    events: broadcast::Receiver<StreamEvent>,
    pub(crate) address: std::net::SocketAddr,
    _stop: oneshot::Sender<()>,
}

/// Segments of a second with parts of 200 ms, from the publication on.
pub(crate) fn options() -> HlsOptions {
    let mut options = HlsOptions::default();
    options.start = HlsStart::Publish;
    options.segment = Duration::from_secs(1);
    options.part = Duration::from_millis(200);
    options
}

pub(crate) async fn serve(engine: EngineBuilder, options: HlsOptions) -> Server {
    serve_with(engine, options, HttpConfig::default()).await
}

pub(crate) async fn serve_with(
    engine: EngineBuilder,
    options: HlsOptions,
    config: HttpConfig,
) -> Server {
    let engine = engine.build().unwrap();
    let events = engine.subscribe_events();
    let keys = Keys::new(vec![Key::new([7; 32], 0)]).unwrap();
    let hls = Hls::new(engine.clone(), options, keys).unwrap();
    let gateway = HttpGateway::bind("127.0.0.1:0", engine.clone(), config);
    let gateway = gateway.await.unwrap().hls(&hls);
    let address = gateway.local_addr();
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(gateway.run(async {
        let _ = stopped.await;
    }));
    tokio::spawn(hls.clone().run(std::future::pending()));
    Server {
        engine,
        hls,
        events,
        address,
        _stop: stop,
    }
}

pub(crate) fn live() -> EngineBuilder {
    Engine::builder().application(AppSpec::new("live"))
}

/// A publisher of 25 pictures a second with a keyframe each second, and of audio.
pub(crate) struct Encoder {
    publication: Publication,
    at: i64,
    /// Bytes that are added to each picture.
    pub(crate) padding: usize,
}

impl Encoder {
    pub(crate) fn begin(mut publication: Publication) -> Self {
        let config = FrameFlags::CONFIG;
        let video = MediaFrame::video(CodecId::H264, 0, 0, config, AVC.into());
        let audio = MediaFrame::audio(CodecId::Aac, 0, config, vec![0x11, 0x90].into());
        publication.push(video).unwrap();
        publication.push(audio).unwrap();
        let (at, padding) = (0, 0);
        Self {
            publication,
            at,
            padding,
        }
    }

    /// A publisher whose stream is segmented.
    pub(crate) async fn start(server: &Server) -> Self {
        let encoder = Self::begin(publish(&server.engine).await);
        until(|| server.hls.counts().streams == 1).await;
        encoder
    }

    pub(crate) fn push(&mut self, pictures: i64) {
        for _ in 0..pictures {
            let time_ms = self.at * 40;
            let flags = match self.at % 25 {
                0 => FrameFlags::KEYFRAME,
                _ => FrameFlags::NONE,
            };
            let mut payload = format!("picture {}", self.at).into_bytes();
            payload.resize(payload.len() + self.padding, 0);
            let payload = [&(payload.len() as u32).to_be_bytes()[..], &payload].concat();
            let video = MediaFrame::video(CodecId::H264, time_ms, time_ms, flags, payload.into());
            self.publication.push(video).unwrap();
            for half in 0..2 {
                let time_ms = time_ms + half * 20;
                let sound = vec![0x21; 50].into();
                let audio = MediaFrame::audio(CodecId::Aac, time_ms, FrameFlags::NONE, sound);
                self.publication.push(audio).unwrap();
            }
            self.at += 1;
        }
    }
}

impl Server {
    /// The head and the body of an answer.
    pub(crate) async fn ask(&self, head: &str) -> (String, Vec<u8>) {
        answer(request(self.address, head).await).await
    }

    pub(crate) async fn text(&self, path: &str) -> String {
        let (head, body) = answer(get(self.address, path).await).await;
        assert!(head.starts_with("HTTP/1.0 200"), "{path}: {head}");
        String::from_utf8(body).unwrap()
    }

    pub(crate) async fn status(&self, path: &str) -> u16 {
        let (head, _) = answer(get(self.address, path).await).await;
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// What precedes the names of a viewer.
    pub(crate) async fn token(&self) -> String {
        let text = self.text("/live/cam/index.m3u8").await;
        let name = text
            .lines()
            .find(|line| line.ends_with("video.m3u8"))
            .unwrap();
        let token = name.strip_suffix("video.m3u8").unwrap();
        format!("/live/cam/{token}")
    }

    pub(crate) fn counts(&self) -> HlsCounts {
        self.hls.counts()
    }

    async fn ended(&mut self) -> Reason {
        event(&mut self.events, |event| match &event.kind {
            StreamEventKind::PlayEnded { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    async fn denied(&mut self) -> Reason {
        event(&mut self.events, |event| match &event.kind {
            StreamEventKind::PlayDenied { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) fn viewers(&self) -> usize {
        self.engine.sessions().len() - self.engine.streams().len()
    }
}

/// The names of a playlist: of its segments, and of what `URI` leads to.
pub(crate) fn names(text: &str) -> Vec<&str> {
    let named = |line: &str| !line.starts_with('#');
    text.lines().filter(|line| named(line)).collect()
}

pub(crate) fn parts(text: &str) -> Vec<&str> {
    let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
    parts.map(|line| line.split('"').nth(1).unwrap()).collect()
}

fn hint(text: &str) -> (u64, u64) {
    let hint = text
        .lines()
        .find(|line| line.starts_with("#EXT-X-PRELOAD-HINT"));
    let name = hint.unwrap().split('"').nth(1).unwrap();
    let mut numbers = name[1..].split('.');
    let mut number = || numbers.next().unwrap().parse().unwrap();
    (number(), number())
}

#[tokio::test]
async fn the_entry_is_no_session_and_the_first_media_opens_one_for_all_requests() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let _unused = server.token().await;
    let head = format!("HEAD {token}video.m3u8 HTTP/1.0");
    let (answered, body) = server.ask(&head).await;
    assert!(
        answered.starts_with("HTTP/1.0 200") && body.is_empty(),
        "{answered}"
    );
    assert_eq!(server.viewers(), 0);

    let text = server.text(&format!("{token}video.m3u8")).await;
    assert_eq!(server.viewers(), 1);
    let session = server
        .engine
        .sessions()
        .into_iter()
        .find(|s| s.context.protocol == "hls");
    assert_eq!(session.unwrap().context.key, key());
    let init = text
        .lines()
        .find(|line| line.starts_with("#EXT-X-MAP"))
        .unwrap();
    let init = init.split('"').nth(1).unwrap();
    let (head, body) = answer(get(server.address, &format!("{token}{init}")).await).await;
    assert_eq!(&body[4..8], b"ftyp");
    for line in [
        "content-type: video/mp4",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "access-control-allow-origin: *",
        "accept-ranges: bytes",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    // The parts are the segment.
    let last = *names(&text).last().unwrap();
    let (_, segment) = answer(get(server.address, &format!("{token}{last}")).await).await;
    let stem = last.strip_suffix("m4s").unwrap();
    let mut joined = Vec::new();
    for part in parts(&text)
        .into_iter()
        .filter(|part| part.starts_with(stem))
    {
        joined.extend(
            answer(get(server.address, &format!("{token}{part}")).await)
                .await
                .1,
        );
    }
    assert_eq!(joined, segment);
    let picture = b"picture 26";
    let has_picture = |bytes: &[u8]| bytes.windows(picture.len()).any(|w| w == picture);
    let second = names(&text)[1];
    let (_, second) = answer(get(server.address, &format!("{token}{second}")).await).await;
    assert!(has_picture(&second));

    server.text(&format!("{token}audio.m3u8")).await;
    assert_eq!(server.viewers(), 1, "one viewer, whatever it asks");
    let session = server
        .engine
        .sessions()
        .into_iter()
        .find(|s| s.context.protocol == "hls");
    let session = session.unwrap();
    let bytes = (segment.len() * 2 + second.len() + body.len()) as u64;
    assert_eq!(
        (session.totals.bytes, session.totals.frames),
        (bytes, 25 + 25 + 25)
    );
}

#[tokio::test]
async fn a_client_that_waits_at_the_entry_for_a_publisher_is_no_viewer() {
    let app = AppSpec::new("live").wait_for_publisher(Duration::from_secs(30));
    let mut options = options();
    options.segment = Duration::from_millis(500);
    options.max_held = 1;
    let server = serve(Engine::builder().application(app), options).await;
    let entry = get(server.address, "/live/cam/index.m3u8").await;
    until(|| server.counts().held == 1).await;
    assert_eq!(server.status("/live/cam/index.m3u8").await, 503);
    assert_eq!(server.counts().held_over_limit, 1);
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let (head, body) = answer(entry).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert_eq!(server.viewers(), 0);
    // Its first media opens the session, also while nobody publishes.
    let text = String::from_utf8(body).unwrap();
    server.text(&format!("/live/cam/{}", names(&text)[0])).await;
    assert_eq!(server.viewers(), 1);
    // Where nobody publishes, the wait has an end.
    let (head, body) = answer(get(server.address, "/live/other/index.m3u8").await).await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    assert!(String::from_utf8_lossy(&body).contains("not_yet"));
    assert_eq!((server.counts().held, server.viewers()), (0, 1));
}

#[tokio::test]
async fn ranges_compression_and_old_clients() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let plain = server.text(&format!("{token}video.m3u8")).await;
    let name = names(&plain)[0].to_owned();
    let (_, whole) = answer(get(server.address, &format!("{token}{name}")).await).await;
    let range = |range: &str| format!("GET {token}{name} HTTP/1.0\r\nRange: bytes={range}");
    let (head, body) = server.ask(&range("10-19")).await;
    assert!(head.starts_with("HTTP/1.0 206"), "{head}");
    assert!(
        head.contains(&format!("content-range: bytes 10-19/{}", whole.len())),
        "{head}"
    );
    assert_eq!(body, whole[10..20]);
    let (head, body) = server.ask(&range("-5")).await;
    assert!(head.contains("content-length: 5"), "{head}");
    assert_eq!(body, whole[whole.len() - 5..]);
    let (head, _) = server.ask(&range("999999999-")).await;
    assert!(head.starts_with("HTTP/1.0 416"), "{head}");
    assert!(
        head.contains(&format!("content-range: bytes */{}", whole.len())),
        "{head}"
    );

    let before = server.counts();
    let gzip = format!("GET {token}video.m3u8 HTTP/1.0\r\nAccept-Encoding: gzip");
    for _ in 0..3 {
        let (head, body) = server.ask(&gzip).await;
        assert!(head.contains("content-encoding: gzip"), "{head}");
        assert!(head.contains("vary: Accept-Encoding"), "{head}");
        let mut text = String::new();
        let mut unzip = flate2::read::GzDecoder::new(&body[..]);
        std::io::Read::read_to_string(&mut unzip, &mut text).unwrap();
        assert_eq!(text, plain);
    }
    let after = server.counts();
    assert_eq!(after.compressions, before.compressions + 1);
    assert_eq!(after.renderings, before.renderings);
    let (head, _) = server
        .ask(&format!("POST {token}video.m3u8 HTTP/1.0"))
        .await;
    assert!(head.starts_with("HTTP/1.0 405"), "{head}");
}

#[tokio::test]
async fn reloads_are_held_until_the_part_is_there_and_it_is_rendered_once() {
    const WAITING: usize = 50;
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(78);
    let mut waiting = Vec::new();
    let mut first = None;
    for _ in 0..WAITING {
        let token = server.token().await;
        let text = server.text(&format!("{token}video.m3u8")).await;
        let (sequence, part) = hint(&text);
        let path = format!("{token}video.m3u8?_HLS_msn={sequence}&_HLS_part={part}");
        waiting.push(get(server.address, &path).await);
        first.get_or_insert((token, sequence, part));
    }
    let (token, sequence, part) = first.unwrap();
    // The hinted part is waited for, too.
    let hinted = get(server.address, &format!("{token}v{sequence}.{part}.m4s")).await;
    until(|| server.counts().held == WAITING as u64 + 1).await;
    let before = server.counts();
    encoder.push(5);
    for stream in waiting {
        let (head, body) = answer(stream).await;
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        let text = String::from_utf8(body).unwrap();
        assert!(
            text.contains(&format!("\"v{sequence}.{part}.m4s\"")),
            "{text}"
        );
    }
    let (head, _) = answer(hinted).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let after = server.counts();
    assert_eq!(after.renderings, before.renderings + 1);
    assert_eq!((after.held, server.viewers()), (0, WAITING));
}

#[tokio::test]
async fn what_cannot_come_is_refused_at_once_and_what_is_past_is_answered() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let text = server.text(&format!("{token}video.m3u8")).await;
    let (sequence, part) = hint(&text);
    let video = format!("{token}video.m3u8");
    for (path, status) in [
        (format!("{video}?_HLS_part=1"), 400),
        (format!("{video}?_HLS_msn=x"), 400),
        (format!("{video}?_HLS_skip=maybe"), 400),
        (format!("{video}?_HLS_msn={}", sequence + 3), 400),
        (format!("{video}?_HLS_msn={sequence}&_HLS_part=99"), 400),
        (format!("{video}?_HLS_msn={}", sequence - 1), 200),
        (format!("{video}?_HLS_msn=3&_HLS_part=1"), 200),
        (format!("{token}v{sequence}.{}.m4s", part + 1), 404),
        (format!("{token}v{}.m4s", sequence + 1), 404),
        (format!("{token}v1.m4s"), 404),
        (format!("{token}main.m3u8"), 404),
        (format!("{token}other.txt"), 404),
    ] {
        assert_eq!(server.status(&path).await, status, "{path}");
    }
    assert_eq!(server.viewers(), 1);
}

#[tokio::test]
async fn refusals_are_on_record_and_leave_no_session() {
    let viewer = StaticKey::new("alice", "a-secret-of-a-viewer").grant(Grant::Both);
    let engine = live().authenticator(StaticKeys::new([viewer]));
    let mut server = serve(engine, options()).await;
    let attempt = livetrail_engine::Attempt::new(key(), "test");
    let attempt = attempt.credentials(Credentials::token("a-secret-of-a-viewer"));
    let publication = server.engine.publish(attempt).await.unwrap();
    let mut encoder = Encoder::begin(publication);
    until(|| server.counts().streams == 1).await;
    encoder.push(80);
    assert_eq!(server.status("/live/cam/index.m3u8").await, 401);
    assert_eq!(server.denied().await, Reason::Unauthorized);
    assert_eq!(server.status("/live/cam/index.m3u8?token=wrong").await, 403);
    assert_eq!(server.denied().await, Reason::Unauthorized);
    let right = "token=a-secret-of-a-viewer";
    assert_eq!(
        server
            .status(&format!("/live/other/index.m3u8?{right}"))
            .await,
        404
    );
    assert_eq!(server.denied().await, Reason::StreamNotFound);
    let text = server.text(&format!("/live/cam/index.m3u8?{right}")).await;
    let name = names(&text)[0];
    let token = name.split('/').nth(1).unwrap();
    let other = format!("/live/other/s/{token}/video.m3u8");
    assert_eq!(server.status(&other).await, 403);
    assert_eq!(server.denied().await, Reason::Unauthorized);
    let forged = format!(
        "/live/cam/s/{}/video.m3u8",
        token.replace('A', "B").replace('a', "b")
    );
    assert_eq!(server.status(&forged).await, 403);
    assert_eq!(server.denied().await, Reason::Unauthorized);
    assert_eq!(server.viewers(), 0);

    // A valid token needs no credentials again. The record names who was admitted at the entry.
    server.text(&format!("/live/cam/{name}")).await;
    let session = server
        .engine
        .sessions()
        .into_iter()
        .find(|s| s.context.protocol == "hls");
    let session = session.unwrap();
    assert_eq!(session.context.principal.as_deref(), Some("alice"));
    server.engine.kick(session.context.session).unwrap();
    assert_eq!(server.ended().await, Reason::Kicked);
    assert_eq!(server.status(&format!("/live/cam/{name}")).await, 403);
    assert_eq!(server.viewers(), 0);
}

#[tokio::test]
async fn numbers_continue_with_one_discontinuity_when_the_publisher_comes_back() {
    let app = AppSpec::new("live").wait_for_publisher(Duration::from_secs(30));
    let server = serve(Engine::builder().application(app), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let video = format!("{token}video.m3u8");
    let before = server.text(&video).await;
    let (sequence, part) = hint(&before);
    let open = get(server.address, &format!("{video}?_HLS_msn={sequence}")).await;
    until(|| server.counts().held == 1).await;
    drop(encoder);
    // What was open is closed at once.
    let (_, body) = answer(open).await;
    let paused = String::from_utf8(body).unwrap();
    let last = format!("\"v{sequence}.{part}.m4s\"");
    assert!(
        paused.contains(&last) && !paused.contains("ENDLIST"),
        "{paused}"
    );
    // Held while the publisher is away.
    let path = format!("{video}?_HLS_msn={}", sequence + 1);
    let held = get(server.address, &path).await;
    until(|| server.counts().held == 1).await;
    let mut encoder = Encoder::begin(publish(&server.engine).await);
    encoder.push(80);
    let (head, _) = answer(held).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let mut after = String::new();
    within(async {
        while names(&after).len() < names(&before).len() + 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            after = server.text(&video).await;
        }
    })
    .await;
    assert_eq!(
        after.matches("#EXT-X-DISCONTINUITY\n").count(),
        1,
        "{after}"
    );
    assert_eq!(names(&after)[..names(&before).len()], names(&before)[..]);
    assert_eq!((server.viewers(), server.counts().streams_started), (1, 1));
}

#[tokio::test]
async fn a_stream_that_has_ended_says_so_and_a_later_one_has_larger_numbers() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let video = format!("{token}video.m3u8");
    let before = server.text(&video).await;
    let (sequence, part) = hint(&before);
    let path = format!("{video}?_HLS_msn={sequence}&_HLS_part={}", part + 1);
    let held = get(server.address, &path).await;
    until(|| server.counts().held == 1).await;
    drop(encoder);
    let (_, body) = answer(held).await;
    let ended = String::from_utf8(body).unwrap();
    assert!(ended.ends_with("#EXT-X-ENDLIST\n"), "{ended}");
    let last = *names(&ended).last().unwrap();
    server.ask(&format!("GET {token}{last} HTTP/1.0")).await;
    assert_eq!(server.status(&format!("{token}{last}")).await, 200);

    let mut encoder = Encoder::begin(publish(&server.engine).await);
    until(|| server.counts().streams_started == 2).await;
    encoder.push(80);
    let token = server.token().await;
    let text = server.text(&format!("{token}video.m3u8")).await;
    let number = |text: &str| {
        names(text)[0][1..]
            .split('.')
            .next()
            .unwrap()
            .parse::<u64>()
    };
    let last: u64 = last[1..].split('.').next().unwrap().parse().unwrap();
    assert!(number(&text).unwrap() > last);
}

#[tokio::test]
async fn bounds_are_named_and_leave_no_session() {
    let mut options = options();
    options.start = HlsStart::Demand;
    options.max_streams = 1;
    options.max_held_per_stream = 1;
    options.max_viewers = 1;
    let mut server = serve(live(), options).await;
    let mut encoder = Encoder::begin(publish(&server.engine).await);
    encoder.push(1);
    let other = livetrail_engine::StreamKey::parse("live", "other").unwrap();
    let other = livetrail_engine::Attempt::new(other, "test");
    let _other = server.engine.publish(other).await.unwrap();
    // The first request starts the stream, and is held until a segment is there.
    let entry = get(server.address, "/live/cam/index.m3u8").await;
    until(|| server.counts().held == 1).await;
    for (path, limit) in [
        ("/live/cam/index.m3u8", "hls.max_held_per_stream"),
        ("/live/other/index.m3u8", "hls.max_streams"),
    ] {
        let (head, body) = answer(get(server.address, path).await).await;
        assert!(head.starts_with("HTTP/1.0 503"), "{head}");
        assert!(head.contains("retry-after: "), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(limit), "{body}");
    }
    encoder.push(80);
    let (head, _) = answer(entry).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let tokens = [server.token().await, server.token().await];
    server.text(&format!("{}video.m3u8", tokens[0])).await;
    assert_eq!(
        server.status(&format!("{}video.m3u8", tokens[1])).await,
        429
    );
    assert_eq!(server.denied().await, Reason::LimitReached);
    let counts = server.counts();
    let over = (
        counts.streams_over_limit,
        counts.held_over_limit,
        counts.viewers_over_limit,
    );
    assert_eq!((over, server.viewers()), ((1, 1, 1), 1));
}

#[tokio::test]
async fn memory_is_bounded_by_shorter_windows() {
    let mut options = options();
    options.window = Duration::from_secs(3_600);
    options.max_stream_bytes = 1 << 20;
    let server = serve(live(), options).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.padding = 4_000;
    for second in 1..=60 {
        encoder.push(25);
        // A second later each segment is there, of both renditions.
        until(|| server.counts().segments + 4 >= second * 2).await;
    }
    let counts = server.counts();
    assert!(counts.kept_bytes <= (1 << 20) + 200_000, "{counts:?}");
    assert!(counts.shortened > 0, "{counts:?}");
    drop(encoder);
}

/// A connection that is kept for several requests.
#[tokio::test]
async fn requests_of_a_connection_follow_each_other() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let head = format!("GET {token}video.m3u8 HTTP/1.1\r\nHost: localhost");
    let mut stream: TcpStream = request(server.address, &head).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let mut all = Vec::new();
        let text = within(async {
            loop {
                stream.read_buf(&mut all).await.unwrap();
                if complete(&all) {
                    return split(&all).1;
                }
            }
        })
        .await;
        seen.push(text);
        let again = format!("{head}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, again.as_bytes())
            .await
            .unwrap();
    }
    assert_eq!(seen[0], seen[2]);
    assert_eq!(server.viewers(), 1);
}

/// Whether the body is as long as the head says.
fn complete(all: &[u8]) -> bool {
    let Some(at) = all.windows(4).position(|w| w == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&all[..at]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| all.len() - at - 4 == length.parse::<usize>().unwrap())
}
