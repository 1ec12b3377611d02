//! Converts a server's errors into errors of a replica.

use std::error::Error as StdError;

use livetrail_replica::ReplicaError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Converts a server's error by its SQLSTATE (PostgreSQL, appendix A), or else by its cause.
pub(super) fn replica_error(what: &str, error: Error) -> ReplicaError {
    let Some(code) = error.code().cloned() else {
        return broken(what, error);
    };
    let source = Some(error.into());
    match code.code() {
        // These codes mean an invalid authorization or a missing privilege. Our triggers use them,
        // too.
        code if code.starts_with("28") || code == "42501" => ReplicaError::Denied {
            what: format!(
                "{what}: not allowed; check user and password, and grant the role livetrail_writer, and for openings livetrail_eraser"
            ),
            source,
        },
        // These codes mean that a database, schema, table, column or function does not exist.
        "3D000" | "3F000" | "42P01" | "42703" | "42883" => ReplicaError::Unsuitable {
            what: format!(
                "{what}: the schema is not there; run `livetrail trail sinks init postgres`"
            ),
            source,
        },
        // The key of the records already exists: someone has added rows beyond the cursor.
        "23505" => ReplicaError::Damaged {
            what: format!("{what}: there are already rows beyond the cursor"),
            source,
        },
        // These codes mean data exceptions, constraints and raised exceptions. The server will
        // never accept the same rows.
        code if code.starts_with("22") || code.starts_with("23") || code == "P0001" => {
            ReplicaError::Rejected {
                what: format!("{what}: refused"),
                source,
            }
        }
        _ => ReplicaError::Unavailable {
            what: what.to_owned(),
            source,
        },
    }
}

/// Whether another writer has moved the cursor. Then a link in the chain of `commits` is missing or
/// already taken.
pub(super) fn is_lost_swap(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::UNIQUE_VIOLATION | &SqlState::FOREIGN_KEY_VIOLATION)
    )
}

/// The error if the server did not answer: the network or TLS failed, or the server ended.
fn broken(what: &str, error: Error) -> ReplicaError {
    let mut tls = None;
    let mut io = false;
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(inner) = found.downcast_ref::<std::io::Error>() {
            io = true;
            let inner = inner.get_ref().and_then(|inner| inner.downcast_ref());
            tls = tls.or(inner);
        }
        tls = tls.or_else(|| found.downcast_ref::<rustls::Error>());
        cause = found.source();
    }
    match tls {
        Some(
            rustls::Error::InvalidCertificate(_)
            | rustls::Error::NoCertificatesPresented
            | rustls::Error::AlertReceived(_),
        ) => ReplicaError::Certificate {
            what: format!("{what}: the certificates do not match"),
            source: Some(error.into()),
        },
        _ if !io && error.to_string().contains("TLS") => ReplicaError::Unsuitable {
            what: format!(
                "{what}: the server offers no TLS; turn `ssl` on there, or say `sslmode=disable` for a network that you trust"
            ),
            source: Some(error.into()),
        },
        _ => ReplicaError::unavailable(what, error),
    }
}
