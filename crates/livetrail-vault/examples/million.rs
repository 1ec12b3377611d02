//! Measures a vault of a million sessions, of which a tenth is erased:
//! `cargo run --release --package livetrail-vault --example million`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use livetrail_clock::SystemClock;
use livetrail_vault::{
    ERASE_SESSIONS, NewRow, Options, Query, Request, RowKind, Selection, SessionId, Subject, Vault,
};

const SESSIONS: u32 = 1_000_000;
const BATCH: u32 = 5_000;

fn session(number: u32) -> SessionId {
    let mixed = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    mixed.to_be_bytes()
}

fn main() {
    let place = tempfile::tempdir().unwrap();
    let options = Options::new(place.path().join("personal"));
    let clock = Arc::new(SystemClock::new());
    let (mut vault, _) = Vault::open(&options, clock.clone()).unwrap();
    let opening = [b'x'; 130];
    let began = Instant::now();
    for first in (0..SESSIONS).step_by(usize::try_from(BATCH).unwrap()) {
        let numbers = first..first + BATCH;
        let names: Vec<String> = numbers
            .clone()
            .map(|n| format!("viewer{}", n % 50_000))
            .collect();
        let rows: Vec<_> = numbers
            .zip(&names)
            .map(|(number, name)| NewRow {
                session: session(number),
                kind: RowKind::Session,
                app: "live",
                time_ms: u64::from(number),
                principal: Some(name),
                peer: Some(
                    std::net::Ipv4Addr::from_bits(number.wrapping_mul(2_654_435_761)).into(),
                ),
                user_agent: Some(
                    ["VLC/3.0.18", "ffmpeg/5.1", "OBS/30"][usize::try_from(number % 3).unwrap()],
                ),
                stream: None,
                owner: None,
                opening: &opening,
            })
            .collect();
        assert_eq!(vault.insert(&rows).unwrap().kept, u64::from(BATCH));
    }
    let inserted = began.elapsed();
    let bytes = vault.disk_bytes().unwrap();
    drop(vault);
    let began = Instant::now();
    let (mut vault, _) = Vault::open(&options, clock).unwrap();
    let opened = began.elapsed();

    let began = Instant::now();
    for number in (0..SESSIONS).step_by(1_000) {
        assert!(vault.get(&session(number)).unwrap().is_some());
    }
    let got = began.elapsed() / (SESSIONS / 1_000);
    let began = Instant::now();
    let query = Query::of(Subject::Principal("viewer7".into()));
    assert_eq!(vault.find(&query, None, 100).unwrap().rows.len(), 20);
    let found = began.elapsed();

    let began = Instant::now();
    let one = |vault: &mut Vault, id: &str, selection| {
        let request = Request {
            id: id.into(),
            selection,
        };
        vault.erase(&request, &mut |_| Ok(())).unwrap().erased
    };
    assert_eq!(
        one(
            &mut vault,
            "one",
            Selection::Sessions(vec![session(500_001)])
        ),
        1
    );
    let one_erased = began.elapsed();
    let tenth: Vec<_> = (0..SESSIONS).step_by(10).map(session).collect();
    let began = Instant::now();
    assert_eq!(
        one(&mut vault, "tenth", Selection::Sessions(tenth.clone())),
        100_000
    );
    let erased = began.elapsed();
    // The same number again, as a server does it: others use the vault between the parts.
    let other: Vec<_> = (5..SESSIONS).step_by(10).map(session).collect();
    let (mut choose, mut begin, mut part) = Default::default();
    let longest = |longest: &mut Duration, began: Instant| {
        *longest = began.elapsed().max(*longest);
    };
    let began_all = Instant::now();
    for some in other.chunks(ERASE_SESSIONS) {
        let began = Instant::now();
        let selection = Selection::Sessions(some.to_vec());
        assert!(vault.dry_run(&selection).unwrap().erased > 0);
        longest(&mut choose, began);
        let began = Instant::now();
        vault.begin_erasure(some).unwrap();
        longest(&mut begin, began);
        loop {
            let began = Instant::now();
            let more = vault.erase_part().unwrap();
            longest(&mut part, began);
            if !more {
                break;
            }
        }
    }
    let in_parts = began_all.elapsed();
    let began = Instant::now();
    assert_eq!(vault.replay(&tenth).unwrap(), 0);
    let replayed = began.elapsed();
    let began = Instant::now();
    let check = vault.check().unwrap();
    assert!(check.is_good() && check.rows == 799_999, "{check:?}");
    let checked = began.elapsed();
    println!("insert {SESSIONS} in batches of {BATCH}: {inserted:?}; {bytes} bytes");
    println!("open: {opened:?}; get: {got:?} each; 20 rows of a principal: {found:?}");
    println!("erase one: {one_erased:?}; erase 100,000: {erased:?}");
    println!(
        "erase 100,000 in parts: {in_parts:?}; longest step: choose {choose:?}, begin {begin:?}, part {part:?}"
    );
    println!("replay 100,000 erased: {replayed:?}; check: {checked:?}");
    assert!(erased.as_secs() < 60, "{erased:?}");
}
