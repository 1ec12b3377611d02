//! `/api/v1/trail/entries`: the records of the trail, without the names of persons unless there is
//! a purpose.

use std::path::Path;

use axum::{Extension, Json, extract::State};
use livetrail_audit::AuditAction;
use livetrail_engine::AppName;
use livetrail_index::{Filter, Hit, Hits, Index, IndexError, scan};
use livetrail_ledger::Reader;
use livetrail_tlog::leaf_hash;
use livetrail_trail::{
    Personal, index_directory,
    looked::{Act, Kind, notes::filter_hash},
    personal::opening_of,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    ApiError, ApiState, Problem,
    openings::{on_record, purpose_of},
    query::Asked,
    token::Operator,
    trail::blocking,
};
use crate::operator::HTTP_API;

/// The entries of an answer if the request does not say how many.
const ENTRIES: usize = 100;

/// The most entries of an answer.
const MOST_ENTRIES: usize = 1_000;

/// A request searches at most this many entries of the trail, and says where the next begins.
const MOST_SEARCHED: u64 = 1 << 18;

/// Fields of an entry of schema 1 that may name a person. Later entries have a commitment instead.
const PERSONAL: [&str; 4] = ["principal", "peer", "user_agent", "detail"];

/// Selects entries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Which {
    /// Only this application. A regulator gets its own in any case.
    app: Option<String>,
    /// Only this stream, as the entries name it.
    stream: Option<String>,
    /// Only this session: its id, or the first or last characters of it.
    session: Option<String>,
    /// Only this action, such as `publish_started`.
    action: Option<String>,
    /// From this time on, in milliseconds since 1970 (UTC).
    since_ms: Option<u64>,
    /// Before this time, in milliseconds since 1970 (UTC).
    until_ms: Option<u64>,
    /// From this index on: 0, or `next` of the answer before.
    from: u64,
    /// At most this many entries: 1 to 1,000. The default is 100.
    limit: Option<usize>,
    /// Why names are shown, too. Without one they are not.
    purpose: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Entries {
    /// The entries that match, in the order of the trail.
    entries: Vec<EntryView>,
    /// From which index on to ask for more; absent at the end of what is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
    /// How many entries are published.
    size: u64,
}

/// An entry of the trail.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryView {
    /// Its index, from 0. `/trail/proof?index=N` proves it.
    index: u64,
    /// The hash of its leaf in the log, in base64.
    leaf_hash: String,
    /// The record as the entry has it. Of an entry of schema 1 the names of persons are missing,
    /// and `principal`, `peer`, `user_agent` and `detail` are `null` in their places.
    #[schema(value_type = Object)]
    record: Value,
    /// The opening that the entry commits to, if a purpose was given and the vault has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    opening: Option<Value>,
}

impl EntryView {
    fn of(hit: &Hit) -> Self {
        let mut record: Value = serde_json::from_slice(&hit.entry).unwrap_or_default();
        // An entry of schema 1 does not name its schema, or names the first.
        let is_first = record.get("v").is_none_or(|version| version == 1);
        if is_first {
            for name in PERSONAL {
                if let Some(value) = record.get_mut(name) {
                    *value = Value::Null;
                }
            }
        }
        Self {
            index: hit.index,
            leaf_hash: leaf_hash(&hit.entry).to_string(),
            record,
            opening: None,
        }
    }
}

/// Records of the trail, in its order, without the names of persons unless there is a purpose. A
/// regulator sees those of one application. Each was proven to be in the tree that the published
/// checkpoint signs.
#[utoipa::path(
    get,
    path = "/api/v1/trail/entries",
    operation_id = "list_entries",
    tag = "trail",
    security((), ("token" = [])),
    params(
        ("app" = Option<String>, Query, description = "Only this application. A regulator gets its own in any case."),
        ("stream" = Option<String>, Query, description = "Only this stream, as the entries name it."),
        ("session" = Option<String>, Query, description = "Only this session: its id, or the first or last characters of it."),
        ("action" = Option<String>, Query, description = "Only this action, such as `publish_started`."),
        ("since_ms" = Option<u64>, Query, description = "From this time on, in milliseconds since 1970 (UTC)."),
        ("until_ms" = Option<u64>, Query, description = "Before this time, in milliseconds since 1970 (UTC)."),
        ("from" = Option<u64>, Query, description = "From this index on: 0, or `next` of the answer before."),
        ("purpose" = Option<String>, Query, description = "For auditors: shows the openings that entries commit to, for this purpose, which goes on record (`admin_disclosed`): 1 to 256 bytes that name nobody."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "At most this many entries, 1 to 1,000. The default is 100."),
    ),
    responses(
        (status = 200, description = "The entries. There may be none although `next` says that there is more to search.", body = Entries),
        (status = 400, description = "Not such a selection, or an unknown key.", body = Problem),
        (status = 500, description = "The trail cannot be read; the server's log says why.", body = Problem),
        (status = 503, description = "Too many requests read the trail; `Retry-After` says when to ask again.", body = Problem),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    Extension(operator): Extension<Operator>,
    Asked(which): Asked<Which>,
) -> Result<Json<Entries>, ApiError> {
    let limit = which.limit.unwrap_or(ENTRIES);
    if !(1..=MOST_ENTRIES).contains(&limit) {
        let problem = format!("limit={limit}: allowed are 1 to {MOST_ENTRIES}");
        return Err(ApiError::BadQuery(problem));
    }
    let filter = filter_of(&which, operator.application())?;
    let directory = state.inner.directory.clone();
    let asked = format!("{filter:?}");
    let purpose = which.purpose.as_deref();
    let purpose = purpose.map(|text| purpose_of(Some(text))).transpose()?;
    if purpose.is_some() && !operator.discloses() {
        return Err(ApiError::RoleNotAllowed);
    }
    let vault = purpose.map(|_| state.inner.trail.personal().clone());
    let (found, shown, hash) = blocking(&state, move |reader| {
        let hits = search(reader, &directory, filter, limit)?;
        let (found, shown) = hits.view(vault.as_deref());
        // A trail in memory has no key for hashes of filters.
        Ok((found, shown, filter_hash(&directory, &asked).ok()))
    })
    .await?;
    if let Some(purpose) = purpose {
        let by = operator.name.clone();
        on_record(&state, by, purpose, hash.clone(), shown)?;
    }
    let kind = Kind {
        act: Act::Read,
        by: operator.name,
        protocol: HTTP_API,
        what: "entries".to_owned(),
        filter: hash,
    };
    let ends = (found.entries.first(), found.entries.last());
    let range = match ends {
        (Some(first), Some(last)) => Some((first.index, last.index)),
        _ => None,
    };
    let (looks, pipeline) = (state.inner.trail.looks(), &state.inner.pipeline);
    looks.now(kind, range, pipeline);
    Ok(Json(found))
}

/// The filter of a request of a caller who may see this application alone.
fn filter_of(which: &Which, own: Option<&AppName>) -> Result<Filter, ApiError> {
    if let (Some(own), Some(app)) = (own, &which.app)
        && own.as_str() != app
    {
        return Err(ApiError::RoleNotAllowed);
    }
    if let Some(action) = &which.action
        && !AuditAction::labels().any(|label| label == action)
    {
        let known = AuditAction::labels().collect::<Vec<_>>();
        let problem = format!("no such action; the actions are {}", known.join(", "));
        return Err(ApiError::BadQuery(problem));
    }
    let session = which.session.as_deref().map(str::to_lowercase);
    let is_part = |id: &String| {
        let fits = id.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        fits && (1..=36).contains(&id.len())
    };
    if session.as_ref().is_some_and(|id| !is_part(id)) {
        let problem = "session: allowed are hexadecimal digits and `-`, all of an id or its ends";
        return Err(ApiError::BadQuery(problem.to_owned()));
    }
    let mut filter = Filter::default();
    filter.app = own.map(ToString::to_string).or_else(|| which.app.clone());
    filter.stream.clone_from(&which.stream);
    filter.session = session;
    filter.actions = which.action.iter().cloned().collect();
    filter.since_ms = which.since_ms;
    filter.until_ms = which.until_ms;
    let until = which.from.saturating_add(MOST_SEARCHED);
    filter.entries = Some(which.from..until);
    Ok(filter)
}

/// The entries that match. Without an index, as that of a trail in memory, the range is read.
pub(crate) fn find<'a>(
    reader: &'a Reader,
    directory: &Path,
    filter: Filter,
) -> Result<Hits<'a>, IndexError> {
    let indexed = || Index::open(&index_directory(directory), reader)?.find(reader, filter.clone());
    match directory.join("private").is_dir().then(indexed) {
        Some(Ok(hits)) => Ok(hits),
        _ => scan(reader, filter),
    }
}

/// The entries that match, up to the limit.
fn search(
    reader: &Reader,
    directory: &Path,
    filter: Filter,
    limit: usize,
) -> Result<Found, IndexError> {
    let range = filter.entries.clone().unwrap_or_default();
    let hits = find(reader, directory, filter)?;
    let size = hits.checkpoint().head().size;
    let mut found = Vec::new();
    let mut next = (range.end < size).then_some(range.end);
    for hit in hits {
        let hit = hit?;
        if found.len() == limit {
            next = Some(hit.index);
            break;
        }
        found.push(hit);
    }
    Ok(Found {
        hits: found,
        next,
        size,
    })
}

/// What a search has found.
struct Found {
    hits: Vec<Hit>,
    next: Option<u64>,
    size: u64,
}

impl Found {
    /// The answer, with the openings of a vault if there is one, and how many these are.
    fn view(self, personal: Option<&Personal>) -> (Entries, u64) {
        let mut shown = 0;
        let view = |hit: &Hit| {
            let mut view = EntryView::of(hit);
            let of_vault = |personal: &Personal| {
                let opening = personal.with(|vault| opening_of(vault, &hit.record));
                serde_json::from_slice(&opening.ok()??.to_json()).ok()
            };
            view.opening = personal.and_then(of_vault);
            shown += u64::from(view.opening.is_some());
            view
        };
        let entries = Entries {
            entries: self.hits.iter().map(view).collect(),
            next: self.next,
            size: self.size,
        };
        (entries, shown)
    }
}

#[cfg(test)]
mod tests {
    use livetrail_audit::AuditRecord;
    use livetrail_record::encode_canonical;

    use super::*;

    #[test]
    fn a_regulator_gets_its_own_application_and_no_other() {
        let own: AppName = "live".parse().unwrap();
        let asked = |app: Option<&str>| {
            let which = Which {
                app: app.map(str::to_owned),
                ..Which::default()
            };
            filter_of(&which, Some(&own)).map(|filter| filter.app)
        };
        assert_eq!(asked(None), Ok(Some("live".to_owned())));
        assert_eq!(asked(Some("live")), Ok(Some("live".to_owned())));
        assert_eq!(asked(Some("other")), Err(ApiError::RoleNotAllowed));
    }

    #[test]
    fn an_entry_of_the_first_schema_is_shown_without_names() {
        let record = AuditRecord::new(AuditAction::PublishStarted, "live")
            .with_stream("cam")
            .with_principal("alice")
            .with_peer("192.0.2.7:5000")
            .with_user_agent("OBS/31")
            .with_detail("a word of alice");
        let entry = encode_canonical(&record).unwrap();
        let hit = scan_one(&entry);
        let text = serde_json::to_string(&hit).unwrap();
        for name in ["alice", "192.0.2.7", "OBS"] {
            assert!(!text.contains(name), "{text}");
        }
        assert!(text.contains("\"stream\":\"cam\"") && text.contains("\"peer\":null"));
    }

    /// The entry as an answer shows it, found in a log with this entry alone.
    fn scan_one(entry: &[u8]) -> EntryView {
        use livetrail_ledger::{Class, Identity, Ledger, MemStore, SharedStore};
        let store: SharedStore = std::sync::Arc::new(MemStore::new());
        let identity =
            Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap();
        Ledger::create(&store, &identity).unwrap();
        let (ledger, _) = Ledger::builder(store.clone(), identity).open().unwrap();
        ledger.append(Class::Essential, &[entry]).unwrap();
        ledger.close().unwrap();
        let reader = Reader::open(store).unwrap();
        let filter = filter_of(&Which::default(), None).unwrap();
        let found = search(&reader, Path::new(""), filter, 10).unwrap();
        let (mut found, _) = found.view(None);
        assert_eq!((found.entries.len(), found.next, found.size), (1, None, 1));
        found.entries.remove(0)
    }
}
