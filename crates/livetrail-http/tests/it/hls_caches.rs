//! HLS behind caches: what they may keep, and what belongs to a viewer.

use std::time::Duration;

use livetrail_http::HlsCdn;

use crate::{
    common::{answer, get, publish, until, within},
    hls::{Encoder, live, names, options, parts, serve},
};

#[tokio::test]
async fn caches_can_keep_media_but_nothing_that_belongs_to_a_viewer() {
    let mut options = options();
    options.cdn = HlsCdn::Segments;
    options.max_held_per_stream = 2;
    let server = serve(live(), options).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(78);
    let token = server.token().await;
    let (head, body) = answer(get(server.address, &format!("{token}video.m3u8")).await).await;
    assert!(head.contains("cache-control: no-store"), "{head}");
    assert_eq!(server.viewers(), 1, "the playlist opens the session");
    let text = String::from_utf8(body).unwrap();
    let path = format!("{}video.m3u8", server.token().await);
    let other = server.text(&path);
    assert_eq!(other.await, text, "the same addresses for each viewer");
    let prefix = names(&text)[0].rsplit_once('/').unwrap().0.to_owned() + "/";
    let secret = prefix.strip_prefix("../../m/").unwrap();
    assert!(secret.len() > 22, "{secret}: less than 128 bits");
    assert!(parts(&text).iter().all(|part| part.starts_with(&prefix)));
    assert!(
        text.contains(&format!("#EXT-X-MAP:URI=\"{prefix}v0.init.mp4\"")),
        "{text}"
    );

    let path = |name: &str| format!("/live/cam/m/{secret}{name}");
    let name = names(&text)[1].strip_prefix(&prefix).unwrap();
    let media = format!("{} HTTP/1.0", path(name));
    let (head, whole) = server.ask(&format!("GET {media}")).await;
    let tag = format!("etag: \"{name}\"");
    let kept = "cache-control: public, max-age=60, immutable";
    assert!(head.starts_with("HTTP/1.0 200"), "{head}");
    assert!(head.contains(kept) && head.contains(&tag), "{head}");
    assert!(
        !head.contains("set-cookie") && !head.contains("vary"),
        "{head}"
    );
    let length = format!("content-length: {}", whole.len());
    for (request, status, line, size) in [
        ("", "200", &length[..], 0),
        ("\r\nRange: bytes=5-9", "206", "content-length: 5", 5),
        (
            "\r\nRange: bytes=5-9\r\nIf-Range: \"x\"",
            "200",
            &length,
            whole.len(),
        ),
        (
            &format!("\r\nRange: bytes=5-9\r\nIf-Range: \"{name}\""),
            "206",
            kept,
            5,
        ),
        (&format!("\r\nIf-None-Match: W/\"{name}\""), "304", kept, 0),
        ("\r\nIf-None-Match: \"x\"", "200", kept, whole.len()),
        (
            "\r\nRange: bytes=999999999-",
            "416",
            "cache-control: no-store",
            usize::MAX,
        ),
    ] {
        let method = if request.is_empty() { "HEAD" } else { "GET" };
        let (head, body) = server.ask(&format!("{method} {media}{request}")).await;
        assert!(
            head.starts_with(&format!("HTTP/1.0 {status}")),
            "{request}: {head}"
        );
        assert!(head.contains(line), "{request}: {head}");
        assert!(
            size == usize::MAX || body.len() == size,
            "{request}: {}",
            body.len()
        );
    }
    // Nothing that is not there is kept, and no secret but the right one helps.
    for path in [
        path("v1.m4s"),
        path("video.m3u8"),
        format!("/live/cam/m/{}/{name}", "A".repeat(24)),
        format!("/live/other/m/{secret}{name}"),
        format!("/live/m/{secret}{name}"),
    ] {
        let (head, _) = answer(get(server.address, &path).await).await;
        assert!(head.starts_with("HTTP/1.0 404"), "{path}: {head}");
        assert!(head.contains("cache-control: no-store"), "{path}: {head}");
    }

    // The announced part is held without a session, and leaves room for viewers.
    let hinted = text.lines().find(|line| line.contains("PRELOAD-HINT"));
    let hinted = hinted.unwrap().split('"').nth(1).unwrap();
    let hinted = path(hinted.strip_prefix(&prefix).unwrap());
    let held = get(server.address, &hinted).await;
    until(|| server.counts().held == 1).await;
    let (head, _) = answer(get(server.address, &hinted).await).await;
    assert!(head.starts_with("HTTP/1.0 503"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    encoder.push(7);
    let (head, _) = answer(held).await;
    assert!(
        head.starts_with("HTTP/1.0 200") && head.contains(kept),
        "{head}"
    );

    assert_eq!((server.viewers(), server.counts().shared), (2, 8));
    for session in server.engine.sessions() {
        let Some(token) = session.context.token.clone() else {
            continue;
        };
        assert!(token.from_caches);
        assert_eq!((session.totals.bytes, session.totals.frames), (0, 0));
    }
    drop(encoder);
    within(async {
        let path = format!("{token}video.m3u8");
        while !server.text(&path).await.contains("ENDLIST") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut encoder = Encoder::begin(publish(&server.engine).await);
    until(|| server.counts().streams_started == 2).await;
    encoder.push(80);
    let path = format!("{}video.m3u8", server.token().await);
    let text = server.text(&path);
    assert!(
        !text.await.contains(secret),
        "each start has its own secret"
    );
}

#[tokio::test]
async fn without_caches_media_has_the_token_alone() {
    let server = serve(live(), options()).await;
    let mut encoder = Encoder::start(&server).await;
    encoder.push(80);
    let path = format!("{}video.m3u8", server.token().await);
    let text = server.text(&path);
    let text = text.await;
    assert!(!text.contains("/m/"), "{text}");
    let path = format!("/live/cam/m/{}/{}", "A".repeat(24), names(&text)[0]);
    assert_eq!(server.status(&path).await, 404);
    assert_eq!(
        server
            .status(&format!("/live/cam/m//{}", names(&text)[0]))
            .await,
        404
    );
}
