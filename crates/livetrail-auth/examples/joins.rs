//! Measures what 5,000 viewers cost that join with ES256 tokens, all with one token and each with
//! its own: `cargo run --release --package livetrail-auth --example joins`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement"
)]

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use livetrail_auth::{Endpoint, Jwks, JwksOptions};
use livetrail_engine::{AppSpec, Attempt, Clock as _, Credentials, Engine, StreamKey, SystemClock};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Handle,
};

const JOINS: usize = 5_000;

/// The processor time of this thread.
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn token(key: &EcdsaKeyPair, subject: &str) -> String {
    let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = encode(json!({"alg": "ES256", "kid": "k"}));
    let exp = SystemClock::new().unix_s() + 3_600;
    let claims = encode(json!({"iss": "issuer", "sub": subject, "exp": exp}));
    let signed = format!("{header}.{claims}");
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public = &key.public_key().as_ref()[1..];
    let (x, y) = public.split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "k", "x": x, "y": y}]});
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{set}",
        set.to_string().len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4_096]).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    });

    let builder = Engine::builder().application(AppSpec::new("live"));
    let options = JwksOptions::new("id", Endpoint::parse(&url).unwrap(), "issuer");
    let jwks = Jwks::new(options, builder.shared_clock(), Handle::current()).unwrap();
    jwks.settled().await;
    let engine = builder.authenticator(jwks).build().unwrap();
    let open = Engine::builder()
        .application(AppSpec::new("live"))
        .build()
        .unwrap();
    let stream = || Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test");
    let one = vec![token(&key, "everyone"); JOINS];
    let own: Vec<_> = (0..JOINS).map(|n| token(&key, &n.to_string())).collect();
    for (what, engine, tokens) in [
        ("without authentication", &open, &one),
        ("one token for all", &engine, &one),
        ("a token for each", &engine, &own),
    ] {
        let publisher = Credentials::token(tokens[0].as_str());
        let publication = engine
            .publish(stream().credentials(publisher))
            .await
            .unwrap();
        let mut viewers = Vec::with_capacity(JOINS);
        let before = used();
        for token in tokens {
            let attempt = stream().credentials(Credentials::token(token.as_str()));
            viewers.push(engine.play(attempt).await.unwrap());
        }
        println!(
            "{what}: {JOINS} joins in {:?} of processor time",
            used() - before
        );
        drop((viewers, publication));
    }
}
