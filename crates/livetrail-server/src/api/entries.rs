//! `/api/v1/trail/entries`: the records of the trail, without the names of persons.

use std::path::Path;

use axum::{Extension, Json, extract::State};
use livetrail_audit::AuditAction;
use livetrail_engine::AppName;
use livetrail_index::{Filter, Hit, Index, IndexError, scan};
use livetrail_ledger::Reader;
use livetrail_tlog::leaf_hash;
use livetrail_trail::{
    index_directory,
    looked::{Act, Kind, notes::filter_hash},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApiError, ApiState, Problem, query::Asked, token::Operator, trail::blocking};
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
        }
    }
}

/// Records of the trail, in its order, without the names of persons. A regulator sees those of one
/// application. Each was proven to be in the tree that the published checkpoint signs.
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
    let (found, hash) = blocking(&state, move |reader| {
        let found = search(reader, &directory, filter, limit)?;
        // A trail in memory has no key for hashes of filters.
        Ok((found, filter_hash(&directory, &asked).ok()))
    })
    .await?;
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

/// The entries that match, up to the limit.
fn search(
    reader: &Reader,
    directory: &Path,
    filter: Filter,
    limit: usize,
) -> Result<Entries, IndexError> {
    let range = filter.entries.clone().unwrap_or_default();
    let indexed = || Index::open(&index_directory(directory), reader)?.find(reader, filter.clone());
    // A trail in memory has no index. Without one the range is read.
    let hits = match directory.join("private").is_dir().then(indexed) {
        Some(Ok(hits)) => hits,
        _ => scan(reader, filter.clone())?,
    };
    let size = hits.checkpoint().head().size;
    let mut entries = Vec::new();
    let mut next = (range.end < size).then_some(range.end);
    for hit in hits {
        let hit = hit?;
        if entries.len() == limit {
            next = Some(hit.index);
            break;
        }
        entries.push(EntryView::of(&hit));
    }
    Ok(Entries {
        entries,
        next,
        size,
    })
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
        let mut found = search(&reader, Path::new(""), filter, 10).unwrap();
        assert_eq!((found.entries.len(), found.next, found.size), (1, None, 1));
        found.entries.remove(0)
    }
}
