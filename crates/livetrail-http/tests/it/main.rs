//! The gateway over loopback, with a client that speaks plain HTTP/1.0, and one of HTTP/2.

mod common;
mod counting;
mod hls;
mod hls_caches;
mod hls_unusual;
#[cfg(feature = "tls")]
mod http2;
mod limits;
mod manners;
mod playback;
mod proxies;
