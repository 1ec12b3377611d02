//! The handler of requests for a stream: it connects the protocol with the engine.

use std::{
    net::SocketAddr,
    sync::{Arc, Once},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts},
    routing::any,
};
use livetrail_engine::{
    Attempt, CertificateName, ClientAddress, Credentials, Denied, Engine, Playback, Reason, Role,
    Secret, StreamKey,
};
use livetrail_gateway::query_credentials;

#[cfg(feature = "tls")]
use crate::session::StreamBody;
use crate::{
    config::PlaybackOptions,
    error::{Error, Result},
    hls::Hls,
    protocol::{Framing, Named, Variant, Wanted, wanted},
    session::{FlvBody, Handover, HandoverBody, Link, ProxysOwn},
};

/// The protocol's name in attempts, and thus in records.
const PROTOCOL: &str = "http-flv";
/// The maximum number of bytes of headers that a page's preflight may list. A longer list gets the
/// headers that a player needs.
const MAX_ASKED_HEADERS_BYTES: usize = 1_024;

/// What all requests for streams share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    options: PlaybackOptions,
    hls: Option<Hls>,
    /// That there are no addresses is reported once.
    no_address: Arc<Once>,
}

/// Serves `GET` and `HEAD` of `/{app}/{stream}.flv` and `/{app}/{instance}/{stream}.flv` from the
/// engine's streams.
///
/// - The token comes from `Authorization: Bearer`, else from `?token=`. User and password come from
///   `Authorization: Basic`, else from `?user=` and `?pass=`.
/// - The peer's address comes from axum's `ConnectInfo`, which [`HttpGateway`](crate::HttpGateway)
///   provides. In another server use `into_make_service_with_connect_info::<SocketAddr>()`. Without
///   it no viewer has an address on record, and a warning in the log reports this.
/// - `HEAD` is an attempt like any other; its session ends at once.
/// - The engine limits how long a client waits for admission. The attempt of a client that leaves
///   is given up.
/// - The router has no fallback, so that it can be merged into another.
///
/// # Panics
/// axum panics when this router is merged with one that has a route of two parameters at the same
/// place, such as `/{org}/{repo}`. Nest it there: `.nest("/play", router(engine, options))`.
pub fn router(engine: Engine, options: PlaybackOptions) -> Router {
    router_with(engine, options, None)
}

/// As [`router`], and serves HLS as well.
pub(crate) fn router_with(engine: Engine, options: PlaybackOptions, hls: Option<Hls>) -> Router {
    Router::new()
        .route("/{app}/{*stream}", any(answer))
        .with_state(Context {
            engine,
            options,
            hls,
            no_address: Arc::new(Once::new()),
        })
}

async fn answer(State(context): State<Context>, request: Request) -> Response<Body> {
    // A player sends no body; the handler does not read one.
    let (request, _) = request.into_parts();
    let mut response = if request.method == Method::OPTIONS {
        preflight(&request.headers)
    } else if let Some((hls, asked)) = context.hls.as_ref().and_then(|hls| hls.asked(&request)) {
        hls.answer(&context, asked, &request).await
    } else if let Some(page) = context.hls.as_ref().and_then(|hls| hls.page(&request)) {
        page
    } else {
        play(&context, &request)
            .await
            .unwrap_or_else(Error::into_response)
    };
    let headers = response.headers_mut();
    let cache = headers.entry(header::CACHE_CONTROL);
    cache.or_insert(HeaderValue::from_static("no-store"));
    if let Some(origin) = &context.options.allow_origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

/// Allows any header: only `Authorization` has a meaning here, and players send `Range` and others.
fn preflight(asked: &HeaderMap) -> Response<Body> {
    let asked = asked
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .filter(|value| value.len() <= MAX_ASKED_HEADERS_BYTES);
    let allowed = asked
        .cloned()
        .unwrap_or(HeaderValue::from_static("authorization, range"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    for (name, value) in [
        (header::ALLOW, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A client that asks for a stream, as far as its request alone tells.
pub(crate) struct Client {
    pub(crate) attempt: Attempt,
    has_credentials: bool,
}

impl Client {
    /// Reads the request for this stream. A request that cannot become an attempt is refused, on
    /// record where a stream was asked for.
    pub(crate) fn new(
        context: &Context,
        wanted: Wanted,
        request: &Parts,
        protocol: &'static str,
    ) -> Result<Self> {
        let Wanted {
            named,
            token,
            login,
        } = wanted;
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return Err(Error::Method);
        }
        if request.extensions.get::<ProxysOwn>().is_some() {
            return Err(Error::NoClient);
        }
        let mut credentials = credentials(token.as_deref(), &named, request);
        if let Some((user, password)) = login {
            credentials = credentials.user(Secret::new(user), Some(Secret::new(password)));
        }
        let has_credentials = token.is_some() || credentials.user.is_some();
        let key = stream_key(&context.engine, &named);
        let is_valid = key.is_ok();
        let (Ok(key) | Err(key)) = key;
        let client = Self {
            attempt: attempt(key, protocol, request).credentials(credentials),
            has_credentials,
        };
        if !is_valid {
            return Err(client.refuse(&context.engine, Reason::BadName));
        }
        if client.attempt.peer.is_none() {
            context.no_address.call_once(|| {
                tracing::warn!(
                    "viewers over HTTP have no address on record: serve the router with `into_make_service_with_connect_info`"
                );
            });
        }
        let link = request.extensions.get::<Link>();
        if link.is_some_and(Link::is_reserved) {
            return Err(client.refuse(&context.engine, Reason::LimitReached));
        }
        Ok(client)
    }

    /// Refuses the attempt, on record.
    pub(crate) fn refuse(&self, engine: &Engine, reason: Reason) -> Error {
        self.refused(engine.refuse(Role::Play, self.attempt.clone(), reason))
    }

    /// The answer to an attempt that the engine has refused.
    pub(crate) fn refused(&self, denied: Denied) -> Error {
        if denied.reason == Reason::Unauthorized && !self.has_credentials {
            Error::CredentialsMissing { denied }
        } else {
            Error::Denied { denied }
        }
    }
}

async fn play(context: &Context, request: &Parts) -> Result<Response<Body>> {
    let authorization = authorization(request);
    let wanted = wanted(request.uri.path(), request.uri.query(), authorization);
    let client = Client::new(context, wanted.ok_or(Error::NoSuchPath)?, request, PROTOCOL)?;
    let admission = context.engine.play(client.attempt.clone());
    let link = request.extensions.get::<Link>();
    let admitted = tokio::select! {
        admitted = admission => admitted,
        () = stopping(link) => return Err(Error::Stopping),
    };
    let playback = admitted.map_err(|denied| client.refused(denied))?;
    let mut response = stream(playback, request);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("video/x-flv"),
    );
    Ok(response)
}

/// The header with credentials.
pub(crate) fn authorization(request: &Parts) -> Option<&str> {
    let value = request.headers.get(header::AUTHORIZATION);
    value.and_then(|value| value.to_str().ok())
}

/// Completes when our own gateway stops; in another server it never completes.
pub(crate) async fn stopping(link: Option<&Link>) {
    match link {
        Some(link) => link.stopping().await,
        None => std::future::pending().await,
    }
}

/// On a connection of our own gateway, the egress sends the stream, and the connection ends with
/// it, unless the connection carries other answers as well.
fn stream(playback: Playback, request: &Parts) -> Response<Body> {
    let link = request.extensions.get::<Link>();
    let metadata = !is_of_a_page(request);
    let Some(link) = link.filter(|_| request.method == Method::GET) else {
        return Response::new(Body::new(FlvBody::new(playback, metadata)));
    };
    #[cfg(feature = "tls")]
    if link.is_shared() {
        let body = StreamBody::new(link.clone(), playback, metadata);
        return Response::new(Body::new(body));
    }
    let framing = if request.version < Version::HTTP_11 {
        Framing::Plain
    } else {
        Framing::Chunked
    };
    let variant = Variant { framing, metadata };
    let handover = Handover { playback, variant };
    let mut response = Response::new(Body::new(HandoverBody::new(link.clone(), handover)));
    if framing == Framing::Plain {
        // An HTTP/1.0 answer ends with its connection, and hyper adds no `keep-alive` to it.
        *response.version_mut() = Version::HTTP_10;
    } else {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the client is a web page: the user agent of every browser begins with Mozilla.
fn is_of_a_page(request: &Parts) -> bool {
    let agent = request.headers.get(header::USER_AGENT);
    let is_browser = agent.is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    is_browser || request.headers.contains_key(header::ORIGIN)
}

/// The stream's key, or a key that represents it on record.
pub(crate) fn stream_key(engine: &Engine, named: &Named) -> Result<StreamKey, StreamKey> {
    let stand_in = || {
        // This compares whole texts with the configured keys: a replaced or shortened name would
        // hide them.
        let app = String::from_utf8_lossy(&named.app);
        let stream = String::from_utf8_lossy(&named.stream);
        let (app, stream) = (engine.scrub(&app), engine.scrub(&stream));
        StreamKey::sanitized(app.as_bytes(), stream.as_bytes())
    };
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| stand_in());
    if !named.is_valid {
        return Err(stand_in());
    }
    StreamKey::parse(text(&named.app)?, text(&named.stream)?).map_err(|_| stand_in())
}

/// Our own gateway says how the address is known. In another server it is the socket's peer.
pub(crate) fn client(request: &Parts) -> Option<ClientAddress> {
    let own = request.extensions.get::<ClientAddress>().copied();
    own.or_else(|| {
        let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
        peer.map(|ConnectInfo(peer)| ClientAddress::of_socket(*peer))
    })
}

/// The token, what else the queries have (that of the request, and one in its path), and the
/// name in the client's certificate.
fn credentials(token: Option<&str>, named: &Named, request: &Parts) -> Credentials {
    let queries = [request.uri.query(), named.query.as_deref()];
    let queries: Vec<_> = queries.into_iter().flatten().collect();
    let certificate = request.extensions.get::<CertificateName>().cloned();
    query_credentials(token, &queries).certificate(certificate)
}

/// An attempt of the request's client, without credentials.
pub(crate) fn attempt(key: StreamKey, protocol: &'static str, request: &Parts) -> Attempt {
    let mut attempt = Attempt::new(key, protocol);
    if let Some(client) = client(request) {
        attempt = attempt.client(client);
    }
    if let Some(agent) = request.headers.get(header::USER_AGENT) {
        attempt = attempt.user_agent(&String::from_utf8_lossy(agent.as_bytes()));
    }
    attempt
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use livetrail_engine::AppSpec;
    use tracing::{Event, Level, Metadata, Subscriber, span};

    use super::*;

    /// Counts warnings.
    struct Warnings(Arc<AtomicUsize>);

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            if event.metadata().target().ends_with("handler") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn viewers_without_an_address_are_reported_once() {
        let warnings = Arc::new(AtomicUsize::new(0));
        let _guard = tracing::subscriber::set_default(Warnings(warnings.clone()));
        let engine = Engine::builder().application(AppSpec::new("live"));
        let context = Context {
            engine: engine.build().unwrap(),
            options: PlaybackOptions::default(),
            hls: None,
            no_address: Arc::new(Once::new()),
        };
        let ask = |peer: Option<SocketAddr>| {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = "/live/cam.flv".parse().unwrap();
            if let Some(peer) = peer {
                request.extensions_mut().insert(ConnectInfo(peer));
            }
            answer(State(context.clone()), request)
        };
        ask(Some(([127, 0, 0, 1], 1).into())).await;
        assert_eq!(warnings.load(Ordering::Relaxed), 0);
        ask(None).await;
        ask(None).await;
        assert_eq!(warnings.load(Ordering::Relaxed), 1);
    }
}
