//! `/trail`: the trail as a site of [C2SP tlog-tiles](https://c2sp.org/tlog-tiles), for verifiers
//! and any other client of such logs.
//!
//! | path | what | who may | cache |
//! |---|---|---|---|
//! | `/trail/checkpoint` | the published checkpoint | all | asked for again, with an `ETag` |
//! | `/trail/tile/<L>/<N>[.p/<W>]` | a hash tile | all | a week, immutable |
//! | `/trail/tile/entries/<N>[.p/<W>]` | an entry bundle | auditors | likewise, `private` behind a token |
//! | `/trail/proof?index=N` | a receipt for one entry, a `.tlog-proof` file | all | asked for again |
//! | `/trail/trail.vkey` | the verifier keys | all | asked for again |
//! | `/trail/trail.retired` | the keys that were given up, with their hand-overs | all | asked for again |
//! | `/trail/cosigned/<n>` | the newest checkpoint that at least n witnesses have cosigned | all | asked for again |
//! | `/trail/handover/<id>` | the checkpoint under which a key was given up | all | asked for again |
//!
//! Hashes reveal nothing about the records, because each record has a random nonce in it. Records
//! are only for auditors. Nothing beyond the published size is served. Threads outside the
//! runtime's workers read the disk, for at most [`MOST_READS`] requests at a time.

mod conditional;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::Response,
    routing::get,
};
use livetrail_index::IndexError;
use livetrail_ledger::{LedgerError, MAX_WITNESSES, Reader};
use livetrail_tlog::{KeyId, TilePath};
use livetrail_trail::{
    chain,
    looked::{Act, Kind},
};
use serde::Deserialize;
use tokio::sync::Semaphore;
use utoipa::OpenApi;

use super::{ApiError, ApiState, Problem, document::Bytes, query::Asked, token::Operator};
use crate::operator::HTTP_API;

/// At most this many requests read the disk at the same time. The others wait for [`PATIENCE`].
const MOST_READS: usize = 16;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// Media type of text: the formats of notes.
const TEXT: &str = "text/plain; charset=utf-8";

/// Media type of tiles and bundles.
const BYTES: &str = "application/octet-stream";

/// For answers that change: the client asks again.
const ASK_AGAIN: &str = "no-cache";

/// For answers that never change: a week, as tlog-tiles recommends.
const FOR_ALL: &str = "public, max-age=604800, immutable";

/// The same for a client that showed a token.
const FOR_ONE: &str = "private, max-age=604800, immutable";

/// The site in the API's document.
#[derive(OpenApi)]
#[openapi(paths(checkpoint, hashes, entries, proof, vkey, retired, hand_over, cosigned), tags((name = "trail")))]
pub(super) struct Document;

/// Permits to read the disk.
#[derive(Clone)]
pub(super) struct Reads(Arc<Semaphore>);

impl Default for Reads {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MOST_READS)))
    }
}

/// The site's routes.
pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/trail/checkpoint", get(checkpoint))
        .route("/trail/tile/entries/{*index}", get(entries))
        .route("/trail/tile/{level}/{*index}", get(hashes))
        .route("/trail/proof", get(proof))
        .route("/trail/trail.vkey", get(vkey))
        .route("/trail/trail.retired", get(retired))
        .route("/trail/handover/{key}", get(hand_over))
        .route("/trail/cosigned/{witnesses}", get(cosigned))
}

/// The published checkpoint: size and root, signed.
#[utoipa::path(
    get,
    path = "/trail/checkpoint",
    operation_id = "checkpoint",
    tag = "trail",
    responses(
        (status = 200, description = "A signed checkpoint.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    )
)]
async fn checkpoint(
    State(state): State<ApiState>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let note = read(&state, |reader| Ok(reader.checkpoint()?.note().encode())).await?;
    Ok(conditional::answer(&headers, note))
}

/// A tile of hashes: 32 bytes each, at most 256.
#[utoipa::path(
    get,
    path = "/trail/tile/{level}/{index}",
    operation_id = "hash_tile",
    tag = "trail",
    params(
        ("level" = u8, Path, maximum = 63, description = "0 to 63."),
        ("index" = String, Path, pattern = r"^(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?$", description = "`067`, `x001/x234/067`, or with `.p/<width>` behind it, 1 to 255."),
    ),
    responses(
        (status = 200, description = "The hashes.", body = inline(Bytes), content_type = "application/octet-stream"),
        (status = 400, description = "No path of a tile.", body = Problem),
        (status = 404, description = "The published checkpoint does not cover it.", body = Problem),
    )
)]
async fn hashes(State(state): State<ApiState>, uri: Uri) -> Result<Response, ApiError> {
    let path = tile_path(&uri)?;
    // Entries have their own handler. Any other spelling that leads here is invalid as the path of
    // a hash tile.
    if !matches!(path, TilePath::Hashes(_)) {
        return Err(ApiError::NotATile);
    }
    let bytes = read(&state, move |reader| reader.file(path)).await?;
    Ok(respond(BYTES, FOR_ALL, bytes))
}

/// A bundle of entries, each with its length in two bytes, big-endian, before it.
#[utoipa::path(
    get,
    path = "/trail/tile/entries/{index}",
    operation_id = "entry_bundle",
    tag = "trail",
    params(
        ("index" = String, Path, pattern = r"^(x[0-9]{3}/)*[0-9]{3}(\.p/[1-9][0-9]{0,2})?$", description = "`067`, `x001/x234/067`, or with `.p/<width>` behind it, 1 to 255."),
    ),
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The entries.", body = inline(Bytes), content_type = "application/octet-stream"),
        (status = 400, description = "No path of a bundle.", body = Problem),
        (status = 404, description = "The published checkpoint does not cover it, or retention removed it.", body = Problem),
    )
)]
async fn entries(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let path = tile_path(&uri)?;
    let bytes = read(&state, move |reader| reader.file(path)).await?;
    let kind = Kind {
        act: Act::Read,
        by: operator.name.clone(),
        protocol: HTTP_API,
        what: "entries".to_owned(),
        filter: None,
    };
    let (looks, pipeline) = (state.inner.trail.looks(), &state.inner.pipeline);
    looks.now(kind, range_of(path), pipeline);
    let cache = if operator.name.is_some() {
        FOR_ONE
    } else {
        FOR_ALL
    };
    Ok(respond(BYTES, cache, bytes))
}

/// The first and the last entry of a bundle.
fn range_of(path: TilePath) -> Option<(u64, u64)> {
    let TilePath::Entries(bundle) = path else {
        return None;
    };
    let first = bundle.first_entry()?;
    let more = u64::from(bundle.width()).saturating_sub(1);
    Some((first, first.saturating_add(more)))
}

/// Which entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Its index, from 0.
    index: u64,
}

/// A receipt for one entry that stands alone: a `.tlog-proof` file with the published checkpoint in
/// it.
#[utoipa::path(
    get,
    path = "/trail/proof",
    operation_id = "proof",
    tag = "trail",
    params(("index" = u64, Query, description = "Which entry, from 0.")),
    responses(
        (status = 200, description = "The receipt.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 400, description = "No index was given, or not a number, or an unknown key.", body = Problem),
        (status = 404, description = "The published checkpoint does not cover it.", body = Problem),
    )
)]
async fn proof(
    State(state): State<ApiState>,
    Asked(Entry { index }): Asked<Entry>,
) -> Result<Response, ApiError> {
    let proof = read(&state, move |reader| reader.inclusion_proof(index)).await?;
    Ok(respond(TEXT, ASK_AGAIN, proof))
}

/// The verifier keys: the one that signs, and the one that cosigns with the time. Anyone who checks
/// the trail should get them another way.
#[utoipa::path(
    get,
    path = "/trail/trail.vkey",
    operation_id = "verifier_keys",
    tag = "trail",
    responses(
        (status = 200, description = "A key a line.", body = String, content_type = "text/plain; charset=utf-8"),
    )
)]
async fn vkey(State(state): State<ApiState>) -> Response {
    respond(TEXT, ASK_AGAIN, state.inner.trail.vkeys.to_string())
}

/// The keys that were given up, each with size and root of the tree up to which it counts.
#[utoipa::path(
    get,
    path = "/trail/trail.retired",
    operation_id = "retired_keys",
    tag = "trail",
    responses(
        (status = 200, description = "A key a line: `<verifier key> <size> <root>`.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 404, description = "No key was given up.", body = Problem),
    )
)]
async fn retired(State(state): State<ApiState>) -> Result<Response, ApiError> {
    let keys = state.inner.trail.retired.to_string();
    if keys.is_empty() {
        return Err(ApiError::NotThere);
    }
    Ok(respond(TEXT, ASK_AGAIN, keys))
}

/// The checkpoint that hands over from a key, signed with it and with its successor. Anyone who
/// trusts the old key learns the new one from it.
#[utoipa::path(
    get,
    path = "/trail/handover/{key}",
    operation_id = "hand_over",
    tag = "trail",
    params(("key" = String, Path, pattern = "^[0-9a-f]{8}$", description = "The old key's id: the eight hexadecimal digits in its verifier key.")),
    responses(
        (status = 200, description = "A signed checkpoint.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 404, description = "No key of this id was given up.", body = Problem),
    )
)]
async fn hand_over(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = uri.path().strip_prefix("/trail/handover/");
    let id = key.and_then(key_id).ok_or(ApiError::NoHandOver)?;
    let note = read(&state, move |reader| reader.hand_over(id)).await?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    Ok(conditional::answer(
        &headers,
        note.ok_or(ApiError::NoHandOver)?,
    ))
}

/// The newest checkpoint that at least this many witnesses have cosigned: the published one has no
/// cosignature yet when it is new.
#[utoipa::path(
    get,
    path = "/trail/cosigned/{witnesses}",
    operation_id = "cosigned",
    tag = "trail",
    params(("witnesses" = u8, Path, description = "How many witnesses, from 1.")),
    responses(
        (status = 200, description = "A signed and cosigned checkpoint.", body = String, content_type = "text/plain; charset=utf-8"),
        (status = 404, description = "No checkpoint has this many cosignatures.", body = Problem),
    )
)]
async fn cosigned(
    State(state): State<ApiState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let number = uri.path().strip_prefix("/trail/cosigned/").unwrap_or("");
    let witnesses: usize = number.parse().map_err(|_| ApiError::NotThere)?;
    if witnesses == 0 || witnesses > MAX_WITNESSES || witnesses.to_string() != number {
        return Err(ApiError::NotThere);
    }
    let note = read(&state, move |reader| reader.cosigned(witnesses)).await?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    Ok(conditional::answer(
        &headers,
        note.ok_or(ApiError::NotThere)?,
    ))
}

/// Parses an id. It has one spelling.
fn key_id(text: &str) -> Option<KeyId> {
    let id = KeyId(u32::from_str_radix(text, 16).ok()?.to_be_bytes());
    (id.to_string() == text).then_some(id)
}

/// Parses the path as it was sent. A client that escapes a character or adds a detour asks for
/// another path.
fn tile_path(uri: &Uri) -> Result<TilePath, ApiError> {
    let path = uri.path().strip_prefix("/trail/");
    path.and_then(|path| path.parse().ok())
        .ok_or(ApiError::NotATile)
}

async fn read<T: Send + 'static>(
    state: &ApiState,
    read: impl FnOnce(&Reader) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, ApiError> {
    blocking(state, move |reader| Ok(read(reader)?)).await
}

/// Reads the trail on a thread outside the runtime's workers, as soon as it is this request's turn.
pub(super) async fn blocking<T: Send + 'static>(
    state: &ApiState,
    read: impl FnOnce(&Reader) -> Result<T, IndexError> + Send + 'static,
) -> Result<T, ApiError> {
    let turn = state.inner.reads.0.clone().acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(PATIENCE, turn).await else {
        return Err(ApiError::TrailBusy);
    };
    let reader = state.inner.trail.reader.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let answer = read(&reader);
        drop(turn);
        answer
    });
    match answer.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(IndexError::Ledger(LedgerError::BeyondPublished { .. }))) => {
            Err(ApiError::NotPublished)
        }
        Ok(Err(IndexError::Ledger(LedgerError::Pruned { .. }))) => Err(ApiError::NotThere),
        Ok(Err(IndexError::Ledger(LedgerError::FileMissing { path }))) => {
            tracing::warn!(path, "asked for, and not there");
            Err(ApiError::NotThere)
        }
        Ok(Err(error)) => {
            tracing::error!("the trail cannot be read: {}", chain(&error));
            Err(ApiError::TrailUnreadable)
        }
        Err(_) => Err(ApiError::TrailUnreadable),
    }
}

fn respond(kind: &'static str, cache: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    // A browser must not treat the text of records as a page.
    let no_sniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    response
}
