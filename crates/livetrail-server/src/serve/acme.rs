//! Orders of certificates, while the server runs.

use std::{sync::Arc, time::Duration};

use livetrail_acme::Acme;
use livetrail_engine::Clock;
use livetrail_tls::CertificateStore;
use tokio::time::sleep;

/// Orders a certificate whenever one is due, until `stop` completes. The listeners of the store
/// must be listening. The watch of the certificates then serves the new one, on record.
pub(super) async fn order(
    acme: Acme,
    store: CertificateStore,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) {
    let orders = async {
        let mut failed_at = Duration::ZERO;
        loop {
            // So that many servers do not ask at once.
            let random = getrandom::u32().unwrap_or_default();
            loop {
                let waited = clock.monotonic().saturating_sub(failed_at);
                match acme.schedule().wait(clock.unix_s(), waited, random) {
                    Some(wait) => sleep(wait).await,
                    None => break,
                }
            }
            match acme.issue(&store, || clock.unix_s()).await {
                Ok(issued) => {
                    let expires_at = issued.expires_at;
                    tracing::info!(expires_at, "the authority has issued a certificate");
                }
                Err(error) => {
                    failed_at = clock.monotonic();
                    let failures = acme.schedule().failures;
                    tracing::error!(%error, failures, "the authority has issued no certificate; the one before is still served");
                }
            }
        }
    };
    tokio::select! {
        () = orders => {}
        () = stop => {}
    }
}
