//! A service that decides over HTTP.

use std::{sync::Arc, time::Duration};

use livetrail_auth::{CallbackOptions, Endpoint, HttpCallback, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use livetrail_engine::{
    AppSpec, Attempt, Authenticator as _, ClientAddress, CodecId, Credentials, Engine, FrameFlags,
    ManualClock, MediaFrame, PeerSource, Reason, Role, Secret, StreamKey, Verdict,
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::service::{Behaviour, PATIENCE, Service};

const NOW_S: u64 = 1_800_000_000;

fn attempt(token: &str) -> Attempt {
    let credentials = Credentials::token(token)
        .user(Secret::new("bob"), Some(Secret::new("pw")))
        .query(Secret::new("token=t&user=bob&pass=pw"));
    Attempt::new(StreamKey::parse("live", "room/cam").unwrap(), "rtmp")
        .client(behind_a_proxy())
        .user_agent("OBS/30")
        .credentials(credentials)
}

fn behind_a_proxy() -> ClientAddress {
    let (peer, via) = ("192.0.2.7:4711", "10.0.0.1");
    ClientAddress::of_proxy(
        peer.parse().unwrap(),
        via.parse().unwrap(),
        PeerSource::ProxyV2,
    )
}

fn options(service: &Service) -> CallbackOptions {
    CallbackOptions::new(Endpoint::parse(&service.url()).unwrap())
}

fn callback(options: CallbackOptions, clock: &ManualClock) -> HttpCallback {
    HttpCallback::new(options, Arc::new(clock.clone()), Handle::current()).unwrap()
}

async fn ask(callback: &HttpCallback, attempt: &Attempt) -> Verdict {
    let judged = callback.authenticate(Role::Publish, attempt);
    tokio::time::timeout(PATIENCE, judged).await.unwrap()
}

fn answers(status: u16) -> Behaviour {
    Behaviour::Answers(status, "text/plain", b"a body that means nothing".to_vec())
}

fn terms(terms: Value) -> Behaviour {
    let body = json!({"livetrail": terms}).to_string().into_bytes();
    Behaviour::Answers(200, "application/json; charset=utf-8", body)
}

#[tokio::test]
async fn the_question_is_mediamtxs_with_session_and_via_and_is_signed() {
    let service = Service::start(answers(200)).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let secret = Secret::new("0123456789abcdef0123456789abcdef");
    let callback = callback(options(&service).key(secret), &clock);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .authenticator(callback)
        .build()
        .unwrap();
    let publication = engine.publish(attempt("t")).await.unwrap();
    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    let session = publication.session().to_string();
    let body: Value = serde_json::from_slice(&asked[0].body).unwrap();
    assert_eq!(
        body,
        json!({
            "ip": "192.0.2.7", "user": "bob", "password": "pw", "token": "t", "action": "publish",
            "path": "live/room/cam", "protocol": "rtmp", "id": session,
            "query": "token=t&user=bob&pass=pw", "userAgent": "OBS/30",
            "session": session, "via": "10.0.0.1",
        })
    );
    assert!(
        asked[0]
            .head
            .starts_with("POST /asked?by=test HTTP/1.1\r\n")
    );
    assert_eq!(asked[0].header("content-type"), Some("application/json"));
    let timestamp = asked[0].header(TIMESTAMP_HEADER).unwrap();
    assert_eq!(timestamp, NOW_S.to_string());
    let signed = [timestamp.as_bytes(), b".", &asked[0].body].concat();
    let signature = asked[0].header(SIGNATURE_HEADER).unwrap();
    assert_eq!(signature, format!("v1={}", hmac_sha256(&signed)));
    let principal = engine.sessions()[0].context.principal.clone();
    assert_eq!(principal.as_deref(), Some("bob"), "whom the service let in");
}

fn hmac_sha256(message: &[u8]) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    let tag = sign(
        &Key::new(HMAC_SHA256, b"0123456789abcdef0123456789abcdef"),
        message,
    );
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_status_decides_and_is_remembered_for_a_while() {
    let service = Service::start(answers(201)).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let callback = callback(options(&service), &clock);
    let one = attempt("one");
    for _ in 0..3 {
        assert!(matches!(ask(&callback, &one).await, Verdict::Allow(_)));
    }
    assert_eq!(service.asked().len(), 1, "remembered");
    assert!(callback.judge_locally(Role::Publish, &one).is_some());
    assert_eq!(
        callback.judge_locally(Role::Play, &one),
        None,
        "another action"
    );
    service.becomes(answers(401));
    clock.advance(Duration::from_secs(10));
    let refused = Verdict::Deny(Reason::Unauthorized);
    assert_eq!(ask(&callback, &one).await, refused);
    assert_eq!(ask(&callback, &one).await, refused);
    assert_eq!(service.asked().len(), 2, "a refusal, too");
    service.becomes(answers(200));
    clock.advance(Duration::from_secs(1));
    assert!(matches!(ask(&callback, &one).await, Verdict::Allow(_)));
}

#[tokio::test]
async fn the_answer_may_set_principal_expiry_and_limits() {
    let service = Service::start(terms(json!({
        "principal": "alice", "expires_in": 5, "max_sessions": 2, "ingress_frames_per_second": 60,
    })))
    .await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let callback = callback(options(&service), &clock);
    let verdict = ask(&callback, &attempt("a")).await;
    let Verdict::Allow(admission) = &verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(admission.principal.as_deref(), Some("alice"));
    assert_eq!(admission.expires_unix_ms, Some((NOW_S + 5) * 1_000));
    assert!(admission.end_at_expiry);
    assert_eq!(admission.limits.max_sessions, Some(2));
    assert_eq!(
        admission.limits.ingress.unwrap().frames_per_second,
        Some(60)
    );
    // It is not remembered beyond its expiry.
    clock.advance(Duration::from_secs(5));
    ask(&callback, &attempt("a")).await;
    assert_eq!(service.asked().len(), 2);
    for (broken, reason) in [
        (json!({"expires_at": NOW_S}), Reason::TokenExpired),
        (json!({"principal": "a\nb"}), Reason::AuthUnavailable),
        (json!({"expire": 1}), Reason::AuthUnavailable),
    ] {
        service.becomes(terms(broken.clone()));
        let verdict = ask(&callback, &attempt(&broken.to_string())).await;
        assert_eq!(verdict, Verdict::Deny(reason), "{broken}");
    }
}

#[tokio::test]
async fn equal_attempts_ask_once_and_others_at_most_so_many_at_a_time() {
    let service = Service::start(Behaviour::Hangs).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let mut options = options(&service);
    options.max_in_flight = 4;
    options.timeout = Duration::from_millis(300);
    let callback = callback(options, &clock);
    let ask_all = |tokens: Vec<String>| {
        let asked = tokens.into_iter().map(|token| {
            let callback = callback.clone();
            tokio::spawn(async move { ask(&callback, &attempt(&token)).await })
        });
        asked.collect::<Vec<_>>()
    };
    let unavailable = Verdict::Deny(Reason::AuthUnavailable);
    for one in ask_all(vec!["same".to_owned(); 50]) {
        assert_eq!(one.await.unwrap(), unavailable);
    }
    assert_eq!(service.asked().len(), 1);
    let others = ask_all((0..20).map(|n| n.to_string()).collect());
    service.until_asked(5).await;
    for one in others {
        assert_eq!(one.await.unwrap(), unavailable);
    }
    assert!(
        service.asked().len() <= 1 + 8,
        "four, and four in their place"
    );
}

/// While the service is down new attempts are refused, what flows continues, and it is asked again.
#[tokio::test]
async fn a_service_that_is_down_stops_nothing_that_flows() {
    let service = Service::start(answers(200)).await;
    let clock = ManualClock::at(NOW_S * 1_000);
    let mut options = options(&service);
    options.timeout = Duration::from_millis(200);
    options.cache = Duration::ZERO;
    let callback = callback(options, &clock);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .authenticator(callback.clone())
        .build()
        .unwrap();
    let mut publication = engine.publish(attempt("t")).await.unwrap();
    let mut playback = engine.play(attempt("t")).await.unwrap();
    for behaviour in [Behaviour::Hangs, answers(500), Behaviour::Floods(1 << 20)] {
        service.becomes(behaviour);
        let refused = engine.play(attempt("t")).await.unwrap_err();
        assert_eq!(refused.reason, Reason::AuthUnavailable);
        assert!(callback.status().is_failing);
    }
    let keyframe = FrameFlags::KEYFRAME;
    let frame = MediaFrame::video(CodecId::H264, 0, 0, keyframe, "a frame".into());
    publication.push(frame).unwrap();
    assert!(
        playback
            .next()
            .await
            .is_some_and(|frame| frame.is_keyframe())
    );
    service.becomes(answers(200));
    assert!(engine.play(attempt("t")).await.is_ok());
    let status = callback.status();
    assert_eq!((status.answered, status.failed), (3, 3));
    assert!(!status.is_failing);
    service.disappears().await;
    let refused = engine.play(attempt("t")).await.unwrap_err();
    assert_eq!(refused.reason, Reason::AuthUnavailable);
    assert_eq!(
        (publication.end_reason(), playback.end_reason()),
        (None, None)
    );
}

#[tokio::test]
async fn a_short_key_and_an_open_network_are_refused() {
    let make =
        |options| HttpCallback::new(options, Arc::new(ManualClock::at(0)), Handle::current());
    let near = CallbackOptions::new(Endpoint::parse("http://127.0.0.1:1/").unwrap());
    assert!(make(near.clone()).is_ok());
    assert!(make(near.key(Secret::new("short"))).is_err());
    let far = Endpoint::parse("http://192.0.2.1/").unwrap();
    assert!(make(CallbackOptions::new(far)).is_err());
}
