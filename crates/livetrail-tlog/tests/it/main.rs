//! The crate from outside: test vectors, RFC 6962 by its definition, other implementations, every
//! flipped bit.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod definition;
mod differential;
mod ed25519;
mod flips;
mod fuzz_seeds;
mod support;
mod vectors;
