//! Requests to a service: each within a timeout, with a bounded answer, and no redirect followed.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{endpoint::Endpoint, error::AuthError};

/// The name of this program in requests.
pub(crate) const USER_AGENT: &str = concat!("livetrail/", env!("CARGO_PKG_VERSION"));

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// Whether it says that it is JSON.
    pub(crate) is_json: bool,
    pub(crate) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// None came in time.
    Late,
    /// The network or TLS failed, or the answer ended early.
    Network(String),
    /// The answer is longer than allowed.
    TooLong,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("no answer in time"),
            Self::Network(what) => f.write_str(what),
            Self::TooLong => f.write_str("the answer is too long"),
        }
    }
}

/// A client of one service. It keeps some connections open.
pub(crate) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    max_answer_bytes: usize,
}

impl Client {
    pub(crate) fn new(
        endpoint: &Endpoint,
        timeout: Duration,
        max_answer_bytes: usize,
        idle_connections: usize,
    ) -> Result<Self, AuthError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(endpoint.tls()?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(idle_connections)
            .build(connector);
        Ok(Self {
            http,
            timeout,
            max_answer_bytes,
        })
    }

    /// Sends a request. Must be polled in the host's runtime.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let answered = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        answered.unwrap_or(Err(Failure::Late))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let response = self.http.request(request).await;
        let response = response.map_err(|error| Failure::Network(causes(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.max_answer_bytes).collect().await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Failure::TooLong
            } else {
                Failure::Network(causes(&*error))
            }
        })?;
        let kind = head.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        Ok(Reply {
            status: head.status,
            is_json: kind.eq_ignore_ascii_case("application/json"),
            body: body.to_bytes(),
        })
    }
}

/// An error with its causes, in one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
