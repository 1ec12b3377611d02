//! `/api/v1/erasures`: erasing personal data on request.

mod approvals;
mod states;

use std::net::IpAddr;

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
    http::{HeaderMap, StatusCode},
};
use livetrail_engine::{ClientAddress, Clock as _, SessionId};
use livetrail_index::Filter;
use livetrail_trail::personal::{ErasureReport, ErasureRequest, Whose, erase};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    entries::find,
    query::{Asked, Nothing},
    token::{Operator, user_agent},
    trail::blocking,
};
use crate::operator::{Caller, erasure_approved};
pub(super) use approvals::{Approvals, Now};
use approvals::{Approved, Refused};
use states::{ACTIONS, ErasureState, states};

/// The newest records of erasures that a list is made of.
const MOST_RECORDS: usize = 1_000;

/// A request names at most this many sessions.
const MOST_SESSIONS: usize = 10_000;

/// A request to erase openings. It names exactly one of `principal`, `network`, `sessions` and
/// `before_ms`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewErasure {
    /// The operator's number of the request: 1 to 64 letters, digits, `-`, `_` and `.`. It goes on
    /// record, so it must not name a person.
    #[schema(example = "2026-17")]
    request: String,
    /// The legal basis: 1 to 32 letters, digits, `-`, `_` and `.`. It goes on record.
    #[schema(example = "art17")]
    basis: String,
    /// Openings with exactly this principal.
    principal: Option<String>,
    /// Openings whose peer is in this network: an address, or an address with a length.
    #[schema(example = "192.0.2.0/24")]
    network: Option<String>,
    /// Openings of these sessions, at most 10,000.
    sessions: Option<Vec<String>>,
    /// Openings of sessions that began before this time, in milliseconds since 1970 (UTC).
    before_ms: Option<u64>,
    /// With `before_ms`: only those of this application.
    application: Option<String>,
    /// Only count what would be erased.
    #[serde(default)]
    dry_run: bool,
}

impl NewErasure {
    fn request(self, by: String) -> Result<(ErasureRequest, bool), ApiError> {
        let wrong = |problem: &str| ApiError::BadErasure(problem.to_owned());
        if self.application.is_some() && self.before_ms.is_none() {
            return Err(wrong("`application` is for `before_ms` alone"));
        }
        let whose = match (self.principal, self.network, self.sessions, self.before_ms) {
            (Some(principal), None, None, None) => Whose::Principal(principal),
            (None, Some(network), None, None) => {
                let (address, bits) = network_of(&network)
                    .ok_or_else(|| wrong("network: allowed is such as 192.0.2.0/24"))?;
                Whose::Network { address, bits }
            }
            (None, None, Some(sessions), None) => Whose::Sessions(sessions_of(&sessions)?),
            (None, None, None, Some(before_ms)) => Whose::Older {
                before_ms,
                app: self.application,
            },
            _ => {
                return Err(wrong(
                    "allowed is exactly one of `principal`, `network`, `sessions` and `before_ms`",
                ));
            }
        };
        let request = ErasureRequest::new(self.request, self.basis, by, whose)
            .map_err(|error| ApiError::BadErasure(livetrail_trail::chain(&error)))?;
        Ok((request, self.dry_run))
    }
}

/// The ids in the form in which the vault has them.
pub(super) fn sessions_of(ids: &[String]) -> Result<Vec<[u8; 16]>, ApiError> {
    if ids.is_empty() || ids.len() > MOST_SESSIONS {
        let problem = format!(
            "sessions: there are {}; allowed are 1 to {MOST_SESSIONS}",
            ids.len()
        );
        return Err(ApiError::BadErasure(problem));
    }
    let id = |text: &String| {
        let id: SessionId = text.parse().map_err(|_| ApiError::NotASessionId)?;
        Ok(id.as_uuid().into_bytes())
    };
    ids.iter().map(id).collect()
}

fn network_of(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        Some(bits) => bits.parse().ok()?,
        None => most,
    };
    (bits <= most).then_some((address, bits))
}

/// The result of a request.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErasureAnswer {
    request: String,
    /// `waits_for_approval`, `approved`, `held`, `erased` or `completed`; `counted` of a dry run.
    /// `approved`: it failed after its last approval, and is repeated until it is done.
    #[schema(example = "completed")]
    state: &'static str,
    /// Openings that were erased; of a dry run, that would be.
    erased: u64,
    /// Openings that holds keep. The request waits for these.
    held: u64,
    /// The holds that keep them.
    holds: Vec<String>,
    /// Listed sessions of which the vault has no opening. Later openings of them are refused.
    unknown: u64,
    /// How many further tokens must approve it.
    approvals_missing: usize,
}

impl ErasureAnswer {
    fn waits(request: String, approvals_missing: usize) -> Self {
        Self {
            request,
            state: match approvals_missing {
                0 => "approved",
                _ => "waits_for_approval",
            },
            erased: 0,
            held: 0,
            holds: Vec::new(),
            unknown: 0,
            approvals_missing,
        }
    }
}

impl From<ErasureReport> for ErasureAnswer {
    fn from(report: ErasureReport) -> Self {
        Self {
            state: match (report.completed, report.held) {
                (true, _) => "completed",
                (false, 0) => "erased",
                (false, _) => "held",
            },
            request: report.request,
            erased: report.erased,
            held: report.held,
            holds: report.holds,
            unknown: report.unknown,
            approvals_missing: 0,
        }
    }
}

/// Erases openings on request, on record. With `api.erasure_approvals` above 1 the request waits
/// for approvals of other tokens, for a day at most, also over a restart.
#[utoipa::path(
    post,
    path = "/api/v1/erasures",
    operation_id = "erase",
    tag = "personal",
    security((), ("token" = [])),
    request_body = NewErasure,
    responses(
        (status = 200, description = "It is erased, as far as no hold keeps it; or it is counted.", body = ErasureAnswer),
        (status = 202, description = "It waits for approval.", body = ErasureAnswer),
        (status = 400, description = "Not such a request, or a query key.", body = Problem),
        (status = 409, description = "A request with this number waits already.", body = Problem),
        (status = 503, description = "Too many requests wait for approval, or the trail or the vault cannot do it now. Repeating it is harmless.", body = Problem),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
    body: Result<Json<NewErasure>, JsonRejection>,
) -> Result<(StatusCode, Json<ErasureAnswer>), ApiError> {
    // The text of the rejection may repeat a name, and goes only to the caller.
    let Json(asked) = body.map_err(|error| ApiError::BadErasure(error.body_text()))?;
    let by = operator.name.clone().unwrap_or_default();
    let (request, is_dry) = asked.request(by)?;
    if is_dry {
        return Ok((StatusCode::OK, Json(count(&state, request).await?)));
    }
    let caller = caller(&state, operator, client, &headers);
    let needs_approval = state.inner.approvals.are_needed();
    let approved = with_approvals(&state, move |state, now| {
        let record = |request: &ErasureRequest| agreed(state, request, caller);
        state.inner.approvals.ask(request, now, record)
    });
    go_on(&state, approved.await, needs_approval).await
}

/// Approves a request of another token. The last approval that it needs erases.
#[utoipa::path(
    post,
    path = "/api/v1/erasures/{request}/approvals",
    operation_id = "approve_erasure",
    tag = "personal",
    security((), ("token" = [])),
    params(("request" = String, Path, description = "The number of the request.")),
    responses(
        (status = 200, description = "It is erased, as far as no hold keeps it.", body = ErasureAnswer),
        (status = 202, description = "It waits for further approvals; or it failed after its last one, and is repeated until it is done.", body = ErasureAnswer),
        (status = 404, description = "No request with this number waits for approval.", body = Problem),
        (status = 409, description = "This token has asked for it, or has approved it.", body = Problem),
        (status = 503, description = "The trail or the vault cannot do it now.", body = Problem),
    )
)]
pub(super) async fn approve(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Extension(client): Extension<ClientAddress>,
    Path(request): Path<String>,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<ErasureAnswer>), ApiError> {
    let by = operator.name.clone().unwrap_or_default();
    let caller = caller(&state, operator, client, &headers);
    let approved = with_approvals(&state, move |state, now| {
        let record = |request: &ErasureRequest| agreed(state, request, caller);
        state.inner.approvals.approve(&request, &by, now, record)
    });
    go_on(&state, approved.await, true).await
}

/// Asks for approvals, or gives one, where it may wait for the vault.
async fn with_approvals(
    state: &ApiState,
    act: impl FnOnce(&ApiState, Now) -> Result<Approved, Refused> + Send + 'static,
) -> Result<Approved, Refused> {
    let state = state.clone();
    let acting = tokio::task::spawn_blocking(move || {
        let now = Now::of(state.inner.engine.clock().as_ref());
        act(&state, now)
    });
    let ended = "it was not kept".to_owned();
    acting.await.unwrap_or(Err(Refused::NotKept(ended)))
}

/// The requests that the trail has something about.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erasures {
    /// The one with the newest record first: those of the newest 1,000 records of erasures.
    erasures: Vec<ErasureState>,
}

/// What became of requests to erase, as the trail says. What has expired is not a request. The
/// newest records are shown when a checkpoint covers them.
#[utoipa::path(
    get,
    path = "/api/v1/erasures",
    operation_id = "list_erasures",
    tag = "personal",
    security((), ("token" = [])),
    responses(
        (status = 200, description = "The requests.", body = Erasures),
        (status = 400, description = "A query key.", body = Problem),
        (status = 500, description = "The trail cannot be read; the server's log says why.", body = Problem),
        (status = 503, description = "Too many requests read the trail; `Retry-After` says when to ask again.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Asked(Nothing {}): Asked<Nothing>,
) -> Result<Json<Erasures>, ApiError> {
    let mut filter = Filter::default();
    filter.actions = ACTIONS.map(|action| action.label().to_owned()).to_vec();
    let directory = state.inner.directory.clone();
    let records = blocking(&state, move |reader| {
        let mut hits = find(reader, &directory, filter)?;
        hits.newest(MOST_RECORDS)
    });
    let records: Vec<_> = records.await?.into_iter().map(|hit| hit.record).collect();
    let now = state.inner.engine.clock().monotonic();
    let waiting = state.inner.approvals.shown(now).into_iter();
    let waiting = waiting.map(|shown| {
        let selects = selects(&shown.request.whose);
        (shown.request.id, (selects, shown.missing))
    });
    let repeated = state.inner.trail.personal().repeated_erasures();
    let erasures = states(&records, &waiting.collect(), &repeated);
    Ok(Json(Erasures { erasures }))
}

fn caller(
    state: &ApiState,
    operator: Operator,
    client: ClientAddress,
    headers: &HeaderMap,
) -> Caller {
    Caller {
        token: operator.name,
        client: Some(client),
        agent: user_agent(headers, &state.inner.engine),
    }
}

/// Puts on record that a token agrees with a request.
fn agreed(state: &ApiState, request: &ErasureRequest, caller: Caller) -> Result<(), Refused> {
    let record = erasure_approved(&request.id, &request.basis, caller);
    state.inner.pipeline.record(record).map_err(|error| {
        tracing::error!(%error, "an approval is not on record");
        Refused::NotRecorded
    })
}

/// Runs a request that has its approvals. If it needed any and fails, it is repeated until it is
/// done.
async fn go_on(
    state: &ApiState,
    approved: Result<Approved, Refused>,
    needs_approval: bool,
) -> Result<(StatusCode, Json<ErasureAnswer>), ApiError> {
    let request = match approved? {
        Approved::Ready(request) => request,
        Approved::Waits { id, missing } => {
            let answer = ErasureAnswer::waits(id, missing);
            return Ok((StatusCode::ACCEPTED, Json(answer)));
        }
    };
    let id = request.id.clone();
    let (pipeline, trail) = (state.inner.pipeline.clone(), state.inner.trail.clone());
    // It goes on when the caller does not wait for it.
    let running = tokio::spawn(async move {
        let done = erase(&pipeline, &trail, &request).await;
        if needs_approval {
            match &done {
                Ok(_) => trail.personal().forget_approval(&request.id),
                Err(_) => trail.personal().repeat_erasure(request),
            }
        }
        done
    });
    match running.await {
        Ok(Ok(report)) => Ok((StatusCode::OK, Json(report.into()))),
        Ok(Err(error)) => {
            let failed = ApiError::of_operation(&error);
            if !needs_approval {
                return Err(failed);
            }
            Ok((StatusCode::ACCEPTED, Json(ErasureAnswer::waits(id, 0))))
        }
        Err(_) => Err(ApiError::NotDone("it was not done".to_owned())),
    }
}

/// Counts what a request would erase.
async fn count(state: &ApiState, request: ErasureRequest) -> Result<ErasureAnswer, ApiError> {
    let personal = state.inner.trail.personal().clone();
    let selection = request.selection();
    let counted =
        tokio::task::spawn_blocking(move || personal.with(|vault| vault.dry_run(&selection)));
    let counted = match counted.await {
        Ok(Ok(counted)) => counted,
        Ok(Err(error)) => return Err(ApiError::of_operation(&error)),
        Err(_) => return Err(ApiError::NotDone("it was not counted".to_owned())),
    };
    Ok(ErasureAnswer {
        request: request.id,
        state: "counted",
        erased: counted.erased,
        held: counted.held,
        holds: counted.holds.into_iter().collect(),
        unknown: counted.unknown,
        approvals_missing: 0,
    })
}

/// What a request selects, for those who may approve it.
fn selects(whose: &Whose) -> String {
    match whose {
        Whose::Principal(name) => format!("the principal {name:?}"),
        Whose::Network { address, bits } => format!("the network {address}/{bits}"),
        Whose::Sessions(sessions) => format!("{} sessions", sessions.len()),
        Whose::Older { before_ms, app } => {
            let of = app
                .as_ref()
                .map_or_else(String::new, |app| format!(" of {app}"));
            format!("sessions{of} before {}", crate::time::rfc3339(*before_ms))
        }
        _ => String::new(),
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Waits => Self::ErasureWaits,
            Refused::TooMany => Self::TooManyErasures,
            Refused::Unknown => Self::NoSuchErasure,
            Refused::SameToken => Self::SameToken,
            Refused::NotRecorded => Self::NotRecorded,
            Refused::NotKept(why) => Self::NotDone(why),
        }
    }
}
