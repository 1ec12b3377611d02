//! Authenticators against services that answer, hang, lie, and disappear.

mod callback;
mod jwks;
mod service;
