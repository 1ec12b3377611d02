//! `/api/v1/streams`.

use axum::{Extension, Json, extract::State};

use livetrail_engine::StreamKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    query::Asked,
    selection::{Selection, page_size},
    token::Operator,
    view::StreamView,
};

/// Selects streams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    app: Option<String>,
    stream: Option<String>,
    protocol: Option<String>,
    address: Option<String>,
    key: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Streams {
    streams: Vec<StreamView>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "live/cam")]
    next: Option<String>,
}

/// The live streams, sorted by application and name: those whose publisher has all of the given
/// properties. A viewer sees no names and addresses, and cannot ask for them; a regulator sees one
/// application.
///
/// Without `limit` and `cursor` the answer has all of them. A stream that is live while all pages
/// are read is on exactly one of them.
#[utoipa::path(
    get,
    path = "/api/v1/streams",
    operation_id = "list_streams",
    tag = "streams",
    security((), ("token" = [])),
    params(
        ("app" = Option<String>, Query, description = "Of this application alone."),
        ("stream" = Option<String>, Query, description = "Of this name alone."),
        ("protocol" = Option<String>, Query, description = "Published over this protocol alone, such as `rtmp`."),
        ("address" = Option<String>, Query, description = "Published from this address or network alone."),
        ("key" = Option<String>, Query, description = "Published with this key, or by this subject of a token."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most this many, 1 to 1,000. The default is all, and with `cursor` 100."),
        ("cursor" = Option<String>, Query, description = "`next` of the page before."),
    ),
    responses(
        (status = 200, description = "The live streams.", body = Streams),
        (status = 400, description = "Not such a selection, or an unknown key.", body = Problem),
        (status = 403, description = "`address` or `key`, of a caller who sees no persons.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which>,
) -> Result<Json<Streams>, ApiError> {
    let most = page_size(which.limit, which.cursor.is_some())?;
    let after = which.cursor.as_deref().map(key_of).transpose()?;
    let selection = Selection {
        app: which.app,
        stream: which.stream,
        role: None,
        protocol: which.protocol,
        address: Selection::network(which.address.as_deref())?,
        key: which.key,
    };
    selection.check(&operator)?;
    let engine = &state.inner.engine;
    let page = engine.streams_after(after.as_ref(), most, |publisher| {
        operator.sees(&publisher.key.app) && selection.fits(publisher)
    });
    let last = page.streams.last().filter(|_| page.has_more);
    let next = last.map(|(info, _)| {
        let key = &info.publisher.key;
        format!("{}/{}", key.app, key.stream_id)
    });
    let views = page
        .streams
        .iter()
        .map(|(info, publisher)| StreamView::of(info, publisher, operator.sees_persons()));
    Ok(Json(Streams {
        streams: views.collect(),
        next,
    }))
}

/// The stream of a cursor.
pub(super) fn key_of(cursor: &str) -> Result<StreamKey, ApiError> {
    let wrong = || ApiError::BadQuery("cursor: allowed is `next` of the page before".to_owned());
    let (app, stream) = cursor.split_once('/').ok_or_else(wrong)?;
    StreamKey::parse(app, stream).map_err(|_| wrong())
}
