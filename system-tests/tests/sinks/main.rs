//! Sinks against their real servers: the conformance suite, and the tests of each kind alone.

mod beside;
mod cursors;
mod file;
mod fleet;
mod held;
mod kafka;
mod keys;
mod nodes;
mod otlp;
mod outage;
mod page;
mod postgres;
mod received;
mod s3;
mod secrets;
mod stdout;
mod syslog;
mod webhook;
