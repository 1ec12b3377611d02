//! A sink that keeps openings: it gets those of the vault, and an erasure is complete once the sink
//! has applied it.

use std::sync::Mutex;

use async_trait::async_trait;
use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_ledger::{Identity, Ledger};
use livetrail_record::Uuid;
use livetrail_replica::{
    Erasure, PersonalMode, ReplicaError, ReplicaOptions, ReplicaSink, SealedRange, SinkCursor,
};

use super::*;
use crate::{Followers, Trail};

#[derive(Default)]
struct Names(Mutex<Held>);

#[derive(Default)]
struct Held {
    next: u64,
    erased: u64,
    names: Vec<([u8; 16], String)>,
}

#[async_trait]
impl ReplicaSink for Names {
    fn name(&self) -> &str {
        "names"
    }

    fn personal(&self) -> PersonalMode {
        PersonalMode::Opening
    }

    async fn cursor(&self, _: &str) -> Result<SinkCursor, ReplicaError> {
        Ok(SinkCursor::at(self.0.lock().unwrap().next))
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        let mut held = self.0.lock().unwrap();
        held.next = range.next();
        for one in range.openings() {
            let name = one.opening.get("principal").unwrap().expose().to_owned();
            held.names.push((one.session(), name));
        }
        Ok(())
    }

    async fn erasure_cursor(&self, _: &str) -> Result<u64, ReplicaError> {
        Ok(self.0.lock().unwrap().erased)
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        let mut held = self.0.lock().unwrap();
        held.names.retain(|(session, _)| !erasure.names(session));
        held.erased = held.erased.max(erasure.span.end);
        Ok(())
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_gets_openings_of_the_vault_and_erases_what_the_log_names() {
    let sink = Arc::new(Names::default());
    let following = Arc::clone(&sink) as Arc<dyn ReplicaSink>;
    let mut settings = Settings::new("unused")
        .followers(Followers::none().with(following, ReplicaOptions::default()));
    settings.ledger.checkpoint_interval = Duration::from_millis(2);
    let store: SharedStore = Arc::new(MemStore::new());
    let identity =
        Identity::from_seeds("example.com/test", &[1; 32].into(), &[2; 32].into()).unwrap();
    Ledger::create(&store, &identity).unwrap();
    let mut trail = Trail::open_in(store, identity, settings).unwrap();
    let pipeline = trail.pipeline().heartbeat(Duration::ZERO).build().unwrap();
    let pipeline = Arc::new(pipeline);
    let view = trail.view();
    assert_eq!(view.erasures_passed(), 0, "it has not answered");
    trail.keep(&pipeline).unwrap();
    for (session, name) in [(1, "alice"), (2, "bob")] {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_session(Uuid::from_u128(session))
            .with_principal(name);
        pipeline.record(record).unwrap();
    }
    let names = || {
        let held = sink.0.lock().unwrap();
        let names = held.names.iter().map(|(_, name)| name.clone());
        names.collect::<Vec<_>>()
    };
    while names() != ["alice", "bob"] {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let whose = Whose::Principal("alice".into());
    let request = ErasureRequest::new("17", "art17", "local:0", whose).unwrap();
    erase(&pipeline, &view, &request).await.unwrap();
    let size = view.handle.durable_entries();
    while names() != ["bob"] || view.erasures_passed() < size.saturating_sub(1) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
