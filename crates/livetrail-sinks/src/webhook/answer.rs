//! Converts an answer into a result for a replica. The body of an answer is not shown: it can
//! repeat an event, with the names in it.

use livetrail_replica::ReplicaError;
use livetrail_request::Failure;

use crate::tls;

/// The result of an answer with this status to a request with the events at these indexes.
pub(super) fn of_status(
    place: &str,
    status: u16,
    (first, last): (u64, u64),
) -> Result<(), ReplicaError> {
    let source = None;
    let what = format!("{place}: status {status}");
    Err(match status {
        200..=299 => return Ok(()),
        401 | 403 => ReplicaError::Denied {
            what: format!("{what}; check that both sides have the same secret"),
            source,
        },
        300..=399 => ReplicaError::Unsuitable {
            what: format!("{what}; redirects are not followed: give the last address"),
            source,
        },
        404 | 405 | 410 | 415 => ReplicaError::Unsuitable {
            what: format!("{what}; is that the address of the web hook, with its path?"),
            source,
        },
        408 | 425 | 429 | 500..=599 => ReplicaError::Unavailable { what, source },
        _ => ReplicaError::Rejected {
            what: format!("{what} for the events with the indexes {first} to {last}"),
            source,
        },
    })
}

/// The error if there is no answer.
pub(super) fn of_failure(place: &str, failure: Failure) -> ReplicaError {
    match failure {
        Failure::Network(error) => match tls::error_in(&*error) {
            Some(found) if tls::is_about_certificates(found) => ReplicaError::Certificate {
                what: format!(
                    "{place}: the certificates do not match; check ca_file, certificate_file and the name in the service's certificate"
                ),
                source: Some(error),
            },
            Some(rustls::Error::InvalidMessage(_)) => ReplicaError::Unsuitable {
                what: format!("{place}: the other side does not speak TLS there"),
                source: Some(error),
            },
            _ => ReplicaError::Unavailable {
                what: format!("{place}: no answer"),
                source: Some(error),
            },
        },
        other => ReplicaError::Unavailable {
            what: format!("{place}: {other}"),
            source: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ErrorClass;

    use super::*;

    #[test]
    fn a_status_has_the_class_of_what_must_be_done() {
        for status in [200, 202, 204] {
            assert!(of_status("p", status, (1, 2)).is_ok(), "{status}");
        }
        for (status, class) in [
            (408, ErrorClass::Passing),
            (429, ErrorClass::Passing),
            (500, ErrorClass::Passing),
            (503, ErrorClass::Passing),
            (302, ErrorClass::Permanent),
            (400, ErrorClass::Permanent),
            (401, ErrorClass::Permanent),
            (403, ErrorClass::Permanent),
            (404, ErrorClass::Permanent),
            (422, ErrorClass::Permanent),
        ] {
            let error = of_status("p", status, (1, 2)).unwrap_err();
            assert_eq!(error.class(), class, "{status}");
            let words = format!("p: status {status}");
            assert!(error.to_string().starts_with(&words), "{error}");
        }
    }
}
