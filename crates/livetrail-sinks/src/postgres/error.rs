//! Converts a server's errors into errors of a replica.

use std::error::Error as StdError;
use std::fmt;

use livetrail_replica::{BoxError, ReplicaError};
use tokio_postgres::Error;
use tokio_postgres::error::{DbError, SqlState};

/// The classes of SQLSTATEs (PostgreSQL, appendix A) whose messages are about the server, the
/// session or the schema. Messages of all others may have values of a row in them, also those that
/// a trigger raises.
const WITHOUT_VALUES: &[&str] = &[
    "08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58", "XX",
];

/// A server's error without the values of rows. The server's own message can repeat them, and its
/// detail, hint and context, too. So these are dropped, and the message is dropped unless its class
/// is one of [`WITHOUT_VALUES`].
#[derive(Debug)]
struct ServerError {
    severity: String,
    code: String,
    message: Option<String>,
    /// Names of the schema's objects, with what each is.
    objects: Vec<(&'static str, String)>,
}

impl ServerError {
    fn new(error: &DbError) -> Self {
        let objects = [
            ("schema", error.schema()),
            ("table", error.table()),
            ("column", error.column()),
            ("constraint", error.constraint()),
        ];
        let objects = objects.into_iter();
        let objects = objects.filter_map(|(what, name)| Some((what, name?.to_owned())));
        Self {
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: shown(error.code().code(), error.message()),
            objects: objects.collect(),
        }
    }
}

/// The message of an error with this SQLSTATE, if it has no values of rows.
fn shown(code: &str, message: &str) -> Option<String> {
    let class = code.get(..2).unwrap_or_default();
    WITHOUT_VALUES.contains(&class).then(|| message.to_owned())
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity)?;
        match &self.message {
            Some(message) => write!(f, "{message} (SQLSTATE {})", self.code)?,
            None => write!(f, "SQLSTATE {}", self.code)?,
        }
        for (what, name) in &self.objects {
            write!(f, ", {what} {name}")?;
        }
        if self.message.is_none() {
            f.write_str("; the server's log has its message, which may repeat values of a row")?;
        }
        Ok(())
    }
}

impl StdError for ServerError {}

/// An error of a question, without the values of rows.
pub(super) fn without_values(error: Error) -> BoxError {
    match error.as_db_error().map(ServerError::new) {
        Some(server) => server.into(),
        None => error.into(),
    }
}

/// Converts a server's error by its SQLSTATE (PostgreSQL, appendix A), or else by its cause.
pub(super) fn replica_error(what: &str, error: Error) -> ReplicaError {
    let Some(server) = error.as_db_error().map(ServerError::new) else {
        return broken(what, error);
    };
    let code = server.code.clone();
    let source = Some(server.into());
    match code.as_str() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_may_repeat_a_row_are_not_shown() {
        let canary = "invalid input syntax for type uuid: \"canary\"";
        for code in ["22P02", "23505", "23514", "44000", "P0001", "LT001", ""] {
            assert_eq!(shown(code, canary), None, "{code}");
        }
        for code in ["28P01", "42501", "42P01", "53100", "57P01", "XX000"] {
            assert!(shown(code, "no space").is_some(), "{code}");
        }
    }
}
