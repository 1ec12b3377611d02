//! Converts a collector's answer into a result for a replica.
//!
//! A collector's message can repeat a record, with the names in it. So it is shown only for a
//! status that the collector decides on before it reads the records.

use std::ops::Range;

use livetrail_replica::ReplicaError;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

/// The maximum number of characters of a collector's message that an error repeats.
const MAX_WORDS: usize = 300;

/// What stands for a message that is not shown.
const NOT_SHOWN: &str = "the collector's message may repeat a record and is not shown";

/// The body of a collector's answer if it refuses a request as a whole (`google.rpc.Status`).
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
}

/// Checks an answer with a status of success: the collector must have accepted all records at these
/// indexes.
pub(super) fn taken(place: &str, sent: &Range<u64>, body: &[u8]) -> Result<(), ReplicaError> {
    let Ok(answer) = ExportLogsServiceResponse::decode(body) else {
        return Err(ReplicaError::unsuitable(format!(
            "{place} does not answer in protobuf: is that the address of a collector for OTLP over HTTP?"
        )));
    };
    let Some(partial) = answer.partial_success else {
        return Ok(());
    };
    if partial.rejected_log_records == 0 {
        if !partial.error_message.is_empty() {
            tracing::warn!(
                place,
                "a collector has taken all records and warns; its message may repeat a record and is not shown"
            );
        }
        return Ok(());
    }
    Err(ReplicaError::Rejected {
        what: format!(
            "{place} has rejected {} of the {} records with the indexes {} to {}; {NOT_SHOWN}",
            partial.rejected_log_records,
            sent.end.saturating_sub(sent.start),
            sent.start,
            sent.end.saturating_sub(1)
        ),
        source: None,
    })
}

/// The error for an answer with any other status.
pub(super) fn refused(place: &str, status: u16, body: &[u8]) -> ReplicaError {
    let words = Status::decode(body).map_or_else(|_| String::new(), |status| cut(&status.message));
    let is_early = matches!(status, 300..=399 | 401 | 403 | 404 | 405 | 415);
    let what = match words.as_str() {
        "" => format!("{place}: status {status}"),
        words if is_early => format!("{place}: status {status}: {words}"),
        _ => format!("{place}: status {status}; {NOT_SHOWN}"),
    };
    let source = None;
    match status {
        401 | 403 => ReplicaError::Denied {
            what: format!("{what}; check the headers and the certificate that this sink shows"),
            source,
        },
        408 | 429 | 500..=599 => ReplicaError::Unavailable { what, source },
        300..=399 | 404 | 405 | 415 => ReplicaError::Unsuitable {
            what: format!(
                "{what}; is that the address of a collector for OTLP over HTTP, with its path?"
            ),
            source,
        },
        413 => ReplicaError::Rejected {
            what: format!("{what}; it takes less than a request of about 1 MiB: raise its limit"),
            source,
        },
        _ => ReplicaError::Rejected { what, source },
    }
}

/// Puts a message of another program on one line.
fn cut(words: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    words.chars().take(MAX_WORDS).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ErrorClass;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    #[test]
    fn a_refusal_has_the_class_of_what_must_be_done() {
        for (status, class) in [
            (429, ErrorClass::Passing),
            (502, ErrorClass::Passing),
            (503, ErrorClass::Passing),
            (400, ErrorClass::Permanent),
            (401, ErrorClass::Permanent),
            (403, ErrorClass::Permanent),
            (404, ErrorClass::Permanent),
            (413, ErrorClass::Permanent),
        ] {
            assert_eq!(refused("c", status, b"").class(), class, "{status}");
        }
    }

    #[test]
    fn a_message_that_may_repeat_a_record_is_not_shown() {
        let body = Status {
            message: "no such\ncanary".to_owned(),
        };
        let said = |status| refused("c", status, &body.encode_to_vec()).to_string();
        for status in [401, 403, 404] {
            let words = format!("c: status {status}: no such canary");
            assert!(said(status).starts_with(&words), "{}", said(status));
        }
        for status in [400, 413, 422, 429, 500, 503] {
            let words = format!("c: status {status}; the collector's message may");
            let said = said(status);
            assert!(
                said.starts_with(&words) && !said.contains("canary"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_partial_success_is_a_failure() {
        let answer = |rejected_log_records, words: &str| {
            let partial = ExportLogsPartialSuccess {
                rejected_log_records,
                error_message: words.to_owned(),
            };
            let answer = ExportLogsServiceResponse {
                partial_success: Some(partial),
            };
            taken("c", &(10..20), &answer.encode_to_vec())
        };
        assert!(taken("c", &(10..20), b"").is_ok());
        assert!(answer(0, "slow down").is_ok());
        let error = answer(3, "bad canary").unwrap_err();
        assert_eq!(error.class(), ErrorClass::Permanent);
        let wanted = "c has rejected 3 of the 10 records with the indexes 10 to 19; the collector's message may";
        let said = error.to_string();
        assert!(
            said.starts_with(wanted) && !said.contains("canary"),
            "{said}"
        );
        assert!(taken("c", &(0..1), b"<html>").is_err());
    }
}
