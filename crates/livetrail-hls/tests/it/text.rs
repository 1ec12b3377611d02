//! The text of playlists.

use livetrail_hls::{Options, Playlists};
use livetrail_segment::{Container, Rendition};

use crate::stream::Stream;

#[test]
fn a_low_latency_playlist_has_everything_that_a_player_needs() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    assert_eq!(stream.playlists.media(Rendition::Video, false), None);
    assert_eq!(stream.playlists.multivariant(), None);
    stream.run_until(2_640);
    let expected = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000000,PART-HOLD-BACK=1.500000
#EXT-X-PART-INF:PART-TARGET=0.500000
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI=\"v0.init.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-12-01T08:30:00.000Z
#EXT-X-PART:DURATION=0.480000,URI=\"v0.0.m4s\",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.480000,URI=\"v0.1.m4s\"
#EXT-X-PART:DURATION=0.480000,URI=\"v0.2.m4s\"
#EXT-X-PART:DURATION=0.480000,URI=\"v0.3.m4s\"
#EXT-X-PART:DURATION=0.080000,URI=\"v0.4.m4s\"
#EXTINF:2.000000,
v0.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-12-01T08:30:02.000Z
#EXT-X-PART:DURATION=0.480000,URI=\"v1.0.m4s\",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"v1.1.m4s\"
#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=1,LAST-PART=0
";
    assert_eq!(stream.text(Rendition::Video, false), expected);
    assert!(stream.text(Rendition::Audio, false).contains("\na0.m4s\n"));
    let multivariant = stream.playlists.multivariant().unwrap();
    let multivariant = std::str::from_utf8(&multivariant).unwrap();
    let start = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=";
    let end =
        ",CODECS=\"avc1.4d400c,mp4a.40.2\",RESOLUTION=320x180,FRAME-RATE=25.000,AUDIO=\"audio\"
video.m3u8
";
    assert!(
        multivariant.starts_with(start) && multivariant.ends_with(end),
        "{multivariant}"
    );
}

#[test]
fn a_transport_stream_without_low_latency_has_no_parts_and_no_map() {
    let mut options = Options::default();
    options.low_latency = false;
    options.media_prefix = "../m/7/".to_owned();
    let mut stream = Stream::new(Container::MpegTs, options);
    stream.run_until(5_000);
    let expected = "#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.000000
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-PROGRAM-DATE-TIME:2026-12-01T08:30:00.000Z
#EXTINF:2.000000,
../m/7/m0.ts
#EXT-X-PROGRAM-DATE-TIME:2026-12-01T08:30:02.000Z
#EXTINF:2.000000,
../m/7/m1.ts
";
    assert_eq!(stream.text(Rendition::Muxed, false), expected);
    stream.finish();
    assert!(
        stream
            .text(Rendition::Muxed, false)
            .ends_with("m2.ts\n#EXT-X-ENDLIST\n")
    );
}

#[test]
fn a_delta_update_skips_what_is_older_than_the_boundary() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    stream.run_until(12_100);
    // Nothing is beyond the boundary: the whole playlist.
    assert_eq!(
        stream.text(Rendition::Video, true),
        stream.text(Rendition::Video, false)
    );
    stream.run_until(60_100);
    let (delta, whole) = (
        stream.text(Rendition::Video, true),
        stream.text(Rendition::Video, false),
    );
    let skipped = delta
        .lines()
        .find_map(|line| line.strip_prefix("#EXT-X-SKIP:SKIPPED-SEGMENTS="));
    let skipped: usize = skipped.unwrap().parse().unwrap();
    let names = |text: &str| -> Vec<String> {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        names.map(str::to_owned).collect()
    };
    assert_eq!(names(&delta), names(&whole)[skipped..]);
    // At most the boundary is repeated, and one segment.
    assert_eq!(names(&delta).len(), 7);
    assert!(names(&whole).len() >= 15, "{whole}");
    assert!(delta.len() < whole.len());
}

#[test]
fn no_part_is_listed_further_from_the_end_than_three_target_durations() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    stream.run_until(20_000);
    // Segments of two seconds: what is open counts, and a segment lists all of its parts or none.
    for pictures in 0..50 {
        let text = stream.text(Rendition::Video, false);
        let with_parts = |line: &&str| line.starts_with("#EXT-X-PART:") && line.contains(".0.m4s");
        let first = text.lines().filter(with_parts).count();
        let open = usize::from(!text.contains(".0.m4s\"\n#EXT-X-RENDITION-REPORT"));
        assert_eq!(first, 2 + open, "{pictures} pictures: {text}");
        let mut parts = text.lines().filter_map(|line| {
            let part = line.strip_prefix("#EXT-X-PART:DURATION=")?;
            part.split(',').next()?.parse::<f64>().ok()
        });
        let listed: f64 = parts.by_ref().sum();
        assert!((4.0..6.0).contains(&listed), "{listed} s of parts: {text}");
        stream.step();
    }
}

#[test]
fn a_playlist_is_rendered_once_for_all() {
    let mut stream = Stream::new(Container::Cmaf, Options::default());
    stream.run_until(30_000);
    let one = stream.playlists.media(Rendition::Video, false).unwrap();
    let before = stream.playlists.renderings();
    for _ in 0..1_000 {
        let again = stream.playlists.media(Rendition::Video, false).unwrap();
        assert_eq!(again.as_ptr(), one.as_ptr());
    }
    assert_eq!(stream.playlists.renderings(), before);
}

#[test]
fn options_outside_their_bounds_are_refused() {
    for prefix in ["m", "a b/", "\"/", "é/"] {
        let mut options = Options::default();
        options.media_prefix = prefix.to_owned();
        assert!(Playlists::new(options).is_err(), "{prefix}");
    }
    let mut options = Options::default();
    options.window = std::time::Duration::ZERO;
    assert!(Playlists::new(options).is_err());
}
