//! What a client sends after its handshake: see `livetrail_tls::fuzz`.
#![no_main]

mod peers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| peers::PEERS.records(data));
