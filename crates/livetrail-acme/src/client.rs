//! Requests to the authority: over TLS, each within a timeout, with a bounded answer.

use std::{error::Error as StdError, io, path::Path, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::AcmeError;

/// The longest that one request takes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer: a chain of certificates is a few KiB.
const MAX_ANSWER_BYTES: usize = 256 << 10;

/// A client of the authority.
pub(crate) struct Client {
    http: Http<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

impl Client {
    /// A client that trusts the authorities in this file, or those of the system.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, AcmeError> {
        let roots = match ca {
            Some(path) => authorities(path)?,
            None => system_authorities()?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Other(error.into()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_only()
            .enable_http1()
            .build();
        let http = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(TIMEOUT)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { http })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let answer = self.http.request(request);
        let exchange = async {
            let (head, body) = answer.await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
            let response = Response::from_parts(head, Full::new(body.to_bytes()));
            Ok::<_, Box<dyn StdError + Send + Sync>>(BytesResponse::from(response))
        };
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, exchange).await {
                Ok(answered) => answered.map_err(|error| Error::Other(causes(&*error).into())),
                Err(_) => Err(Error::Other("no answer in time".into())),
            }
        })
    }
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn authorities(path: &Path) -> Result<RootCertStore, AcmeError> {
    let contents = std::fs::read(path).map_err(|error| AcmeError::File {
        path: path.to_owned(),
        error,
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&contents) {
        let added = certificate.map_err(io::Error::other);
        let added = added.and_then(|added| roots.add(added).map_err(io::Error::other));
        added.map_err(|error| AcmeError::File {
            path: path.to_owned(),
            error,
        })?;
    }
    if roots.is_empty() {
        return Err(AcmeError::Authorities {
            path: path.to_owned(),
        });
    }
    Ok(roots)
}

fn system_authorities() -> Result<RootCertStore, AcmeError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(AcmeError::NoAuthorities);
    }
    Ok(roots)
}
