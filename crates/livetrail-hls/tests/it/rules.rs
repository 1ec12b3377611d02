//! What must hold between two playlists of a rendition, as a player sees them.

use std::collections::HashMap;

use livetrail_hls::{Found, Options, Resource};
use livetrail_segment::{Container, Rendition};
use proptest::prelude::*;

use crate::stream::Stream;

/// A playlist as a player reads it.
#[derive(Debug, Default)]
struct Seen {
    /// The tags that never change.
    fixed: Vec<String>,
    sequence: u64,
    discontinuity_sequence: u64,
    /// Of each segment: name, duration in microseconds, discontinuities before it, date.
    segments: Vec<(String, u64, u64, String)>,
}

fn micros(seconds: &str) -> u64 {
    let (whole, part) = seconds.split_once('.').unwrap();
    whole.parse::<u64>().unwrap() * 1_000_000 + part.parse::<u64>().unwrap()
}

fn read(text: &str) -> Seen {
    let mut seen = Seen::default();
    let (mut duration, mut date, mut discontinuities) = (0_u64, String::new(), 0);
    let mut parts = 0;
    for line in text.lines() {
        let Some((tag, value)) = line.split_once(':') else {
            match line {
                "#EXT-X-DISCONTINUITY" => discontinuities += 1,
                "#EXTM3U" | "#EXT-X-ENDLIST" => {}
                name => {
                    // The parts are the segment, up to the rounding of each.
                    assert!(
                        parts == 0 || duration.abs_diff(parts) < 10,
                        "{parts} of {duration}"
                    );
                    parts = 0;
                    seen.segments
                        .push((name.to_owned(), duration, discontinuities, date.clone()));
                    discontinuities = 0;
                }
            }
            continue;
        };
        match tag {
            "#EXT-X-TARGETDURATION" | "#EXT-X-SERVER-CONTROL" | "#EXT-X-PART-INF" => {
                seen.fixed.push(line.to_owned());
            }
            "#EXT-X-MEDIA-SEQUENCE" => seen.sequence = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                seen.discontinuity_sequence = value.parse().unwrap();
            }
            "#EXTINF" => duration = micros(value.trim_end_matches(',')),
            "#EXT-X-PROGRAM-DATE-TIME" => date = value.to_owned(),
            "#EXT-X-PART" => {
                let of = value.split(',').next().unwrap();
                let part = micros(of.strip_prefix("DURATION=").unwrap());
                assert!(part <= 500_000, "{line}");
                parts += part;
            }
            _ => {}
        }
    }
    seen
}

/// Compares a playlist with the one before.
fn check(before: &Seen, now: &Seen) {
    assert_eq!(before.fixed, now.fixed);
    assert!(now.sequence >= before.sequence);
    let removed = (now.sequence - before.sequence) as usize;
    assert!(
        removed <= before.segments.len(),
        "segments were never listed"
    );
    let gone = before.segments.iter().take(removed);
    // The tag in front of the first segment that stays is removed with those before it.
    let next = before
        .segments
        .get(removed)
        .map_or(0, |(_, _, tags, _)| *tags);
    let tags: u64 = gone.skip(1).map(|(_, _, tags, _)| tags).sum();
    if removed > 0 && removed < before.segments.len() {
        assert_eq!(
            now.discontinuity_sequence,
            before.discontinuity_sequence + tags + next
        );
    }
    for (at, old) in before.segments.iter().enumerate().skip(removed) {
        let new = &now.segments[at - removed];
        assert_eq!((&old.0, old.1, &old.3), (&new.0, new.1, &new.3));
    }
    let total: u64 = now.segments.iter().map(|(_, duration, ..)| duration).sum();
    assert!(
        removed == 0 || total >= 6_000_000,
        "shorter than three target durations"
    );
}

#[test]
fn what_is_kept_has_a_bound_also_for_init_segments() {
    let mut options = Options::default();
    options.max_bytes = 1 << 20;
    options.window = std::time::Duration::from_secs(3_600);
    let mut stream = Stream::new(Container::Cmaf, options);
    for number in 0..60 {
        stream.configure(number, 60_000);
        stream.run_until(stream.now_ms + 2_000);
    }
    let is_kept = |resource| matches!(stream.playlists.find(resource), Found::Media(_));
    let inits = (0..100).filter(|number| is_kept(Resource::Init(Rendition::Video, *number)));
    let inits = inits.count();
    // 1 MiB are 17 of them.
    assert!((15..=18).contains(&inits), "{inits}");
    let segments = (0..100).filter(|number| is_kept(Resource::Segment(Rendition::Video, *number)));
    assert!(segments.count() >= 15);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn playlists_keep_the_rules_over_time(
        steps in prop::collection::vec((1_usize..200, 0_u8..10), 1..20),
        is_ts: bool,
    ) {
        let mut options = Options::default();
        options.window = std::time::Duration::from_secs(8);
        let container = if is_ts { Container::MpegTs } else { Container::Cmaf };
        let mut stream = Stream::new(container, options);
        let renditions: &[Rendition] =
            if is_ts { &[Rendition::Muxed] } else { &[Rendition::Video, Rendition::Audio] };
        let mut before: HashMap<Rendition, Seen> = HashMap::new();
        for (frames, what) in steps {
            for _ in 0..frames {
                stream.step();
            }
            if what == 0 {
                stream.discontinuity();
            }
            for rendition in renditions {
                if stream.playlists.media(*rendition, false).is_none() {
                    continue;
                }
                let text = stream.text(*rendition, false);
                let now = read(&text);
                if let Some(before) = before.get(rendition) {
                    check(before, &now);
                }
                // Everything that is listed is there.
                for line in text.lines().filter(|line| line.contains("URI=\"") || !line.starts_with('#')) {
                    let name = line.split("URI=\"").last().unwrap().split('"').next().unwrap();
                    let resource = Resource::parse(name).unwrap();
                    let found = stream.playlists.find(resource);
                    match resource {
                        Resource::Playlist(_) => {}
                        _ if line.contains("PRELOAD-HINT") => assert_eq!(found, Found::Hinted),
                        _ => assert!(matches!(found, Found::Media(_)), "{line}"),
                    }
                }
                before.insert(*rendition, now);
            }
        }
    }
}

#[test]
fn a_smaller_bound_shortens_the_window_and_keeps_the_numbers() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    for _ in 0..25 * 20 {
        stream.step();
    }
    let playlists = &mut stream.playlists;
    let read_now = |playlists: &mut livetrail_hls::Playlists| {
        let text = playlists.media(Rendition::Video, false).unwrap();
        read(std::str::from_utf8(&text).unwrap())
    };
    let before = read_now(playlists);
    let kept = playlists.kept_bytes();
    assert!(!playlists.shrink(kept));
    assert!(playlists.shrink(kept / 2));
    assert!(playlists.kept_bytes() <= kept / 2);
    let after = read_now(playlists);
    check(&before, &after);
    assert!(after.segments.len() < before.segments.len());
    // The last segment is never removed.
    playlists.shrink(0);
    assert_eq!(read_now(playlists).segments.len(), 1);
    let (name, ..) = &before.segments[0];
    let gone = Resource::parse(name).unwrap();
    assert_eq!(playlists.find(gone), Found::Missing);
    let (name, ..) = before.segments.last().unwrap();
    assert_eq!(playlists.frames(Resource::parse(name).unwrap()), 50);
}
