//! What becomes of requests.

use livetrail_hls::{Decision, Found, Options, Reload, Resource};
use livetrail_segment::{Container, Rendition};

use crate::stream::Stream;

fn decide(stream: &Stream, query: &str) -> Decision {
    let reload = Reload::parse(query).unwrap();
    stream.playlists.decide(Rendition::Video, &reload)
}

#[test]
fn reloads_wait_for_what_comes_next_and_are_refused_what_is_far() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    assert_eq!(decide(&stream, ""), Decision::NotReady);
    // Segments 0 to 4 are complete, and one part of segment 5.
    stream.run_until(10_640);
    for (query, decision) in [
        ("", Decision::Now),
        ("_HLS_msn=0", Decision::Now),
        ("_HLS_msn=4", Decision::Now),
        ("_HLS_msn=4&_HLS_part=4", Decision::Now),
        // Part 5 of segment 4 is part 0 of segment 5.
        ("_HLS_msn=4&_HLS_part=5", Decision::Now),
        ("_HLS_msn=5&_HLS_part=0", Decision::Now),
        ("_HLS_msn=5&_HLS_part=1", Decision::Wait),
        ("_HLS_msn=5&_HLS_part=6", Decision::Wait),
        ("_HLS_msn=5&_HLS_part=7", Decision::TooFar),
        ("_HLS_msn=5", Decision::Wait),
        ("_HLS_msn=6", Decision::Wait),
        ("_HLS_msn=6&_HLS_part=0", Decision::Wait),
        ("_HLS_msn=7", Decision::TooFar),
        ("_HLS_msn=18446744073709551615", Decision::TooFar),
    ] {
        assert_eq!(decide(&stream, query), decision, "{query}");
    }
    assert_eq!(stream.playlists.longest_wait().as_secs(), 6);
    stream.run_until(11_120);
    assert_eq!(decide(&stream, "_HLS_msn=5&_HLS_part=1"), Decision::Now);
    stream.finish();
    assert_eq!(decide(&stream, "_HLS_msn=99&_HLS_part=99"), Decision::Now);
}

#[test]
fn media_is_found_while_it_is_kept_and_the_hinted_part_is_waited_for() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    stream.run_until(10_640);
    let find = |stream: &Stream, name: &str| stream.playlists.find(Resource::parse(name).unwrap());
    let bytes = |found| match found {
        Found::Media(pieces) => pieces.concat(),
        other => panic!("{other:?}"),
    };
    let parts: Vec<Vec<u8>> = (0..5)
        .map(|part| bytes(find(&stream, &format!("v3.{part}.m4s"))))
        .collect();
    assert_eq!(bytes(find(&stream, "v3.m4s")), parts.concat());
    assert_eq!(&bytes(find(&stream, "a0.init.mp4"))[4..8], b"ftyp");
    assert!(matches!(find(&stream, "v5.0.m4s"), Found::Media(_)));
    assert_eq!(find(&stream, "v5.1.m4s"), Found::Hinted);
    for name in [
        "v5.2.m4s",
        "v5.m4s",
        "v3.9.m4s",
        "v1.init.mp4",
        "m0.ts",
        "video.m3u8",
    ] {
        assert_eq!(find(&stream, name), Found::Missing, "{name}");
    }
    // A segment that has left the playlist can be fetched for another window, and no longer.
    stream.run_until(60_000);
    assert!(matches!(find(&stream, "v3.m4s"), Found::Media(_)));
    assert!(!stream.text(Rendition::Video, false).contains("v3.m4s"));
    stream.run_until(120_000);
    assert_eq!(find(&stream, "v3.m4s"), Found::Missing);
    assert_eq!(&bytes(find(&stream, "v0.init.mp4"))[4..8], b"ftyp");
    // Nothing is hinted after the end.
    stream.finish();
    assert_eq!(find(&stream, "v60.0.m4s"), Found::Missing);
}

#[test]
fn names_are_read_as_they_are_written_and_nothing_else() {
    for resource in [
        Resource::Playlist(Rendition::Muxed),
        Resource::Init(Rendition::Audio, 7),
        Resource::Segment(Rendition::Muxed, u64::MAX),
        Resource::Part(Rendition::Video, 3, u32::MAX),
    ] {
        assert_eq!(Resource::parse(&resource.to_string()), Some(resource));
        assert!(!resource.media_type().is_empty());
    }
    for name in [
        "",
        "v",
        "v.m4s",
        "v1.ts",
        "m1.m4s",
        "v01.m4s",
        "v+1.m4s",
        "v1.2.3.m4s",
        "é1.m4s",
    ] {
        assert_eq!(Resource::parse(name), None, "{name}");
    }
}
