//! Fuzz bodies: each takes any bytes and checks what must hold for them.

use bytes::Bytes;

use crate::{
    amf0, config,
    flv::{Demuxer, FrameTag, Header, file_header},
    tag::{self, Decoded, TagKind},
};

/// What was decoded must encode to bytes that decode to the same values.
///
/// # Panics
/// When that does not hold.
pub fn fuzz_amf0(bytes: &[u8]) {
    let mut decoder = amf0::Decoder::new(bytes);
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

/// The tags must not depend on how the stream is cut, and a frame must survive being written and read again.
///
/// The first byte says how large the pieces are.
///
/// # Panics
/// When that does not hold.
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
        if let Ok(Decoded::Frame(frame)) = tag.decode() {
            FrameTag::new(&frame)
                .iter()
                .for_each(|tag| tag.write_to(&mut out));
            frames.push(frame);
        }
    }
    let (again, failed) = tags(&out, out.len());
    assert!(!failed, "what was written must be read");
    let again: Vec<_> = again
        .iter()
        .filter_map(|tag| tag.decode().ok()?.into_frame())
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

/// A frame must survive being written as a tag and read again; its configuration is looked into.
///
/// The first byte says which kind of tag it is.
///
/// # Panics
/// When that does not hold.
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
    let Ok(Decoded::Frame(frame)) = tag::decode(kind, &body, 1_000) else {
        return;
    };
    // Any answer will do; only a panic would not.
    config::TrackInfo::of(&frame).ok();
    let head = tag::head(&frame);
    assert!(
        head.is_ok(),
        "a decoded frame must have a header: {frame:?}"
    );
    let Ok(head) = head else { return };
    let again: Bytes = [head.bytes(), &frame.payload].concat().into();
    let again = tag::decode(head.kind, &again, i64::from(head.timestamp_ms));
    assert_eq!(again, Ok(Decoded::Frame(frame)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fuzz_amf0, fuzz_flv, fuzz_tag};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_fuzz_bodies_hold_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            fuzz_amf0(&bytes);
            fuzz_tag(&bytes);
            let stream = [&[3], &super::file_header(super::Header { has_audio: true, has_video: true })[..], &bytes].concat();
            fuzz_flv(&stream);
        }
    }
}
