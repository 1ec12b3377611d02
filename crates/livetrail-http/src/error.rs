//! The crate's one error type: why a request for a stream was refused.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
    response::IntoResponse as _,
};
use livetrail_engine::{Denied, Reason};

use crate::problem::Problem;

/// The `Retry-After` for refusals to which the engine adds no time.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a request for a stream was refused. The client gets it as a status code and a [`Problem`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine refused the session; it is on record.
    #[error(transparent)]
    Denied {
        /// The engine's refusal.
        #[from]
        denied: Denied,
    },
    /// As [`Denied`](Self::Denied) with reason `unauthorized`, but the client has sent no
    /// credentials.
    #[error("no credentials were shown")]
    CredentialsMissing {
        /// The engine's refusal.
        #[source]
        denied: Denied,
    },
    /// The path is not the path of a stream.
    #[error("no such path")]
    NoSuchPath,
    /// A method other than GET, HEAD or OPTIONS.
    #[error("method not allowed")]
    Method,
    /// A trusted proxy asks for itself, as for a health check. It is not on record.
    #[error("a proxy's own connection gets no stream")]
    NoClient,
    /// The gateway stops while the attempt waits for admission; the record says that it was given
    /// up.
    #[error("the server is stopping")]
    Stopping,
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The status code that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied { denied } => status_of(&denied.reason),
            Self::CredentialsMissing { .. } => StatusCode::UNAUTHORIZED,
            Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoClient => StatusCode::FORBIDDEN,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The label in the body: a reason of the engine, or one of this gateway's own labels.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Denied { denied } | Self::CredentialsMissing { denied } => denied.reason.label(),
            Self::NoSuchPath => "not_found",
            Self::Method => "method_not_allowed",
            Self::NoClient => "no_client",
            Self::Stopping => Reason::ServerShutdown.label(),
        }
    }

    fn denied(&self) -> Option<&Denied> {
        match self {
            Self::Denied { denied } | Self::CredentialsMissing { denied } => Some(denied),
            Self::NoSuchPath | Self::Method | Self::NoClient | Self::Stopping => None,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Denied { denied } => meaning(&denied.reason),
            Self::CredentialsMissing { .. } => {
                "a key is needed: as Authorization: Bearer, or as ?token="
            }
            Self::NoSuchPath => "there is nothing here; a stream is /APP/STREAM.flv",
            Self::Method => "a stream is asked for with GET",
            Self::NoClient => {
                "the PROXY header names no client, so there is nobody to send a stream to"
            }
            Self::Stopping => meaning(&Reason::ServerShutdown),
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let status = self.status();
        let mut problem = Problem::new(status, self.label().to_owned()).detail(self.detail());
        let denied = self.denied();
        if let Some(denied) = denied {
            problem = problem.session(denied.session);
        }
        let retry_after = denied.and_then(|denied| denied.retry_after);
        let mut response = problem.into_response();
        let headers = response.headers_mut();
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
            let seconds = retry_after.unwrap_or(RETRY_AFTER).as_secs().max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn status_of(reason: &Reason) -> StatusCode {
    match reason {
        Reason::BadName => StatusCode::BAD_REQUEST,
        Reason::Unauthorized
        | Reason::Kicked
        | Reason::AddressDenied
        | Reason::CredentialsRevoked
        | Reason::TokenExpired
        | Reason::Other(_) => StatusCode::FORBIDDEN,
        // The stream may also end while its viewer is being admitted.
        Reason::AppNotFound | Reason::StreamNotFound | Reason::StreamEnded => StatusCode::NOT_FOUND,
        Reason::LimitReached | Reason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Reason::AuditUnavailable
        | Reason::AuthUnavailable
        | Reason::MemoryLimit
        | Reason::ServerDraining
        | Reason::ServerShutdown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The description of a reason, for people.
fn meaning(reason: &Reason) -> &'static str {
    match reason {
        Reason::BadName => {
            "a name has 1 to 255 bytes, no control or invisible characters, no white space at its ends, and is not . or .."
        }
        Reason::Unauthorized => "the key is wrong",
        Reason::Kicked => "an operator ended the session",
        Reason::AddressDenied => "this address is not let in",
        Reason::CredentialsRevoked => "the key is no longer valid",
        Reason::TokenExpired => "the token has expired",
        Reason::AppNotFound => "there is no such application",
        Reason::StreamNotFound => "nobody publishes this stream",
        Reason::StreamEnded => "the stream's publisher ended",
        Reason::LimitReached => "a limit on sessions or connections was reached",
        Reason::RateLimited => "too many attempts from this address",
        Reason::AuditUnavailable => "the audit trail cannot record the session",
        Reason::AuthUnavailable => "the key could not be checked in time",
        Reason::MemoryLimit => "the memory for streams is used up",
        Reason::ServerDraining => "the server takes no new sessions, because it is going to stop",
        Reason::ServerShutdown => "the server is stopping",
        Reason::Other(_) => "a rule of this server",
        _ => "a fault of the server",
    }
}
