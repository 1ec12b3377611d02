//! The fuzz body: frames in any order, with any times and contents.

use std::time::Duration;

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, TimeBase};

use crate::{Container, Options, Segmenter, judge::Judge};

/// The maximum number of operations of an input.
const MAX_OPERATIONS: usize = 4_096;

/// Decoder configurations, so that most frames have one.
const AVC: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";
const AV1: &[u8] = b"\x81\x00\x0c\x00";
const AAC: &[u8] = b"\x12\x10";
const OPUS: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
const MP3: &[u8] = b"\xff\xfb\x90\x00";

/// Frames that the bytes describe, four or more bytes each, go through a segmenter. What comes out
/// must keep the rules for any stream. `see` gets each event before that.
///
/// # Panics
/// When a rule is violated.
pub fn fuzz_segmenter(bytes: &[u8], see: &mut dyn FnMut(&crate::Event)) {
    let Some((settings, mut rest)) = bytes.split_first() else {
        return;
    };
    let options = Options {
        container: if settings & 1 == 0 {
            Container::Cmaf
        } else {
            Container::MpegTs
        },
        part: Duration::from_millis(if settings & 2 == 0 { 500 } else { 100 }),
        max_part_bytes: 64 << 10,
        max_segment_bytes: 256 << 10,
        ..Options::default()
    };
    let Ok(mut segmenter) = Segmenter::new(options.clone()) else {
        panic!("the options are valid");
    };
    let mut judge = Judge::new(options);
    let mut events = Vec::new();
    let mut clocks = [0_i64; 2];
    for _ in 0..MAX_OPERATIONS {
        let Some((operation, tail)) = rest.split_first_chunk::<4>() else {
            break;
        };
        rest = operate(*operation, tail, &mut clocks, &mut segmenter, &mut events);
        events.iter().for_each(&mut *see);
        judge.check(&mut events);
    }
    segmenter.finish(&mut events);
    events.iter().for_each(&mut *see);
    judge.check(&mut events);
}

/// One call. `[what, step, step, length]`: the kind of frame, the step of its clock, and the size
/// of its payload. Returns the bytes that are not used.
fn operate<'a>(
    [what, high, low, length]: [u8; 4],
    tail: &'a [u8],
    clocks: &mut [i64; 2],
    segmenter: &mut Segmenter,
    events: &mut Vec<crate::Event>,
) -> &'a [u8] {
    let is_audio = what & 1 == 1;
    let [video, audio] = clocks;
    let clock = if is_audio { audio } else { video };
    let step = i64::from(i16::from_be_bytes([high, low]));
    *clock = match what >> 5 {
        // Mostly small steps ahead.
        0..=4 => clock.saturating_add(step.rem_euclid(100)),
        5 => clock.saturating_add(step),
        6 => clock.saturating_add(step.saturating_mul(1 << 30)),
        _ => step.saturating_mul(1 << 48),
    };
    let (codec, config) = match (what >> 1) & 7 {
        0..=4 if is_audio => (CodecId::Aac, AAC),
        5 if is_audio => (CodecId::Opus, OPUS),
        6 if is_audio => (CodecId::Mp3, MP3),
        _ if is_audio => (CodecId::G711Alaw, AAC),
        0..=4 => (CodecId::H264, AVC),
        5 => (CodecId::Av1, AV1),
        6 => (CodecId::H265, AVC),
        _ => (CodecId::Vp9, AVC),
    };
    let (payload, tail) = match length {
        0..=200 => tail.split_at(usize::from(length & 31).min(tail.len())),
        _ => (&[][..], tail),
    };
    let (flags, payload) = match length {
        0..=200 if what & 16 == 0 => (FrameFlags::NONE, Bytes::copy_from_slice(payload)),
        0..=200 => (FrameFlags::KEYFRAME, Bytes::copy_from_slice(payload)),
        201..=239 => (FrameFlags::CONFIG, Bytes::from_static(config)),
        240..=243 => (FrameFlags::CONFIG, Bytes::copy_from_slice(tail)),
        244..=247 => (FrameFlags::KEYFRAME, vec![0; 40_000].into()),
        248..=250 => (FrameFlags::KEYFRAME, Bytes::from_static(MP3)),
        251 => (FrameFlags::END_OF_SEQUENCE, Bytes::new()),
        252 => {
            segmenter.discontinuity(events);
            return tail;
        }
        253 => {
            segmenter.finish(events);
            return tail;
        }
        _ => (FrameFlags::AS_RECEIVED, Bytes::from_static(b"x")),
    };
    let mut frame = if is_audio {
        MediaFrame::audio(codec, *clock, flags, payload)
    } else {
        MediaFrame::video(codec, *clock, clock.saturating_add(step), flags, payload)
    };
    if length == 254 {
        frame.track = 1;
    }
    if length == 199 {
        frame.time_base = TimeBase::MPEG;
    }
    segmenter.push(&frame, events);
    tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn the_rules_hold_for_any_frames(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            fuzz_segmenter(&bytes, &mut |_| {});
        }

        #[test]
        fn the_rules_hold_for_likely_frames(
            settings: u8,
            frames in prop::collection::vec((0..=255_u8, 0..3_u8, any::<u8>(), any::<u8>()), 0..600),
        ) {
            let mut bytes = vec![settings, 0, 0, 0, 210, 1, 0, 0, 210];
            for (what, high, low, length) in frames {
                // Each with its payload.
                bytes.extend_from_slice(&[what & 0x9f, high, low, length]);
                bytes.resize(bytes.len() + if length <= 200 { usize::from(length & 31) } else { 0 }, 1);
            }
            fuzz_segmenter(&bytes, &mut |_| {});
        }
    }
}
