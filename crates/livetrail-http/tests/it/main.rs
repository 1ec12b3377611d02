//! The gateway over loopback, with a client that speaks plain HTTP/1.0.

mod common;
mod limits;
mod manners;
mod playback;
mod proxies;
