//! The certificates of the listeners that speak TLS, and their exchange while the server runs.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use livetrail_acme::Acme;
use livetrail_audit::AuditPipeline;
use livetrail_engine::Clock;
use livetrail_gateway::TlsAcceptor;
use livetrail_http::HttpGateway;
use livetrail_tls::{CertificateFiles, CertificateStore, ClientAuthorities, Reloaded, ServerTls};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    config::{ClientCertificates, Config},
    operator::{Deed, certificates_changed},
    output::cut,
};

/// The files are compared this often.
const POLL: Duration = Duration::from_secs(1);

/// The same before there are certificates: an idle server does next to nothing.
const POLL_WITHOUT: Duration = Duration::from_secs(10);

/// The certificates, and how they are exchanged. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Certificates {
    store: CertificateStore,
    clock: Arc<dyn Clock>,
    handshake_timeout: Duration,
    /// The authorities that sign the certificates of clients.
    authorities: Option<ClientAuthorities>,
    /// Orders a certificate, which is one of the store.
    acme: Option<Acme>,
}

impl Certificates {
    /// Reads and checks all certificates of the configuration.
    ///
    /// # Errors
    /// The first that cannot be served.
    pub(crate) fn load(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let store = CertificateStore::load(config.tls.files(), now(&*clock));
        let store = store.context("tls.certificate")?;
        let authorities = config.tls.client_ca.as_ref().map(ClientAuthorities::load);
        let authorities = authorities.transpose().context("tls.client_ca")?;
        if let Some(authorities) = &authorities {
            store.watch(authorities);
        }
        Ok(Self {
            store,
            authorities,
            clock,
            handshake_timeout: config.tls.handshake_timeout.0,
            acme: None,
        })
    }

    /// Also serves the certificate of the authority in `[tls.acme]`, if there is one. Makes its
    /// folder.
    ///
    /// # Errors
    /// A file of the folder cannot be used.
    pub(super) fn with_acme(mut self, config: &Config) -> anyhow::Result<Self> {
        if let Some(acme) = &config.tls.acme {
            let now = now(&*self.clock);
            let acme = Acme::open(acme.settings(), config.data.join("acme"), now);
            self.acme = Some(acme.context("tls.acme")?);
            let replaced = self.store.replace(self.files(config), now);
            replaced.context("tls.acme")?;
        }
        Ok(self)
    }

    /// The files of the configuration, and that of the authority's certificate.
    fn files(&self, config: &Config) -> Vec<CertificateFiles> {
        let mut files = config.tls.files();
        files.extend(self.acme.as_ref().map(Acme::files));
        files
    }

    /// What orders a certificate.
    pub(crate) fn acme(&self) -> Option<Acme> {
        self.acme.clone()
    }

    /// No certificates.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        let clock = Arc::new(livetrail_engine::SystemClock::new());
        Self::load(&Config::default(), clock).unwrap()
    }

    /// The store, for metrics and health.
    pub(crate) fn store(&self) -> CertificateStore {
        self.store.clone()
    }

    /// The TLS of a listener for HTTP.
    pub(super) fn https(&self, asks: ClientCertificates) -> anyhow::Result<TlsAcceptor> {
        self.acceptor(HttpGateway::PROTOCOLS, asks)
    }

    /// The TLS of a listener for RTMP.
    pub(super) fn rtmps(&self, asks: ClientCertificates) -> anyhow::Result<TlsAcceptor> {
        self.acceptor(&[], asks)
    }

    fn acceptor(
        &self,
        protocols: &[&str],
        asks: ClientCertificates,
    ) -> anyhow::Result<TlsAcceptor> {
        let authorities = self.authorities.clone().filter(|_| asks.are_asked());
        let is_required = asks == ClientCertificates::Require;
        let authorities = authorities.map(|authorities| (authorities, is_required));
        let tls = ServerTls::new(&self.store, protocols, authorities)?;
        Ok(TlsAcceptor::new(tls, self.handshake_timeout))
    }

    /// Serves the certificates of another configuration, and reads the files again. Returns what
    /// changed, if anything did.
    ///
    /// # Errors
    /// A certificate of a changed list cannot be served. The certificates stay as they were.
    pub(super) fn reload(&self, old: &Config, new: &Config) -> anyhow::Result<Option<Exchange>> {
        let now = now(&*self.clock);
        if old.tls.certificate != new.tls.certificate {
            anyhow::ensure!(
                !self.files(new).is_empty() || !old.speaks_tls(),
                "tls.certificate: listeners speak TLS until the next restart: they need a certificate"
            );
            let replaced = self.store.replace(self.files(new), now);
            replaced.context("tls.certificate")?;
            return Ok(Some(Exchange {
                words: format!("certificates served: {}", new.tls.certificate.len()),
                is_valid: true,
            }));
        }
        Ok(Exchange::of(&self.store.reload(now, true)))
    }

    /// Watches the files until `stop` completes. Each exchange, and each change that is not valid,
    /// is on record.
    pub(super) async fn watch(self, pipeline: Arc<AuditPipeline>, stop: impl Future<Output = ()>) {
        let watch = async {
            let mut ticks = interval(POLL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if self.store.states().is_empty() {
                    sleep(POLL_WITHOUT).await;
                    continue;
                }
                let (store, now) = (self.store.clone(), now(&*self.clock));
                // A file on a network's disk may take long.
                let reloaded = tokio::task::spawn_blocking(move || store.reload(now, false)).await;
                let Ok(reloaded) = reloaded else { continue };
                if let Some(exchange) = Exchange::of(&reloaded) {
                    exchange.record(&pipeline, Deed::Files);
                }
            }
        };
        tokio::select! {
            () = watch => {}
            () = stop => {}
        }
    }
}

/// Seconds since 1970.
fn now(clock: &dyn Clock) -> u64 {
    clock.unix_ms() / 1_000
}

/// A change of certificates, in words for the record: counts, without paths.
#[derive(Debug)]
pub(super) struct Exchange {
    words: String,
    /// Whether everything that has changed is now served.
    is_valid: bool,
}

impl Exchange {
    /// What a reload has found. Logs what is not valid. `None` if nothing has changed.
    fn of(reloaded: &Reloaded) -> Option<Self> {
        for error in &reloaded.invalid {
            tracing::error!(%error, "a file of certificates has changed and is not valid; what was in it before stays in force");
        }
        let (changed, invalid) = (reloaded.changed.len(), reloaded.invalid.len());
        let parts = [
            (changed > 0).then(|| format!("certificates exchanged: {changed}")),
            (invalid > 0).then(|| format!("certificates refused: {invalid}")),
            reloaded
                .authorities
                .then(|| "authorities of clients exchanged".to_owned()),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| Self {
            words: cut(&parts.join("; "), 200),
            is_valid: reloaded.invalid.is_empty(),
        })
    }

    /// Puts the change on record.
    pub(super) fn record(self, pipeline: &AuditPipeline, deed: Deed) {
        tracing::info!("certificates read again: {}", self.words);
        let record = certificates_changed(self.is_valid, self.words, deed);
        if let Err(error) = pipeline.record(record) {
            tracing::error!(%error, "the change of certificates is not on record");
        }
    }
}
