//! Livetrail for embedders: a live-media streaming engine that puts each transition on an audit
//! trail.
//!
//! The engine with a trail in a file:
//!
//! ```
//! use livetrail::prelude::*;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("livetrail-doc-{}.tsv", std::process::id()));
//!
//! let pipeline = Arc::new(AuditPipeline::new(Arc::new(FileAuditSink::open(&path)?), 65_536));
//! let engine = Engine::builder()
//!     .application(AppSpec::new("live"))
//!     // Observer, gate and clock: nobody publishes off the record.
//!     .audit(&pipeline, Policy::default())
//!     .build()?;
//! let attempt = Attempt::new(StreamKey::parse("live", "cam")?, "example");
//! let publication = engine.publish(attempt).await?;
//! drop(publication);
//! let report = pipeline.close().await;
//! assert_eq!((report.written, report.dropped), (2, 0));
//! # let lines = std::fs::read_to_string(&path)?;
//! # assert!(lines.contains("\tpublish_started\tlive\tcam\t"));
//! # assert!(lines.contains("\tpublish_ended\tlive\tcam\t"));
//! # std::fs::remove_file(&path)?;
//! # Ok(()) }
//! ```
//!
//! A sink of your own:
//!
//! ```
//! use livetrail::prelude::*;
//!
//! struct Printer;
//!
//! #[async_trait]
//! impl AuditSink for Printer {
//!     async fn write(&self, record: AuditRecord) {
//!         println!("{} {} {:?}", record.action, record.app, record.stream);
//!     }
//! }
//!
//! let pipeline = AuditPipeline::new(Arc::new(Printer), 1_024);
//! # drop(pipeline);
//! ```
//!
//! A trail that anyone can verify, with `livetrail-verify` or any C2SP tlog-tiles client:
//!
//! ```
//! use livetrail::ledger::{Identity, Ledger, Reader, RealStore, SharedStore, generate_seed};
//! use livetrail::{LedgerSink, SystemClock, open_sessions_of_ledger, prelude::*};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = std::env::temp_dir().join(format!("livetrail-doc-{}.trail", std::process::id()));
//! # std::fs::create_dir_all(&dir)?;
//!
//! let store: SharedStore = Arc::new(RealStore::new(&dir));
//! // Keep the seeds: `write_seed` stores one in a file that only its owner can read, `read_seed`
//! // reads it.
//! let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
//! Ledger::create(&store, &identity)?;
//! // At each start: sessions that a crash left open are closed on record.
//! let builder = Ledger::builder(store.clone(), identity);
//! let (sink, _recovery) = LedgerSink::open(builder, SystemClock::new())?;
//! let open = open_sessions_of_ledger(&Reader::open(store)?)?;
//! let sink = Arc::new(sink);
//! let pipeline = Arc::new(AuditPipeline::builder(sink.clone()).recovered(open).build()?);
//! // … an engine with `.audit(&pipeline, …)`: engine, pipeline and ledger share one clock.
//! // At the end:
//! pipeline.close().await;
//! sink.close(std::time::Duration::from_secs(5))?; // signs the last checkpoint
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok(()) }
//! ```
//!
//! A destination of your own that follows such a trail. It gets each entry once in effect, with its
//! index, its leaf hash and the checkpoint that covers it, even after failures. The contract is
//! [`ReplicaSink`](replica::ReplicaSink):
//!
//! ```
//! use std::{sync::Mutex, time::Duration};
//! use livetrail::replica::{
//!     ReplicaError, ReplicaOptions, ReplicaSink, Replicas, Replicator, SealedRange, SinkCursor,
//! };
//! use livetrail::engine::SystemClock;
//! use livetrail::ledger::{Class, Identity, Ledger, MemStore, Reader, SharedStore, generate_seed};
//! use livetrail::prelude::*;
//!
//! /// Entries of one log, in memory. A real destination commits entries and cursor together, and
//! /// reports both after a restart.
//! #[derive(Default)]
//! struct Shelf(Mutex<Vec<Vec<u8>>>);
//!
//! #[async_trait]
//! impl ReplicaSink for Shelf {
//!     fn name(&self) -> &str { "shelf" }
//!
//!     async fn cursor(&self, _origin: &str) -> Result<SinkCursor, ReplicaError> {
//!         Ok(SinkCursor::at(self.0.lock().unwrap().len() as u64))
//!     }
//!
//!     async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
//!         let mut held = self.0.lock().unwrap();
//!         let found = held.len() as u64;
//!         if found != range.first() {
//!             return Err(ReplicaError::CursorMoved { expected: range.first(), found });
//!         }
//!         held.extend(range.entries().iter().map(|entry| entry.to_vec()));
//!         Ok(())
//!     }
//!
//!     async fn health(&self) -> Result<(), ReplicaError> { Ok(()) }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store: SharedStore = Arc::new(MemStore::new());
//! let identity = Identity::from_seeds("example.com/audit", &generate_seed()?, &generate_seed()?)?;
//! Ledger::create(&store, &identity)?;
//! let (ledger, _recovery) = Ledger::builder(store.clone(), identity).open()?;
//!
//! let shelf = Arc::new(Shelf::default());
//! let reader = Arc::new(Reader::open(store)?);
//! let options = ReplicaOptions::default();
//! let clock = Arc::new(SystemClock::new());
//! let replicator = Replicator::new(ledger.handle(), reader, shelf.clone(), options, clock)?;
//! let mut replicas = Replicas::new();
//! // It runs on its own thread; `watches` and `statuses` report how it is doing.
//! replicas.start(replicator)?;
//!
//! ledger.append(Class::Strict, &["one", "two"])?;
//! ledger.close()?; // seals the entries
//! replicas.close(Duration::from_secs(5)); // sends them
//! assert_eq!(*shelf.0.lock().unwrap(), [b"one".to_vec(), b"two".to_vec()]);
//! # Ok(()) }
//! ```
//!
//! | what | where | feature |
//! |---|---|---|
//! | engine, sessions, frames, observers | here and in [`engine`] | |
//! | pipeline, sinks, policy, reading a file trail | here and in [`audit`] | |
//! | records, canonical bytes, the checker of a trail | [`record`] | |
//! | the durable log below a `LedgerSink` | `ledger` | `ledger` (default) |
//! | replicas that follow a ledger, and sinks of your own | `replica` | `ledger` (default) |
//! | a trail created with its keys, kept, pruned and closed | `trail` | `trail` |
//! | signed tokens for publishers and viewers | `SignedTokens` | `tokens` (default) |
//! | tokens of issuers with published keys, services that decide over HTTP | `auth` | `auth` |
//! | RTMP, as server and as client | `rtmp` | `rtmp` |
//! | HTTP-FLV in a router of the host | `http` | `http` |
//! | certificates, and TLS of these gateways | `tls` | `tls` |
//! | certificates from an authority (ACME) | `acme` | `acme` |
//! | streams of other nodes, pulled and pushed | `relay` | `relay` |
//! | codec headers and containers | `media` | `media` |
//! | parts and segments for HLS | `segment` | `segment` |
//! | playlists of HLS | `hls` | `hls` |
//! | sinks in files, databases and services | `sinks` | `sinks`, and one for each kind: `sink-s3` |
//! | finding records in a trail | `index` | `index` |
//! | verifying a trail as an outsider does | `verify` | `verify` |
//! | each transition as an event of `tracing` | `Telemetry` | `telemetry` |
//! | `Stream` for [`Playback`] and [`Tap`] | | `stream` |
//! | `Serialize` for events, streams, sessions, counters, states and reports | | `serde` |
//!
//! Without default features the crate has the engine, the pipeline and the file sink.
//! `docs/embedding.md` in the repository builds a host step by step.
//!
//! There is one [`Reason`], for sessions and for their records. A host adds its own with
//! [`Reason::host`].

pub use async_trait::async_trait;
pub use bytes;
pub use livetrail_audit::{
    AuditAction, AuditError, AuditGate, AuditPipeline, AuditPipelineBuilder, AuditRecord,
    AuditSink, Audited, CloseReport, Counters, FileAuditSink, FileTrail, Mode, Monitor,
    OpenSession, Outcome, Personal, PipelineOptions, Policies, Policy, RecordClass, Recovered,
    Refused, SinkError, Status, TrailLine, open_sessions,
};
#[cfg(feature = "ledger")]
pub use livetrail_audit::{LedgerSink, OpeningOf, Openings, open_sessions_of_ledger};
pub use livetrail_engine::*;
pub use uuid;

/// Certificates from an authority that speaks ACME: the exports of `livetrail-acme`.
#[cfg(feature = "acme")]
pub mod acme {
    pub use livetrail_acme::*;
}

/// The audit pipeline: the exports of `livetrail-audit`.
pub mod audit {
    pub use livetrail_audit::*;
}

/// Authenticators that ask others: the exports of `livetrail-auth`.
#[cfg(feature = "auth")]
pub mod auth {
    pub use livetrail_auth::*;
}

/// The streaming kernel: the exports of `livetrail-engine`.
pub mod engine {
    pub use livetrail_engine::*;
}

/// The durable log: the exports of `livetrail-ledger`.
#[cfg(feature = "ledger")]
pub mod ledger {
    pub use livetrail_ledger::*;
}

/// The audit record: the exports of `livetrail-record`.
pub mod record {
    pub use livetrail_record::*;
}

/// Streams of other nodes, pulled and pushed: the exports of `livetrail-relay`.
#[cfg(feature = "relay")]
pub mod relay {
    pub use livetrail_relay::*;
}

/// Replicas of the ledger: the exports of `livetrail-replica`.
#[cfg(feature = "ledger")]
pub mod replica {
    pub use livetrail_replica::*;
}

/// Sinks that follow a ledger: the exports of `livetrail-sinks`.
#[cfg(feature = "sinks")]
pub mod sinks {
    pub use livetrail_sinks::*;
}

/// Certificates, handshakes and records of TLS: the exports of `livetrail-tls`.
#[cfg(feature = "tls")]
pub mod tls {
    pub use livetrail_tls::*;
}

/// The care of a trail: the exports of `livetrail-trail`.
#[cfg(feature = "trail")]
pub mod trail {
    pub use livetrail_trail::*;
}

/// RTMP publish and play, as server and as client: what `livetrail-rtmp` exports.
#[cfg(feature = "rtmp")]
pub mod rtmp {
    pub use livetrail_rtmp::*;
}

/// HTTP-FLV playback: what `livetrail-http` exports, and the router's crate.
#[cfg(feature = "http")]
pub mod http {
    pub use axum;
    pub use livetrail_http::*;
}

/// What gateways have in common, such as denied networks: what `livetrail-gateway` exports.
#[cfg(any(feature = "http", feature = "rtmp"))]
pub mod gateway {
    pub use livetrail_gateway::*;
}

/// Codec headers and containers: what `livetrail-media` exports.
#[cfg(feature = "media")]
pub mod media {
    pub use livetrail_media::*;
}

/// Parts and segments for HLS: what `livetrail-segment` exports.
#[cfg(feature = "segment")]
pub mod segment {
    pub use livetrail_segment::*;
}

/// Playlists of HLS: what `livetrail-hls` exports.
#[cfg(feature = "hls")]
pub mod hls {
    pub use livetrail_hls::*;
}

/// The query index of a ledger: what `livetrail-index` exports.
#[cfg(feature = "index")]
pub mod index {
    pub use livetrail_index::*;
}

/// The offline verifier: what `livetrail-verify` exports.
#[cfg(feature = "verify")]
pub mod verify {
    pub use livetrail_verify::*;
}

/// What a host needs: `use livetrail::prelude::*`.
pub mod prelude {
    pub use std::{sync::Arc, time::Duration};

    pub use bytes::Bytes;

    pub use crate::{
        Admission, AppName, AppSpec, Attempt, AuditAction, AuditPipeline, AuditRecord, AuditSink,
        Audited, Authenticator, Clock, CloseReport, CodecId, Credentials, Denied, Engine,
        FileAuditSink, FrameFlags, Gate, Limits, MediaFrame, MediaKind, Mode, Observer, Playback,
        Policy, Publication, Pushed, Reason, Role, SessionId, SinkError, StreamEvent,
        StreamEventKind, StreamId, StreamKey, SystemClock, Verdict, async_trait,
    };

    #[cfg(feature = "ledger")]
    pub use crate::LedgerSink;
    #[cfg(feature = "http")]
    pub use crate::http::{HttpConfig, HttpGateway, PlaybackOptions};
    #[cfg(feature = "rtmp")]
    pub use crate::rtmp::{RtmpClient, RtmpConfig, RtmpServer, RtmpUrl};
    #[cfg(feature = "tokens")]
    pub use crate::{SignedTokens, TokenClaims};
}

/// The guide in `docs/embedding.md`. Its programs are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
mod embedding {}

/// The guide in `docs/migration.md`. Its programs are compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/migration.md")]
mod migration {}
