//! The server: builds all its parts, starts, reloads and stops.

mod acme;
mod certificates;
mod denied;
mod drain;
mod heap;
mod hls;
mod hls_keys;
mod hls_revoked;
mod limits;
mod log;
mod notify;
mod plan;
mod proxies;
mod relays;
mod reload;
mod settings;
mod signals;
mod sinks;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use livetrail_audit::AuditPipeline;
use livetrail_engine::{Clock, Engine, EngineBuilder, SystemClock, log as log_names};
use livetrail_gateway::{DenyRules, ListenError};
use livetrail_http::{Hls, HttpGateway};
use livetrail_rtmp::RtmpServer;
use livetrail_trail::{Stopped, Trail};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::field::display;

pub(crate) use certificates::Certificates;
pub(crate) use drain::{Drain, MOST_DRAIN};
use hls_keys::KeyWatch;
pub(crate) use limits::raise_open_files;
pub(crate) use log::init as init_log;
pub(crate) use plan::StartPlan;
use proxies::Proxies;
pub(crate) use relays::Relays;
use relays::Rules;
pub(crate) use reload::Reloadable;
pub(crate) use settings::trail_settings;
pub(crate) use signals::{Harmless, Signals};
pub(crate) use sinks::configured as configured_sinks;
#[cfg(not(all(feature = "kafka", feature = "postgres", feature = "s3")))]
pub(crate) use sinks::not_built;

use crate::{
    api::{self, Admissions, ApiState, Outcomes, TimedGate},
    config::{self, AdmissionRule, Config, Exchangeable, Names, Outside},
    operator::Deed,
};

/// A running server.
pub(crate) struct Server {
    engine: Engine,
    pipeline: Arc<AuditPipeline>,
    /// It is closed after the pipeline. Its directory is locked until then.
    trail: Trail,
    reloadable: Reloadable,
    /// Networks whose connections are closed at once.
    deny: DenyRules,
    addresses: Addresses,
    drain: Drain,
    relays: Relays,
    /// The keys that seal the tokens of viewers, if HLS is on.
    hls_keys: Option<KeyWatch>,
    stop: watch::Sender<bool>,
    gateways: JoinSet<()>,
    shutdown_timeout: Duration,
}

/// The addresses of a server. A port that the system chose is the real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) rtmp: SocketAddr,
    /// RTMP with TLS, if it is on.
    pub(crate) rtmps: Option<SocketAddr>,
    pub(crate) http: SocketAddr,
    /// HTTP with TLS, if it is on.
    pub(crate) https: Option<SocketAddr>,
    /// The same as `http`, unless the API has its own address.
    pub(crate) api: SocketAddr,
}

impl Server {
    /// Opens the sockets, and serves. First it closes on the trail what the boot before left open.
    ///
    /// # Errors
    /// An address cannot be used, or a part of the server cannot start.
    pub(crate) async fn start_with(config: Config, mut trail: Trail) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let certificates = Certificates::load(&config, clock.clone())?.with_acme(&config)?;
        let fitted = limits::fit_connections(&config);
        let personal = config.application.iter();
        let personal = personal.filter(|app| app.names == Names::Personal);
        log_names::set_personal_names(personal.map(|app| app.name.clone()));
        // All sockets are opened before anything is recorded: a server that cannot listen leaves no
        // record.
        let sockets = Sockets::bind(&config).await?;
        if trail.left_open() > 0 {
            tracing::warn!(
                sessions = trail.left_open(),
                "the last run ended without a goodbye: the sessions that it left open are closed on record"
            );
        }
        let pipeline = Arc::new(
            trail
                .pipeline()
                .options(config.audit.options())
                .close_deadline(config.shutdown_timeout.0 / 5)
                .sheds(config.audit.policies(&config.application))
                .build()?,
        );
        // Sessions that were left open are closed on disk before anything new can happen. A trail
        // that cannot do so reports this from the first moment, and strict sessions are refused.
        // The server starts nevertheless.
        match tokio::time::timeout(config.audit.deadline.0, pipeline.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the trail cannot be synced"),
            Err(_) => tracing::error!("the trail was not synced within audit.deadline"),
        }
        let clock = pipeline.clock();
        trail.keep(&pipeline)?;
        let outside = Outside::new(clock.clone(), tokio::runtime::Handle::current());
        let chain = config.auth.chain(&outside, &config.application)?;
        let auth = Arc::new(Exchangeable::new(chain, outside.clone(), &config.api.token));
        let (outcomes, admissions) = (Outcomes::default(), Admissions::default());
        let audit_gate = pipeline.gate(config.audit.policies(&config.application));
        let gate = TimedGate::new(audit_gate.clone(), clock.clone(), admissions.clone());
        let relays = Relays::new(tokio::runtime::Handle::current());
        relays.exchange(Rules::of(&config)?);
        let engine = engine_builder(&config)
            .clock(clock.clone())
            .observer(pipeline.clone())
            .observer(outcomes.clone())
            .authenticator(auth.clone())
            .gate(gate);
        let engine = relays.of_engine(engine, &config).build()?;
        relays.start(&engine);
        let deny = denied::rules(&config, pipeline.clone(), clock.clone());
        let proxies = Proxies::new(&config);
        let hls = match hls_revoked::replay(&config, &engine, &trail.view()).await {
            Ok(()) => hls::of(&config, &engine, &trail.view()),
            Err(error) => Err(error),
        };
        let gateways = hls.and_then(|hls| {
            let (hls, keys) = hls.unzip();
            let parts = (&proxies, &certificates, hls.as_ref());
            Ok((Gateways::new(&fitted, &engine, sockets, parts)?, hls, keys))
        });
        let (gateways, hls, keys) = match gateways {
            Ok(gateways) => gateways,
            Err(error) => {
                // The boot is already on record. The end of the boot follows it.
                let part = config.shutdown_timeout.0 / 5;
                trail.shutdown(&pipeline, part).await;
                return Err(error);
            }
        };
        let drain = Drain::new(engine.clone(), pipeline.clone(), config.drain_timeout.0);
        let state = ApiState::new(
            (&config, &certificates),
            engine.clone(),
            pipeline.clone(),
            (outcomes, admissions, relays.clone(), audit_gate.clone()),
            (trail.view(), outside, hls.clone()),
            deny.clone(),
            drain.clone(),
        );
        let hls_keys = hls.clone().zip(keys);
        let hls_keys =
            hls_keys.map(|(hls, keys)| KeyWatch::new(keys, hls, engine.clock(), pipeline.clone()));
        let mut server = Self {
            hls_keys,
            addresses: Addresses {
                rtmp: gateways.rtmp.local_addr(),
                rtmps: gateways.rtmps.as_ref().map(RtmpServer::local_addr),
                https: gateways.https.as_ref().map(HttpGateway::local_addr),
                http: gateways.http.local_addr(),
                api: gateways.api.as_ref().unwrap_or(&gateways.http).local_addr(),
            },
            reloadable: Reloadable::new(
                config.clone(),
                auth,
                state.tokens(),
                (deny.clone(), proxies, relays.clone(), audit_gate),
                certificates.clone(),
            ),
            deny,
            drain,
            relays,
            shutdown_timeout: config.shutdown_timeout.0,
            engine,
            pipeline,
            stop: watch::Sender::new(false),
            gateways: JoinSet::new(),
            trail,
        };
        server.serve_rtmp(gateways.rtmp, &state);
        if let Some(rtmps) = gateways.rtmps {
            server.serve_rtmp(rtmps, &state);
        }
        let http = [Some(gateways.http), gateways.https];
        server.serve_http(http.into_iter().flatten(), gateways.api, &state);
        if let Some(hls) = hls {
            let stopping = server.stopping();
            server.gateways.spawn(hls.run(stopping));
        }
        if let Some(keys) = server.hls_keys.clone() {
            let stopping = server.stopping();
            server.gateways.spawn(keys.watch(stopping));
        }
        let stopping = server.stopping();
        let keep_small = heap::keep_small(server.engine.clone(), stopping);
        server.gateways.spawn(keep_small);
        if let Some(orders) = certificates.acme() {
            let store = certificates.store();
            let order = acme::order(orders, store, server.pipeline.clock(), server.stopping());
            server.gateways.spawn(order);
        }
        if config.tls.has_certificates() {
            let watch = certificates.watch(server.pipeline.clone(), server.stopping());
            server.gateways.spawn(watch);
        }
        Ok(server)
    }

    /// The addresses on which the server listens.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The engine.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Puts the changeable settings of another configuration in force, and records the change.
    pub(crate) fn reload(&self, loaded: Result<Config, config::ConfigError>) {
        self.reloadable.reload(loaded, &self.engine, &self.pipeline);
        if let Some(keys) = &self.hls_keys {
            keys.reload(Deed::Signal);
        }
    }

    /// Tells the sinks that their files may have been moved away.
    pub(crate) fn reopen_sinks(&self) {
        self.trail.view().reopen_sinks();
    }

    /// Takes no new sessions from now on, on record, and lets the present ones continue for the
    /// configured time.
    pub(crate) fn drain(&self) {
        self.drain.start(None, Deed::Signal);
    }

    /// Ready when the server drains and there is nothing left to wait for.
    pub(crate) async fn drained(&self) {
        self.drain.done().await;
    }

    /// Ends all sessions, writes the trail to its last record, seals it, and closes the sockets.
    pub(crate) async fn stop(mut self) -> Stopped {
        // Each step has a fifth of the time: the sessions, their connections, their records, the
        // last checkpoint, the sinks.
        let part = self.shutdown_timeout / 5;
        // Sessions end first, while their connections can still be notified.
        if !self.engine.shutdown(part).await {
            tracing::warn!("the trail has not been synced yet");
        }
        self.relays.stop();
        self.stop.send_replace(true);
        let gateways = async { while self.gateways.join_next().await.is_some() {} };
        if tokio::time::timeout(part, gateways).await.is_err() {
            tracing::warn!("connections were closed without a goodbye");
            self.gateways.abort_all();
        }
        self.deny.flush();
        let stopped = self.trail.shutdown(&self.pipeline, part).await;
        let records = &stopped.records;
        tracing::info!(
            written = records.written,
            dropped = records.dropped,
            durable = records.durable,
            sealed = stopped.sealed,
            "stopped"
        );
        stopped
    }

    fn serve_rtmp(&mut self, rtmp: RtmpServer, state: &ApiState) {
        state.add_gateway(rtmp.stats());
        let stopping = self.stopping();
        let rtmp = rtmp.deny(self.deny.clone());
        self.gateways.spawn(rtmp.run(stopping));
    }

    fn serve_http(
        &mut self,
        http: impl Iterator<Item = HttpGateway>,
        api: Option<HttpGateway>,
        state: &ApiState,
    ) {
        let api_routes = api::router(state.clone());
        for http in http {
            let of_api = api.is_none().then(|| api_routes.clone());
            let http = http.routes(|playback| {
                let routes = match of_api {
                    Some(of_api) => playback.merge(of_api),
                    None => playback,
                };
                api::with_fallback(routes, state)
            });
            self.serve_one(http.deny(self.deny.clone()), state);
        }
        if let Some(api) = api {
            // The API's tokens decide who may use it. The denied networks are those of publishers
            // and viewers.
            let api = api.routes(|_| api::with_fallback(api_routes, state));
            self.serve_one(api, state);
        }
    }

    fn serve_one(&mut self, gateway: HttpGateway, state: &ApiState) {
        state.add_gateway(gateway.stats());
        let stopping = self.stopping();
        self.gateways.spawn(gateway.run(stopping));
    }

    fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stop.subscribe();
        async move {
            // If the sender is dropped, the server has stopped, too.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    /// What the server does, in words.
    fn status(&self) -> String {
        let Addresses {
            rtmp,
            rtmps,
            http,
            https,
            api,
        } = self.addresses;
        let mut words = format!("serving RTMP on {rtmp}, HTTP on {http}, the API on {api}");
        for (what, address) in [("RTMPS", rtmps), ("HTTPS", https)] {
            if let Some(address) = address {
                words.push_str(&format!(", {what} on {address}"));
            }
        }
        words
    }

    pub(crate) fn log_addresses(&self) {
        let Addresses {
            rtmp,
            rtmps,
            http,
            https,
            api,
        } = self.addresses;
        let (of_rtmps, of_https) = (rtmps.map(display), https.map(display));
        tracing::info!(%rtmp, rtmps = of_rtmps, %http, https = of_https, %api, "serving");
        let auth = &self.reloadable.current().auth;
        let publish = auth.publish_is_open() && auth.publish == AdmissionRule::Auto;
        let play = auth.play_is_open() && auth.play == AdmissionRule::Auto;
        let with_tls = [
            rtmps.map(|address| (publish, "publish", address)),
            rtmps.map(|address| (play, "play", address)),
            https.map(|address| (play, "play", address)),
        ];
        let plain = [
            (publish, "publish", rtmp),
            (play, "play", rtmp),
            (play, "play", http),
        ];
        for (open, what, address) in plain.into_iter().chain(with_tls.into_iter().flatten()) {
            if open && !address.ip().is_loopback() {
                tracing::warn!(
                    %address,
                    "everybody who can reach this address may {what}: add a key ([[auth.key]]) to change that, or say \
                     `{what} = \"open\"` in [auth] if it is meant so"
                );
            }
        }
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(ListenError::from)
        .with_context(|| format!("{key}: cannot listen on {address}"))
}

/// The sockets of a server.
struct Sockets {
    rtmp: TcpListener,
    rtmps: Option<TcpListener>,
    http: TcpListener,
    https: Option<TcpListener>,
    api: Option<TcpListener>,
}

impl Sockets {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let optional = async |key, address: Option<SocketAddr>| match address {
            Some(address) => bind(key, address).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            rtmp: bind("rtmp.listen", config.rtmp.listen).await?,
            rtmps: optional("rtmp.tls_listen", config.rtmp.tls_listen).await?,
            http: bind("http.listen", config.http.listen).await?,
            https: optional("http.tls_listen", config.http.tls_listen).await?,
            api: optional("api.listen", config.api.listen).await?,
        })
    }
}

/// The gateways, which have their sockets and do not serve yet.
struct Gateways {
    rtmp: RtmpServer,
    rtmps: Option<RtmpServer>,
    http: HttpGateway,
    https: Option<HttpGateway>,
    /// The API, if it has its own address.
    api: Option<HttpGateway>,
}

impl Gateways {
    fn new(
        config: &Config,
        engine: &Engine,
        sockets: Sockets,
        (proxies, certificates, hls): (&Proxies, &Certificates, Option<&Hls>),
    ) -> anyhow::Result<Self> {
        let of_http = |listener| {
            let http = HttpGateway::new(listener, engine.clone(), config.http.gateway())
                .context("the HTTP gateway cannot start")?;
            anyhow::Ok(http.trust(proxies.http.clone()))
        };
        let of_rtmp = |listener| {
            let rtmp = RtmpServer::new(listener, engine.clone(), config.rtmp.gateway())
                .context("the RTMP gateway cannot start")?;
            anyhow::Ok(rtmp.trust(proxies.rtmp.clone()))
        };
        let rtmps = |listener| {
            let tls = certificates.rtmps(config.rtmp.client_certificates)?;
            anyhow::Ok(of_rtmp(listener)?.tls(tls))
        };
        let https = |listener, asks| {
            let tls = certificates.https(asks)?;
            anyhow::Ok(of_http(listener)?.tls(tls))
        };
        let with_hls = |gateway: HttpGateway| match hls {
            Some(hls) => gateway.hls(hls),
            None => gateway,
        };
        let of_viewers =
            |listener| anyhow::Ok(with_hls(https(listener, config.http.client_certificates)?));
        let api = |listener| match config.api.tls {
            true => https(listener, config.api.client_certificates),
            false => of_http(listener),
        };
        Ok(Self {
            rtmp: of_rtmp(sockets.rtmp)?,
            rtmps: sockets.rtmps.map(rtmps).transpose()?,
            http: with_hls(of_http(sockets.http)?),
            https: sockets.https.map(of_viewers).transpose()?,
            api: sockets
                .api
                .map(api)
                .transpose()?
                .map(|api| api.trust(proxies.api.clone())),
        })
    }
}

fn engine_builder(config: &Config) -> EngineBuilder {
    let builder = Engine::builder()
        .limits(config.limits.limits())
        .reserve_names(config::reserved_names());
    config
        .application
        .iter()
        .fold(builder, |builder, app| builder.application(app.spec()))
}

#[cfg(test)]
mod tests;
