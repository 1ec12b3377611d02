//! From a request of HLS to its answer.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts},
};
use bytes::Bytes;
use livetrail_engine::{Attempt, Reason, Role, StreamEventKind, StreamKey};
use livetrail_hls::{Reload, Resource, token::TokenError};
use tokio::{sync::broadcast::error::RecvError, time::timeout};

use super::{
    Hls,
    body::Pieces,
    counts::Counted,
    live::{Holder, Live, Text},
    refusal::Refusal,
    tokens::admission,
    viewers::Viewer,
};
use crate::{
    error::Error,
    handler::{Client, Context, attempt, client, stopping, stream_key},
    protocol::{Asked, Named, Wanted},
    session::{Link, ProxysOwn},
};

/// The protocol's name in attempts, and thus in records.
const PROTOCOL: &str = "hls";
const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");

impl Hls {
    pub(crate) async fn answer(
        &self,
        context: &Context,
        asked: Asked<'_>,
        request: &Parts,
    ) -> Response<Body> {
        let answer = async {
            match asked {
                Asked::Entry(wanted) => self.entry(context, wanted, request).await,
                Asked::Media {
                    named,
                    token,
                    resource,
                } => self.media(&named, token, resource, request).await,
                Asked::Shared {
                    named,
                    secret,
                    resource,
                } => self.shared(&named, secret, resource, request).await,
            }
        };
        let answer = tokio::select! {
            answer = answer => answer,
            () = stopping(request.extensions.get::<Link>()) => Err(Error::Stopping.into()),
        };
        let mut response = answer.unwrap_or_else(Response::from);
        // The address of a page or a playlist may contain a token.
        response.headers_mut().insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        );
        response
    }

    /// The multivariant playlist, for a client that may watch. It is no session.
    async fn entry(
        &self,
        context: &Context,
        wanted: Wanted,
        request: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        let hls = &*self.0;
        let client = Client::new(context, wanted, request, PROTOCOL)?;
        let key = client.attempt.key.clone();
        let admitted = hls.engine.authorize(client.attempt.clone()).await;
        let admitted = admitted.map_err(|denied| client.refused(denied))?;
        let now_unix_ms = hls.engine.clock().unix_ms();
        let claims = hls.tokens.claims(&key, &admitted, now_unix_ms);
        let live = self.published(&key).await?;
        let text = live.multivariant(Holder::of(None)).await?;
        // The names of nodes and principals are not longer than a token may contain.
        let token = hls.tokens.seal(&claims).map_err(|error| {
            tracing::error!(%error, "a token cannot be sealed");
            Refusal::Token("it cannot be sealed")
        })?;
        let text = Bytes::from(prefixed(&text, &format!("s/{token}/")));
        hls.count_playlist();
        let is_gzip = false;
        Ok(playlist(Text {
            bytes: text,
            is_gzip,
        }))
    }

    /// The stream. If it has no publisher yet, the request is held until it has one, for at most
    /// three segments' time. That is no session: it costs what any request that is held does.
    async fn published(&self, key: &StreamKey) -> Result<Arc<Live>, Refusal> {
        let hls = &*self.0;
        // A publisher that comes after this is noticed.
        let mut events = hls.engine.subscribe_events();
        if let Some(live) = hls.streams.open(&hls.engine, key)? {
            return Ok(live);
        }
        let held = Counted::new(&hls.counters.held, hls.options.max_held);
        let _held = held.ok_or_else(|| {
            hls.counters.held_over_limit.fetch_add(1, Relaxed);
            Refusal::Limit("hls.max_held")
        })?;
        let published = async {
            loop {
                match events.recv().await {
                    Ok(event)
                        if event.kind != StreamEventKind::PublishStarted || event.key() != key => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        if let Some(live) = hls.streams.open(&hls.engine, key)? {
                            return Ok(live);
                        }
                    }
                    Err(RecvError::Closed) => return Err(Error::Stopping.into()),
                }
            }
        };
        let longest = hls.options.segment.saturating_mul(3);
        timeout(longest, published).await.unwrap_or_else(|_| {
            hls.counters.held_in_vain.fetch_add(1, Relaxed);
            Err(Refusal::InVain(hls.options.segment))
        })
    }

    /// What a viewer asks for with its token.
    async fn media(
        &self,
        named: &Named,
        token: &str,
        resource: Resource,
        request: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Error::Method.into());
        }
        if request.extensions.get::<ProxysOwn>().is_some() {
            return Err(Error::NoClient.into());
        }
        let reload = Reload::parse(request.uri.query().unwrap_or_default())?;
        let key = stream_key(&self.0.engine, named)
            .map_err(|stand_in| self.refuse(stand_in, Reason::BadName, "", request))?;
        let live = self.0.streams.open(&self.0.engine, &key)?;
        let viewer = self.viewer(&key, token, live.as_deref(), request).await?;
        if let Some(link) = request.extensions.get::<Link>()
            && viewer.is_some()
        {
            link.admit();
        }
        // A session may have made the stream.
        let live = match live {
            Some(live) => live,
            None => {
                let live = self.0.streams.open(&self.0.engine, &key)?;
                live.ok_or(Refusal::Missing)?
            }
        };
        match resource {
            Resource::Playlist(rendition) => {
                let viewer = viewer.as_deref();
                let takes_gzip = takes_gzip(&request.headers);
                let text = live.playlist(rendition, &reload, takes_gzip, Holder::of(viewer));
                let text = text.await?;
                self.0.count_playlist();
                Ok(playlist(text))
            }
            _ => {
                let holder = Holder::of(viewer.as_deref());
                let (pieces, frames) = live.media(resource, holder).await?;
                let pieces = Pieces::new(pieces);
                let whole = pieces.len();
                // There are no validators with which a condition could agree.
                let is_conditional = request.headers.contains_key(header::IF_RANGE);
                let content = self.content(pieces, resource, request, is_conditional);
                let (response, mut pieces) = content?;
                if let Some(viewer) = viewer {
                    let frames = if pieces.len() == whole { frames } else { 0 };
                    pieces = pieces.count_for(viewer, frames);
                }
                Ok(response.map(|()| Body::new(pieces)))
            }
        }
    }

    /// The head of an answer with a segment, a part or an init segment, and the content or the
    /// range of it that is asked for. A range is ignored if its condition does not hold.
    pub(super) fn content(
        &self,
        mut pieces: Pieces,
        resource: Resource,
        request: &Parts,
        ignores_range: bool,
    ) -> Result<(Response<()>, Pieces), Refusal> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        let bytes = pieces.len();
        let range = match ignores_range {
            true => Some(None),
            false => asked_range(request, bytes),
        };
        if let Some((first, last)) = range.ok_or(Refusal::Range(bytes))? {
            pieces.cut(first, last);
            // Visible ASCII.
            if let Ok(range) = format!("bytes {first}-{last}/{bytes}").parse() {
                headers.insert(header::CONTENT_RANGE, range);
            }
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        let headers = response.headers_mut();
        let media_type = HeaderValue::from_static(resource.media_type());
        headers.insert(header::CONTENT_TYPE, media_type);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(pieces.len()));
        self.0.count_media();
        Ok((response, pieces))
    }

    /// The session of a token. A request for a head opens none.
    async fn viewer(
        &self,
        key: &StreamKey,
        token: &str,
        live: Option<&Live>,
        request: &Parts,
    ) -> Result<Option<Arc<Viewer>>, Refusal> {
        let hls = &*self.0;
        let now_unix_ms = hls.engine.clock().unix_ms();
        let peer = client(request).map(|client| client.peer);
        let refuse = |reason, detail| self.refuse(key.clone(), reason, detail, request);
        let claims = match hls.tokens.open(token, key, now_unix_ms) {
            Ok(claims) => claims,
            // It admits no further session; one that is open continues.
            Err(TokenError::Expired { id, .. }) => match hls.viewers.find(id, peer) {
                Some(viewer) => return Ok(Some(viewer)),
                None => return Err(refuse(Reason::TokenExpired, "")),
            },
            Err(error) => return Err(refuse(Reason::Unauthorized, error.label())),
        };
        let present = hls.viewers.find(claims.id, peer);
        if present.is_some() || request.method == Method::HEAD {
            return Ok(present);
        }
        let link = request.extensions.get::<Link>();
        if link.is_some_and(Link::is_reserved) {
            return Err(refuse(Reason::LimitReached, ""));
        }
        let lease = live.map(|live| hls.streams.lease(live));
        let lease = lease.unwrap_or(hls.options.idle);
        let attempt = || {
            self.attempt(key.clone(), request)
                .token(hls.viewer_token(&claims))
                .admitted(admission(&claims))
        };
        let opened = hls
            .viewers
            .open(&hls.engine, claims.id, lease, attempt)
            .await;
        if matches!(opened, Err(Refusal::Limit(_))) {
            hls.count_viewer_over_limit();
            return Err(refuse(Reason::LimitReached, "hls.max_viewers"));
        }
        opened.map(Some)
    }

    fn attempt(&self, key: StreamKey, request: &Parts) -> Attempt {
        attempt(key, PROTOCOL, request)
    }

    /// Refuses an attempt, on record.
    fn refuse(&self, key: StreamKey, reason: Reason, detail: &str, request: &Parts) -> Refusal {
        let attempt = self.attempt(key, request);
        let engine = &self.0.engine;
        let denied = engine.refuse_with(Role::Play, attempt, reason, detail);
        Error::Denied { denied }.into()
    }
}

fn playlist(text: Text) -> Response<Body> {
    let bytes = Pieces::new([text.bytes]);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PLAYLIST);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    if text.is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    *response.body_mut() = Body::new(bytes);
    response
}

/// A multivariant playlist in which this precedes each name.
fn prefixed(text: &[u8], prefix: &str) -> String {
    let text = String::from_utf8_lossy(text);
    let mut out = String::with_capacity(text.len().saturating_add(prefix.len().saturating_mul(3)));
    for line in text.lines() {
        match line.split_once("URI=\"") {
            Some((before, after)) if line.starts_with('#') => {
                out.extend([before, "URI=\"", prefix, after]);
            }
            _ if line.starts_with('#') => out.push_str(line),
            _ => out.extend([prefix, line]),
        }
        out.push('\n');
    }
    out
}

/// Whether the client takes gzip (RFC 9110 section 12.5.3).
pub(super) fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING);
    let lines = lines.into_iter().filter_map(|line| line.to_str().ok());
    let mut codings = lines.flat_map(|line| line.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = parts.any(|parameter| {
            let quality = parameter.strip_prefix("q=");
            quality.is_some_and(|q| q.parse().is_ok_and(|q: f32| q == 0.0))
        });
        is_gzip && !is_refused
    })
}

/// The first and the last byte that a request asks for of this many (RFC 9110 section 14). The
/// inner `None` is all of them, also for several ranges; the outer is a range outside of the
/// content.
fn asked_range(request: &Parts, bytes: u64) -> Option<Option<(u64, u64)>> {
    if request.method != Method::GET {
        return Some(None);
    }
    let range = request.headers.get(header::RANGE);
    match range
        .and_then(|range| range.to_str().ok())
        .and_then(parse_range)
    {
        None => Some(None),
        Some(range) => of_range(range, bytes).map(Some),
    }
}

/// The bounds of one range of bytes. `None` for anything else.
fn parse_range(text: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let bound = |text: &str| {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        match text {
            "" => Some(None),
            // A number that is too large is beyond any content.
            _ if is_decimal => Some(Some(text.parse().unwrap_or(u64::MAX))),
            _ => None,
        }
    };
    let (first, last) = (bound(first)?, bound(last)?);
    let is_range = match (first, last) {
        (Some(first), Some(last)) => first <= last,
        (None, None) => false,
        _ => true,
    };
    (unit.eq_ignore_ascii_case("bytes") && is_range).then_some((first, last))
}

/// The first and the last byte of a range in a content of this many bytes.
fn of_range((first, last): (Option<u64>, Option<u64>), bytes: u64) -> Option<(u64, u64)> {
    let end = bytes.checked_sub(1)?;
    match (first, last) {
        (Some(first), last) if first <= end => Some((first, last.unwrap_or(end).min(end))),
        // The last bytes.
        (None, Some(count)) if count > 0 => Some((bytes.saturating_sub(count), end)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn request(name: header::HeaderName, value: &str) -> Parts {
        let request = Request::get("/").header(name, value).body(());
        request.unwrap().into_parts().0
    }

    #[test]
    fn a_range_is_within_the_content_or_refused_or_ignored() {
        let whole = Some(None);
        for (range, expected) in [
            ("bytes=0-0", Some(Some((0, 0)))),
            ("bytes=2-", Some(Some((2, 9)))),
            ("Bytes=2-99999999999999999999999", Some(Some((2, 9)))),
            ("bytes=-3", Some(Some((7, 9)))),
            ("bytes=-30", Some(Some((0, 9)))),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=3-2", whole),
            ("bytes=0-1,3-4", whole),
            ("bytes=a-", whole),
            ("bytes=-", whole),
            ("items=0-1", whole),
        ] {
            let request = request(header::RANGE, range);
            assert_eq!(asked_range(&request, 10), expected, "{range}");
        }
        assert_eq!(asked_range(&request(header::RANGE, "bytes=0-"), 0), None);
    }

    #[test]
    fn gzip_is_taken_if_the_client_says_so() {
        for (value, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000", false),
            ("identity", false),
            ("x-gzip", false),
        ] {
            let request = request(header::ACCEPT_ENCODING, value);
            assert_eq!(takes_gzip(&request.headers), expected, "{value}");
        }
    }

    #[test]
    fn names_of_a_multivariant_playlist_get_the_token() {
        let text = b"#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"audio.m3u8\"\n#EXT-X-STREAM-INF:X=1\nvideo.m3u8\n";
        let expected = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI=\"s/T/audio.m3u8\"\n#EXT-X-STREAM-INF:X=1\ns/T/video.m3u8\n";
        assert_eq!(prefixed(text, "s/T/"), expected);
    }
}
