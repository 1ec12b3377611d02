//! The ledger under torture: killed at any moment, on a failing disk, next to a second writer,
//! restored from an old copy.
//!
//! Each test drives `trail-writer`, a process that appends audit records and reports which are
//! durable. Afterwards the trail is recovered and verified as a whole by `livetrail-verify`, which
//! shares no code with the writer. `cargo xtask torture` runs the long form.

mod clocks;
mod copies;
mod faults;
mod full_disk;
mod golden;
mod kills;
mod outside;
mod settings;
mod subject;
mod tamper;
mod witness;
