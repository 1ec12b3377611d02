//! Tokens of an issuer whose keys are looked up.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
        RSA_PSS_SHA256, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use livetrail_auth::{Endpoint, Jwks, JwksOptions};
use livetrail_engine::{
    Attempt, Authenticator as _, Credentials, ManualClock, Reason, Role, StreamKey, Verdict,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::service::{Behaviour, PATIENCE, Service};

const NOW_S: u64 = 1_800_000_000;
const ISSUER: &str = "https://id.example.com/";

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key of the issuer.
enum Key {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Key {
    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// The public key as the issuer publishes it.
    fn jwk(&self, id: &str) -> Value {
        let of_curve = |curve: &str, public: &[u8]| {
            let (x, y) = public[1..].split_at((public.len() - 1) / 2);
            json!({"kty": "EC", "crv": curve, "x": base64(x), "y": base64(y)})
        };
        let mut jwk = match self {
            Self::P256(key) => of_curve("P-256", key.public_key().as_ref()),
            Self::P384(key) => of_curve("P-384", key.public_key().as_ref()),
            Self::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64(key.public_key())})
            }
            Self::Rsa(key) => {
                // PKCS #1: a sequence of two numbers, of 257 bytes (the first is 0) and of 3.
                let der = key.public_key().as_ref();
                let (n, e) = (&der[9..265], &der[267..270]);
                json!({"kty": "RSA", "n": base64(n), "e": base64(e)})
            }
        };
        jwk["kid"] = id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    fn sign(&self, algorithm: &str, text: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        let text = text.as_bytes();
        match self {
            Self::P256(key) | Self::P384(key) => key.sign(&random, text).unwrap().as_ref().to_vec(),
            Self::Ed25519(key) => key.sign(text).as_ref().to_vec(),
            Self::Rsa(key) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &RSA_PKCS1_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS512" => &RSA_PSS_SHA512,
                    other => panic!("{other}"),
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, text, &mut signature).unwrap();
                signature
            }
        }
    }

    fn token(&self, algorithm: &str, id: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "kid": id, "typ": "JWT"});
        let signed = format!(
            "{}.{}",
            base64(header.to_string()),
            base64(claims.to_string())
        );
        let signature = base64(self.sign(algorithm, &signed));
        format!("{signed}.{signature}")
    }
}

/// The claims of a token that is good for a minute.
fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "exp": NOW_S + 60})
}

fn set(keys: &[Value]) -> Behaviour {
    let body = json!({"keys": keys}).to_string().into_bytes();
    Behaviour::Answers(200, "application/jwk-set+json", body)
}

fn attempt(token: &str) -> Attempt {
    Attempt::new(StreamKey::parse("live", "cam").unwrap(), "test")
        .credentials(Credentials::token(token))
}

fn options(service: &Service) -> JwksOptions {
    JwksOptions::new("id", Endpoint::parse(&service.url()).unwrap(), ISSUER)
}

async fn verifier(options: JwksOptions, clock: &ManualClock) -> Jwks {
    let jwks = Jwks::new(options, Arc::new(clock.clone()), Handle::current()).unwrap();
    tokio::time::timeout(PATIENCE, jwks.settled())
        .await
        .unwrap();
    jwks
}

async fn ask(jwks: &Jwks, token: &str) -> Verdict {
    let attempt = attempt(token);
    let judged = jwks.authenticate(Role::Play, &attempt);
    tokio::time::timeout(PATIENCE, judged).await.unwrap()
}

fn who(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Allow(admission) => admission.principal.as_deref(),
        _ => None,
    }
}

#[tokio::test]
async fn every_algorithm_verifies_and_a_key_is_bound_to_its_own() {
    let keys = [
        ("es256", Key::p256()),
        (
            "es384",
            Key::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap()),
        ),
        ("ed", Key::Ed25519(Ed25519KeyPair::generate().unwrap())),
        (
            "rsa",
            Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ),
        (
            "ps",
            Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        ),
    ];
    let mut published: Vec<_> = keys.iter().map(|(id, key)| key.jwk(id)).collect();
    published[4]["alg"] = "PS256".into();
    // Keys of other kinds and purposes are skipped.
    published.push(json!({"kty": "oct", "k": "AAAA", "kid": "secret", "alg": "HS256"}));
    published.push(json!({"kty": "EC", "crv": "P-521", "kid": "es512"}));
    published.push(json!(["not a key"]));
    let mut other_purpose = keys[0].1.jwk("enc");
    other_purpose["use"] = "enc".into();
    published.push(other_purpose);
    let service = Service::start(set(&published)).await;
    let jwks = verifier(options(&service), &ManualClock::at(NOW_S * 1_000)).await;
    let key = |id: &str| &keys.iter().find(|(of, _)| *of == id).unwrap().1;
    for (id, algorithm, good) in [
        ("es256", "ES256", true),
        ("es384", "ES384", true),
        ("ed", "EdDSA", true),
        ("ed", "Ed25519", true),
        ("rsa", "RS256", true),
        ("rsa", "RS384", true),
        ("rsa", "RS512", true),
        ("rsa", "PS256", true),
        ("rsa", "PS512", true),
        ("ps", "PS256", true),
        ("ps", "RS256", false),
        ("es256", "ES384", false),
    ] {
        let token = key(id).token(algorithm, id, &claims());
        let verdict = ask(&jwks, &token).await;
        assert_eq!(who(&verdict), good.then_some("alice"), "{id} {algorithm}");
    }
    // A published key is no shared secret, and an empty signature is not a signature.
    let public = keys[3].1.jwk("rsa")["n"].as_str().unwrap().to_owned();
    for (algorithm, id) in [("HS256", "rsa"), ("HS256", "secret"), ("none", "rsa")] {
        let header = base64(json!({"alg": algorithm, "kid": id}).to_string());
        let signed = format!("{header}.{}", base64(claims().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes());
        let signature = base64(hmac::sign(&key, signed.as_bytes()));
        for signature in ["", &signature] {
            let verdict = ask(&jwks, &format!("{signed}.{signature}")).await;
            assert_eq!(verdict, Verdict::Abstain, "{algorithm}");
        }
    }
    // A token for signatures is signed by a key for signatures.
    let encrypted = key("es256").token("ES256", "enc", &claims());
    assert_eq!(ask(&jwks, &encrypted).await, Verdict::Abstain);
    assert_eq!(service.asked().len(), 1, "no lookup within ten seconds");
}

#[tokio::test]
async fn claims_decide_what_a_signed_token_is_good_for() {
    let key = Key::p256();
    let service = Service::start(set(&[key.jwk("k")])).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let options = options(&service).audience("livetrail");
    let jwks = verifier(options, &clock).await;
    let refused = |reason| Verdict::Deny(reason);
    let with = |changes: Value| {
        let mut claims = claims();
        claims["aud"] = json!(["else", "livetrail"]);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        key.token("ES256", "k", &claims)
    };
    let good = ask(&jwks, &with(json!({"nbf": NOW_S + 5}))).await;
    let Verdict::Allow(admission) = &good else {
        panic!("{good:?}");
    };
    assert_eq!(admission.expires_unix_ms, Some((NOW_S + 65) * 1_000));
    assert!(admission.end_at_expiry);
    for (changes, verdict) in [
        (
            json!({"iss": "https://other.example.com/"}),
            Verdict::Abstain,
        ),
        (json!({"iss": null}), Verdict::Abstain),
        (json!({"aud": "else"}), refused(Reason::Unauthorized)),
        (json!({"aud": null}), refused(Reason::Unauthorized)),
        (json!({"exp": NOW_S - 5}), refused(Reason::TokenExpired)),
        (json!({"exp": null}), refused(Reason::Unauthorized)),
        (json!({"nbf": NOW_S + 6}), refused(Reason::Unauthorized)),
        (json!({"sub": "a\nb"}), refused(Reason::Unauthorized)),
        (json!({"app": "other"}), refused(Reason::Unauthorized)),
        (json!({"stream": "other"}), refused(Reason::Unauthorized)),
        (json!({"act": "publish"}), refused(Reason::Unauthorized)),
    ] {
        assert_eq!(
            ask(&jwks, &with(changes.clone())).await,
            verdict,
            "{changes}"
        );
    }
    for changes in [
        json!({"aud": "livetrail"}),
        json!({"exp": NOW_S - 4}),
        json!({"act": "play"}),
    ] {
        assert_eq!(who(&ask(&jwks, &with(changes)).await), Some("alice"));
    }
    let nameless = ask(&jwks, &with(json!({"sub": null}))).await;
    assert_eq!(who(&nameless), Some("id"), "the issuer's name");
    // It is remembered, and expires all the same.
    let token = with(json!({}));
    assert_eq!(who(&ask(&jwks, &token).await), Some("alice"));
    clock.advance(Duration::from_secs(65));
    assert_eq!(ask(&jwks, &token).await, refused(Reason::TokenExpired));
    let mut forged = with(json!({"exp": NOW_S + 600}));
    forged.pop();
    assert_eq!(ask(&jwks, &forged).await, Verdict::Abstain);
}

#[tokio::test]
async fn a_token_for_somebody_is_refused_without_an_audience() {
    let key = Key::p256();
    let service = Service::start(set(&[key.jwk("k")])).await;
    let jwks = verifier(options(&service), &ManualClock::at(NOW_S * 1_000)).await;
    let mut claims = claims();
    claims["aud"] = "somebody".into();
    let verdict = ask(&jwks, &key.token("ES256", "k", &claims)).await;
    assert_eq!(verdict, Verdict::Deny(Reason::Unauthorized));
}

#[tokio::test]
async fn an_unknown_key_is_looked_up_once_and_not_more_often_than_every_ten_seconds() {
    let (old, new) = (Key::p256(), Key::p256());
    let service = Service::start(set(&[old.jwk("old")])).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let jwks = verifier(options(&service), &clock).await;
    let [before, after] =
        [("old", &old), ("new", &new)].map(|(id, key)| key.token("ES256", id, &claims()));
    assert_eq!(who(&ask(&jwks, &before).await), Some("alice"));

    service.becomes(set(&[new.jwk("new")]));
    assert_eq!(ask(&jwks, &after).await, Verdict::Abstain, "too early");
    assert_eq!(
        jwks.judge_locally(Role::Play, &attempt(&after)),
        Some(Verdict::Abstain)
    );
    clock.advance(Duration::from_secs(10));
    assert_eq!(
        jwks.judge_locally(Role::Play, &attempt(&after)),
        None,
        "it asks"
    );
    let many = (0..50).map(|_| {
        let (jwks, token) = (jwks.clone(), after.clone());
        tokio::spawn(async move { ask(&jwks, &token).await })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(who(&one.await.unwrap()), Some("alice"));
    }
    assert_eq!(service.asked().len(), 2, "one lookup for all");
    // A key that is no longer published verifies nothing, also no token that it verified before.
    assert_eq!(ask(&jwks, &before).await, Verdict::Abstain);
    // A token of another issuer causes no lookup.
    clock.advance(Duration::from_secs(10));
    let mut foreign = claims();
    foreign["iss"] = "https://other.example.com/".into();
    let foreign = Key::p256().token("ES256", "x", &foreign);
    assert_eq!(ask(&jwks, &foreign).await, Verdict::Abstain);
    assert_eq!(service.asked().len(), 2);
}

#[tokio::test]
async fn old_keys_are_looked_up_again_in_the_background() {
    let key = Key::p256();
    let service = Service::start(set(&[key.jwk("k")])).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let jwks = verifier(options(&service), &clock).await;
    let mut lasting = claims();
    lasting["exp"] = (NOW_S + 86_400).into();
    let token = key.token("ES256", "k", &lasting);
    assert_eq!(who(&ask(&jwks, &token).await), Some("alice"));
    service.becomes(set(&[]));
    clock.advance(Duration::from_secs(600));
    let verdict = jwks.judge_locally(Role::Play, &attempt(&token)).unwrap();
    assert_eq!(who(&verdict), Some("alice"), "nobody waits");
    tokio::time::timeout(PATIENCE, jwks.settled())
        .await
        .unwrap();
    assert_eq!(
        ask(&jwks, &token).await,
        Verdict::Abstain,
        "the issuer has no key"
    );
}

/// An issuer that hangs, floods, answers nonsense or disappears harms only tokens with new keys.
#[tokio::test]
async fn known_keys_outlive_every_kind_of_outage_for_a_day() {
    let (known, unknown) = (Key::p256(), Key::p256());
    let service = Service::start(set(&[known.jwk("known")])).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let mut options = options(&service);
    options.timeout = Duration::from_millis(200);
    let jwks = verifier(options, &clock).await;
    let mut lasting = claims();
    lasting["exp"] = (NOW_S + 200_000).into();
    let good = known.token("ES256", "known", &lasting);
    let new = unknown.token("ES256", "unknown", &lasting);
    let mut lookups = 1;
    for behaviour in [
        Behaviour::Hangs,
        Behaviour::Floods(10 << 20),
        Behaviour::Answers(500, "text/plain", Vec::new()),
        Behaviour::Answers(200, "application/json", b"{\"keys\":".to_vec()),
        Behaviour::Answers(200, "application/json", b"[]".to_vec()),
        Behaviour::Answers(302, "text/plain", Vec::new()),
    ] {
        service.becomes(behaviour);
        clock.advance(Duration::from_secs(10));
        let unavailable = Verdict::Deny(Reason::AuthUnavailable);
        assert_eq!(ask(&jwks, &new).await, unavailable);
        lookups += 1;
        assert_eq!(service.asked().len(), lookups);
        assert_eq!(
            jwks.judge_locally(Role::Play, &attempt(&new)),
            Some(unavailable)
        );
        assert_eq!(who(&ask(&jwks, &good).await), Some("alice"));
        assert!(jwks.status().is_failing);
    }
    let status = jwks.status();
    assert_eq!((status.keys, status.found, status.failed), (1, 1, 6));
    assert_eq!(status.age, Some(Duration::from_secs(60)));
    service.disappears().await;
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        who(&ask(&jwks, &good).await),
        Some("alice"),
        "after an hour"
    );
    tokio::time::timeout(PATIENCE, jwks.settled())
        .await
        .unwrap();
    clock.advance(Duration::from_secs(86_400 - 3_600 - 61));
    assert_eq!(who(&ask(&jwks, &good).await), Some("alice"), "after a day");
    tokio::time::timeout(PATIENCE, jwks.settled())
        .await
        .unwrap();
    clock.advance(Duration::from_secs(61));
    assert_eq!(
        ask(&jwks, &good).await,
        Verdict::Deny(Reason::AuthUnavailable)
    );
    assert_eq!(jwks.status().keys, 0, "too old");
}

#[tokio::test]
async fn without_any_keys_tokens_wait_for_the_first_lookup() {
    let key = Key::p256();
    let service = Service::start(Behaviour::Answers(503, "text/plain", Vec::new())).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let jwks = verifier(options(&service), &clock).await;
    let token = key.token("ES256", "k", &claims());
    assert_eq!(
        ask(&jwks, &token).await,
        Verdict::Deny(Reason::AuthUnavailable)
    );
    assert_eq!(ask(&jwks, "not a token").await, Verdict::Abstain);
    service.becomes(set(&[key.jwk("k")]));
    clock.advance(Duration::from_secs(10));
    assert_eq!(who(&ask(&jwks, &token).await), Some("alice"));
}

#[tokio::test]
async fn a_token_without_a_key_id_is_tried_with_each_key() {
    let (one, two) = (Key::p256(), Key::p256());
    let service = Service::start(set(&[one.jwk("one"), two.jwk("two")])).await;
    let jwks = verifier(options(&service), &ManualClock::at(NOW_S * 1_000)).await;
    let header = base64(json!({"alg": "ES256"}).to_string());
    let signed = format!("{header}.{}", base64(claims().to_string()));
    let token = format!("{signed}.{}", base64(two.sign("ES256", &signed)));
    assert_eq!(who(&ask(&jwks, &token).await), Some("alice"));
}
