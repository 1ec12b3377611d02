//! Streaming kernel: identities, frames, sessions, the fan-out bus, admission, observers.
