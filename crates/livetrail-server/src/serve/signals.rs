//! Signals: SIGTERM and SIGINT stop, SIGQUIT drains, SIGHUP reloads and reopens, SIGUSR1 reopens,
//! SIGUSR2 does nothing.

use std::{io, process};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Server, notify::ServiceManager};
use crate::config::{Config, ConfigError};

/// All signals that a server handles. As long as this exists, none of them ends the process by
/// itself.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    harmless: Harmless,
}

/// The signals that must not end the process, even before the server runs: programs that rotate
/// files send them at any time.
pub(crate) struct Harmless {
    hangup: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Harmless {
    /// Starts to handle these signals. The caller must be in a runtime's context.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }
}

impl Signals {
    /// Starts to handle the other signals as well.
    pub(crate) fn new(harmless: Harmless) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            harmless,
        })
    }

    /// Serves until a signal stops the server, or a drain is over. Returns true if everything was
    /// written.
    pub(crate) async fn serve(
        mut self,
        server: Server,
        load: impl Fn() -> Result<Config, ConfigError>,
    ) -> bool {
        let manager = ServiceManager::of_environment();
        let serving = server.status();
        manager.ready(&serving);
        loop {
            tokio::select! {
                _ = self.harmless.user_1.recv() => {
                    tracing::info!(signal = "SIGUSR1", "reopening the files of sinks");
                    server.reopen_sinks();
                }
                _ = self.harmless.user_2.recv() => {
                    tracing::info!(signal = "SIGUSR2", "this signal does nothing here");
                }
                _ = self.harmless.hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "reading the configuration again, and reopening the files of sinks");
                    manager.reloading();
                    server.reload(load());
                    server.reopen_sinks();
                    manager.ready(&serving);
                }
                _ = self.quit.recv() => {
                    tracing::info!(signal = "SIGQUIT", "draining");
                    server.drain();
                    manager.draining();
                }
                () = server.drained() => {
                    tracing::info!("the drain is over: stopping");
                    break;
                }
                name = Self::stop(&mut self.terminate, &mut self.interrupt) => {
                    tracing::info!(signal = name, "stopping");
                    break;
                }
            }
        }
        manager.stopping();
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
