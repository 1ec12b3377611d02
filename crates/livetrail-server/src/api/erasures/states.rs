//! What became of requests to erase, as the trail says.

use std::collections::BTreeMap;

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_record::Value;
use serde::Serialize;
use utoipa::ToSchema;

/// The actions that say what became of a request.
pub(super) const ACTIONS: [AuditAction; 4] = [
    AuditAction::AdminErasureApproved,
    AuditAction::AdminErased,
    AuditAction::AdminErasureWaits,
    AuditAction::AdminErasureCompleted,
];

/// A request to erase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct ErasureState {
    /// Its number.
    request: String,
    /// `waits_for_approval`; `forgotten` when it waited for a day: ask again; `approved` when it
    /// failed after its last approval, and is repeated until it is done; `held` when a hold keeps
    /// some of it; `erased` when a sink has openings and has not erased them yet; `completed`.
    #[schema(example = "completed")]
    state: &'static str,
    /// The legal basis.
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<String>,
    /// Who asked and who approved, by the names of their tokens.
    by: Vec<String>,
    /// Openings that were erased so far.
    erased: u64,
    /// The holds that keep some of it.
    holds: Vec<String>,
    /// When the trail last recorded something about it, in milliseconds since 1970 (UTC).
    last_ts_ms: u64,
    /// What it selects, while it waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    selects: Option<String>,
    /// How many further tokens must approve it.
    approvals_missing: usize,
}

/// The requests that records are about, the one with the newest record first. `waiting` are those
/// that wait for approval, with what each selects and how many approvals it lacks. `repeated` are
/// those that failed after their last approval.
pub(super) fn states(
    records: &[AuditRecord],
    waiting: &BTreeMap<String, (String, usize)>,
    repeated: &[String],
) -> Vec<ErasureState> {
    let mut states: BTreeMap<String, ErasureState> = BTreeMap::new();
    for record in records {
        // What expires has no number.
        let Some(request) = text(record, "request") else {
            continue;
        };
        let state = states.entry(request.clone()).or_insert(ErasureState {
            request,
            state: "forgotten",
            basis: None,
            by: Vec::new(),
            erased: 0,
            holds: Vec::new(),
            last_ts_ms: 0,
            selects: None,
            approvals_missing: 0,
        });
        state.add(record);
    }
    for (request, (selects, missing)) in waiting {
        if let Some(state) = states.get_mut(request) {
            state.state = "waits_for_approval";
            state.selects = Some(selects.clone());
            state.approvals_missing = *missing;
        }
    }
    for request in repeated {
        if let Some(state) = states.get_mut(request) {
            state.state = "approved";
        }
    }
    let mut states: Vec<_> = states.into_values().collect();
    states.sort_by_key(|state| std::cmp::Reverse(state.last_ts_ms));
    states
}

impl ErasureState {
    fn add(&mut self, record: &AuditRecord) {
        self.last_ts_ms = self.last_ts_ms.max(record.ts_ms);
        self.basis = text(record, "basis").or(self.basis.take());
        if let Some(by) = &record.by
            && !self.by.contains(by)
        {
            self.by.push(by.clone());
        }
        match record.action {
            AuditAction::AdminErased => {
                self.erased = self.erased.saturating_add(record.count.unwrap_or(0));
                self.holds.clear();
                self.state = "erased";
            }
            AuditAction::AdminErasureWaits => {
                self.holds.extend(text(record, "hold"));
                self.state = "held";
            }
            AuditAction::AdminErasureCompleted => {
                self.holds.clear();
                self.state = "completed";
            }
            _ => {}
        }
    }
}

fn text(record: &AuditRecord, name: &str) -> Option<String> {
    match record.extra.get(name) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(action: AuditAction, request: &str, ts_ms: u64) -> AuditRecord {
        AuditRecord::new(action, "")
            .with_ts_ms(ts_ms)
            .with_by("dpo")
            .with_extra("request", Value::Text(request.to_owned()))
            .unwrap()
    }

    #[test]
    fn the_last_record_of_a_request_says_its_state() {
        let mut held = record(AuditAction::AdminErasureWaits, "2", 4);
        held = held
            .with_extra("hold", Value::Text("case-1".to_owned()))
            .unwrap();
        let records = [
            record(AuditAction::AdminErasureApproved, "1", 1),
            record(AuditAction::AdminErased, "1", 2).with_count(5),
            record(AuditAction::AdminErased, "2", 3).with_count(7),
            held,
            record(AuditAction::AdminErasureCompleted, "1", 5),
            record(AuditAction::AdminErasureApproved, "3", 6),
            record(AuditAction::AdminErasureApproved, "4", 7),
            record(AuditAction::AdminErased, "5", 8),
            record(AuditAction::AdminErasureApproved, "6", 9),
            // What expires.
            AuditRecord::new(AuditAction::AdminErased, "").with_count(9),
        ];
        let waiting = BTreeMap::from([("4".to_owned(), ("one session".to_owned(), 1))]);
        let found: Vec<_> = states(&records, &waiting, &["6".to_owned()])
            .into_iter()
            .map(|state| (state.request, state.state, state.erased, state.holds.len()))
            .collect();
        let wanted = [
            ("6", "approved", 0, 0),
            ("5", "erased", 0, 0),
            ("4", "waits_for_approval", 0, 0),
            ("3", "forgotten", 0, 0),
            ("1", "completed", 5, 0),
            ("2", "held", 7, 1),
        ];
        let wanted = wanted.map(|(id, state, erased, holds)| (id.to_owned(), state, erased, holds));
        assert_eq!(found, wanted);
    }
}
