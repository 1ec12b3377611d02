//! The streams and the refusals that a viewer gets.

use std::time::Duration;

use crate::common::*;
use async_trait::async_trait;
use livetrail_engine::{
    AppSpec, Engine, Gate, Reason, SessionContext, StaticKey, StaticKeys, StreamEventKind,
};
use livetrail_http::HttpConfig;

#[tokio::test]
async fn a_late_viewer_gets_configurations_the_gop_and_then_every_frame_to_the_end() {
    let server = serve(live(), HttpConfig::default()).await;
    let mut publication = publish(&server.engine).await;
    publication.push(config()).unwrap();
    for n in 0..15 {
        publication.push(frame(n, n % 10 == 0, 100)).unwrap();
    }
    let viewer = get(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    for n in 15..40 {
        publication.push(frame(n, n % 10 == 0, 5_000)).unwrap();
    }
    publication.end(Reason::ClientClosed);

    let (head, body) = answer(viewer).await;
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("content-type: video/x-flv"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    let (header, tags) = tags(&body);
    assert!(header.has_video && !header.has_audio);
    assert!(tags[0].decode().unwrap().into_frame().unwrap().is_config());
    let numbers: Vec<_> = tags.iter().filter_map(number).collect();
    assert_eq!(numbers, (10..40).collect::<Vec<_>>());
}

/// The content of a chunked body (RFC 9112 section 7.1), which must be complete.
fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let line = body.windows(2).position(|w| w == b"\r\n").unwrap();
        let size = std::str::from_utf8(&body[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let chunk = &body[line + 2..];
        assert_eq!(&chunk[size..size + 2], b"\r\n");
        content.extend_from_slice(&chunk[..size]);
        body = &chunk[size + 2..];
        if size == 0 {
            assert!(body.is_empty(), "nothing follows the last chunk");
            return content;
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_1_gets_the_same_in_chunks_and_the_last_one() {
    let server = serve(live(), HttpConfig::default()).await;
    let mut publication = publish(&server.engine).await;
    publication.push(config()).unwrap();
    publication.push(frame(0, true, 3_000)).unwrap();
    let plain = get(server.address, "/live/cam.flv").await;
    let chunked = request(server.address, "GET /live/cam.flv HTTP/1.1\r\nHost: x").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 3).await;
    for n in 1..40 {
        publication
            .push(frame(n, n % 10 == 0, 50 * n as usize))
            .unwrap();
    }
    publication.end(Reason::ClientClosed);
    let (_, plain) = answer(plain).await;
    let (head, chunked) = answer(chunked).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(head.contains("\r\ndate: "), "{head}");
    let chunked = unchunk(&chunked);
    assert_eq!(tags(&plain).1.len(), 41);
    assert!(chunked == plain);
}

#[tokio::test]
async fn in_another_server_the_answers_feed_themselves() {
    let engine = live().build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = livetrail_http::router(engine.clone(), livetrail_http::PlaybackOptions::default());
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    let mut publication = publish(&engine).await;
    publication.push(config()).unwrap();
    publication.push(frame(0, true, 100)).unwrap();
    let viewer = get(address, "/live/cam.flv").await;
    until(|| engine.sessions().len() == 2).await;
    publication.push(frame(1, false, 100)).unwrap();
    drop(publication);
    let (_, body) = answer(viewer).await;
    let numbers: Vec<_> = tags(&body).1.iter().filter_map(number).collect();
    assert_eq!(numbers, [0, 1]);
    serving.abort();
}

#[tokio::test]
async fn a_viewer_that_goes_ends_its_session() {
    let mut server = serve(live(), HttpConfig::default()).await;
    let _publication = publish(&server.engine).await;
    let viewer = request(
        server.address,
        "GET /live/cam.flv HTTP/1.1\r\nHost: x\r\nUser-Agent: tester/1",
    )
    .await;
    let context = event(&mut server.events, |e| {
        (e.kind == StreamEventKind::PlayStarted).then(|| e.context.clone())
    })
    .await;
    assert_eq!(context.protocol, "http-flv");
    assert_eq!(context.peer, Some(viewer.local_addr().unwrap()));
    assert_eq!(context.user_agent.as_deref(), Some("tester/1"));
    drop(viewer);
    let reason = event(&mut server.events, |e| match &e.kind {
        StreamEventKind::PlayEnded { reason, .. } => Some(reason.clone()),
        _ => None,
    })
    .await;
    assert_eq!(reason, Reason::ClientClosed);
}

#[tokio::test]
async fn a_kicked_viewers_connection_ends() {
    let server = serve(live(), HttpConfig::default()).await;
    let mut publication = publish(&server.engine).await;
    publication.push(frame(0, true, 10)).unwrap();
    let viewer = get(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    let playing = engine.sessions()[1].context.session;
    engine.kick(playing).unwrap();
    let (_, body) = answer(viewer).await;
    assert!(body.is_empty() || tags(&body).1.len() <= 1);
}

#[tokio::test]
async fn refusals_have_their_status_and_their_reason() {
    let keys = StaticKeys::new([StaticKey::new("viewer", "right")]);
    let builder = live().authenticator(keys).max_subscribers_per_stream(1);
    let server = serve(builder, HttpConfig::default()).await;
    let engine = &server.engine;
    let attempt = livetrail_engine::Attempt::new(key(), "test")
        .credentials(livetrail_engine::Credentials::token("right"));
    let _publication = engine.publish(attempt).await.unwrap();
    let status = |head: &'static str| async move {
        let (answer, body) = answer(request(server.address, head).await).await;
        let body = String::from_utf8(body).unwrap();
        let reason = serde_json::from_str::<serde_json::Value>(&body)
            .ok()
            .and_then(|json| json["reason"].as_str().map(str::to_owned));
        (answer[9..12].to_owned(), reason.unwrap_or_default())
    };
    let is = |code: &str, reason: &str| (code.to_owned(), reason.to_owned());
    assert_eq!(
        status("GET /live/cam.flv HTTP/1.0").await,
        is("401", "unauthorized")
    );
    assert_eq!(
        status("GET /live/cam.flv?token=wrong HTTP/1.0").await,
        is("403", "unauthorized")
    );
    assert_eq!(
        status("GET /live/cam.flv HTTP/1.0\r\nAuthorization: Bearer wrong").await,
        is("403", "unauthorized")
    );
    assert_eq!(
        status("GET /live/other.flv?token=right HTTP/1.0").await,
        is("404", "stream_not_found")
    );
    assert_eq!(
        status("GET /vod/cam.flv?token=right HTTP/1.0").await,
        is("404", "app_not_found")
    );
    assert_eq!(
        status("GET /live/cam HTTP/1.0").await,
        is("404", "not_found")
    );
    assert_eq!(
        status("POST /live/cam.flv HTTP/1.0").await,
        is("405", "method_not_allowed")
    );
    assert_eq!(status("OPTIONS /live/cam.flv HTTP/1.0").await.0, "204");
    let _viewer = request(
        server.address,
        "GET /live/cam.flv HTTP/1.0\r\nAuthorization: bearer right",
    )
    .await;
    until(|| engine.sessions().len() == 2).await;
    assert_eq!(
        status("GET /live/cam.flv?token=right HTTP/1.0").await,
        is("429", "limit_reached")
    );
    engine.shutdown(Duration::from_secs(1)).await;
    assert_eq!(
        status("GET /live/cam.flv?token=right HTTP/1.0").await.0,
        "503",
        "the engine has stopped"
    );
}

struct Closed;

#[async_trait]
impl Gate for Closed {
    async fn confirm(&self, session: &SessionContext) -> Result<(), Reason> {
        match session.protocol {
            "http-flv" => Err(Reason::AuditUnavailable),
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_trail_that_cannot_record_is_a_503() {
    let server = serve(live().gate(Closed), HttpConfig::default()).await;
    let _publication = publish(&server.engine).await;
    let (head, body) = answer(get(server.address, "/live/cam.flv").await).await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("audit_unavailable")
    );
}

#[tokio::test]
async fn head_is_an_attempt_whose_session_ends_at_once() {
    let mut server = serve(live(), HttpConfig::default()).await;
    let _publication = publish(&server.engine).await;
    let (head, body) = answer(request(server.address, "HEAD /live/cam.flv HTTP/1.0").await).await;
    assert!(
        head.starts_with("HTTP/1.0 200") && body.is_empty(),
        "{head}"
    );
    event(&mut server.events, |e| {
        matches!(e.kind, StreamEventKind::PlayEnded { .. }).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_header_promises_the_tracks_that_the_configurations_show() {
    use livetrail_engine::{CodecId, FrameFlags, ManualClock, MediaFrame};
    let clock = ManualClock::at(0);
    let server = serve(
        Engine::builder()
            .application(AppSpec::new("live"))
            .clock(clock.clone()),
        HttpConfig::default(),
    )
    .await;
    let mut publication = publish(&server.engine).await;
    // If a second of frames decides, the announcement does not: neither in the header nor in the
    // metadata.
    let announced = b"\x02\0\x0aonMetaData\x03\0\x0cvideocodecid\0\x40\x1c\0\0\0\0\0\0\0\0\x09";
    let metadata = FrameFlags::CONFIG;
    let metadata = MediaFrame::data(CodecId::Amf0, 0, metadata, announced[..].into());
    publication.push(metadata).unwrap();
    let audio = |flags| MediaFrame::audio(CodecId::Aac, 0, flags, "aa".into());
    publication.push(audio(FrameFlags::CONFIG)).unwrap();
    publication.push(audio(FrameFlags::NONE)).unwrap();
    clock.advance(Duration::from_secs(1));
    publication.push(audio(FrameFlags::NONE)).unwrap();
    let viewer = get(server.address, "/live/cam.flv").await;
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 2).await;
    publication.push(audio(FrameFlags::NONE)).unwrap();
    drop(publication);
    let (header, _) = tags(&answer(viewer).await.1);
    assert!(header.has_audio && !header.has_video);
}

#[tokio::test]
async fn a_web_page_is_not_sent_tags_that_its_player_rejects() {
    use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
    let engine = Engine::builder().application(AppSpec::new("live"));
    let server = serve(engine, HttpConfig::default()).await;
    let mut publication = publish(&server.engine).await;
    let video = |flags, payload: &'static [u8]| {
        MediaFrame::video(CodecId::H265, 0, 0, flags, payload.into())
    };
    let describes = FrameFlags::CONFIG | FrameFlags::METADATA | FrameFlags::AS_RECEIVED;
    publication.push(video(FrameFlags::CONFIG, b"c")).unwrap();
    publication.push(video(describes, b"\x94hvc1c")).unwrap();
    publication.push(video(FrameFlags::KEYFRAME, b"k")).unwrap();
    let mut viewers = Vec::new();
    for agent in ["Lavf/61", "Mozilla/5.0 (X11)"] {
        let line = format!("GET /live/cam.flv HTTP/1.0\r\nUser-Agent: {agent}");
        viewers.push(request(server.address, &line).await);
    }
    let engine = server.engine.clone();
    until(|| engine.sessions().len() == 3).await;
    drop(publication);
    let mut seen = Vec::new();
    for viewer in viewers {
        let (_, tags) = tags(&answer(viewer).await.1);
        seen.push(tags.len());
    }
    assert_eq!(seen, [3, 2]);
}
