//! Queries by subject, in pages.

use livetrail_ledger::MemStore;

use super::{Made, NOW_MS, erase_sessions, insert, open, session};
use crate::{NewRow, Query, Subject, Vault, VaultError};

fn found(vault: &Vault, query: &Query, limit: usize) -> Vec<u32> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = vault.find(query, from, limit).unwrap();
        assert!(page.rows.len() <= limit);
        assert_eq!(page.damaged, 0);
        found.extend(
            page.rows
                .iter()
                .map(|row| u32::from_be_bytes(row.session[12..].try_into().unwrap())),
        );
        from = page.next;
        if from.is_none() {
            return found;
        }
    }
}

fn network(text: &str) -> Subject {
    let (address, bits) = text.split_once('/').unwrap();
    Subject::Network {
        address: address.parse().unwrap(),
        bits: bits.parse().unwrap(),
    }
}

#[test]
fn each_subject_is_found_in_all_segments_by_pages_of_any_size() {
    let mut vault = open(&MemStore::new());
    insert(&mut vault, 0..100).unwrap();
    let all = |keep: &dyn Fn(&u32) -> bool| (0..100).filter(keep).collect::<Vec<u32>>();
    let cases: [(Subject, Vec<u32>); 8] = [
        (Subject::Principal("name3".into()), all(&|n| n % 5 == 3)),
        (Subject::Principal("name".into()), vec![]),
        (Subject::UserAgent(" agent1 ".into()), all(&|n| n % 3 == 1)),
        (Subject::Anyone, all(&|_| true)),
        (network("192.0.4.0/24"), all(&|n| n % 7 == 4)),
        (network("192.0.4.5/32"), all(&|n| n % 7 == 4 && n % 11 == 5)),
        (network("192.0.4.0/22"), all(&|n| n % 7 >= 4)),
        (network("192.0.0.0/7"), all(&|_| true)),
    ];
    for (subject, expected) in cases {
        let query = Query::of(subject);
        for limit in [1, 7, 1_000] {
            assert_eq!(found(&vault, &query, limit), expected);
        }
    }
    let query = Query {
        app: Some("app1".into()),
        from_ms: NOW_MS + 20,
        until_ms: NOW_MS + 40,
        ..Query::of(Subject::Principal("name3".into()))
    };
    assert_eq!(found(&vault, &query, 2), [23, 33]);
    let query = Query {
        subject: Subject::Anyone,
        ..query
    };
    assert_eq!(
        found(&vault, &query, 3),
        [21, 23, 25, 27, 29, 31, 33, 35, 37, 39]
    );
    erase_sessions(&mut vault, [23, 25, 98]);
    assert_eq!(found(&vault, &query, 3), [21, 27, 29, 31, 33, 35, 37, 39]);
    assert_eq!(
        found(&vault, &Query::of(Subject::Principal("name3".into())), 9).len(),
        18
    );
}

#[test]
fn networks_of_ipv6_and_mapped_addresses_are_found() {
    let mut vault = open(&MemStore::new());
    let peers = [
        "2001:db8:1:2::1",
        "2001:db8:1:2::2",
        "2001:db8:1:3::1",
        "2001:db9::1",
        "::ffff:198.51.100.7",
    ];
    for (peer, number) in peers.iter().zip(0..) {
        let made = Made::new(number);
        vault
            .insert(&[NewRow {
                peer: Some(peer.parse().unwrap()),
                ..made.row()
            }])
            .unwrap();
    }
    let cases: [(&str, &[u32]); 9] = [
        ("2001:db8:1:2::1/128", &[0]),
        ("2001:db8:1:2::/64", &[0, 1]),
        ("2001:db8:1:2::/63", &[0, 1, 2]),
        ("2001:db8:1::/48", &[0, 1, 2]),
        ("2001:db8::/31", &[0, 1, 2, 3]),
        ("::/0", &[0, 1, 2, 3]),
        ("198.51.100.0/24", &[4]),
        ("::ffff:198.51.100.7/32", &[4]),
        ("0.0.0.0/0", &[4]),
    ];
    for (text, expected) in cases {
        assert_eq!(
            found(&vault, &Query::of(network(text)), 10),
            expected,
            "{text}"
        );
    }
    let refused = vault.find(&Query::of(network("10.0.0.0/33")), None, 1);
    assert!(
        matches!(refused, Err(VaultError::Prefix { bits: 33 })),
        "{refused:?}"
    );
    assert!(vault.get(&session(9)).unwrap().is_none());
}
