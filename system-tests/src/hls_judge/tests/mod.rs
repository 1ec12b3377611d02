//! Each rule, with a fault that breaks it; and streams without a fault.

mod boxes;
mod live;
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Options, Rule, Verdict, judge};
use live::Live;

const URL: &str = "http://live/live/index.m3u8";

fn run(live: &mut Live, options: &Options) -> Verdict {
    judge(live, URL, Duration::from_secs(30), options)
}

#[test]
fn a_correct_stream_breaks_no_rule() {
    let verdict = run(&mut Live::new(), &Options::default());
    assert!(verdict.is_clean(), "{verdict}");
    let seen = verdict.seen;
    // 30 s of two renditions, with 5 parts in a segment of 2 s.
    assert!(
        seen.parts > 160 && seen.segments > 34 && seen.hints > 140,
        "{verdict}"
    );
    assert!(
        seen.blocked > 140 && seen.deltas > 20 && seen.unlisted > 20,
        "{verdict}"
    );
    assert_eq!(
        verdict.renditions,
        ["http://live/live/v.m3u8", "http://live/live/a.m3u8"]
    );
}

#[test]
fn a_discontinuity_and_an_end_break_no_rule() {
    let mut live = Live::new();
    (live.discontinuity, live.ends_ms) = (Some(35), Some(84_400));
    let verdict = run(&mut live, &Options::default());
    assert!(verdict.is_clean(), "{verdict}");
    assert_eq!(verdict.seen.discontinuities, 2);
    assert!(verdict.watched_ms < 26_000, "{verdict}");
}

#[test]
fn a_pause_is_excused_only_with_a_discontinuity_and_on_request() {
    let paused = |discontinuity, pauses| {
        let mut live = Live::new();
        (live.discontinuity, live.late) = (discontinuity, Some((175, 4_000)));
        let options = Options {
            pauses,
            ..Options::default()
        };
        let verdict = run(&mut live, &options);
        verdict.broken().keys().copied().collect::<Vec<_>>()
    };
    let late = [Rule::SegmentLate, Rule::PartLate];
    assert_eq!(paused(Some(35), true), []);
    assert_eq!(paused(Some(35), false), late);
    assert_eq!(paused(None, true), late);
}

#[test]
fn each_rule_has_a_fault_that_is_caught() {
    let seeds: BTreeMap<Rule, seeds::Seed> = seeds::all().into_iter().collect();
    let without: Vec<_> = Rule::ALL
        .iter()
        .filter(|rule| !seeds.contains_key(rule))
        .collect();
    assert!(without.is_empty(), "no fault is seeded for {without:?}");
    let mut missed = Vec::new();
    for (rule, seed) in seeds {
        let broken = seed();
        if !broken.contains(&rule) {
            missed.push((rule, broken));
        }
    }
    assert!(
        missed.is_empty(),
        "not caught, and what was caught instead: {missed:#?}"
    );
}

#[test]
fn the_header_of_a_track_has_its_size() {
    let mut init = boxes::init(true);
    assert!(super::mp4::init(&init).is_ok());
    // Two bytes less in tkhd, and in the boxes around it.
    let at = |kind: &[u8; 4]| {
        let found = init.windows(4).position(|four| four == kind);
        found.expect("a box")
    };
    let (tkhd, around) = (at(b"tkhd"), [at(b"moov"), at(b"trak"), at(b"tkhd")]);
    init.drain(tkhd + 40..tkhd + 42);
    for at in around {
        let size: [u8; 4] = init[at - 4..at].try_into().expect("four bytes");
        let size = (u32::from_be_bytes(size) - 2).to_be_bytes();
        init[at - 4..at].copy_from_slice(&size);
    }
    let refused = super::mp4::init(&init);
    assert_eq!(refused, Err("tkhd has 82 bytes, not 84".to_owned()));
}

#[test]
fn names_of_rules_are_unique() {
    let names: BTreeSet<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    assert_eq!(names.len(), Rule::ALL.len());
    let is_plain = |name: &&str| {
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    assert!(names.iter().all(is_plain));
}

#[test]
fn a_verdict_is_json() {
    let mut live = Live::new();
    live.window = 2;
    let verdict = run(&mut live, &Options::default());
    let json = verdict.json();
    assert_eq!(json["clean"], false);
    assert!(
        json["broken"]["window-too-short"].as_u64() > Some(0),
        "{json:#}"
    );
    assert_eq!(json["violations"][0]["place"], "http://live/live/v.m3u8");
    assert!(
        verdict.to_string().contains("window-too-short (6.2.2)"),
        "{verdict}"
    );
}

#[test]
fn an_address_without_a_playlist_is_reported() {
    let verdict = judge(
        &mut Live::new(),
        "http://live/other",
        Duration::from_secs(1),
        &Options::default(),
    );
    assert_eq!(
        verdict.broken().keys().collect::<Vec<_>>(),
        [&Rule::PlaylistFails]
    );
}
