//! OTLP over HTTP: the requirements for every sink with its cursor in a file, against a receiver
//! that reads with OpenTelemetry's own messages.

mod conformance;
mod outage;
pub(crate) mod own;
mod page;
mod server;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Access, Manipulation, Place, Proxy, Server, TestLog};
use livetrail_sinks::otlp::{OtlpSink, OtlpTarget};
use serde_json::Value;
use system_tests::OtlpCollector;

/// A receiver behind a proxy, and where our cursors are.
pub(crate) struct Collector {
    receiver: OtlpCollector,
    proxy: Proxy,
    cursors: tempfile::TempDir,
}

fn target(address: SocketAddr) -> OtlpTarget {
    OtlpTarget::parse(&format!("http://{address}")).unwrap()
}

fn sink(target: OtlpTarget, cursors: &Path) -> OtlpSink {
    OtlpSink::new("otlp", target, cursors).unwrap()
}

/// Index and bytes of each record of this log, in the order in which they were received.
fn held_by(receiver: &OtlpCollector, origin: &str) -> Vec<(u64, Vec<u8>)> {
    let received = receiver.received();
    let of_log = received
        .iter()
        .filter(|record| record["resource"]["livetrail.origin"] == origin);
    of_log.map(entry).collect()
}

/// Index and bytes of a record, which must have the hash that it says it has.
fn entry(record: &Value) -> (u64, Vec<u8>) {
    let index = record["attributes"]["livetrail.index"].as_u64().unwrap();
    let entry = record["body"].as_str().unwrap().as_bytes().to_vec();
    let leaf = livetrail_tlog::leaf_hash(&entry).to_string();
    assert_eq!(record["attributes"]["livetrail.leaf"], leaf, "{record}");
    (index, entry)
}

#[async_trait]
impl Place for Collector {
    async fn fresh() -> Self {
        let receiver = OtlpCollector::start();
        Self {
            proxy: Proxy::start(receiver.address()).await.unwrap(),
            receiver,
            cursors: tempfile::tempdir().unwrap(),
        }
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        Arc::new(sink(target(self.proxy.address()), self.cursors.path()))
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        held_by(&self.receiver, origin)
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        crate::cursors::manipulate(self.cursors.path(), log, what)
    }
}

#[async_trait]
impl Server for Collector {
    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    async fn kill(&self) {
        self.receiver.kill();
    }

    async fn restart(&self) {
        self.receiver.restart();
    }
}

#[async_trait]
impl Access for Collector {
    async fn revoke(&self) {
        self.receiver.behaves("{\"status\": 403}");
    }

    async fn grant(&self) {
        self.receiver.behaves("{}");
    }
}
