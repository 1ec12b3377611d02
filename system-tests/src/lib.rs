//! Harness for the system tests: the real binary under real clients.
//!
//! | what | where |
//! |---|---|
//! | a test's own server: start, stop, crash, restart, reload | [`Server`], [`Config`] |
//! | what must be on the record: exactly these sessions with exactly these records | [`Trail`], [`Story`] |
//! | processes with captured output that leave nothing behind | [`Process`], [`Finished`], [`run`] |
//! | a test's own database server | [`Postgres`] |
//! | a Kafka broker whose records outlive it | [`KafkaBroker`] |
//! | an S3 server with Object Lock | [`S3Server`] |
//! | a receiver of OpenTelemetry's logs, and a collector before it | [`OtlpCollector`], [`Rotel`] |
//! | a web service that receives web hooks | [`HookReceiver`] |
//! | receivers of syslog that others wrote | [`syslog::Receiver`] |
//! | TLS before a server that has none | [`TlsFront`] |
//! | an authority of a test, and its certificates | [`Authority`] |
//! | programs of Debian that keep each other off a machine | [`Unpacked`] |
//! | other people's programs | [`tool`], [`ffmpeg8()`], [`tlog_python()`], [`openapi_python()`] |
//! | independent programs that check the files of a trail | [`outside`] |
//! | a witness that cosigns trails | [`Witness`] |
//! | test clips, and packets compared by hash and time | [`clip`], [`Packets`] |
//! | HLS as Apple's player sees it, with each broken rule | [`hls_judge`] |
//! | clients that misbehave | [`rtmp`], [`socket`], [`http`] |
//! | a disk that can really be full, a clock that is wrong | [`SmallDisk`], [`faketime`] |
//! | the command lines of the programs in `examples/` | [`CommandLine`] |
//! | names that must be nowhere, in any form | [`Canaries`] |
//! | players of HLS on web pages, in a browser | [`web`] |
//! | waiting for a condition with a deadline | [`clock`] |
//!
//! Everything listens on loopback, on separate addresses. No test sleeps and hopes that something
//! has happened: it waits for the trail, the API or a process to report it.

mod binary;
mod browser;
mod canaries;
mod certificates;
pub mod clip;
pub mod clock;
mod command_line;
mod config;
mod debian;
pub mod faketime;
mod ffmpeg8;
mod front;
pub mod hls_judge;
mod hooks;
pub mod http;
mod kafka;
mod object_store;
mod openings;
mod otlp;
pub mod outside;
mod packets;
mod postgres;
mod process;
mod python;
mod receiver;
pub mod resources;
pub mod rtmp;
mod s3;
mod server;
mod small_disk;
pub mod socket;
mod story;
pub mod syslog;
mod tls_front;
pub mod tool;
mod trail;
pub mod web;
mod wheel;
mod witness;

pub use binary::{livetrail, livetrail_verify};
pub use browser::{Browser, Shown};
pub use canaries::Canaries;
pub use certificates::Authority;
pub use command_line::CommandLine;
pub use config::Config;
pub use debian::Unpacked;
pub use ffmpeg8::ffmpeg8;
pub use front::{Front, client_address};
pub use hooks::HookReceiver;
pub use kafka::KafkaBroker;
pub use otlp::{OtlpCollector, Rotel};
pub use packets::{Packet, Packets};
pub use postgres::Postgres;
pub use process::{Finished, Process, run, typed};
pub use python::{openapi_python, tlog_python};
pub use receiver::Receiver;
pub use rustix::process::{Pid, Signal};
pub use s3::{S3Server, bucket_at};
pub use server::{Server, free_address};
pub use small_disk::SmallDisk;
pub use story::Story;
pub use tls_front::TlsFront;
pub use trail::Trail;
pub use witness::Witness;
