//! HLS: a load client that asks as players do, servers of the same bytes, and their costs.

pub mod client;
pub mod http;
pub mod nginx;
pub mod publisher;
