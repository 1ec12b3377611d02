//! Web hooks: the requirements for every sink with its cursor in a file, against a web service that
//! checks signatures itself.

mod conformance;
mod own;
mod page;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livetrail_clock::SystemClock;
use livetrail_replica::ReplicaSink;
use livetrail_replica::conformance::{Access, Manipulation, Place, Proxy, Server, TestLog};
use livetrail_sinks::webhook::{WebhookSink, WebhookTarget};
use serde_json::Value;
use system_tests::HookReceiver;

/// A service behind a proxy, and where our cursors are.
pub(crate) struct Service {
    receiver: HookReceiver,
    proxy: Proxy,
    cursors: tempfile::TempDir,
}

/// A target that gets every entry, however old it is.
fn target(url: &str) -> WebhookTarget {
    WebhookTarget::new(url, HookReceiver::SECRET)
        .unwrap()
        .with_actions(["*"])
        .with_max_age(Duration::MAX)
}

fn sink(target: WebhookTarget, cursors: &Path) -> WebhookSink {
    WebhookSink::new("hooks", target, cursors, Arc::new(SystemClock::new())).unwrap()
}

/// Index and bytes of each event of this log, in the order in which they were received.
fn held_by(receiver: &HookReceiver, origin: &str) -> Vec<(u64, Vec<u8>)> {
    let received = receiver.received();
    let of_log = received.iter().filter(|event| event["origin"] == origin);
    of_log.map(entry).collect()
}

/// Index and bytes of an event, which must have the hash that it says it has.
fn entry(event: &Value) -> (u64, Vec<u8>) {
    let index = event["index"].as_u64().unwrap();
    let entry = match event["exact"].as_str() {
        Some(record) => record.as_bytes().to_vec(),
        None => STANDARD
            .decode(event["entry_base64"].as_str().unwrap())
            .unwrap(),
    };
    let leaf = livetrail_tlog::leaf_hash(&entry).to_string();
    assert_eq!(event["leaf"], leaf, "{event}");
    (index, entry)
}

#[async_trait]
impl Place for Service {
    async fn fresh() -> Self {
        let receiver = HookReceiver::start();
        Self {
            proxy: Proxy::start(receiver.address()).await.unwrap(),
            receiver,
            cursors: tempfile::tempdir().unwrap(),
        }
    }

    async fn sink(&self) -> Arc<dyn ReplicaSink> {
        let target = target(&format!("http://{}/", self.proxy.address()));
        Arc::new(sink(target, self.cursors.path()))
    }

    async fn held(&self, origin: &str) -> Vec<(u64, Vec<u8>)> {
        held_by(&self.receiver, origin)
    }

    async fn manipulate(&self, log: &TestLog, what: Manipulation) -> bool {
        crate::cursors::manipulate(self.cursors.path(), log, what)
    }
}

#[async_trait]
impl Server for Service {
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
impl Access for Service {
    async fn revoke(&self) {
        self.receiver.behaves("{\"status\": 403}");
    }

    async fn grant(&self) {
        self.receiver.behaves("{}");
    }
}
