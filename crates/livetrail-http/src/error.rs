//! The crate's one error type: why a request for a stream is not answered with one.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use livetrail_engine::{Denied, Reason};

/// Why a request for a stream was refused. Shown to the client as a status code and a short JSON body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused the session; it is on record.
    #[error(transparent)]
    Denied {
        /// What the engine says.
        #[from]
        denied: Denied,
    },
    /// As [`Denied`](Self::Denied) with reason `unauthorized`, and the client has shown no credentials.
    #[error("no credentials were shown")]
    CredentialsMissing {
        /// What the engine says.
        #[source]
        denied: Denied,
    },
    /// The path names nothing that could be a stream.
    #[error("no such path")]
    NoSuchPath,
    /// Another method than GET, HEAD or OPTIONS.
    #[error("method not allowed")]
    Method,
    /// Admission took longer than allowed; the attempt is on record as given up.
    #[error("admission took too long")]
    AdmissionTimeout,
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The status code that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied { denied } => status_of(denied.reason),
            Self::CredentialsMissing { .. } => StatusCode::UNAUTHORIZED,
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::AdmissionTimeout => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The label in the body: a reason of the engine's, or one of this gateway's own.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Denied { denied } | Self::CredentialsMissing { denied } => denied.reason.label(),
            Self::NoSuchPath => "not_found",
            Self::Method => "method_not_allowed",
            Self::AdmissionTimeout => "admission_timeout",
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let status = self.status();
        // Labels and session ids need no escaping.
        let body = match &self {
            Self::Denied { denied } | Self::CredentialsMissing { denied } => format!(
                "{{\"reason\":\"{}\",\"session\":\"{}\"}}\n",
                self.label(),
                denied.session
            ),
            Self::NoSuchPath | Self::Method | Self::AdmissionTimeout => {
                format!("{{\"reason\":\"{}\"}}\n", self.label())
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, OPTIONS"),
            );
        }
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::Unauthorized
        | Reason::Kicked
        | Reason::AddressDenied
        | Reason::CredentialsRevoked => StatusCode::FORBIDDEN,
        // The stream may also end while its viewer is being admitted.
        Reason::AppNotFound | Reason::StreamNotFound | Reason::StreamEnded | Reason::BadName => {
            StatusCode::NOT_FOUND
        }
        Reason::LimitReached | Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::AuditUnavailable
        | Reason::AuthUnavailable
        | Reason::MemoryLimit
        | Reason::ServerShutdown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
