//! `/api/v1/pulls` and `/api/v1/pushes`: the streams that pass from node to node.

use axum::{Extension, Json, extract::State};
use livetrail_relay::{LinkInfo, LinkState, PullInfo, PushInfo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem, query::Asked, selection::page_size, streams::key_of,
    token::Operator, view::millis,
};

/// What a pull or a push does.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateName {
    Connecting,
    Carrying,
    Waiting,
}

impl From<StateName> for LinkState {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Connecting => Self::Connecting,
            StateName::Carrying => Self::Carrying,
            StateName::Waiting => Self::Waiting,
        }
    }
}

/// Selects pulls or pushes, which differ in their cursors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which<C> {
    app: Option<String>,
    stream: Option<String>,
    node: Option<String>,
    state: Option<StateName>,
    cursor: Option<C>,
    limit: Option<usize>,
}

impl<C> Which<C> {
    fn fits(&self, key: &livetrail_engine::StreamKey, node: Option<&str>, link: &LinkInfo) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is(&self.app, Some(key.app.as_str()))
            && is(&self.stream, Some(key.stream_id.as_str()))
            && is(&self.node, node)
            && self.state.is_none_or(|state| link.state == state.into())
    }

    fn most(&self) -> Result<usize, ApiError> {
        page_size(self.limit, self.cursor.is_some())
    }
}

/// How a pull or a push is connected.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LinkView {
    /// `connecting`: it connects to the node, or waits for its answer and its first frame;
    /// `carrying`: frames pass; `waiting`: it waits before it connects again.
    #[schema(example = "carrying")]
    state: &'static str,
    /// How long it has been in this state.
    state_ms: u64,
    /// How long ago it was opened.
    open_ms: u64,
    /// Until it connects again, if it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_ms: Option<u64>,
    /// Attempts to connect, since it was opened.
    attempts: u64,
    /// Attempts that have failed since frames last passed.
    failures: u64,
}

impl LinkView {
    fn of(link: &LinkInfo) -> Self {
        Self {
            state: link.state.label(),
            state_ms: millis(link.in_state),
            open_ms: millis(link.open_for),
            retry_in_ms: link.retry_in.map(millis),
            attempts: link.attempts,
            failures: link.failures,
        }
    }
}

/// A stream that is pulled from another node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PullView {
    app: String,
    stream: String,
    /// The node that has it, or that was asked last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "origin-a")]
    origin: Option<String>,
    /// How it is connected.
    link: LinkView,
    /// The publication at this node that has the origin's frames: a UUIDv7.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// The session at the origin, as that one names it: a UUIDv7.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_session: Option<String>,
    /// Which of the publications in that session it gets, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Viewers at present, those that wait for the first frame included.
    viewers: u64,
    /// Since the last frame, while frames pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<u64>,
}

impl PullView {
    fn of(pull: &PullInfo, viewers: u64) -> Self {
        Self {
            app: pull.key.app.to_string(),
            stream: pull.key.stream_id.to_string(),
            origin: pull.origin.as_deref().map(str::to_owned),
            link: LinkView::of(&pull.link),
            session: pull.session.map(|session| session.to_string()),
            upstream_session: pull.upstream.map(|session| session.to_string()),
            epoch: pull.epoch,
            viewers,
            idle_ms: pull.idle.map(millis),
        }
    }
}

/// A stream that is pushed to another node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PushView {
    app: String,
    stream: String,
    /// The node that gets it.
    #[schema(example = "edge-1")]
    target: String,
    /// How it is connected.
    link: LinkView,
    /// The publication that it carries: a UUIDv7.
    session: String,
    /// Frames between the newest one and those that the target gets now.
    lag_frames: u64,
    /// Frames that the target does not get, because it was too slow, or because RTMP does not carry
    /// them.
    skipped_frames: u64,
}

impl PushView {
    fn of(push: &PushInfo) -> Self {
        Self {
            app: push.key.app.to_string(),
            stream: push.key.stream_id.to_string(),
            target: push.target.to_string(),
            link: LinkView::of(&push.link),
            session: push.session.to_string(),
            lag_frames: push.lag_frames,
            skipped_frames: push.skipped_frames,
        }
    }
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pulls {
    pulls: Vec<PullView>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "live/cam")]
    next: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Pushes {
    pushes: Vec<PushView>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// The streams that are pulled from other nodes now, sorted by application and name.
///
/// Without `limit` and `cursor` the answer has all of them. A pull that is open while all pages are
/// read is on exactly one of them.
#[utoipa::path(
    get,
    path = "/api/v1/pulls",
    operation_id = "list_pulls",
    tag = "streams",
    security((), ("token" = [])),
    params(
        ("app" = Option<String>, Query, description = "Of this application alone."),
        ("stream" = Option<String>, Query, description = "Of this name alone."),
        ("node" = Option<String>, Query, description = "From this origin alone."),
        ("state" = inline(Option<StateName>), Query, description = "In this state alone."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000. The default is all, and with `cursor` 100."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "The pulls.", body = Pulls),
        (status = 400, description = "Not such a selection, or an unknown key.", body = Problem),
    )
)]
pub(super) async fn pulls(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which<String>>,
) -> Result<Json<Pulls>, ApiError> {
    let most = which.most()?;
    let after = which.cursor.as_deref().map(key_of).transpose()?;
    let pulls = &state.inner.relays.pulls;
    let page = pulls.list_after(after.as_ref(), most, |pull| {
        operator.sees(&pull.key.app) && which.fits(&pull.key, pull.origin.as_deref(), &pull.link)
    });
    let last = page.items.last().filter(|_| page.has_more);
    let next = last.map(|pull| format!("{}/{}", pull.key.app, pull.key.stream_id));
    let engine = &state.inner.engine;
    let view = |pull: &PullInfo| {
        let watched = engine.watched(&pull.key);
        PullView::of(pull, watched.map_or(0, |stream| stream.viewers))
    };
    Ok(Json(Pulls {
        pulls: page.items.iter().map(view).collect(),
        next,
    }))
}

/// The streams that are pushed to other nodes now, one for each target, in the order in which the
/// pushes were opened.
///
/// Without `limit` and `cursor` the answer has all of them. A push that is open while all pages are
/// read is on exactly one of them.
#[utoipa::path(
    get,
    path = "/api/v1/pushes",
    operation_id = "list_pushes",
    tag = "streams",
    security((), ("token" = [])),
    params(
        ("app" = Option<String>, Query, description = "Of this application alone."),
        ("stream" = Option<String>, Query, description = "Of this name alone."),
        ("node" = Option<String>, Query, description = "To this target alone."),
        ("state" = inline(Option<StateName>), Query, description = "In this state alone."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000. The default is all, and with `cursor` 100."),
        ("cursor" = Option<u64>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "The pushes.", body = Pushes),
        (status = 400, description = "Not such a selection, or an unknown key.", body = Problem),
    )
)]
pub(super) async fn pushes(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which<u64>>,
) -> Result<Json<Pushes>, ApiError> {
    let most = which.most()?;
    let pushes = &state.inner.relays.pushes;
    let page = pushes.list_after(which.cursor, most, |push| {
        operator.sees(&push.key.app) && which.fits(&push.key, Some(&push.target), &push.link)
    });
    let last = page.items.last().filter(|_| page.has_more);
    Ok(Json(Pushes {
        next: last.map(|push| push.number),
        pushes: page.items.iter().map(PushView::of).collect(),
    }))
}
