//! Our RTMP gateway on an engine with a trail, or on one without observers: the difference is the
//! cost of the audit trail.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use livetrail_audit::{AuditPipeline, LedgerSink, Mode, Policy};
use livetrail_engine::{AppSpec, Engine, EngineBuilder};
use livetrail_rtmp::{RtmpConfig, RtmpServer};

use crate::ledger::new_ledger;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(long)]
    pub port: u16,
    /// The time from the first waiting frame until all are sent
    #[arg(long, default_value_t = 0)]
    pub interval_ms: u64,
    /// Threads that send; 0 is one a processor
    #[arg(long, default_value_t = 0)]
    pub egress_threads: usize,
    /// A folder for a new trail, strict for publishers and viewers; without one the engine has no
    /// observers
    #[arg(long)]
    pub trail: Option<PathBuf>,
}

/// Serves for ever.
pub fn run(options: &Options) -> Result<()> {
    super::raise_open_files();
    let mut config = RtmpConfig::default();
    config.max_connections = 60_000;
    // All viewers come from one address, as fast as they can.
    config.max_connections_per_ip = 0;
    config.egress.send_interval = Duration::from_millis(options.interval_ms);
    config.egress.threads = options.egress_threads;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let engine = engine(options.trail.as_deref())?.build()?;
        let address = (Ipv4Addr::LOCALHOST, options.port);
        let server = RtmpServer::bind(address, engine, config).await?;
        server.run(std::future::pending()).await;
        Ok(())
    })
}

/// An engine; with a trail in this folder, like the server's: on a ledger, strict for publishers
/// and viewers.
pub(super) fn engine(trail: Option<&Path>) -> Result<EngineBuilder> {
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .max_publishers(10_000);
    let Some(dir) = trail else {
        return Ok(engine);
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let sink = Arc::new(LedgerSink::new(new_ledger(dir)?));
    let pipeline = Arc::new(AuditPipeline::builder(sink).build()?);
    let policy = Policy::default().publish(Mode::Strict).play(Mode::Strict);
    let gate = pipeline.gate(policy);
    Ok(engine.observer(pipeline).gate(gate))
}
