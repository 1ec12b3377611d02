//! Tests of the whole vault, in memory.

mod bounds;
mod checking;
mod erasing;
mod faults;
mod finding;
mod holding;
mod keeping;
mod operations;
mod sealing;

use std::{net::IpAddr, sync::Arc};

use livetrail_clock::ManualClock;
use livetrail_ledger::{MemStore, SharedStore};
use zeroize::Zeroizing;

use crate::{
    Limits, MasterKey, NewRow, Opened, Query, Record, Request, RowKind, Selection, SessionId,
    Subject, Vault, VaultError,
};

/// The time at which the tests begin.
const NOW_MS: u64 = 1_700_000_000_000;

/// Segments of four rows.
const SMALL: Limits = Limits {
    refusals_per_minute: 5,
    refusals: 8,
    segment_rows: 4,
    segment_bytes: 1 << 20,
};

fn key(byte: u8) -> MasterKey {
    MasterKey::new(Zeroizing::new([byte; 32]))
}

fn session(number: u32) -> SessionId {
    let mut session = [0xab; 16];
    session[12..].copy_from_slice(&number.to_be_bytes());
    session
}

fn sessions(numbers: impl IntoIterator<Item = u32>) -> Vec<SessionId> {
    numbers.into_iter().map(session).collect()
}

fn try_open(store: &SharedStore, clock: &ManualClock) -> Result<(Vault, Opened), VaultError> {
    Vault::open_store(Arc::clone(store), &key(1), SMALL, Arc::new(clock.clone()))
}

fn open(mem: &MemStore) -> Vault {
    let store: SharedStore = Arc::new(mem.clone());
    try_open(&store, &ManualClock::at(NOW_MS)).unwrap().0
}

/// The row of a number: principals repeat every 5, peers every 7, user agents every 3,
/// applications every 2.
struct Made {
    number: u32,
    app: String,
    principal: String,
    user_agent: String,
    peer: IpAddr,
    opening: Vec<u8>,
}

impl Made {
    fn new(number: u32) -> Self {
        Self {
            number,
            app: format!("app{}", number % 2),
            principal: format!("name{}", number % 5),
            user_agent: format!("agent{}", number % 3),
            peer: format!("192.0.{}.{}", number % 7, number % 11)
                .parse()
                .unwrap(),
            opening: format!("{{\"opening of\":{number}}}").into_bytes(),
        }
    }

    fn row(&self) -> NewRow<'_> {
        NewRow {
            session: session(self.number),
            kind: RowKind::Session,
            app: &self.app,
            time_ms: NOW_MS + u64::from(self.number),
            principal: Some(&self.principal),
            peer: Some(self.peer),
            user_agent: Some(&self.user_agent),
            stream: None,
            owner: None,
            opening: &self.opening,
        }
    }
}

fn insert(vault: &mut Vault, numbers: impl IntoIterator<Item = u32>) -> Result<u64, VaultError> {
    let made: Vec<_> = numbers.into_iter().map(Made::new).collect();
    let rows: Vec<_> = made.iter().map(Made::row).collect();
    vault.insert(&rows).map(|done| done.kept)
}

fn insert_missing(
    vault: &mut Vault,
    numbers: impl IntoIterator<Item = u32>,
) -> Result<u64, VaultError> {
    let made: Vec<_> = numbers.into_iter().map(Made::new).collect();
    let rows: Vec<_> = made.iter().map(Made::row).collect();
    vault.insert_missing(&rows).map(|done| done.kept)
}

/// Which of the first `count` sessions have an opening; it is the right one.
fn present(vault: &Vault, count: u32) -> Vec<u32> {
    let page = vault
        .find(&Query::of(Subject::Anyone), None, 1_000)
        .unwrap();
    assert_eq!(page.next, None);
    let mut present = Vec::new();
    for found in page.rows {
        let number = u32::from_be_bytes(found.session[12..].try_into().unwrap());
        assert_eq!(found.session, session(number));
        assert_eq!(*found.opening, Made::new(number).opening);
        assert_eq!(found.time_ms, NOW_MS + u64::from(number));
        present.push(number);
    }
    present.sort_unstable();
    assert!(present.windows(2).all(|pair| pair[0] < pair[1]));
    present.retain(|number| *number < count);
    present
}

fn request(id: &str, selection: Selection) -> Request {
    Request {
        id: id.to_owned(),
        selection,
    }
}

fn erase_sessions(vault: &mut Vault, numbers: impl IntoIterator<Item = u32>) -> crate::Erasure {
    let request = request("some", Selection::Sessions(sessions(numbers)));
    vault.erase(&request, &mut |_| Ok(())).unwrap()
}

/// A record that notes the sessions.
fn noting(noted: &mut Vec<SessionId>) -> Box<Record<'_>> {
    Box::new(|sessions| {
        noted.extend_from_slice(sessions);
        Ok(())
    })
}
