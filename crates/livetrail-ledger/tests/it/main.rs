//! The ledger on a real file system, and requests to witnesses over TLS.

mod https;
mod real;
