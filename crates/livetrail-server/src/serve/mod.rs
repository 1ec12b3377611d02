//! The server: everything wired together, started, reloaded and stopped.

mod args;
mod denied;
mod heap;
mod limits;
mod log;
mod reload;
mod signals;
mod sinks;
mod trail;

use std::{net::SocketAddr, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use livetrail_audit::{AuditPipeline, CloseReport, Mode, Policy};
use livetrail_engine::{Clock, Engine, EngineBuilder};
use livetrail_gateway::{DenyRules, ListenError};
use livetrail_http::HttpGateway;
use livetrail_replica::Replicas;
use livetrail_rtmp::RtmpServer;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

pub(crate) use args::Args;
pub(crate) use log::init as init_log;
pub(crate) use reload::Reloadable;
#[cfg(feature = "kafka")]
pub(crate) use sinks::kafka;
#[cfg(not(all(
    feature = "file",
    feature = "kafka",
    feature = "postgres",
    feature = "s3"
)))]
pub(crate) use sinks::not_built;
#[cfg(feature = "s3")]
pub(crate) use sinks::s3;
pub(crate) use sinks::{Configured as ConfiguredSinks, is_in_trouble as sink_is_in_trouble};
pub(crate) use trail::{
    Created, Maintenance, Predecessor, Role, Trail, TrailPlace, TrailView, Trouble, Wanted,
    ask_to_confirm, check_origin, confirmed_record, create as create_trail, hold_record,
    index_directory, keep_clock, open_sessions, plan, retired_file, retired_text, rotate_key,
    trail_directory, trail_ms, vkey_file, write_vkeys,
};

use crate::{
    api::{self, Admissions, ApiState, Outcomes, TimedGate},
    commands,
    config::{self, AdmissionRule, AuditPolicy, Config, Exchangeable, Overrides},
    output::{Failure, Outcome, complain, say},
};

/// `livetrail serve`.
pub(crate) fn run(args: Args) -> Outcome {
    if args.print_config {
        say(config::EXAMPLE.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let overrides = Overrides::from(args.overrides);
    if args.check {
        commands::config::check(args.file.config.as_deref(), &overrides)?;
        return Ok(ExitCode::SUCCESS);
    }
    let load = move || config::load(args.file.config.as_deref(), config::variables(), &overrides);
    let config = load().map_err(Failure::configuration)?;
    init_log(&config.log);
    for warning in commands::config::warnings(&config) {
        tracing::warn!("{warning}");
    }
    limits::raise_open_files();
    if args.init {
        let created = create_trail(&config.data, &config.trail).map_err(Failure::unusable)?;
        let words = created_words(&created, &config.data);
        if config.sink.iter().any(|sink| sink.stdout.is_some()) {
            // Standard output is that sink's, from its first byte.
            complain(&words);
        } else {
            say(&words)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let harmless = {
        let _context = runtime.enter();
        signals::Harmless::new().context("cannot listen for signals")?
    };
    // Refused before anything else is done: without a trail there is no server.
    let trail = Trail::open(&config).map_err(Failure::unusable)?;
    runtime.block_on(async {
        let signals = signals::Signals::new(harmless).context("cannot listen for signals")?;
        let server = Server::start_with(config, trail).await?;
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

/// What was made, and what to do with it.
pub(crate) fn created_words(created: &Created, data: &Path) -> String {
    let [signer, cosigner] = &created.key_files;
    format!(
        "made the trail of {} in {}\n\nIts verifier keys are in {} as well. Give them to whoever is to check the trail:\n\n{}\n\
         Its secret keys are in {} and {}.\nKeep a copy of both where the trail is not: without them it cannot be continued, and whoever has \
         them can continue it.\n\nNext: livetrail serve --data {}",
        created.origin,
        created.directory.display(),
        created.vkey_file.display(),
        created.vkeys,
        signer.display(),
        cosigner.display(),
        data.display(),
    )
}

/// A server that runs.
pub(crate) struct Server {
    engine: Engine,
    pipeline: Arc<AuditPipeline>,
    /// Closed after the pipeline; its directory is locked until then.
    trail: Trail,
    /// Closed after the trail, so that they get its end.
    replicas: Replicas,
    reloadable: Reloadable,
    /// Networks whose connections are closed as they come.
    deny: DenyRules,
    addresses: Addresses,
    stop: watch::Sender<bool>,
    gateways: JoinSet<()>,
    shutdown_timeout: Duration,
}

/// Where a server listens: the ports that the system chose, if it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) rtmp: SocketAddr,
    pub(crate) http: SocketAddr,
    /// The same as `http` unless the API has an address of its own.
    pub(crate) api: SocketAddr,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// What became of the records.
    pub(crate) records: CloseReport,
    /// A checkpoint covers all of them.
    pub(crate) sealed: bool,
}

impl Stopped {
    /// Whether the whole trail is on disk and sealed.
    pub(crate) fn is_clean(&self) -> bool {
        self.records.durable && !self.records.timed_out && self.sealed
    }
}

impl Server {
    /// Opens the sockets, and serves. What the boot before left open is closed on the trail first.
    ///
    /// # Errors
    /// An address is taken.
    pub(crate) async fn start_with(config: Config, mut trail: Trail) -> anyhow::Result<Self> {
        let fitted = limits::fit_connections(&config);
        // All of them before anything is on record: a server that cannot listen has not been there.
        let rtmp = bind("rtmp.listen", config.rtmp.listen).await?;
        let http = bind("http.listen", config.http.listen).await?;
        let api = match config.api.listen {
            Some(address) => Some(bind("api.listen", address).await?),
            None => None,
        };
        let started = trail.started_detail();
        let open = trail.take_open();
        if !open.is_empty() {
            tracing::warn!(
                sessions = open.len(),
                "the last run ended without a goodbye: the sessions that it left open are closed on record"
            );
        }
        let pipeline = Arc::new(
            AuditPipeline::builder(trail.sink())
                .capacity(config.audit.capacity)
                .node(config.node.0.clone())
                .heartbeat(config.audit.heartbeat.0)
                .close_deadline(config.shutdown_timeout.0 / 5)
                .started_detail(started)
                .recovered(open)
                .sheds(policy(&config))
                .refusal_records_per_second(config.audit.refusals_per_second)
                .build()?,
        );
        // What was left open is closed on disk before anything new can happen. A trail that cannot do so is loud from its
        // first moment, and strict sessions are refused; it does not keep the server from starting.
        match tokio::time::timeout(config.audit.deadline.0, pipeline.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the trail cannot be synced"),
            Err(_) => tracing::error!("the trail was not synced within audit.deadline"),
        }
        let clock = pipeline.clock();
        let replicas = trail.start_sinks(&clock, &pipeline)?;
        let auth = Arc::new(Exchangeable::new(config.auth.chain()?, &config.api.token));
        let (outcomes, admissions) = (Outcomes::default(), Admissions::default());
        let gate = pipeline.gate(policy(&config));
        let gate = TimedGate::new(gate, clock.clone(), admissions.clone());
        let engine = engine_builder(&config)
            .clock(clock.clone())
            .observer(pipeline.clone())
            .observer(outcomes.clone())
            .authenticator(auth.clone())
            .gate(gate)
            .build()?;
        let deny = denied::rules(&config, pipeline.clone(), clock.clone());
        let gateways = match Gateways::new(&fitted, &engine, rtmp, http, api) {
            Ok(gateways) => gateways,
            Err(error) => {
                // The boot is on record already; so is that it came to nothing.
                pipeline.close().await;
                trail.close(config.shutdown_timeout.0 / 5).await;
                return Err(error);
            }
        };
        let state = ApiState::new(
            &config,
            engine.clone(),
            pipeline.clone(),
            (outcomes, admissions),
            trail.view(),
            deny.clone(),
        );
        let mut server = Self {
            addresses: Addresses {
                rtmp: gateways.rtmp.local_addr(),
                http: gateways.http.local_addr(),
                api: gateways.api.as_ref().unwrap_or(&gateways.http).local_addr(),
            },
            reloadable: Reloadable::new(config.clone(), auth, state.tokens(), deny.clone()),
            deny,
            shutdown_timeout: config.shutdown_timeout.0,
            engine,
            pipeline,
            stop: watch::Sender::new(false),
            gateways: JoinSet::new(),
            trail,
            replicas,
        };
        server.watch_trail(clock, &config);
        server.serve_rtmp(gateways.rtmp, &state);
        server.serve_http(gateways.http, gateways.api, &state);
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

    /// Tells the sinks that what they write to may have been moved away.
    pub(crate) fn reopen_sinks(&self) {
        self.trail.view().sinks.reopen();
    }

    /// Ends all sessions, writes the trail out to its last record, seals it, and closes the sockets.
    pub(crate) async fn stop(mut self) -> Stopped {
        // A fifth of the time each: for the sessions, for their connections, for their records, for the last checkpoint, for the sinks.
        let part = self.shutdown_timeout / 5;
        // Sessions first, while their connections are there to be told.
        if !self.engine.shutdown(part).await {
            tracing::warn!("the trail has not been synced yet");
        }
        self.stop.send_replace(true);
        let gateways = async { while self.gateways.join_next().await.is_some() {} };
        if tokio::time::timeout(part, gateways).await.is_err() {
            tracing::warn!("connections were closed without a goodbye");
            self.gateways.abort_all();
        }
        self.deny.flush();
        let records = self.pipeline.close().await;
        let sealed = self.trail.close(part).await;
        let replicas = self.replicas;
        let ended = tokio::task::spawn_blocking(move || replicas.close(part)).await;
        for sink in ended.iter().flatten().filter(|sink| sink.lag_records > 0) {
            tracing::warn!(
                sink = sink.name,
                records = sink.lag_records,
                "the sink does not have the end of the trail yet; it gets it after the next start"
            );
        }
        tracing::info!(
            written = records.written,
            dropped = records.dropped,
            durable = records.durable,
            sealed,
            "stopped"
        );
        Stopped { records, sealed }
    }

    /// Looks after the ledger until the server stops.
    fn watch_trail(&mut self, clock: Arc<dyn Clock>, config: &Config) {
        let watched = self.trail.watched(clock, &config.trail);
        let pipeline = self.pipeline.clone();
        let kept = self.trail.kept(pipeline, config, self.stopping());
        self.gateways.spawn(kept);
        let stopping = self.stopping();
        self.gateways.spawn(async move {
            tokio::select! {
                () = watched => {}
                () = stopping => {}
            }
        });
    }

    fn serve_rtmp(&mut self, rtmp: RtmpServer, state: &ApiState) {
        state.add_gateway(rtmp.stats());
        let stopping = self.stopping();
        let rtmp = rtmp.deny(self.deny.clone());
        self.gateways.spawn(rtmp.run(stopping));
        self.gateways
            .spawn(heap::keep_small(self.engine.clone(), self.stopping()));
    }

    fn serve_http(&mut self, http: HttpGateway, api: Option<HttpGateway>, state: &ApiState) {
        let api_routes = api::router(state.clone());
        match api {
            None => {
                let http =
                    http.routes(|playback| api::with_fallback(playback.merge(api_routes), state));
                self.serve_one(http.deny(self.deny.clone()), state);
            }
            Some(api) => {
                let http = http.routes(|playback| api::with_fallback(playback, state));
                self.serve_one(http.deny(self.deny.clone()), state);
                // Its tokens say who may use the API; the networks are those of publishers and viewers.
                let api = api.routes(|_| api::with_fallback(api_routes, state));
                self.serve_one(api, state);
            }
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
        .map_err(ListenError::from)
        .with_context(|| format!("{key}: cannot listen on {address}"))
}

/// What listens, not yet serving.
struct Gateways {
    rtmp: RtmpServer,
    http: HttpGateway,
    /// The API, if it has an address of its own.
    api: Option<HttpGateway>,
}

impl Gateways {
    fn new(
        config: &Config,
        engine: &Engine,
        rtmp: TcpListener,
        http: TcpListener,
        api: Option<TcpListener>,
    ) -> anyhow::Result<Self> {
        let of_http = |listener| HttpGateway::new(listener, engine.clone(), config.http.gateway());
        Ok(Self {
            rtmp: RtmpServer::new(rtmp, engine.clone(), config.rtmp.gateway())
                .context("the RTMP gateway cannot start")?,
            http: of_http(http).context("the HTTP gateway cannot start")?,
            api: api
                .map(of_http)
                .transpose()
                .context("the API cannot start")?,
        })
    }
}

fn engine_builder(config: &Config) -> EngineBuilder {
    let builder = Engine::builder().limits(config.limits.limits());
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
