//! HLS of unusual streams, and under unusual clients: each is bounded and counted by name.

use std::time::Duration;

use livetrail_engine::{AppPattern, Attempt, CodecId, FrameFlags, MediaFrame, StreamKey};
use livetrail_http::HttpConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::{
    common::{answer, get, until, within},
    hls::{AVC, Encoder, Server, live, names, options, serve, serve_with},
};

const LARGE: usize = 15 << 20;

/// A stream, and what is counted for it.
struct Unusual {
    name: &'static str,
    frames: Vec<MediaFrame>,
    counted: &'static [&'static str],
    discontinuities: usize,
}

/// Pictures from one time to another in milliseconds, with a keyframe every `gop`.
fn pictures(from_ms: i64, to_ms: i64, fps: i64, gop: i64) -> Vec<MediaFrame> {
    let number = (to_ms - from_ms) * fps / 1_000;
    let picture = |n: i64| {
        let time_ms = from_ms + n * 1_000 / fps;
        let flags = match n % gop {
            0 => FrameFlags::KEYFRAME,
            _ => FrameFlags::NONE,
        };
        let payload = vec![0, 0, 0, 3, 0x65, 1, 2].into();
        MediaFrame::video(CodecId::H264, time_ms, time_ms, flags, payload)
    };
    (0..number).map(picture).collect()
}

fn sounds(from_ms: i64, to_ms: i64) -> Vec<MediaFrame> {
    let time_ms = |n: i64| from_ms + n * 1_024 / 48;
    let sound = |n| {
        MediaFrame::audio(
            CodecId::Aac,
            time_ms(n),
            FrameFlags::NONE,
            vec![0x21; 60].into(),
        )
    };
    (0..)
        .take_while(|n| time_ms(*n) < to_ms)
        .map(sound)
        .collect()
}

/// Both, in the order of their times.
fn both(videos: Vec<MediaFrame>, sounds: Vec<MediaFrame>) -> Vec<MediaFrame> {
    let mut all = [videos, sounds].concat();
    all.sort_by_key(MediaFrame::dts_ms);
    all
}

fn streams() -> Vec<Unusual> {
    let stream = |name, frames, counted| Unusual {
        name,
        frames,
        counted,
        discontinuities: 0,
    };
    let mut large = both(pictures(0, 4_000, 25, 25), sounds(0, 4_000));
    let keyframes = large.iter_mut().filter(|frame| frame.is_keyframe());
    for frame in keyframes.skip(1).take(1) {
        let mut payload = vec![0x65; LARGE];
        payload[..4].copy_from_slice(&(LARGE as u32 - 4).to_be_bytes());
        frame.payload = payload.into();
    }
    let jump_ms = 3_600_000;
    let before = both(pictures(0, 3_000, 25, 25), sounds(0, 3_000));
    let after = both(
        pictures(jump_ms, jump_ms + 3_000, 25, 25),
        sounds(jump_ms, jump_ms + 3_000),
    );
    vec![
        stream(
            "endless",
            both(pictures(0, 9_000, 25, 9_999), sounds(0, 9_000)),
            &["long_gop"],
        ),
        stream(
            "intra",
            both(pictures(0, 4_000, 25, 1), sounds(0, 4_000)),
            &[],
        ),
        stream("audio", sounds(0, 4_000), &[]),
        stream(
            "stops",
            both(pictures(0, 3_000, 25, 25), sounds(0, 9_000)),
            &["video_stopped"],
        ),
        Unusual {
            discontinuities: 1,
            ..stream("jumps", [before, after].concat(), &["clock_jumped"])
        },
        stream(
            "fast",
            both(pictures(0, 4_000, 120, 120), sounds(0, 4_000)),
            &[],
        ),
        stream("large", large, &[]),
    ]
}

/// What is counted of unusual input, by name.
fn unusual(server: &Server) -> Vec<(&'static str, u64)> {
    server.counts().irregularities.into_iter().collect()
}

#[tokio::test]
async fn unusual_streams_are_played_and_counted_by_name() {
    let mut options = options();
    options.longest_segment = Duration::from_secs(2);
    let server = serve(live(), options).await;
    for stream in streams() {
        let (name, before) = (stream.name, unusual(&server));
        let key = StreamKey::parse("live", name).unwrap();
        let attempt = Attempt::new(key, "test");
        let mut publication = server.engine.publish(attempt).await.unwrap();
        let started = server.counts().streams;
        if stream
            .frames
            .iter()
            .any(|frame| frame.codec == CodecId::H264)
        {
            let config = FrameFlags::CONFIG;
            let config = MediaFrame::video(CodecId::H264, 0, 0, config, AVC.into());
            publication.push(config).unwrap();
        }
        let config =
            MediaFrame::audio(CodecId::Aac, 0, FrameFlags::CONFIG, vec![0x11, 0x90].into());
        publication.push(config).unwrap();
        until(|| server.counts().streams >= started.max(1)).await;
        let mut sent = 0;
        for frame in stream.frames {
            publication.push(frame).unwrap();
            sent += 1;
            if sent % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let entry = server.text(&format!("/live/{name}/index.m3u8")).await;
        let main = names(&entry)[0].to_owned();
        let path = |name: &str| {
            let (token, _) = main.rsplit_once('/').unwrap();
            format!("/live/{}/{token}/{name}", stream.name)
        };
        let (_, playlist) = main.rsplit_once('/').unwrap();
        // The session outlasts the stream.
        let mut text = server.text(&path(playlist)).await;
        drop(publication);
        within(async {
            while !text.contains("ENDLIST") {
                text = server.text(&path(playlist)).await;
            }
        })
        .await;
        let tags = text.matches("#EXT-X-DISCONTINUITY\n").count();
        assert_eq!(tags, stream.discontinuities, "{name}: {text}");
        let mut largest = 0;
        for segment in names(&text) {
            let (head, body) = answer(get(server.address, &path(segment)).await).await;
            assert!(
                head.starts_with("HTTP/1.0 200"),
                "{name}: {segment}: {head}"
            );
            largest = largest.max(body.len());
        }
        assert_eq!(largest > LARGE, name == "large", "{name}: {largest} bytes");
        let counted = unusual(&server).into_iter().zip(before);
        let counted = counted.filter(|((_, now), (_, before))| now > before);
        let counted: Vec<_> = counted.map(|((label, _), _)| label).collect();
        assert_eq!(counted, stream.counted, "{name}");
    }
}

#[tokio::test]
async fn an_application_with_mpeg_ts_has_one_playlist_and_names_codecs_without_a_form() {
    let mut options = options();
    options.mpegts = vec![AppPattern::new("live").unwrap()];
    let server = serve(live(), options).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let entry = server.text("/live/cam/index.m3u8").await;
    assert!(
        entry.contains(",CODECS=\"avc1.4d400c,mp4a.40.2\""),
        "{entry}"
    );
    let [main] = names(&entry)[..] else {
        panic!("{entry}");
    };
    let token = main.strip_suffix("main.m3u8").unwrap();
    let text = server.text(&format!("/live/cam/{main}")).await;
    assert!(
        !text.contains("#EXT-X-PART") && !text.contains("#EXT-X-MAP"),
        "{text}"
    );
    let path = format!("/live/cam/{token}{}", names(&text)[1]);
    let (head, body) = answer(get(server.address, &path).await).await;
    assert!(head.contains("content-type: video/mp2t"), "{head}");
    assert!(
        body.chunks(188)
            .all(|packet| packet.len() == 188 && packet[0] == 0x47)
    );
    // A reload is held until the next segment is there.
    let next = names(&text).last().unwrap()[1..].strip_suffix(".ts");
    let next: u64 = next.unwrap().parse().unwrap();
    let reload = format!("/live/cam/{main}?_HLS_msn={}", next + 1);
    let held = get(server.address, &reload).await;
    until(|| server.counts().held == 1).await;
    encoder.push(30);
    let (_, body) = answer(held).await;
    let name = format!("\nm{}.ts\n", next + 1);
    assert!(String::from_utf8_lossy(&body).contains(&name));

    let attempt = Attempt::new(StreamKey::parse("live", "voice").unwrap(), "test");
    let mut publication = server.engine.publish(attempt).await.unwrap();
    until(|| server.counts().streams == 2).await;
    for n in 0..100 {
        let sound = vec![0xfc; 60].into();
        let sound = MediaFrame::audio(CodecId::Opus, n * 20, FrameFlags::NONE, sound);
        publication.push(sound).unwrap();
    }
    let (head, body) = answer(get(server.address, "/live/voice/index.m3u8").await).await;
    assert!(head.starts_with("HTTP/1.0 404"), "{head}");
    let body = String::from_utf8_lossy(&body);
    assert!(
        body.contains("unsupported_codec") && body.contains("has opus alone"),
        "{body}"
    );
}

#[tokio::test]
async fn a_thousand_requests_at_once_are_one_rendering_and_one_session() {
    const CONNECTIONS: usize = 10;
    const EACH: usize = 100;
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let token = server.token().await;
    let video = format!("{token}video.m3u8");
    let text = server.text(&video).await;
    let before = server.counts();
    let request = format!("GET {video} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(EACH);
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    for mut stream in streams {
        let mut all = Vec::new();
        within(async {
            while all
                .windows(text.len())
                .filter(|all| *all == text.as_bytes())
                .count()
                < EACH
            {
                assert!(
                    stream.read_buf(&mut all).await.unwrap() > 0,
                    "it was closed"
                );
            }
        })
        .await;
        let heads = String::from_utf8_lossy(&all)
            .matches("HTTP/1.1 200")
            .count();
        assert_eq!(heads, EACH);
    }
    let after = server.counts();
    assert_eq!(
        after.playlists - before.playlists,
        (CONNECTIONS * EACH) as u64
    );
    assert_eq!((after.renderings, after.held), (before.renderings, 0));
    assert_eq!(server.viewers(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_what_it_did_not_take_is_not_counted() {
    let mut config = HttpConfig::default();
    config.write_stall_timeout = Duration::from_millis(300);
    let server = serve_with(live(), options(), config).await;
    let mut encoder = Encoder::start(&server).await;
    // The first part has 15 MiB.
    encoder.padding = 3 << 20;
    encoder.push(5);
    encoder.padding = 0;
    encoder.push(75);
    let token = server.token().await;
    let text = server.text(&format!("{token}video.m3u8")).await;
    let segment = format!("{token}{}", names(&text)[0]);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(server.address).await.unwrap();
    let head = format!("GET {segment} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let mut taken = Vec::new();
    // A reset, or an end before the content is complete.
    let _ = within(stream.read_to_end(&mut taken)).await;
    assert!(taken.len() < 15 << 20, "{} bytes", taken.len());
    let sessions = server.engine.sessions();
    let session = sessions
        .iter()
        .find(|session| session.context.protocol == "hls");
    let totals = session.unwrap().totals;
    assert!(totals.bytes < 10 << 20, "{totals:?}");
    assert_eq!(totals.frames, 0);
}
