//! The contract of a sink, and the replicator that keeps it.

mod conformance;
mod erasures;
mod questions;
mod replicator;
