//! The request for a stream, and its answer.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, Query, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts},
    routing::any,
};
use livetrail_engine::{Attempt, Credentials, Engine, Playback, Reason, StreamKey};
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    protocol::Framing,
    session::{FlvBody, Handover, HandoverBody, Link},
};

/// What of playback can be chosen.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlaybackOptions {
    /// For how long a client waits to be admitted (10 s).
    pub admission_timeout: Duration,
    /// `Access-Control-Allow-Origin`: which web pages may play (`*`); `None` is those of this server alone.
    pub allow_origin: Option<HeaderValue>,
}

impl Default for PlaybackOptions {
    fn default() -> Self {
        Self {
            admission_timeout: Duration::from_secs(10),
            allow_origin: Some(HeaderValue::from_static("*")),
        }
    }
}

#[derive(Clone)]
struct Context {
    engine: Engine,
    options: PlaybackOptions,
}

/// Serves `GET` and `HEAD` of `/{app}/{stream}.flv` from the engine's streams.
///
/// A token is taken from `Authorization: Bearer`, else from `?token=`. The peer's address comes from axum's `ConnectInfo`, which
/// [`HttpGateway`](crate::HttpGateway) provides. `HEAD` is an attempt like any other, whose session ends at once. The router has
/// no fallback, so that it can be merged into another.
pub fn router(engine: Engine, options: PlaybackOptions) -> Router {
    Router::new()
        .route("/{app}/{file}", any(answer))
        .with_state(Context { engine, options })
}

async fn answer(
    State(context): State<Context>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response<Body> {
    // A player sends no body; if one comes it is not read.
    let (request, _) = request.into_parts();
    let mut response = if request.method == Method::OPTIONS {
        preflight()
    } else {
        play(&context, path, &request)
            .await
            .unwrap_or_else(Error::into_response)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = &context.options.allow_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ALLOW, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn play(
    context: &Context,
    path: Result<Path<(String, String)>, PathRejection>,
    request: &Parts,
) -> Result<Response<Body>> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(Error::Method);
    }
    let key = stream_key(path)?;
    let token = bearer(&request.headers).or_else(|| query_token(request));
    let shown = token.is_some();
    let attempt = attempt(key, token, request);
    let admission = context.engine.play(attempt);
    let playback = match tokio::time::timeout(context.options.admission_timeout, admission).await {
        Err(_) => return Err(Error::AdmissionTimeout),
        Ok(Err(denied)) if denied.reason == Reason::Unauthorized && !shown => {
            return Err(Error::CredentialsMissing { denied });
        }
        Ok(admitted) => admitted?,
    };
    let mut response = stream(playback, request);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("video/x-flv"),
    );
    Ok(response)
}

/// On a connection of our gateway's, the stream is sent by the egress, and the connection ends with it.
fn stream(playback: Playback, request: &Parts) -> Response<Body> {
    let link = request.extensions.get::<Link>();
    let Some(link) = link.filter(|_| request.method == Method::GET) else {
        return Response::new(Body::new(FlvBody::new(playback)));
    };
    let framing = if request.version < Version::HTTP_11 {
        Framing::Plain
    } else {
        Framing::Chunked
    };
    let handover = Handover { playback, framing };
    let mut response = Response::new(Body::new(HandoverBody::new(link.clone(), handover)));
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn stream_key(path: Result<Path<(String, String)>, PathRejection>) -> Result<StreamKey> {
    let Ok(Path((app, file))) = path else {
        return Err(Error::NoSuchPath);
    };
    let stream = file.strip_suffix(".flv").ok_or(Error::NoSuchPath)?;
    StreamKey::parse(&app, stream).map_err(|_| Error::NoSuchPath)
}

fn attempt(key: StreamKey, token: Option<String>, request: &Parts) -> Attempt {
    let mut attempt = Attempt::new(key, "http-flv");
    if let Some(ConnectInfo(peer)) = request.extensions.get::<ConnectInfo<SocketAddr>>() {
        attempt = attempt.peer(*peer);
    }
    if let Some(agent) = request.headers.get(header::USER_AGENT) {
        attempt = attempt.user_agent(&String::from_utf8_lossy(agent.as_bytes()));
    }
    if let Some(token) = token {
        attempt = attempt.credentials(Credentials::token(token));
    }
    attempt
}

/// RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn query_token(request: &Parts) -> Option<String> {
    #[derive(Deserialize)]
    struct Shown {
        token: Option<String>,
    }
    let Query(shown) = Query::<Shown>::try_from_uri(&request.uri).ok()?;
    shown.token.filter(|token| !token.is_empty())
}
