//! Our RTMP gateway on an engine that nobody observes: what the audit trail costs is the difference to the whole server.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::Result;
use livetrail_engine::{AppSpec, Engine};
use livetrail_rtmp::{RtmpConfig, RtmpServer};

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(long)]
    pub port: u16,
    /// From the first frame that waits until all are sent
    #[arg(long, default_value_t = 0)]
    pub interval_ms: u64,
}

/// Serves for ever.
pub fn run(options: &Options) -> Result<()> {
    super::raise_open_files();
    let mut config = RtmpConfig::default();
    config.max_connections = 60_000;
    config.send_interval = Duration::from_millis(options.interval_ms);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .max_publishers(10_000)
            .build()?;
        let address = (Ipv4Addr::LOCALHOST, options.port);
        let server = RtmpServer::bind(address, engine, config).await?;
        server.run(std::future::pending()).await;
        Ok(())
    })
}
