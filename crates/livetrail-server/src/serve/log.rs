//! Structured logs, to standard error. The trail never goes through here.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Sets up the process's log. A second call does nothing.
pub(crate) fn init(log: &Log) {
    let filter = EnvFilter::try_new(&log.filter.0)
        .unwrap_or_else(|_| EnvFilter::new(Log::default().filter.0));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // The only error is that a log was set up before.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
