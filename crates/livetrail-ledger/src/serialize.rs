//! `Serialize` for what people and programs are shown. Durations are whole milliseconds, in a field
//! that says so. Errors are texts with their causes.

use std::{error::Error, sync::Arc, time::Duration};

use livetrail_tlog::TreeHead;
use serde::{Serialize, Serializer};

#[derive(Serialize)]
struct Head {
    size: u64,
    root: String,
}

pub(crate) fn head<S: Serializer>(head: &TreeHead, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = Head {
        size: head.size,
        root: head.root.to_string(),
    };
    shown.serialize(serializer)
}

pub(crate) fn optional_millis<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let millis = duration.map(|of| u64::try_from(of.as_millis()).unwrap_or(u64::MAX));
    millis.serialize(serializer)
}

pub(crate) fn optional_error<E: Error, S: Serializer>(
    error: &Option<Arc<E>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = error.as_ref().map(|error| with_causes::<E>(error));
    text.serialize(serializer)
}

fn with_causes<E: Error>(error: &E) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use crate::{Passing, Pressure, Status, WitnessStatus};

    use super::*;

    #[test]
    fn the_status_of_a_ledger_is_serialized_with_texts() {
        let status = Status {
            appended: 9,
            durable: 8,
            sealed: TreeHead::EMPTY,
            queue_bytes: 1,
            backlog_bytes: 2,
            pressure: Pressure::ShedRefusals,
            retrying: Some(Arc::new(Passing {
                op: "write",
                path: "private/wal".to_owned(),
                source: io::ErrorKind::StorageFull.into(),
            })),
            retries: 3,
            last_retry: None,
            stopped: None,
            held: vec!["sink archive".to_owned()],
        };
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({
                "appended": 9,
                "durable": 8,
                "sealed": { "size": 0, "root": TreeHead::EMPTY.root.to_string() },
                "queue_bytes": 1,
                "backlog_bytes": 2,
                "pressure": "shed_refusals",
                "retrying": format!(
                    "cannot write private/wal: {}",
                    io::Error::from(io::ErrorKind::StorageFull)
                ),
                "retries": 3,
                "last_retry": null,
                "stopped": null,
                "held": ["sink archive"],
            })
        );
    }

    #[test]
    fn the_status_of_a_witness_is_serialized_with_milliseconds() {
        let status = WitnessStatus {
            name: "w1".to_owned(),
            url: "https://w1.example.com".to_owned(),
            cosigned_size: None,
            failing_for: Some(Duration::from_secs(2)),
            overdue: false,
            error: None,
            cosignatures: 0,
            conflicts: 0,
            failures: 1,
        };
        let status = serde_json::to_value(status).unwrap();
        assert_eq!(status["failing_for_ms"], 2_000);
        assert_eq!(status["failures"], 1);
    }
}
