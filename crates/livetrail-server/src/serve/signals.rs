//! SIGTERM and SIGINT stop, SIGHUP reloads.

use std::{io, process};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Server;
use crate::config::{Config, ConfigError};

/// The signals that a server listens to. From here on they no longer end the process by themselves.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Serves until it is told to stop. True if everything was written out.
    pub(super) async fn serve(
        mut self,
        server: Server,
        load: impl Fn() -> Result<Config, ConfigError>,
    ) -> bool {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => server.reload(load()),
                name = Self::stop(&mut self.terminate, &mut self.interrupt) => {
                    tracing::info!(signal = name, "stopping");
                    break;
                }
            }
        }
        tokio::select! {
            stopped = server.stop() => stopped.is_clean(),
            name = Self::stop(&mut self.terminate, &mut self.interrupt) => {
                tracing::error!(signal = name, "told to stop a second time: stopping at once, the trail may lack its end");
                process::exit(1);
            }
        }
    }

    async fn stop(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    }
}
