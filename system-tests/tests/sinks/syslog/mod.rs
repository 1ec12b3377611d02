//! Syslog over TLS: the requirements for every sink with its cursor in a file, against receivers by
//! other authors.

mod conformance;
mod outage;
mod own;
mod page;
mod server;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Access, Manipulation, Place, Proxy, Server, TestLog};
use livetrail_sinks::syslog::{SyslogSink, SyslogTarget, Transport};
use system_tests::syslog::{Kind, Receiver};

pub(crate) use server::OfLog;

/// rsyslog that asks for certificates.
pub(crate) struct Rsyslog(Behind);

/// rsyslog without TLS.
pub(crate) struct RsyslogPlain(Behind);

/// syslog-ng. It is ended in order, so that it writes what it keeps in memory.
pub(crate) struct SyslogNg(Behind);

/// A receiver behind a proxy, and where our cursors are.
struct Behind {
    receiver: Receiver,
    proxy: Proxy,
    cursors: tempfile::TempDir,
}

impl Behind {
    async fn fresh(kind: Kind) -> Self {
        let receiver = Receiver::start(kind);
        Self {
            proxy: Proxy::start(receiver.address()).await.unwrap(),
            receiver,
            cursors: tempfile::tempdir().unwrap(),
        }
    }

    fn target(&self, transport: Transport) -> SyslogTarget {
        let address = self.proxy.address().to_string();
        SyslogTarget::parse(&address, transport).unwrap()
    }

    /// The receiver's authority is trusted, and the sink shows a certificate of it.
    fn over_tls(&self) -> Arc<dyn ReplicaSink> {
        let target = self
            .target(Transport::Tls)
            .with_ca_file(self.receiver.file("ca.pem"))
            .with_certificate(
                self.receiver.file("client.pem"),
                self.receiver.file("client.key"),
            );
        Arc::new(sink(target, self.cursors.path()))
    }
}

fn sink(target: SyslogTarget, cursors: &Path) -> SyslogSink {
    SyslogSink::new("syslog", target, cursors).unwrap()
}

#[async_trait]
impl Place for Rsyslog {
    async fn fresh() -> Self {
        Self(Behind::fresh(Kind::RsyslogWithCertificates).await)
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        self.0.over_tls()
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        self.0.receiver.held(origin)
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        crate::cursors::manipulate(self.0.cursors.path(), log, what)
    }
}

#[async_trait]
impl Server for Rsyslog {
    fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    async fn kill(&self) {
        self.0.receiver.kill();
    }

    async fn restart(&self) {
        self.0.receiver.restart();
    }
}

#[async_trait]
impl Access for Rsyslog {
    async fn revoke(&self) {
        self.0.receiver.kill();
        self.0.receiver.restart_believing("other.pem");
    }

    async fn grant(&self) {
        self.0.receiver.kill();
        self.0.receiver.restart();
    }
}

#[async_trait]
impl Place for RsyslogPlain {
    async fn fresh() -> Self {
        Self(Behind::fresh(Kind::RsyslogPlain).await)
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        let target = self.0.target(Transport::Tcp);
        Arc::new(sink(target, self.0.cursors.path()))
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        self.0.receiver.held(origin)
    }
}

#[async_trait]
impl Place for SyslogNg {
    async fn fresh() -> Self {
        Self(Behind::fresh(Kind::SyslogNg).await)
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        self.0.over_tls()
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        self.0.receiver.held(origin)
    }
}

#[async_trait]
impl Server for SyslogNg {
    fn proxy(&self) -> &Proxy {
        &self.0.proxy
    }

    async fn kill(&self) {
        self.0.receiver.stop();
    }

    async fn restart(&self) {
        self.0.receiver.restart();
    }
}
