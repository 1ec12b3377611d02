//! A flood of refusals is bounded.

use std::{sync::Arc, time::Duration};

use livetrail_clock::ManualClock;
use livetrail_ledger::{MemStore, SharedStore};

use super::{Made, NOW_MS, erase_sessions, insert, try_open};
use crate::{Inserted, NewRow, RowKind, Vault};

fn refuse(vault: &mut Vault, numbers: std::ops::Range<u32>) -> Inserted {
    let made: Vec<_> = numbers.map(Made::new).collect();
    let rows: Vec<_> = made
        .iter()
        .map(|made| NewRow {
            kind: RowKind::Refusal,
            ..made.row()
        })
        .collect();
    vault.insert(&rows).unwrap()
}

#[test]
fn refusals_are_kept_up_to_a_number_per_minute_and_in_total() {
    let clock = ManualClock::at(NOW_MS);
    let store: SharedStore = Arc::new(MemStore::new());
    let (mut vault, _) = try_open(&store, &clock).unwrap();
    let done = refuse(&mut vault, 0..7);
    assert_eq!((done.kept, done.not_kept), (5, 2));
    assert_eq!(refuse(&mut vault, 7..9).not_kept, 2);
    assert_eq!(
        insert(&mut vault, 100..103).unwrap(),
        3,
        "sessions are not concerned"
    );
    assert_eq!((vault.take_not_kept(), vault.take_not_kept()), (4, 0));
    clock.advance(Duration::from_secs(60));
    assert_eq!(refuse(&mut vault, 10..15).kept, 3, "8 in total");
    clock.advance(Duration::from_secs(60));
    assert_eq!(refuse(&mut vault, 20..25).kept, 0);
    erase_sessions(&mut vault, [0, 1, 10]);
    assert_eq!(refuse(&mut vault, 30..35).kept, 3);
    assert_eq!(
        (vault.status().refusals, vault.status().refusals_not_kept),
        (8, 13)
    );
    assert_eq!(vault.take_not_kept(), 9);
    // The total is known after a start, too.
    drop(vault);
    clock.advance(Duration::from_secs(60));
    let (mut vault, _) = try_open(&store, &clock).unwrap();
    assert_eq!(
        (vault.status().refusals, refuse(&mut vault, 40..42).kept),
        (8, 0)
    );
}
