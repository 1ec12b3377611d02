//! SIGTERM and SIGINT stop, SIGHUP reloads and reopens.

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

/// SIGHUP alone, from before there is a server: whoever rotates files sends it at any time, and it must end nothing.
pub(super) struct Hangup(Signal);

impl Hangup {
    /// Begins to listen, in a runtime's context.
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }
}

impl Signals {
    /// Begins to listen to the others as well.
    pub(super) fn new(hangup: Hangup) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: hangup.0,
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
                _ = self.hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "reading the configuration again, and reopening the files of sinks");
                    server.reload(load());
                    server.reopen_sinks();
                }
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
