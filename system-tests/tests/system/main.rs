//! The server under real clients, crashes, stalls, floods and hostile peers. One binary, so that
//! the tests, which mostly wait, run concurrently.
//!
//! After each, the trail has exactly the records of the audit contract, and the state machine finds
//! every session closed exactly once ([`Server::stop`](system_tests::Server::stop) asserts that).

mod acme;
mod authentication;
mod broken_disk;
mod browser;
mod caches;
mod clocks;
mod commands;
mod conventions;
mod crashes;
mod documents;
mod full_disk;
mod hls;
mod hls_clients;
mod hls_ends;
mod hls_judge;
mod hls_library;
mod hostile;
mod idle;
mod keeping;
mod limits;
mod log;
mod looked;
mod manners;
mod many;
mod nodes;
mod open_files;
mod operator;
mod pages;
mod personal;
mod proxies;
mod real_clients;
mod refusals;
mod segments;
mod site;
mod soak;
mod strict;
mod tls;
mod witness;
