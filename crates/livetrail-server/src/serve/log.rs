//! Structured logs, to standard error. The trail never goes through here.

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{FilterExt as _, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Sets up the process's log. A second call does nothing.
pub(crate) fn init(log: &Log) {
    livetrail_engine::log::show_personal(log.personal);
    let filter = EnvFilter::try_new(&log.filter.0)
        .unwrap_or_else(|_| EnvFilter::new(Log::default().filter.0));
    let personal = log.personal;
    let filter = filter.and(filter_fn(move |event| personal || is_impersonal(event)));
    let layer = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let layer = match log.format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    // The only error is that a log was set up before.
    let _ = tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init();
}

/// Whether an event cannot have personal data: our own crates hide it. Below INFO other crates log
/// what they send, such as the parameters of a statement.
fn is_impersonal(event: &Metadata<'_>) -> bool {
    event.target().starts_with("livetrail") || *event.level() <= Level::INFO
}
