//! Viewers of many requests: their tokens, their addresses, and many ends at once.

use std::{sync::Arc, time::Duration};

use crate::support::*;
use livetrail_engine::*;
use uuid::Uuid;

/// Shorter than the time after which a silent publisher ends.
const LEASE: Duration = Duration::from_secs(12);

const EXPIRES_MS: u64 = 1_000_000;

fn engine(journal: &Journal, clock: &ManualClock) -> Engine {
    Engine::builder()
        .application(AppSpec::new("live"))
        .observer(journal.clone())
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap()
}

fn token(n: u128) -> ViewerToken {
    ViewerToken::new(Uuid::from_u128(n), EXPIRES_MS)
}

/// An attempt with a token that the host has opened.
fn with(token: ViewerToken) -> Attempt {
    let admission = Admission::of("alice")
        .expires_unix_ms(token.expires_unix_ms)
        .end_at_expiry(true);
    attempt("cam").token(token).admitted(admission)
}

fn watch(engine: &Engine, token: ViewerToken) -> Viewing {
    block_on(engine.watch(with(token), LEASE)).unwrap()
}

/// The token in the context of a session's first event.
fn token_of(journal: &Journal, session: SessionId) -> ViewerToken {
    let events = journal.events();
    let first = events.iter().find(|event| event.session == session);
    *first.unwrap().context.token.as_deref().unwrap()
}

fn labels_of(journal: &Journal, session: SessionId) -> Vec<&'static str> {
    journal
        .of(session)
        .iter()
        .map(StreamEventKind::label)
        .collect()
}

fn requests_of(journal: &Journal, session: SessionId) -> RequestTotals {
    match journal.of(session).last() {
        Some(StreamEventKind::PlayEnded { totals, .. }) => totals.requests.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_opens_a_new_session_after_the_end_that_names_the_one_before() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let mut before = None;
    for round in 0..3 {
        let viewing = watch(&engine, token(1));
        let session = viewing.session();
        assert_eq!(token_of(&journal, session).resumes, before, "{round}");
        assert_eq!(token_of(&journal, session).id, token(1).id);
        // The player sleeps for a minute.
        clock.advance(LEASE / 2);
        viewing.touch().unwrap();
        clock.advance(LEASE);
        publication.push(keyframe(round)).unwrap();
        engine.sweep();
        assert_eq!(viewing.touch().unwrap_err().reason, Reason::Idle);
        let seen = requests_of(&journal, session);
        assert_eq!(seen.last_unix_ms, clock.unix_ms() - 12_000);
        assert_eq!(seen.peers.get(), 1);
        before = Some(session);
    }
    let other = watch(&engine, token(2));
    assert_eq!(token_of(&journal, other.session()).resumes, None);
}

#[test]
fn a_refused_viewer_is_no_session_to_resume() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    assert!(
        block_on(engine.watch(with(token(1)), LEASE)).is_err(),
        "no stream"
    );
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let viewing = watch(&engine, token(1));
    assert_eq!(token_of(&journal, viewing.session()).resumes, None);
}

#[test]
fn a_kicked_viewer_does_not_come_back_with_the_same_token() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let [one, two, three] = [1, 2, 3].map(|n| watch(&engine, token(n)));
    engine.kick(one.session()).unwrap();
    let second = two.session();
    assert_eq!(
        engine
            .kick_all(|context| context.session == second, 9)
            .len(),
        1
    );
    let third = three.session();
    assert_eq!(engine.revoke(|context| context.session == third), 1);
    for (n, viewing, reason) in [
        (1, one, Reason::Kicked),
        (2, two, Reason::Kicked),
        (3, three, Reason::CredentialsRevoked),
    ] {
        let session = viewing.session();
        let labels = ["play_started", "token_revoked", "play_ended"];
        assert_eq!(labels_of(&journal, session), labels);
        let revoked = StreamEventKind::TokenRevoked {
            expires_unix_ms: EXPIRES_MS,
        };
        assert_eq!(journal.of(session)[1], revoked);
        assert_eq!(viewing.touch().unwrap_err().reason, reason);
        assert_eq!(engine.revoked(&token(n)), Some(reason.clone()));
        let denied = block_on(engine.watch(with(token(n)), LEASE)).unwrap_err();
        assert_eq!(denied.reason, reason);
        assert_eq!(labels_of(&journal, denied.session), ["play_denied"]);
    }
    assert_eq!(engine.revoked(&token(4)), None);
    let _other = watch(&engine, token(4));
}

#[test]
fn a_revoked_share_link_ends_its_viewers_and_only_them() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let link = Uuid::from_u128(77);
    let shared = |n| token(n).share(Some(link));
    let [one, two] = [1, 2].map(|n| watch(&engine, shared(n)));
    let other = watch(&engine, token(3));
    assert_eq!(engine.revoke_token(link, EXPIRES_MS), 2);
    assert_eq!(one.end_reason(), Some(Reason::Kicked));
    assert_eq!(two.end_reason(), Some(Reason::Kicked));
    other.touch().unwrap();
    for n in [1, 2, 9] {
        let denied = block_on(engine.watch(with(shared(n)), LEASE)).unwrap_err();
        assert_eq!(denied.reason, Reason::Kicked);
    }
    // As a host does after a restart: there are no sessions, and the token is refused.
    let restarted = self::engine(&journal, &clock);
    let _publication = block_on(restarted.publish(attempt("cam"))).unwrap();
    assert_eq!(restarted.revoke_token(token(5).id, EXPIRES_MS), 0);
    let denied = block_on(restarted.watch(with(token(5)), LEASE)).unwrap_err();
    assert_eq!(denied.reason, Reason::Kicked);
}

#[test]
fn a_session_ends_when_its_token_expires() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let mut short = token(1);
    short.expires_unix_ms = 5_000;
    let viewing = watch(&engine, short);
    clock.advance(Duration::from_millis(4_999));
    publication.push(keyframe(1)).unwrap();
    viewing.touch().unwrap();
    engine.sweep();
    viewing.touch().unwrap();
    clock.advance(Duration::from_millis(1));
    engine.sweep();
    let ended = viewing.touch().unwrap_err();
    assert_eq!(ended.reason, Reason::TokenExpired);
}

#[test]
fn two_addresses_in_turns_are_reported_once_and_counted() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let address = |n: u8| std::net::SocketAddr::from(([192, 0, 2, n], 1_000 + u16::from(n)));
    let shared = block_on(engine.watch(with(token(1)).peer(address(1)), LEASE)).unwrap();
    for n in [2, 1, 2, 1, 3] {
        clock.advance(Duration::from_secs(1));
        shared.touch_from(address(n)).unwrap();
    }
    let moved = block_on(engine.watch(with(token(2)).peer(address(1)), LEASE)).unwrap();
    for n in [1, 2, 2, 3, 3, 3] {
        moved.touch_from(address(n)).unwrap();
    }
    let sessions = [shared.session(), moved.session()];
    drop((shared, moved));
    let labels = ["play_started", "token_shared", "play_ended"];
    assert_eq!(labels_of(&journal, sessions[0]), labels);
    let peers = StreamEventKind::TokenShared { peers: 2 };
    assert_eq!(journal.of(sessions[0])[1], peers);
    assert_eq!(
        labels_of(&journal, sessions[1]),
        ["play_started", "play_ended"]
    );
    let peers = sessions.map(|session| requests_of(&journal, session).peers.get());
    assert_eq!(peers, [3, 3]);
}

#[test]
fn a_request_that_waits_holds_the_session() {
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let viewing = watch(&engine, token(1));
    let mut wait = |clock: &ManualClock| {
        clock.advance(LEASE);
        publication.push(keyframe(1)).unwrap();
        engine.sweep();
    };
    let held = [viewing.hold().unwrap(), viewing.hold().unwrap()];
    wait(&clock);
    wait(&clock);
    assert_eq!(viewing.end_reason(), None);
    drop(held);
    clock.advance(LEASE - Duration::from_millis(1));
    viewing.touch().unwrap();
    wait(&clock);
    assert_eq!(viewing.hold().unwrap_err().reason, Reason::Idle);
    // The end of the stream answers every request, so none holds a session after it.
    let viewing = watch(&engine, token(2));
    let _held = viewing.hold().unwrap();
    drop(publication);
    clock.advance(LEASE);
    engine.sweep();
    assert_eq!(viewing.end_reason(), Some(Reason::StreamEnded));
}

#[test]
fn five_thousand_viewers_who_leave_at_once_end_in_one_sweep() {
    const VIEWERS: u128 = 5_000;
    let (journal, clock) = (Journal::default(), ManualClock::at(0));
    let engine = engine(&journal, &clock);
    let mut publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let viewings: Vec<_> = (0..VIEWERS).map(|n| watch(&engine, token(n))).collect();
    let staying = watch(&engine, token(VIEWERS));
    clock.advance(LEASE / 2);
    staying.touch().unwrap();
    clock.advance(LEASE / 2 - Duration::from_millis(1));
    publication.push(keyframe(1)).unwrap();
    engine.sweep();
    assert_eq!(
        engine.sessions().len(),
        2 + VIEWERS as usize,
        "a millisecond is left"
    );
    clock.advance(Duration::from_millis(1));
    engine.sweep();
    assert_eq!(engine.sessions().len(), 2);
    let idle = |viewing: &Viewing| viewing.end_reason() == Some(Reason::Idle);
    assert!(viewings.iter().all(idle));
    let mut ended: Vec<_> = viewings.iter().map(Viewing::session).collect();
    drop(viewings);
    let events = journal.events();
    let ends = events
        .iter()
        .filter(|event| event.kind.label() == "play_ended");
    let mut found: Vec<_> = ends.map(|event| event.session).collect();
    ended.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, ended, "each once");
}

/// An end per sweep would take twenty minutes.
#[test]
fn the_engines_thread_ends_any_number_of_viewers_at_once() {
    const VIEWERS: u128 = 5_000;
    let lease = Duration::from_secs(1);
    let engine = Engine::builder()
        .application(AppSpec::new("live"))
        .build()
        .unwrap();
    let _publication = block_on(engine.publish(attempt("cam"))).unwrap();
    let admit =
        |n| block_on(engine.watch(with(ViewerToken::new(Uuid::from_u128(n), u64::MAX)), lease));
    let viewings: Vec<_> = (0..VIEWERS).map(|n| admit(n).unwrap()).collect();
    for viewing in &viewings {
        viewing.touch().unwrap();
    }
    let time = SystemClock::new();
    for viewing in &viewings {
        assert_eq!(block_on(viewing.end_signal().wait()), Reason::Idle);
    }
    let took = time.monotonic();
    assert!(took <= lease + PATIENCE, "{took:?}");
    let play = engine.totals().play;
    assert_eq!((play.started, play.live), (VIEWERS as u64, 0));
}
