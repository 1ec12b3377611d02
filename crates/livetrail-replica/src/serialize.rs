//! `Serialize` for the status of a replica. States are their labels, and durations are whole
//! milliseconds, in a field that says so.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::{personal::PersonalMode, sink::Delivery, status::ReplicaState};

impl Serialize for ReplicaState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

impl Serialize for PersonalMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.label())
    }
}

pub(crate) fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ReplicaOptions;
    use crate::status::Board;

    #[test]
    fn a_status_is_serialized_with_labels_and_milliseconds() {
        let board = Board::new(
            "archive",
            Delivery::AtLeastOnce,
            PersonalMode::Opening,
            &ReplicaOptions::default(),
        );
        board.answered(2);
        assert_eq!(
            serde_json::to_value(board.status(5)).unwrap(),
            serde_json::json!({
                "name": "archive",
                "required": true,
                "delivery": "at_least_once",
                "state": "starting",
                "cursor": 2,
                "lag_records": 3,
                "lag_ms": 0,
                "records": 0,
                "bytes": 0,
                "errors": 0,
                "failing_ms": 0,
                "last_error": null,
                "left_behind": false,
                "skipped_records": 0,
                "lost_records": 0,
                "went_back": 0,
                "personal": "opening",
                "erased_up_to": null,
                "pending_erasures": 0,
                "erasure_lag_ms": 0,
                "erasure_overdue": false,
                "erasure_error": null,
            })
        );
    }
}
