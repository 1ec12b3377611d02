//! What operators ask over HTTP: health, metrics, and the API under `/api/v1`.

mod health;
mod metrics;
mod sessions;
mod streams;
mod token;
mod trail;
mod view;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::{
    Json, Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use livetrail_audit::AuditPipeline;
use livetrail_engine::Engine;
use livetrail_http::{GatewayHandle, GatewayStats};
use livetrail_rtmp::RtmpStats;
use serde::Serialize;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use metrics::Outcomes;
pub(crate) use token::ApiTokens;

use crate::{config::Config, serve::TrailView};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    pipeline: Arc<AuditPipeline>,
    tokens: Arc<ApiTokens>,
    outcomes: Outcomes,
    trail: TrailView,
    reads: trail::Reads,
    rtmp: OnceLock<RtmpStats>,
    http: Mutex<Vec<GatewayHandle>>,
}

impl ApiState {
    pub(crate) fn new(
        config: &Config,
        engine: Engine,
        pipeline: Arc<AuditPipeline>,
        outcomes: Outcomes,
        trail: TrailView,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                engine,
                pipeline,
                tokens: Arc::new(ApiTokens::new(&config.api.token)),
                outcomes,
                trail,
                reads: trail::Reads::default(),
                rtmp: OnceLock::new(),
                http: Mutex::default(),
            }),
        }
    }

    /// The tokens, for exchanging them.
    pub(crate) fn tokens(&self) -> Arc<ApiTokens> {
        self.inner.tokens.clone()
    }

    /// Counts the RTMP gateway's connections from now on.
    pub(crate) fn set_rtmp(&self, stats: RtmpStats) {
        let _ = self.inner.rtmp.set(stats);
    }

    /// Counts another HTTP gateway's connections from now on.
    pub(crate) fn add_http(&self, handle: GatewayHandle) {
        let mut all = self
            .inner
            .http
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.push(handle);
    }

    fn http_stats(&self) -> Vec<GatewayStats> {
        let all = self
            .inner
            .http
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter().map(GatewayHandle::stats).collect()
    }
}

/// The document's head; the paths come from the handlers.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Livetrail",
        description = "Streams, sessions and health of a Livetrail server. Where a token is configured, all but /health and the hashes of /trail want it as `Authorization: Bearer`."
    ),
    tags((name = "streams"), (name = "sessions"), (name = "server")),
    modifiers(&Bearer)
)]
struct Document;

/// How a token is shown.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", scheme);
    }
}

/// `/health`, `/metrics`, `/api/v1/…` and `/trail/…`.
pub(crate) fn router(state: ApiState) -> Router {
    let (guarded, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(metrics::metrics))
        .routes(routes!(streams::list))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::kick))
        .split_for_parts();
    let (open, of_open) = OpenApiRouter::new()
        .routes(routes!(health::health))
        .split_for_parts();
    document.merge(of_open);
    document.merge(trail::Document::openapi());
    let document = Arc::new(document);
    let guarded = guarded.route(
        "/api/v1/openapi.json",
        get(move || std::future::ready(Json(document.as_ref().clone()))),
    );
    guarded
        .route_layer(middleware::from_fn_with_state(state.clone(), token::guard))
        .merge(open)
        .layer(middleware::map_response(no_store))
        .merge(trail::router())
        .with_state(state)
}

/// Answers for whatever else is asked for.
pub(crate) fn with_fallback(router: Router) -> Router {
    router.fallback(|| async { ApiError::NoSuchPath })
}

async fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Why a request was not answered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApiError {
    NoSuchPath,
    NoSuchSession,
    NotASessionId,
    TokenMissing,
    TokenWrong,
    HostNotLocal,
    NotATile,
    NotAnIndex,
    NotPublished,
    NotThere,
    TrailBusy,
    TrailUnreadable,
}

/// A refusal's body.
#[derive(Debug, Serialize, ToSchema)]
struct Problem {
    /// A stable label.
    reason: &'static str,
    /// For people.
    message: &'static str,
}

impl ApiError {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "not_found", "there is nothing here"),
            Self::NoSuchSession => (
                StatusCode::NOT_FOUND,
                "session_not_found",
                "no live session has this id",
            ),
            Self::NotASessionId => (
                StatusCode::BAD_REQUEST,
                "not_a_session_id",
                "a session's id is a UUID",
            ),
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "show a token as `Authorization: Bearer`",
            ),
            Self::TokenWrong => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this token is not known here",
            ),
            Self::HostNotLocal => (
                StatusCode::FORBIDDEN,
                "host_not_local",
                "without a token the API answers to local names alone: localhost or an IP address",
            ),
            Self::NotATile => (
                StatusCode::BAD_REQUEST,
                "not_a_tile",
                "no path of a tile or bundle: tile/<L>/<N>[.p/<W>] or tile/entries/<N>[.p/<W>], as C2SP tlog-tiles has them",
            ),
            Self::NotAnIndex => (
                StatusCode::BAD_REQUEST,
                "not_an_index",
                "say which entry: ?index=<number>",
            ),
            Self::NotPublished => (
                StatusCode::NOT_FOUND,
                "not_published",
                "the published checkpoint does not cover it",
            ),
            Self::NotThere => (
                StatusCode::NOT_FOUND,
                "not_there",
                "it is not here any more: removed by retention, or lost",
            ),
            Self::TrailBusy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "trail_busy",
                "too many read the trail: ask again later",
            ),
            Self::TrailUnreadable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "trail_unreadable",
                "the trail cannot be read; the server's log says why",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, reason, message) = self.parts();
        let mut response = (status, Json(Problem { reason, message })).into_response();
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
