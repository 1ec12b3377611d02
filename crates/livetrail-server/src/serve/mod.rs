//! The server: everything wired together, started, reloaded and stopped.

mod data;
mod limits;
mod log;
mod reload;
mod signals;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use livetrail_audit::{AuditPipeline, AuditSink, CloseReport, FileAuditSink, Mode, Policy};
use livetrail_engine::{Engine, EngineBuilder, SystemClock};
use livetrail_http::{HttpGateway, HttpLimits, PlaybackOptions};
use livetrail_rtmp::{RtmpConfig, RtmpServer};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub(crate) use data::{TRAIL_FILE, trail_file};
pub(crate) use log::init as init_log;
pub(crate) use reload::Reloadable;

use crate::{
    api::{self, ApiState, FileErrors, Outcomes},
    cli,
    config::{self, AdmissionRule, AuditPolicy, Config, Exchangeable, Overrides},
    output::{Failure, Outcome, complain, say},
};

/// `livetrail serve`.
pub(crate) fn run(args: cli::Serve) -> Outcome {
    if args.print_config {
        say(config::EXAMPLE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let overrides = Overrides {
        data: args.overrides.data,
        rtmp: args.overrides.rtmp,
        http: args.overrides.http,
        log: args.overrides.log,
        log_format: args.overrides.log_format,
        ..Overrides::from_environment()
    };
    let load = move || config::load(args.config.as_deref(), config::variables(), &overrides);
    let config = load().map_err(|error| Failure::unusable(error.in_full()))?;
    init_log(&config.log);
    config::warn_of_unknown_variables();
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let signals = signals::Signals::new().context("cannot listen for signals")?;
        let server = Server::start(config).await?;
        server.log_addresses();
        let clean = signals.serve(server, load).await;
        if clean {
            Ok(ExitCode::SUCCESS)
        } else {
            complain("error: the trail was not written out in time; see the log");
            Ok(ExitCode::FAILURE)
        }
    })
}

/// A server that runs.
pub(crate) struct Server {
    engine: Engine,
    pipeline: Arc<AuditPipeline>,
    reloadable: Reloadable,
    addresses: Addresses,
    stop: watch::Sender<bool>,
    gateways: JoinSet<()>,
    shutdown_timeout: Duration,
    /// Held for as long as the trail may be written.
    _lock: Option<data::DataLock>,
}

/// Where a server listens: the ports that the system chose, if it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// The same as `http` unless the API has an address of its own.
    pub(crate) api: SocketAddr,
}

/// Where records go, and what is known of what was there before.
pub(crate) struct Trail {
    sink: Arc<dyn AuditSink>,
    errors: FileErrors,
    recovered: livetrail_audit::Recovered,
    lock: Option<data::DataLock>,
}

impl Trail {
    /// A trail that goes elsewhere than to the data directory.
    #[cfg(test)]
    pub(crate) fn of(sink: Arc<dyn AuditSink>) -> Self {
        Self {
            sink,
            errors: Arc::new(|| 0),
            recovered: livetrail_audit::Recovered::default(),
            lock: None,
        }
    }

    /// The trail in the data directory, which is made if it is not there, and locked.
    async fn open(config: &Config) -> anyhow::Result<Self> {
        let lock = data::DataLock::take(&config.data)?;
        let path = config.data.join(TRAIL_FILE);
        let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            // The sink first: it cuts off what a crash may have torn.
            let sink = FileAuditSink::open(&path)?;
            Ok((sink, livetrail_audit::open_sessions(&path)?))
        });
        let (sink, recovered) = opened.await??;
        let sink = Arc::new(sink);
        let counted = sink.clone();
        Ok(Self {
            sink,
            errors: Arc::new(move || counted.failed()),
            recovered,
            lock: Some(lock),
        })
    }
}

impl Server {
    /// Opens the trail and the sockets, and serves.
    ///
    /// # Errors
    /// The data directory is in use or cannot be written; an address is taken.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let trail = Trail::open(&config).await?;
        Self::start_with(config, trail).await
    }

    /// The same with another trail.
    pub(crate) async fn start_with(config: Config, trail: Trail) -> anyhow::Result<Self> {
        let http = bind("http.listen", config.http.listen).await?;
        let api = match config.api.listen {
            Some(address) => Some(bind("api.listen", address).await?),
            None => None,
        };
        let clock = Arc::new(SystemClock::new());
        if !trail.recovered.open.is_empty() {
            tracing::warn!(
                sessions = trail.recovered.open.len(),
                "the last run ended without a goodbye: the sessions that it left open are closed on record"
            );
        }
        let pipeline = Arc::new(
            AuditPipeline::builder(trail.sink)
                .clock(clock.clone())
                .capacity(config.audit.capacity)
                .node(config.node.0.clone())
                .heartbeat(config.audit.heartbeat.0)
                .close_deadline(config.shutdown_timeout.0 / 2)
                .started_detail(format!(
                    "livetrail {}, {} records before, {} sessions left open",
                    env!("CARGO_PKG_VERSION"),
                    trail.recovered.records,
                    trail.recovered.open.len()
                ))
                .recovered(trail.recovered.open)
                .build()?,
        );
        // What was left open is closed on disk before anything new can happen. A trail that cannot do so is loud from its
        // first moment, and strict sessions are refused; it does not keep the server from starting.
        match tokio::time::timeout(config.audit.deadline.0, pipeline.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the trail cannot be synced"),
            Err(_) => tracing::error!("the trail was not synced within audit.deadline"),
        }
        let auth = Arc::new(Exchangeable::new(config.auth.chain()?));
        let outcomes = Outcomes::default();
        let engine = engine_builder(&config)
            .clock(clock)
            .observer(pipeline.clone())
            .observer(outcomes.clone())
            .authenticator(auth.clone())
            .gate(pipeline.gate(policy(&config)))
            .build()?;
        let rtmp = match bind_rtmp(&config, &engine).await {
            Ok(rtmp) => rtmp,
            Err(error) => {
                // The boot is on record already; so is that it came to nothing.
                pipeline.close().await;
                return Err(error);
            }
        };
        let state = ApiState::new(
            &config,
            engine.clone(),
            pipeline.clone(),
            outcomes,
            trail.errors,
        );
        let mut server = Self {
            addresses: Addresses {
                rtmp: rtmp.local_addr(),
                http: http.local_addr()?,
                api: api.as_ref().unwrap_or(&http).local_addr()?,
            },
            reloadable: Reloadable::new(config.clone(), auth, state.tokens()),
            shutdown_timeout: config.shutdown_timeout.0,
            engine,
            pipeline,
            stop: watch::Sender::new(false),
            gateways: JoinSet::new(),
            _lock: trail.lock,
        };
        server.serve_rtmp(rtmp, &state);
        server.serve_http(&config, http, api, &state);
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The engine.
    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Puts what can be changed of another configuration in force, and records it.
    pub(crate) fn reload(&self, loaded: Result<Config, config::ConfigError>) {
        self.reloadable.reload(loaded, &self.engine, &self.pipeline);
    }

    /// Ends all sessions, writes the trail out to its last record, and closes the sockets.
    pub(crate) async fn stop(mut self) -> CloseReport {
        // A quarter of the time for the sessions, one for their connections, half for the trail.
        let quarter = self.shutdown_timeout / 4;
        // Sessions first, while their connections are there to be told.
        if !self.engine.shutdown(quarter).await {
            tracing::warn!("the trail has not been synced yet");
        }
        self.stop.send_replace(true);
        let gateways = async { while self.gateways.join_next().await.is_some() {} };
        if tokio::time::timeout(quarter, gateways).await.is_err() {
            tracing::warn!("connections were closed without a goodbye");
            self.gateways.abort_all();
        }
        let report = self.pipeline.close().await;
        tracing::info!(
            written = report.written,
            dropped = report.dropped,
            durable = report.durable,
            "stopped"
        );
        report
    }

    fn serve_rtmp(&mut self, rtmp: RtmpServer, state: &ApiState) {
        state.set_rtmp(rtmp.stats());
        let stopping = self.stopping();
        self.gateways.spawn(rtmp.run(stopping));
    }

    fn serve_http(
        &mut self,
        config: &Config,
        http: TcpListener,
        api: Option<TcpListener>,
        state: &ApiState,
    ) {
        let mut options = PlaybackOptions::default();
        options.allow_origin = config.http.allow_origin.header();
        let playback = livetrail_http::router(self.engine.clone(), options);
        let api_routes = api::router(state.clone());
        match api {
            None => {
                let both = api::with_fallback(playback.merge(api_routes));
                self.serve_one(config, http, both, state);
            }
            Some(api) => {
                self.serve_one(config, http, api::with_fallback(playback), state);
                self.serve_one(config, api, api::with_fallback(api_routes), state);
            }
        }
    }

    fn serve_one(
        &mut self,
        config: &Config,
        listener: TcpListener,
        router: axum::Router,
        state: &ApiState,
    ) {
        let mut limits = HttpLimits::default();
        limits.max_connections = config.http.max_connections;
        limits.header_timeout = config.http.header_timeout.0;
        limits.write_stall_timeout = config.http.write_stall_timeout.0;
        let gateway = HttpGateway::new(router).limits(limits);
        state.add_http(gateway.handle());
        let stopping = self.stopping();
        self.gateways.spawn(gateway.serve(listener, stopping));
    }

    fn stopping(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopping = self.stop.subscribe();
        async move {
            // A server that is gone has stopped, too.
            let _ = stopping.wait_for(|stop| *stop).await;
        }
    }

    fn log_addresses(&self) {
        let Addresses { rtmp, http, api } = self.addresses;
        tracing::info!(%rtmp, %http, %api, "serving");
        let auth = &self.reloadable.current().auth;
        let publish = auth.publish_is_open() && auth.publish == AdmissionRule::Auto;
        let play = auth.play_is_open() && auth.play == AdmissionRule::Auto;
        for (open, what, address) in [
            (publish, "publish", rtmp),
            (play, "play", rtmp),
            (play, "play", http),
        ] {
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
        .with_context(|| format!("{key}: cannot listen on {address}"))
}

async fn bind_rtmp(config: &Config, engine: &Engine) -> anyhow::Result<RtmpServer> {
    let mut limits = RtmpConfig::default();
    limits.max_connections = config.rtmp.max_connections;
    limits.max_connections_per_ip = config.rtmp.max_connections_per_ip;
    limits.handshake_timeout = config.rtmp.handshake_timeout.0;
    limits.command_timeout = config.rtmp.command_timeout.0;
    limits.write_timeout = config.rtmp.write_stall_timeout.0;
    limits.egress_threads = config.rtmp.egress_threads;
    limits.send_interval = config.rtmp.send_interval.0;
    let address = config.rtmp.listen;
    RtmpServer::bind(address, engine.clone(), limits)
        .await
        .with_context(|| format!("rtmp.listen: cannot listen on {address}"))
}

fn engine_builder(config: &Config) -> EngineBuilder {
    let limits = config.limits.limits();
    let builder = Engine::builder()
        .max_publishers(limits.max_publishers)
        .max_subscribers_per_stream(limits.max_subscribers_per_stream)
        .idle_timeout(limits.idle_timeout);
    config
        .application
        .iter()
        .fold(builder, |builder, app| builder.application(app.spec()))
}

fn policy(config: &Config) -> Policy {
    let mode = |policy| match policy {
        AuditPolicy::BestEffort => Mode::BestEffort,
        AuditPolicy::Strict => Mode::Strict,
    };
    Policy::default()
        .publish(mode(config.audit.publish))
        .play(mode(config.audit.play))
        .deadline(config.audit.deadline.0)
}

#[cfg(test)]
mod tests;
