//! Keys of an issuer and a token: see `livetrail_auth::fuzz_jwks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| livetrail_auth::fuzz_jwks(data));
