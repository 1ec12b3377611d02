//! The HTTP interface for operators: health, metrics, and the API under `/api/v1`.

mod access;
mod document;
mod drain;
mod entries;
mod erasures;
mod error;
mod exposition;
mod failures;
mod health;
mod holds;
mod kicks;
mod metrics;
mod openings;
mod process;
mod query;
mod relays;
mod renewal;
mod review;
mod selection;
mod sessions;
mod streams;
mod token;
mod trail;
mod view;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, header},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use livetrail_acme::Acme;
use livetrail_audit::{AuditGate, AuditPipeline};
use livetrail_engine::Engine;
use livetrail_gateway::{DenyRules, GatewayCounts, GatewayStats};
use livetrail_http::Hls;
use livetrail_tls::CertificateStore;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

#[cfg(test)]
pub(crate) use access::{is_allowed, routes};
use document::{Document, Problem};
pub(crate) use entries::find as find_entries;
use error::ApiError;
use failures::Failures;
use livetrail_trail::{TrailView, trail_directory};
use metrics::Requests;
pub(crate) use metrics::{Admissions, Outcomes, TimedGate};
pub(crate) use token::ApiTokens;

use crate::{
    config::{Config, Outside},
    serve::{Certificates, Drain, Relays},
};

/// The state that the handlers share.
#[derive(Clone)]
pub(crate) struct ApiState {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    pipeline: Arc<AuditPipeline>,
    tokens: Arc<ApiTokens>,
    failures: Failures,
    requests: Requests,
    outcomes: Outcomes,
    admissions: Admissions,
    relays: Relays,
    /// `None` if HLS is off.
    hls: Option<Hls>,
    trail: TrailView,
    /// The authenticators that ask others.
    outside: Outside,
    /// The trail's directory. A trail in memory does not have it.
    directory: PathBuf,
    denied: DenyRules,
    drain: Drain,
    /// Whether sessions need their first record, so that they cannot start while the trail fails.
    gate: AuditGate,
    certificates: CertificateStore,
    /// Orders a certificate.
    acme: Option<Acme>,
    /// How long before its end a certificate is reported.
    expiry_warning: Duration,
    /// Requests to erase that wait for approval.
    approvals: erasures::Approvals,
    reads: trail::Reads,
    gateways: Mutex<Vec<GatewayStats>>,
}

impl ApiState {
    pub(crate) fn new(
        (config, certificates): (&Config, &Certificates),
        engine: Engine,
        pipeline: Arc<AuditPipeline>,
        (outcomes, admissions, relays, gate): (Outcomes, Admissions, Relays, AuditGate),
        (trail, outside, hls): (TrailView, Outside, Option<Hls>),
        denied: DenyRules,
        drain: Drain,
    ) -> Self {
        let approvals = erasures::Approvals::restored(
            config.api.erasure_approvals,
            trail.personal().clone(),
            erasures::Now::of(engine.clock().as_ref()),
        );
        Self {
            inner: Arc::new(Inner {
                failures: Failures::new(engine.clock()),
                requests: Requests::default(),
                engine,
                pipeline,
                tokens: Arc::new(ApiTokens::new(&config.api)),
                outcomes,
                admissions,
                relays,
                hls,
                trail,
                outside,
                directory: trail_directory(&config.data),
                denied,
                drain,
                gate,
                certificates: certificates.store(),
                acme: certificates.acme(),
                expiry_warning: config.tls.expiry_warning.0,
                approvals,
                reads: trail::Reads::default(),
                gateways: Mutex::default(),
            }),
        }
    }

    /// The tokens. A reload exchanges them through this handle.
    pub(crate) fn tokens(&self) -> Arc<ApiTokens> {
        self.inner.tokens.clone()
    }

    /// Counts another gateway's connections from now on.
    pub(crate) fn add_gateway(&self, stats: GatewayStats) {
        self.gateways().push(stats);
    }

    /// The counts of the gateways by name. Gateways with the same name are counted together.
    fn gateway_counts(&self) -> BTreeMap<&'static str, GatewayCounts> {
        let mut by_name = BTreeMap::new();
        for gateway in &*self.gateways() {
            let sum: &mut GatewayCounts = by_name.entry(gateway.name()).or_default();
            *sum += gateway.counts();
        }
        by_name
    }

    /// Code that holds this lock cannot panic.
    fn gateways(&self) -> MutexGuard<'_, Vec<GatewayStats>> {
        self.inner
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/health`, `/livez`, `/readyz`, `/metrics`, `/api/v1/…` and `/trail/…`.
pub(crate) fn router(state: ApiState) -> Router {
    let (guarded, mut document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(metrics::metrics))
        .routes(routes!(streams::list))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::kick))
        .routes(routes!(relays::pulls))
        .routes(routes!(relays::pushes))
        .routes(routes!(renewal::renew))
        .routes(routes!(kicks::kick))
        .routes(routes!(drain::get, drain::start, drain::cancel))
        .routes(routes!(openings::disclose))
        .routes(routes!(erasures::create, erasures::list))
        .routes(routes!(erasures::approve))
        .routes(routes!(holds::list, holds::set))
        .routes(routes!(holds::release))
        .routes(routes!(entries::list))
        .routes(routes!(review::review))
        .split_for_parts();
    let (open, of_open) = OpenApiRouter::new()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .split_for_parts();
    document.merge(of_open);
    document.merge(trail::Document::openapi());
    let document = Arc::new(document::finished(document));
    let guarded = guarded.route(
        "/api/v1/openapi.json",
        get(move || std::future::ready(Json(document.as_ref().clone()))),
    );
    guarded
        .merge(open)
        .layer(middleware::map_response(no_store))
        .merge(trail::router())
        .route_layer(middleware::from_fn_with_state(state.clone(), token::guard))
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(middleware::map_response_with_state(state.clone(), counted))
        .with_state(state)
}

/// Adds the answer for any other path.
pub(crate) fn with_fallback(router: Router, state: &ApiState) -> Router {
    let state = state.clone();
    router.fallback(move || counted(State(state), ApiError::NoSuchPath.into_response()))
}

async fn counted(State(state): State<ApiState>, response: Response) -> Response {
    state.inner.requests.answered(response.status());
    response
}

async fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
