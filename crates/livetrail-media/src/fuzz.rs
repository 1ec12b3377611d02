//! Fuzz bodies: each takes any bytes and checks the properties that hold for them.

use bytes::Bytes;
use livetrail_engine::MediaFrame;

use crate::{
    amf0, annexb, config,
    flv::{Demuxer, FrameTag, Header, file_header},
    tag::{self, Decoded, TagKind},
};

/// Decoded values encode to bytes that decode to the same values. The output of a lenient decoder
/// begins with the output of a strict one.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_amf0(bytes: &[u8]) {
    survives(amf0::Decoder::lenient(bytes));
    survives(amf0::Decoder::new(bytes));
    let strict: Vec<_> = amf0::Decoder::new(bytes).flatten().collect();
    let mut decoder = amf0::Decoder::lenient(bytes);
    let lenient: Vec<_> = decoder.by_ref().collect();
    assert!(
        lenient.iter().all(Result::is_ok),
        "the lenient decoder returned an error"
    );
    let whole = amf0::decode_all(bytes).is_ok();
    assert_eq!(
        whole,
        decoder.error().is_none(),
        "an error was not recorded"
    );
    let lenient: Vec<_> = lenient.into_iter().flatten().collect();
    assert!(lenient.len() <= strict.len().saturating_add(1));
    let bytes_of = |values: &[amf0::Value]| {
        let mut out = Vec::new();
        values.iter().for_each(|value| value.encode(&mut out));
        out
    };
    assert!(bytes_of(&lenient).starts_with(&bytes_of(&strict)));
}

fn survives(mut decoder: amf0::Decoder<'_>) {
    let mut encoded = Vec::new();
    let mut count = 0_usize;
    for value in decoder.by_ref() {
        let Ok(value) = value else { return };
        value.encode(&mut encoded);
        count = count.saturating_add(1);
    }
    let mut again = Vec::new();
    for value in amf0::Decoder::new(&encoded) {
        assert!(value.is_ok(), "an encoded value must decode: {value:?}");
        if let Ok(value) = value {
            value.encode(&mut again);
            count = count.saturating_sub(1);
        }
    }
    // Compared as bytes: a NaN is not equal to itself.
    assert_eq!(encoded, again);
    assert_eq!(count, 0);
}

/// The tags do not depend on how the stream is cut, and a frame survives being written and read
/// again.
///
/// The first byte gives the size of the pieces.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_flv(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else {
        return;
    };
    let whole = tags(stream, stream.len().max(1));
    assert_eq!(whole, tags(stream, usize::from(*first).max(1)));
    let mut out = file_header(Header {
        has_audio: true,
        has_video: true,
    })
    .to_vec();
    let mut frames = Vec::new();
    for tag in &whole.0 {
        for frame in tag.decode().ok().into_iter().flat_map(Decoded::into_frames) {
            // A file has no field for nanoseconds that every player understands.
            let frame = MediaFrame {
                pts_nanos: 0,
                ..frame
            };
            let tag = FrameTag::new(&frame);
            tag.iter().for_each(|tag| tag.write_to(&mut out));
            // A track's part may grow by a few bytes when it becomes a message of its own.
            frames.extend(tag.is_ok().then_some(frame));
        }
    }
    let (again, failed) = tags(&out, out.len());
    assert!(!failed, "a written stream must be readable");
    let again: Vec<_> = again
        .iter()
        .filter_map(|tag| tag.decode().ok())
        .flat_map(Decoded::into_frames)
        .collect();
    assert_eq!(frames, again);
}

fn tags(stream: &[u8], piece: usize) -> (Vec<crate::flv::Tag>, bool) {
    let mut demuxer = Demuxer::new();
    let mut tags = Vec::new();
    for part in stream.chunks(piece) {
        demuxer.push(part);
        loop {
            match demuxer.next_tag() {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => break,
                Err(_) => return (tags, true),
            }
        }
    }
    (tags, false)
}

/// A frame survives being written as a tag and read again; its configuration is parsed.
///
/// The first byte gives the kind of tag.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_tag(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let kind = match first % 3 {
        0 => TagKind::Audio,
        1 => TagKind::Video,
        _ => TagKind::Script,
    };
    let body = Bytes::copy_from_slice(body);
    let Ok(decoded) = tag::decode(kind, &body, 1_000) else {
        return;
    };
    for frame in decoded.into_frames() {
        // Any result is fine, except a panic.
        config::TrackInfo::of(&frame).ok();
        let payload = &frame.payload;
        config::HevcConfig::parameter_sets(payload).ok();
        config::Av1Config::parse(payload).ok();
        config::OpusConfig::parse(payload).ok();
        config::OpusConfig::samples(payload).ok();
        config::Mp3Header::parse(payload).ok();
        frame_survives(tag::exact_head(&frame), &frame);
        let plain = MediaFrame {
            pts_nanos: 0,
            ..frame
        };
        frame_survives(tag::head(&plain), &plain);
    }
}

fn frame_survives(head: crate::Result<tag::TagHead>, frame: &MediaFrame) {
    assert!(
        head.is_ok(),
        "a decoded frame must have a header: {frame:?}"
    );
    let Ok(head) = head else { return };
    let again: Bytes = [head.bytes(), &frame.payload].concat().into();
    let again = tag::decode(head.kind, &again, i64::from(head.timestamp_ms));
    assert_eq!(again, Ok(Decoded::Frame(frame.clone())));
}

/// An access unit that is taken has a configuration that can be read, and pictures that go back to
/// start codes.
///
/// # Panics
/// When a property is violated.
pub fn fuzz_annexb(bytes: &[u8]) {
    let mut input = annexb::H264Input::default();
    for part in [bytes, bytes] {
        let Ok(frames) = input.frames(part, 0, 0) else {
            continue;
        };
        for frame in frames {
            let back = if frame.is_config() {
                annexb::parameter_sets(&frame.payload)
            } else {
                annexb::with_start_codes(&frame.payload, 4)
            };
            let units = back.map(|bytes| annexb::nal_units(&bytes).count());
            assert!(units.is_ok_and(|units| units > 0), "nothing goes back");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fuzz_amf0, fuzz_flv, fuzz_tag};

    /// Bytes that are an enhanced or legacy header more often than random bytes.
    fn likely_tag() -> impl Strategy<Value = Vec<u8>> {
        let fourccs = [
            b"avc1", b"hvc1", b"av01", b"vp09", b"vvc1", b"mp4a", b"Opus", b"ac-3", b"????",
        ];
        let first = prop_oneof![0x80..=0xffu8, 0x90..=0x9fu8, any::<u8>()];
        let modifier = prop_oneof![
            Just(Vec::new()),
            (0..3u8, any::<[u8; 3]>(), 0..8u8)
                .prop_map(|(_, [a, b, c], next)| vec![2, a, b, c, next]),
        ];
        let shape = prop_oneof![
            Just(Vec::new()),
            (0..4u8, 0..6u8).prop_map(|(s, p)| vec![s << 4 | p])
        ];
        let fourcc = prop::sample::select(fourccs.to_vec());
        let track = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(id, data)| [&[id, 0, 0, data.len() as u8], &data[..]].concat());
        let tracks = prop::collection::vec(track, 0..4).prop_map(|tracks| tracks.concat());
        (0..3u8, first, modifier, shape, fourcc, tracks).prop_map(
            |(kind, first, modifier, shape, fourcc, tracks)| {
                [
                    &[kind, first],
                    &modifier[..],
                    &shape[..],
                    fourcc,
                    &tracks[..],
                ]
                .concat()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_fuzz_bodies_hold_for_likely_tags(bytes in likely_tag()) {
            fuzz_tag(&bytes);
        }

        #[test]
        fn the_fuzz_bodies_hold_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            fuzz_amf0(&bytes);
            fuzz_tag(&bytes);
            let stream = [&[3], &super::file_header(super::Header { has_audio: true, has_video: true })[..], &bytes].concat();
            fuzz_flv(&stream);
        }
    }
}
