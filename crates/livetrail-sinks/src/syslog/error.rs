//! Converts network errors into errors of a replica.

use std::io;

use livetrail_replica::ReplicaError;

use super::target::SyslogTarget;
use crate::tls;

/// An I/O error of a step.
pub(super) fn of_io(step: &str, target: &SyslogTarget, error: io::Error) -> ReplicaError {
    let what = format!("cannot {step} {}", target.place());
    match tls::error_in(&error) {
        Some(found) if tls::is_about_certificates(found) => ReplicaError::Certificate {
            what: format!(
                "{what}: the certificates do not match; check ca_file, certificate_file and the name in the receiver's certificate"
            ),
            source: Some(error.into()),
        },
        Some(rustls::Error::InvalidMessage(_)) => ReplicaError::Unsuitable {
            what: format!("{what}: is that a receiver of syslog over TLS?"),
            source: Some(error.into()),
        },
        _ => ReplicaError::unavailable(what, error),
    }
}

/// The connection ended, and nothing shows that the receiver has read everything.
pub(super) fn not_confirmed(target: &SyslogTarget, error: io::Error) -> ReplicaError {
    ReplicaError::unavailable(
        format!(
            "{} ended the connection without TLS's close_notify, so it is not known what it has read. If it always does that \
             (rsyslog's driver gtls; its driver ossl does not), set accept_plain_close = true",
            target.place()
        ),
        error,
    )
}

/// The peer sends data, which a receiver of syslog never does.
pub(super) fn talks(target: &SyslogTarget) -> ReplicaError {
    ReplicaError::unsuitable(format!(
        "{} talks, and a receiver of syslog says nothing: is that one?",
        target.place()
    ))
}
