//! A TLS server with a certificate of its own, and its clients.

use std::sync::LazyLock;

use livetrail_tls::fuzz::Peers;

/// 2026-12-01, in seconds since 1970. The certificate is valid from 1975 to 4096.
const NOW: u64 = 1_796_083_200;

pub static PEERS: LazyLock<Peers> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair");
    let (chain, key) = (
        folder.path().join("chain.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&chain, made.cert.pem()).expect("room for a certificate");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("room for a key");
    Peers::new(&chain, &key, "localhost", NOW).expect("the pair is valid")
});
