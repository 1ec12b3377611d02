//! `[sink.syslog]`.

use std::path::Path;
use std::sync::Arc;

use livetrail_replica::ReplicaSink;
use livetrail_sinks::syslog::{SyslogSink, SyslogTarget, Transport};

use crate::config;

pub(super) fn make(
    name: &str,
    settings: &config::Syslog,
    cursors: &Path,
) -> anyhow::Result<Arc<dyn ReplicaSink>> {
    let sink = SyslogSink::new(name, target(settings)?, cursors)?;
    Ok(Arc::new(sink))
}

fn target(settings: &config::Syslog) -> anyhow::Result<SyslogTarget> {
    let transport = match settings.transport {
        config::SyslogTransport::Tls => Transport::Tls,
        config::SyslogTransport::Tcp => Transport::Tcp,
    };
    let mut target = SyslogTarget::parse(&settings.address, transport)?
        .with_names(settings.facility, settings.enterprise)?;
    if settings.insecure {
        target = target.insecure();
    }
    if settings.accept_plain_close {
        target = target.taking_plain_close();
    }
    if let Some(name) = &settings.server_name {
        target = target.with_server_name(name);
    }
    target = settings.tls().onto(
        target,
        SyslogTarget::with_ca_file,
        SyslogTarget::with_certificate,
    );
    Ok(target)
}
