//! Sends requests to a bucket, and converts its errors into errors of a replica.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use livetrail_replica::ReplicaError;
use livetrail_s3::answer::{MAX_ANSWER_BYTES, Refusal, refusal};
use livetrail_s3::{Bucket, Credentials, Request};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::options::S3Options;
use crate::error::SinksError;

/// Returns the time in seconds since 1970. Each signature and each retention has it.
pub type UnixSeconds = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A server's answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

pub(super) struct Client {
    http: Http<HttpsConnector<HttpConnector>, Full<Bytes>>,
    options: S3Options,
    credentials: Mutex<Option<Credentials>>,
    now_s: UnixSeconds,
}

impl Client {
    pub(super) fn new(options: S3Options, now_s: UnixSeconds) -> Result<Self, SinksError> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(&options)?)
            .https_or_http()
            .enable_http1()
            .build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(options.parallel)
            .build(connector);
        Ok(Self {
            http,
            options,
            credentials: Mutex::new(None),
            now_s,
        })
    }

    pub(super) const fn bucket(&self) -> &Bucket {
        &self.options.bucket
    }

    pub(super) const fn options(&self) -> &S3Options {
        &self.options
    }

    pub(super) fn now_s(&self) -> u64 {
        (self.now_s)()
    }

    /// Discards the credentials, because they may have changed. The next request reads them again.
    pub(super) fn forget_credentials(&self) {
        *self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Sends a request and reads an answer of at most `most` bytes, whatever its status. If the
    /// server is overloaded or has a fault, the result is a temporary error.
    ///
    /// If the server refuses the credentials, they may have been replaced meanwhile. In that case
    /// this sends the request once more with the new ones.
    pub(super) async fn send(&self, request: Request, most: usize) -> Result<Reply, ReplicaError> {
        let used = self.credentials().await?;
        let reply = self.send_as(&used, request.clone(), most).await?;
        if !is_turned_away(&reply) {
            return Ok(reply);
        }
        self.forget_credentials();
        let now = self.credentials().await?;
        if now == used {
            return Ok(reply);
        }
        self.send_as(&now, request, most).await
    }

    async fn send_as(
        &self,
        credentials: &Credentials,
        request: Request,
        most: usize,
    ) -> Result<Reply, ReplicaError> {
        let what = request.what();
        let signed =
            request
                .sign(credentials, self.now_s())
                .map_err(|error| ReplicaError::Unsuitable {
                    what: what.clone(),
                    source: Some(error.into()),
                })?;
        let mut http = hyper::Request::builder()
            .method(signed.method.as_str())
            .uri(&signed.url);
        for (name, value) in &signed.headers {
            http = http.header(name, value);
        }
        let http = http
            .body(Full::new(signed.body))
            .map_err(|error| ReplicaError::Unsuitable {
                what: format!("{what}: it cannot be written as a request"),
                source: Some(error.into()),
            })?;
        let response = self
            .http
            .request(http)
            .await
            .map_err(|error| not_sent(&what, error))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), most.max(MAX_ANSWER_BYTES))
            .collect()
            .await
            .map_err(|error| ReplicaError::Unavailable {
                what: format!("{what}: the answer ended early"),
                source: Some(error),
            })?
            .to_bytes();
        if matches!(status, 408 | 409 | 429 | 500..=599) {
            return Err(refused(&what, status, &body));
        }
        Ok(Reply { status, body })
    }

    /// Sends a request like [`send`](Self::send). Any status other than success is an error.
    pub(super) async fn ask(&self, request: Request) -> Result<Bytes, ReplicaError> {
        let what = request.what();
        let reply = self.send(request, MAX_ANSWER_BYTES).await?;
        if reply.status == 200 {
            Ok(reply.body)
        } else {
            Err(refused(&what, reply.status, &reply.body))
        }
    }

    async fn credentials(&self) -> Result<Credentials, ReplicaError> {
        let known = self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(credentials) = known {
            return Ok(credentials);
        }
        let source = self.options.credentials.clone();
        let found = tokio::task::spawn_blocking(move || source.load())
            .await
            .map_err(|error| ReplicaError::unavailable("the runtime is shutting down", error))?
            .map_err(|error| ReplicaError::denied("no credentials for the bucket", error))?;
        *self
            .credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
        Ok(found)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn tls(options: &S3Options) -> Result<ClientConfig, SinksError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &options.ca_file {
        let unusable = |error: &dyn fmt::Display| SinksError::Pem {
            path: path.clone(),
            what: error.to_string(),
        };
        let pem = std::fs::read(path).map_err(|source| SinksError::File {
            path: path.clone(),
            source,
        })?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        if roots.is_empty() {
            return Err(unusable(&"there is no certificate in it"));
        }
    } else if options.bucket.endpoint().is_tls() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SinksError::Tls(error.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Whether the server refuses our credentials or our rights.
fn is_turned_away(reply: &Reply) -> bool {
    matches!(reply.status, 401 | 403)
        || (reply.status == 400 && refusal(&reply.body).code == "ExpiredToken")
}

/// The error if there is no answer: the network or TLS failed.
fn not_sent(what: &str, error: hyper_util::client::legacy::Error) -> ReplicaError {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    let mut certificate = false;
    while let Some(found) = cause {
        let tls = found.downcast_ref::<rustls::Error>();
        certificate |= matches!(tls, Some(rustls::Error::InvalidCertificate(_)));
        // The source of an I/O error is not the error in it, but that error's source. So `source`
        // alone would skip one error, and I/O errors may contain one another.
        cause = match found.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => found.source(),
        };
    }
    if certificate {
        return ReplicaError::Certificate {
            what: format!(
                "{what}: the server's certificate does not fit; set ca_file if its authority is your own"
            ),
            source: Some(error.into()),
        };
    }
    ReplicaError::unavailable(format!("{what}: no answer"), error)
}

/// Converts a refusal by its code, or else by its status.
pub(super) fn refused(what: &str, status: u16, body: &[u8]) -> ReplicaError {
    let Refusal { code, message, .. } = refusal(body);
    let what = match (code.as_str(), message.as_str()) {
        ("", _) => format!("{what}: status {status}"),
        (code, "") => format!("{what}: {code}"),
        (code, message) => format!("{what}: {code}: {message}"),
    };
    let source = None;
    match (code.as_str(), status) {
        ("RequestTimeTooSkewed", _) => ReplicaError::Unsuitable {
            what: format!("{what}; set this machine's clock"),
            source,
        },
        ("SlowDown" | "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict", _)
        | (_, 408 | 409 | 429 | 500..=599) => ReplicaError::Unavailable { what, source },
        ("NoSuchBucket" | "AuthorizationHeaderMalformed" | "PermanentRedirect", _)
        | (_, 301 | 307) => ReplicaError::Unsuitable {
            what: format!("{what}; check the bucket's name, the endpoint and the region"),
            source,
        },
        (_, 401 | 403) => ReplicaError::Denied {
            what: format!("{what}; check the credentials, and what they may do with this bucket"),
            source,
        },
        ("InvalidRequest" | "InvalidArgument" | "InvalidBucketState", _) => {
            ReplicaError::Unsuitable {
                what: format!("{what}; has the bucket Object Lock?"),
                source,
            }
        }
        _ => ReplicaError::Rejected { what, source },
    }
}

#[cfg(test)]
mod tests {
    use livetrail_replica::ErrorClass;

    use super::*;

    #[test]
    fn a_refusal_has_the_class_of_what_must_be_done() {
        let body = |code: &str| format!("<Error><Code>{code}</Code></Error>").into_bytes();
        for (code, status, class) in [
            ("SlowDown", 503, ErrorClass::Passing),
            ("", 502, ErrorClass::Passing),
            ("ConditionalRequestConflict", 409, ErrorClass::Passing),
            ("AccessDenied", 403, ErrorClass::Permanent),
            ("ExpiredToken", 400, ErrorClass::Permanent),
            ("NoSuchBucket", 404, ErrorClass::Permanent),
            ("RequestTimeTooSkewed", 403, ErrorClass::Permanent),
        ] {
            let error = refused("PUT x", status, &body(code));
            assert_eq!(error.class(), class, "{error:?}");
        }
        let denied = refused("PUT host/x", 403, &body("AccessDenied"));
        assert!(matches!(denied, ReplicaError::Denied { .. }));
        assert!(
            denied.to_string().starts_with("PUT host/x: AccessDenied"),
            "{denied}"
        );
    }
}
