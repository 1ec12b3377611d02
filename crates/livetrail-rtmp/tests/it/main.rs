//! The gateway over loopback, with our own client and with raw sockets.

mod common;
mod gateway;
mod manners;
