//! What the tag headers promise.

use std::num::NonZeroU32;

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, TimeBase};
use proptest::prelude::*;

use super::{Decoded, Skipped, TagKind, Unwrapper, decode, head};
use crate::Error;

fn body(frame: &MediaFrame) -> (TagKind, u32, Bytes) {
    let head = head(frame).unwrap();
    (
        head.kind,
        head.timestamp_ms,
        [head.bytes(), &frame.payload].concat().into(),
    )
}

fn there_and_back(frame: &MediaFrame) -> MediaFrame {
    let (kind, timestamp_ms, body) = body(frame);
    decode(kind, &body, i64::from(timestamp_ms))
        .unwrap()
        .into_frame()
        .unwrap()
}

fn any_frame() -> impl Strategy<Value = MediaFrame> {
    let flags = prop_oneof![
        Just(FrameFlags::NONE),
        Just(FrameFlags::KEYFRAME),
        Just(FrameFlags::CONFIG),
        Just(FrameFlags::END_OF_SEQUENCE)
    ];
    let video = prop::sample::select(vec![
        CodecId::H264,
        CodecId::H265,
        CodecId::Av1,
        CodecId::Vp8,
        CodecId::Vp9,
    ]);
    let audio = prop::sample::select(vec![CodecId::Aac, CodecId::Opus, CodecId::Mp3]);
    let time = 0i64..0x1_0000_0000;
    let payload = prop::collection::vec(any::<u8>(), 1..50);
    (
        any::<bool>(),
        video,
        audio,
        flags,
        time,
        -0x80_0000i64..0x80_0000,
        payload,
        0u8..3,
    )
        .prop_map(
            |(is_video, video, audio, flags, dts, composition, payload, track)| {
                let ends = flags == FrameFlags::END_OF_SEQUENCE;
                let payload = if ends {
                    Bytes::new()
                } else {
                    Bytes::from(payload)
                };
                let frame = if is_video {
                    let reorders = matches!(video, CodecId::H264 | CodecId::H265);
                    let coded = !ends && flags != FrameFlags::CONFIG;
                    let pts = if reorders && coded {
                        dts + composition
                    } else {
                        dts
                    };
                    MediaFrame::video(video, dts, pts, flags, payload)
                } else {
                    let flags = if flags == FrameFlags::KEYFRAME {
                        FrameFlags::NONE
                    } else {
                        flags
                    };
                    MediaFrame::audio(audio, dts, flags, payload)
                };
                MediaFrame { track, ..frame }
            },
        )
}

proptest! {
    #[test]
    fn a_frame_survives_its_tag(frame in any_frame()) {
        prop_assert_eq!(there_and_back(&frame), frame);
    }

    #[test]
    fn any_body_gives_a_frame_that_survives_or_an_error(
        kind in prop::sample::select(vec![TagKind::Audio, TagKind::Video, TagKind::Script]),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let body = Bytes::from(bytes);
        if let Ok(Decoded::Frame(frame)) = decode(kind, &body, 1000) {
            prop_assert_eq!(there_and_back(&frame), frame);
        }
    }

    #[test]
    fn unwrapped_times_follow_the_true_ones(start in any::<u32>(), steps in prop::collection::vec(-0x7fff_ffffi64..0x7fff_ffff, 0..50)) {
        let mut unwrapper = Unwrapper::new();
        let mut time = i64::from(start);
        prop_assert_eq!(unwrapper.unwrap_ms(start), time);
        for step in steps {
            time += step;
            // Nothing is before 0: such a step is one forwards.
            time += if time < 0 { 1 << 32 } else { 0 };
            prop_assert_eq!(unwrapper.unwrap_ms(time.rem_euclid(1 << 32) as u32), time);
        }
    }
}

#[test]
fn legacy_headers_are_those_of_the_specification() {
    let bytes = |frame: MediaFrame| head(&frame).unwrap().bytes().to_vec();
    let payload = Bytes::from_static(b"x");
    let key = MediaFrame::video(
        CodecId::H264,
        40,
        120,
        FrameFlags::KEYFRAME,
        payload.clone(),
    );
    assert_eq!(bytes(key.clone()), [0x17, 1, 0, 0, 80]);
    assert_eq!(
        bytes(MediaFrame {
            flags: FrameFlags::NONE,
            pts: 39,
            ..key.clone()
        }),
        [0x27, 1, 0xff, 0xff, 0xff]
    );
    assert_eq!(
        bytes(MediaFrame {
            flags: FrameFlags::CONFIG,
            ..key
        }),
        [0x17, 0, 0, 0, 0]
    );
    let audio = |codec, flags| bytes(MediaFrame::audio(codec, 0, flags, payload.clone()));
    assert_eq!(audio(CodecId::Aac, FrameFlags::CONFIG), [0xaf, 0]);
    assert_eq!(audio(CodecId::Aac, FrameFlags::NONE), [0xaf, 1]);
    assert_eq!(audio(CodecId::Mp3, FrameFlags::NONE), [0x2f]);
    assert_eq!(audio(CodecId::G711Alaw, FrameFlags::NONE), [0x72]);
    assert_eq!(audio(CodecId::G711Ulaw, FrameFlags::NONE), [0x82]);
}

#[test]
fn enhanced_headers_are_those_of_the_specification() {
    let bytes = |frame: MediaFrame| head(&frame).unwrap().bytes().to_vec();
    let payload = Bytes::from_static(b"x");
    let hevc = MediaFrame::video(CodecId::H265, 0, 0, FrameFlags::KEYFRAME, payload.clone());
    assert_eq!(bytes(hevc.clone()), b"\x93hvc1");
    assert_eq!(
        bytes(MediaFrame {
            pts: 40,
            ..hevc.clone()
        }),
        b"\x91hvc1\0\0\x28"
    );
    assert_eq!(
        bytes(MediaFrame {
            flags: FrameFlags::CONFIG,
            ..hevc.clone()
        }),
        b"\x90hvc1"
    );
    assert_eq!(bytes(MediaFrame { track: 2, ..hevc }), b"\x96\x03hvc1\x02");
    let opus = MediaFrame::audio(CodecId::Opus, 0, FrameFlags::NONE, payload);
    assert_eq!(bytes(opus.clone()), b"\x91Opus");
    assert_eq!(
        bytes(MediaFrame {
            track: 1,
            flags: FrameFlags::CONFIG,
            ..opus
        }),
        b"\x95\x00Opus\x01"
    );
}

#[test]
fn modifiers_are_skipped_whatever_their_size() {
    let video = |body: Vec<u8>| decode(TagKind::Video, &body.into(), 7);
    let short = b"\x97\x02\x01\x02\x03\x03av01frame".to_vec();
    let frame = video(short).unwrap().into_frame().unwrap();
    assert_eq!(
        (frame.codec, &frame.payload[..]),
        (CodecId::Av1, &b"frame"[..])
    );
    let mut long = b"\x97\xff\x01\x00".to_vec();
    long.extend_from_slice(&[9; 257]);
    long.extend_from_slice(b"\x01vp09frame");
    assert_eq!(
        video(long).unwrap().into_frame().unwrap().codec,
        CodecId::Vp9
    );
    assert_eq!(
        video(b"\x97\x05\x01".to_vec()),
        Err(Error::Truncated { what: "video tag" })
    );
}

#[test]
fn what_is_not_carried_is_skipped_or_refused_by_name() {
    let video = |body: &'static [u8]| decode(TagKind::Video, &Bytes::from_static(body), 0);
    let audio = |body: &'static [u8]| decode(TagKind::Audio, &Bytes::from_static(body), 0);
    assert_eq!(video(b""), Ok(Decoded::Skipped(Skipped::Empty)));
    assert_eq!(video(b"\x57\x00"), Ok(Decoded::Skipped(Skipped::Command)));
    assert_eq!(
        video(b"\x94hvc1\x02\x00"),
        Ok(Decoded::Skipped(Skipped::Metadata))
    );
    assert_eq!(
        video(b"\x96\x11hvc1\x00\x00\x00\x01x"),
        Ok(Decoded::Skipped(Skipped::ManyTracks))
    );
    assert_eq!(video(b"\x22x"), Err(Error::VideoCodec { id: 2 }));
    assert_eq!(video(b"\x91vvc1x"), Err(Error::FourCc { fourcc: *b"vvc1" }));
    assert_eq!(
        video(b"\x17\x05\0\0\0x"),
        Err(Error::PacketType {
            what: "video tag",
            value: 5
        })
    );
    assert_eq!(audio(b"\x91ac-3x"), Err(Error::FourCc { fourcc: *b"ac-3" }));
    assert_eq!(
        audio(b"\x94Opus\x01\x02"),
        Ok(Decoded::Skipped(Skipped::MultichannelConfig))
    );
    assert_eq!(audio(b"\x5fx"), Err(Error::AudioCodec { id: 5 }));
    assert_eq!(
        Error::FourCc { fourcc: *b"ac-3" }.to_string(),
        "codec ac-3 is not supported"
    );
}

#[test]
fn metadata_loses_the_instruction_to_the_server_and_is_kept() {
    let script = |body: &'static [u8]| decode(TagKind::Script, &Bytes::from_static(body), 3);
    let set = script(b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05")
        .unwrap()
        .into_frame()
        .unwrap();
    assert_eq!(&set.payload[..], b"\x02\x00\x0aonMetaData\x05");
    assert!(set.is_config());
    assert!(
        !script(b"\x02\x00\x0aonTextData\x05")
            .unwrap()
            .into_frame()
            .unwrap()
            .is_config()
    );
    assert_eq!(
        script(b"\x02\x00\x0f@clearDataFrame\x05"),
        Ok(Decoded::Skipped(Skipped::ClearDataFrame))
    );
    assert_eq!(there_and_back(&set), set);
    let late = MediaFrame {
        dts: 5_000,
        pts: 5_000,
        ..set
    };
    assert_eq!(
        head(&late).unwrap().timestamp_ms,
        0,
        "elsewhere players take it for a subtitle"
    );
}

#[test]
fn no_instruction_to_the_server_is_left_however_often_it_is_given() {
    let twice = b"\x02\x00\x0d@setDataFrame\x02\x00\x0d@setDataFrame\x00";
    let frame = decode(TagKind::Script, &Bytes::from_static(twice), 3)
        .unwrap()
        .into_frame()
        .unwrap();
    assert_eq!(&frame.payload[..], b"\x00");
    let hidden = b"\x02\x00\x0d@setDataFrame\x02\x00\x0f@clearDataFrame\x05";
    assert_eq!(
        decode(TagKind::Script, &Bytes::from_static(hidden), 3),
        Ok(Decoded::Skipped(Skipped::ClearDataFrame))
    );
}

#[test]
fn other_time_bases_become_milliseconds_and_wrap_at_32_bits() {
    let frame = |hz, dts, pts| MediaFrame {
        time_base: TimeBase::new(NonZeroU32::new(hz).unwrap()),
        ..MediaFrame::video(
            CodecId::H264,
            dts,
            pts,
            FrameFlags::NONE,
            Bytes::from_static(b"x"),
        )
    };
    let thirtieth = head(&frame(90_000, 3_003, 6_006)).unwrap();
    assert_eq!(
        (thirtieth.timestamp_ms, &thirtieth.bytes()[2..]),
        (33, &[0, 0, 33][..])
    );
    assert_eq!(
        head(&frame(1_000, (1 << 32) + 5, (1 << 32) + 5))
            .unwrap()
            .timestamp_ms,
        5
    );
    assert_eq!(head(&frame(1_000, -5, -5)).unwrap().timestamp_ms, 0);
    let far = head(&frame(1_000, 0, i64::MAX)).unwrap();
    assert_eq!(&far.bytes()[2..], [0x7f, 0xff, 0xff]);
    assert_eq!(
        &head(&frame(90_000, 0, -1)).unwrap().bytes()[2..],
        [0xff, 0xff, 0xff]
    );
}

#[test]
fn the_payload_is_a_slice_of_the_body() {
    let body = Bytes::from(b"\x17\x01\0\0\0payload".to_vec());
    let frame = decode(TagKind::Video, &body, 0)
        .unwrap()
        .into_frame()
        .unwrap();
    assert_eq!(frame.payload.as_ptr(), body[5..].as_ptr());
}
