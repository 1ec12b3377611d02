//! Requests over HTTP and HTTPS, with one kept connection per witness.

use std::{io::Read as _, sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

use super::{MAX_ANSWER_BYTES, RawAnswer, WitnessTransport};

/// Blocking HTTP/1.1. Redirections are not followed: a request goes to the configured address. TLS
/// is rustls with aws-lc-rs, and trusts the system's authorities (`SSL_CERT_FILE` and
/// `SSL_CERT_DIR` name others).
#[derive(Debug)]
pub struct HttpTransport {
    agent: Agent,
}

impl HttpTransport {
    /// A client without connections, which trusts the system's authorities.
    #[must_use]
    pub fn new() -> Self {
        let roots = rustls_native_certs::load_native_certs().certs;
        Self::trusting(roots.iter().map(|root| root.as_ref()))
    }

    /// A client that trusts only these authorities, each a certificate in DER.
    pub fn trusting<'a>(roots: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let roots: Vec<_> = roots
            .into_iter()
            .map(|root| Certificate::from_der(root).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .root_certs(RootCerts::new_with_certs(&roots))
            .build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("livetrail/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .build()
            .into();
        Self { agent }
    }
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::new()
    }
}

impl WitnessTransport for HttpTransport {
    fn post(&self, url: &str, body: &str, timeout: Duration) -> Result<RawAnswer, String> {
        let words = |error: ureq::Error| format!("cannot reach it: {error}");
        let mut response = self
            .agent
            .post(url)
            .config()
            .timeout_global(Some(timeout))
            .build()
            .header("Content-Type", "text/plain; charset=utf-8")
            .send(body)
            .map_err(words)?;
        let status = response.status().as_u16();
        let content_type = response
            .headers()
            .get("Content-Type")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut body = Vec::new();
        let most = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX);
        response
            .body_mut()
            .as_reader()
            .take(most)
            .read_to_end(&mut body)
            .map_err(|error| format!("its answer is incomplete: {error}"))?;
        Ok(RawAnswer {
            status,
            content_type,
            body,
        })
    }
}
