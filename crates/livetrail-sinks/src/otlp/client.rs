//! Requests to a collector, and the times at which it wants none.

use std::fmt;
use std::io::Write as _;
use std::ops::Range;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Http, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use livetrail_replica::{ReplicaError, SealedRange};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::answer;
use super::record;
use super::target::OtlpTarget;
use crate::error::SinksError;
use crate::pause::Pause;
use crate::tls;

/// The maximum number of bytes that are read of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 10;

pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: OtlpTarget,
    pause: Pause,
}

impl Client {
    pub(super) fn new(target: OtlpTarget) -> Result<Self, SinksError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(target.tls()?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self {
            http,
            target,
            pause: Pause::default(),
        })
    }

    /// Sends entries of one log in order, in as many requests as they need.
    pub(super) async fn send_entries(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let origin = range.origin();
        let mut records = Vec::new();
        let mut bytes = 0_usize;
        let mut sent = 0..0;
        for (index, entry, leaf) in range.iter() {
            if records.is_empty() {
                sent.start = index;
            }
            sent.end = index.saturating_add(1);
            records.push(record::entry(index, leaf, entry, range.opening(index)));
            let opening = range
                .opening(index)
                .map_or(0, |opening| opening.json().len());
            bytes = bytes.saturating_add(entry.len()).saturating_add(opening);
            if records.len() >= record::MAX_REQUEST_ENTRIES || bytes >= record::MAX_REQUEST_BYTES {
                self.send(origin, &sent, std::mem::take(&mut records))
                    .await?;
                bytes = 0;
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.send(origin, &sent, records).await
    }

    /// Sends one request for the entries at these indexes. Without records, it only checks that the
    /// collector accepts requests.
    pub(super) async fn send(
        &self,
        origin: &str,
        sent: &Range<u64>,
        records: Vec<LogRecord>,
    ) -> Result<(), ReplicaError> {
        let place = self.target.place();
        self.pause.may_send(&place)?;
        let message = record::request(self.target.service_name(), origin, records);
        let request = self.request(message.encode_to_vec())?;
        let response = self.http.request(request).await;
        let response = response.map_err(|error| not_sent(&place, error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| ReplicaError::Unavailable {
            what: format!("{place}: the answer ended early, or is too long"),
            source: Some(error),
        })?;
        let (status, body) = (head.status.as_u16(), body.to_bytes());
        if head.status.is_success() {
            return answer::taken(&place, sent, &body);
        }
        self.pause.note(status, &head.headers);
        Err(answer::refused(&place, status, &body))
    }

    fn request(&self, message: Vec<u8>) -> Result<Request<Full<Bytes>>, ReplicaError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.target.uri().clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(USER_AGENT, concat!("livetrail/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.target.headers() {
            request = request.header(name, value);
        }
        let mut body = message;
        if self.target.compresses() {
            request = request.header(CONTENT_ENCODING, "gzip");
            body = packed(&body);
        }
        request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ReplicaError::Unsuitable {
                what: format!("{}: it cannot be written as a request", self.target.place()),
                source: Some(error.into()),
            })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// The error if there is no answer: the network or TLS failed.
fn not_sent(place: &str, error: Error) -> ReplicaError {
    match tls::error_in(&error) {
        Some(found) if tls::is_about_certificates(found) => ReplicaError::Certificate {
            what: format!(
                "{place}: the certificates do not match; check ca_file, certificate_file and the name in the collector's certificate"
            ),
            source: Some(error.into()),
        },
        Some(rustls::Error::InvalidMessage(_)) => ReplicaError::Unsuitable {
            what: format!("{place}: the other side does not speak TLS there"),
            source: Some(error.into()),
        },
        _ => ReplicaError::unavailable(format!("{place}: no answer"), error),
    }
}
