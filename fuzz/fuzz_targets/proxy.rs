//! The beginning of a connection: see `livetrail_gateway::fuzz_proxy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_gateway::fuzz_proxy(data));
