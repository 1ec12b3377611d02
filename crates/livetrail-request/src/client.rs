//! Requests: each within a timeout, with a bounded answer, and no redirect followed.

use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode, header, header::HeaderMap};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::{endpoint::Endpoint, error::RequestError};

/// The name of this program in requests.
const USER_AGENT: &str = concat!("livetrail/", env!("CARGO_PKG_VERSION"));

/// For how long an unused connection stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The bounds of a client's requests.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The time for one request and its answer.
    pub timeout: Duration,
    /// The maximum length of an answer's body, in bytes.
    pub max_answer_bytes: usize,
    /// The maximum number of connections that stay open without a request. Unused ones are closed
    /// after 30 seconds.
    pub idle_connections: usize,
}

/// An answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, at most [`Bounds::max_answer_bytes`].
    pub body: Bytes,
}

impl Reply {
    /// Whether its headers say that it is JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let kind = self.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    }
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// None came in time.
    Late,
    /// The network or TLS failed, or the answer ended early.
    Network(Box<dyn Error + Send + Sync>),
    /// The answer is longer than allowed.
    TooLong,
}

/// With all causes, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("no answer in time"),
            Self::Network(error) => f.write_str(&causes(&**error)),
            Self::TooLong => f.write_str("the answer is too long"),
        }
    }
}

/// A client of one service. It keeps some connections open.
pub struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    endpoint: Endpoint,
    bounds: Bounds,
}

impl Client {
    /// Makes a client. It connects with its first request.
    ///
    /// # Errors
    /// As for [`Endpoint::check`].
    pub fn new(endpoint: Endpoint, bounds: Bounds) -> Result<Self, RequestError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(endpoint.tls()?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(bounds.idle_connections)
            .build(connector);
        Ok(Self {
            http,
            endpoint,
            bounds,
        })
    }

    /// The service.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends `GET` with these values of `Accept`. Must be polled in a runtime of tokio with I/O and
    /// time, as all requests.
    ///
    /// # Errors
    /// [`Failure`]: there is no answer.
    pub async fn get(&self, accept: &'static str) -> Result<Reply, Failure> {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::ACCEPT, header::HeaderValue::from_static(accept));
        self.send(Method::GET, headers, Bytes::new()).await
    }

    /// Sends `POST` with a body of JSON and further headers.
    ///
    /// # Errors
    /// [`Failure`]: there is no answer.
    pub async fn post_json(&self, body: Bytes, mut headers: HeaderMap) -> Result<Reply, Failure> {
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        self.send(Method::POST, headers, body).await
    }

    async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Reply, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.endpoint.uri().clone();
        *request.headers_mut() = headers;
        let agent = header::HeaderValue::from_static(USER_AGENT);
        request.headers_mut().insert(header::USER_AGENT, agent);
        let answered = tokio::time::timeout(self.bounds.timeout, self.exchange(request)).await;
        answered.unwrap_or(Err(Failure::Late))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, Failure> {
        let response = self.http.request(request).await;
        let response = response.map_err(|error| Failure::Network(error.into()))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.bounds.max_answer_bytes)
            .collect()
            .await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Failure::TooLong
            } else {
                Failure::Network(error)
            }
        })?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.endpoint)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

/// An error with its causes, in one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
