//! Converts librdkafka's errors into errors of a replica.

use livetrail_replica::ReplicaError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

const ANOTHER_WRITES: &str = "another process writes this partition now";

/// Converts an error of an operation. The result never repeats a setting, which may be the
/// password.
pub(super) fn of(error: KafkaError, doing: &str) -> ReplicaError {
    match error {
        KafkaError::ClientConfig(_, why, key, _) => {
            ReplicaError::unsuitable(format!("{doing}: setting `{key}`: {why}"))
        }
        KafkaError::ClientCreation(why) => ReplicaError::unsuitable(format!("{doing}: {why}")),
        KafkaError::AdminOp(code) => of_code(code, doing),
        error => match error.rdkafka_error_code() {
            Some(code) => of_code(code, &format!("{doing}: {error}")),
            None => ReplicaError::unavailable(doing, error),
        },
    }
}

/// Whether the broker refuses our login, or we do not trust its certificate.
pub(super) fn is_refusal(code: Code, reason: &str) -> bool {
    match code {
        Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism => {
            true
        }
        // Otherwise the connection broke on the way.
        Code::SSL => reason.contains("certificate"),
        _ => false,
    }
}

/// The error for such a refusal.
pub(super) fn refused(code: Code, reason: &str) -> ReplicaError {
    if code == Code::SSL {
        return ReplicaError::Certificate {
            what: format!("a broker's certificate is not believed, or ours is not: {reason}"),
            source: Some(code.into()),
        };
    }
    ReplicaError::denied(format!("the brokers do not let us in: {reason}"), code)
}

/// Converts an error code of an operation.
pub(super) fn of_code(code: Code, doing: &str) -> ReplicaError {
    let what = |then: &str| format!("{doing}: {then}");
    match code {
        Code::TopicAuthorizationFailed => ReplicaError::denied(
            what("grant `Read`, `Write`, `Describe` and `DescribeConfigs` on the topic"),
            code,
        ),
        Code::TransactionalIdAuthorizationFailed => ReplicaError::denied(
            what("grant `Write` and `Describe` on transactional ids that begin with `livetrail.`"),
            code,
        ),
        Code::ClusterAuthorizationFailed
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => ReplicaError::denied(what("not allowed"), code),
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => {
            unsuitable(what("there is no such topic or partition"), code)
        }
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
            unsuitable(
                what("the brokers are too old, or have no transactions"),
                code,
            )
        }
        Code::InvalidTransactionTimeout => unsuitable(
            what("set the brokers' `transaction.max.timeout.ms` to 60000 or more"),
            code,
        ),
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => ReplicaError::Rejected {
            what: what("the brokers do not take it"),
            source: Some(code.into()),
        },
        code if is_fencing(code) => ReplicaError::unavailable(
            what(&format!("{ANOTHER_WRITES}, and we were fenced off")),
            code,
        ),
        _ => ReplicaError::unavailable(doing, code),
    }
}

/// Another writer is at work, and this sink leaves the partition to it.
pub(super) fn another_writes() -> ReplicaError {
    ReplicaError::Unavailable {
        what: ANOTHER_WRITES.to_owned(),
        source: None,
    }
}

/// Whether another writer has taken the partition over.
pub(super) fn is_fenced_off(error: &ReplicaError) -> bool {
    let code = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Code>());
    code.is_some_and(|code| is_fencing(*code))
}

const fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::InvalidProducerIdMapping
    )
}

fn unsuitable(what: String, code: Code) -> ReplicaError {
    ReplicaError::Unsuitable {
        what,
        source: Some(code.into()),
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ErrorClass;

    use super::*;

    #[test]
    fn errors_for_a_person_are_distinguished_from_those_that_pass() {
        for code in [
            Code::TopicAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::UnknownTopicOrPartition,
            Code::MessageSizeTooLarge,
            Code::InvalidTransactionTimeout,
        ] {
            assert_eq!(
                of_code(code, "x").class(),
                ErrorClass::Permanent,
                "{code:?}"
            );
        }
        for code in [
            Code::NotEnoughReplicas,
            Code::ProducerFenced,
            Code::BrokerTransportFailure,
            Code::CoordinatorNotAvailable,
            Code::NotLeaderForPartition,
            Code::KafkaStorageError,
        ] {
            let error = of_code(code, "x");
            assert_eq!(error.class(), ErrorClass::Passing, "{code:?}");
            assert_eq!(is_fenced_off(&error), code == Code::ProducerFenced);
        }
    }

    #[test]
    fn a_connection_that_breaks_in_a_handshake_is_no_bad_certificate() {
        let broke = "SSL handshake failed: Disconnected";
        assert!(!is_refusal(Code::SSL, broke));
        let bad = "SSL handshake failed: ssl/statem/statem_clnt.c: certificate verify failed";
        assert!(is_refusal(Code::SSL, bad));
        assert_eq!(refused(Code::SSL, bad).class(), ErrorClass::Permanent);
    }
}
