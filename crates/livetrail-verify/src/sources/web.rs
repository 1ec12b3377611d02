//! Fetching files over HTTP, with TLS if built in (feature `https`).

use std::time::Duration;

use ureq::Agent;

/// The longest time of one request in total.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A client that does not follow redirections, so the verified site is the one asked for.
///
/// With `tls` it uses rustls with aws-lc-rs, and trusts the system's authorities (`SSL_CERT_FILE`
/// and `SSL_CERT_DIR` name others). HTTPS hides the token and the requested paths; integrity does
/// not depend on it.
pub(crate) fn agent(tls: bool) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(REQUEST_TIMEOUT));
    #[cfg(feature = "https")]
    let config = if tls {
        config.tls_config(system_trust())
    } else {
        config
    };
    #[cfg(not(feature = "https"))]
    let _ = tls;
    config.build().into()
}

#[cfg(feature = "https")]
fn system_trust() -> ureq::tls::TlsConfig {
    use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

    let native = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<_> = native
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(std::sync::Arc::new(provider))
        .root_certs(RootCerts::new_with_certs(&roots))
        .build()
}
