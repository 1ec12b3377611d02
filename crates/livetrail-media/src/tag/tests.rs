//! The promises of the tag headers.

use std::num::NonZeroU32;

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, TimeBase};
use proptest::prelude::*;

use super::{Decoded, Intake, Skipped, TagKind, Unwrapper, decode, exact_head, head};
use crate::Error;

fn body(frame: &MediaFrame) -> (TagKind, u32, Bytes) {
    let head = exact_head(frame).unwrap();
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
    let audio = prop::sample::select(vec![
        CodecId::Aac,
        CodecId::Opus,
        CodecId::Mp3,
        CodecId::Ac3,
        CodecId::Eac3,
        CodecId::Flac,
    ]);
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
        (0u8..3, prop_oneof![Just(0), 1..1_000_000u32]),
    )
        .prop_map(
            |(is_video, video, audio, flags, dts, composition, payload, (track, nanos))| {
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
                let coded = !ends && flags != FrameFlags::CONFIG;
                MediaFrame {
                    track,
                    pts_nanos: if coded { nanos } else { 0 },
                    ..frame
                }
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
        for frame in decode(kind, &body, 1000).ok().into_iter().flat_map(Decoded::into_frames) {
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
            // No time is before 0: such a step is a forward one.
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

fn video(body: &'static [u8]) -> crate::Result<Decoded> {
    decode(TagKind::Video, &Bytes::from_static(body), 7)
}

fn audio(body: &'static [u8]) -> crate::Result<Decoded> {
    decode(TagKind::Audio, &Bytes::from_static(body), 7)
}

#[test]
fn only_codecs_with_a_composition_time_may_omit_it() {
    let bytes = |codec, flags| {
        let frame = MediaFrame::video(codec, 0, 0, flags, Bytes::from_static(b"x"));
        head(&frame).unwrap().bytes().to_vec()
    };
    assert_eq!(bytes(CodecId::Av1, FrameFlags::KEYFRAME), b"\x91av01");
    assert_eq!(bytes(CodecId::Av1, FrameFlags::NONE), b"\xa1av01");
    assert_eq!(bytes(CodecId::Vp8, FrameFlags::KEYFRAME), b"\x91vp08");
    assert_eq!(bytes(CodecId::Vp9, FrameFlags::NONE), b"\xa1vp09");
    assert_eq!(bytes(CodecId::H265, FrameFlags::KEYFRAME), b"\x93hvc1");
    // A wrong value from the sender is corrected.
    let wrong = video(b"\x93av01x").unwrap().into_frame().unwrap();
    assert_eq!(head(&wrong).unwrap().bytes(), b"\x91av01");
}

#[test]
fn what_carries_nothing_is_skipped_and_what_is_cut_short_is_an_error() {
    assert_eq!(video(b""), Ok(Decoded::Skipped(Skipped::Empty)));
    assert_eq!(video(b"\x57\x00"), Ok(Decoded::Skipped(Skipped::Command)));
    assert_eq!(video(b"\x22"), Ok(Decoded::Skipped(Skipped::Empty)));
    let truncated = |what| Err(Error::Truncated { what });
    assert_eq!(video(b"\x27"), truncated("video tag"));
    assert_eq!(video(b"\x17\x01\0\0"), truncated("video tag"));
    assert_eq!(audio(b"\xaf"), truncated("audio tag"));
    let undefined = |what, value| Err(Error::PacketType { what, value });
    assert_eq!(video(b"\x17\x03\0\0\0x"), undefined("video tag", 3));
    assert_eq!(video(b"\x98hvc1x"), undefined("video tag", 8));
    assert_eq!(audio(b"\x93Opusx"), undefined("audio tag", 3));
    let end = video(b"\x17\x02").unwrap().into_frame().unwrap();
    assert_eq!(end.flags, FrameFlags::END_OF_SEQUENCE);
}

#[test]
fn unknown_codecs_are_passed_on_as_they_came() {
    let bodies: [(&'static [u8], TagKind, CodecId, FrameFlags); 13] = [
        (
            b"\x12x",
            TagKind::Video,
            CodecId::H263,
            FrameFlags::KEYFRAME,
        ),
        (b"\x22x", TagKind::Video, CodecId::H263, FrameFlags::NONE),
        (b"\x14x", TagKind::Video, CodecId::Vp6, FrameFlags::KEYFRAME),
        (
            b"\x13x",
            TagKind::Video,
            CodecId::Other,
            FrameFlags::KEYFRAME,
        ),
        (
            b"\x90vvc1x",
            TagKind::Video,
            CodecId::Vvc,
            FrameFlags::CONFIG,
        ),
        (b"\xa3vvc1x", TagKind::Video, CodecId::Vvc, FrameFlags::NONE),
        (
            b"\x91\0\0\0\0x",
            TagKind::Video,
            CodecId::Other,
            FrameFlags::KEYFRAME,
        ),
        (b"\xb2x", TagKind::Audio, CodecId::Speex, FrameFlags::NONE),
        (
            b"\x52x",
            TagKind::Audio,
            CodecId::Nellymoser,
            FrameFlags::NONE,
        ),
        (b"\x3fx", TagKind::Audio, CodecId::Pcm, FrameFlags::NONE),
        (b"\x1fx", TagKind::Audio, CodecId::Adpcm, FrameFlags::NONE),
        (b"\xffx", TagKind::Audio, CodecId::Other, FrameFlags::NONE),
        (
            b"\x95\0abcd\x02x",
            TagKind::Audio,
            CodecId::Other,
            FrameFlags::CONFIG,
        ),
    ];
    for (bytes, kind, codec, flags) in bodies {
        let body = Bytes::from_static(bytes);
        let frame = decode(kind, &body, 7).unwrap().into_frame().unwrap();
        assert_eq!(frame.codec, codec, "{bytes:?}");
        assert_eq!(frame.flags, flags | FrameFlags::AS_RECEIVED, "{bytes:?}");
        assert_eq!(frame.payload.as_ptr(), body.as_ptr(), "nothing is copied");
        assert_eq!(head(&frame).unwrap().bytes(), b"");
        assert_eq!(there_and_back(&frame), frame);
    }
    let known: [(&'static [u8], CodecId); 3] = [
        (b"\x91ac-3x", CodecId::Ac3),
        (b"\x91ec-3x", CodecId::Eac3),
        (b"\x91fLaCx", CodecId::Flac),
    ];
    for (bytes, codec) in known {
        let frame = audio(bytes).unwrap().into_frame().unwrap();
        assert_eq!((frame.codec, &frame.payload[..]), (codec, &b"x"[..]));
        assert_eq!(body(&frame).2, bytes);
    }
}

#[test]
fn colours_and_speaker_layouts_are_kept_next_to_the_configuration() {
    let expected = FrameFlags::CONFIG | FrameFlags::METADATA | FrameFlags::AS_RECEIVED;
    let colours = b"\xd4hvc1\x02\x00\x09colorInfo\x05";
    let frame = video(colours).unwrap().into_frame().unwrap();
    assert_eq!((frame.codec, frame.flags), (CodecId::H265, expected));
    assert_eq!(body(&frame), (TagKind::Video, 7, colours[..].into()));
    let layout = b"\x94Opus\x01\x06\0\0\0\x3f";
    let frame = audio(layout).unwrap().into_frame().unwrap();
    assert_eq!((frame.codec, frame.flags), (CodecId::Opus, expected));
    assert_eq!(body(&frame), (TagKind::Audio, 7, layout[..].into()));
}

#[test]
fn a_message_of_several_tracks_is_a_frame_for_each() {
    // Two tracks of one codec, the second with a composition time; then two codecs, one of them
    // unknown.
    let same = b"\x96\x11hvc1\x00\0\0\x04\0\0\0a\x01\0\0\x05\0\0\x28bc";
    let frames: Vec<_> = video(same).unwrap().into_frames().collect();
    let seen: Vec<_> = frames
        .iter()
        .map(|f| (f.track, f.pts - f.dts, &f.payload[..]))
        .collect();
    assert_eq!(seen, [(0, 0, &b"a"[..]), (1, 40, b"bc")]);
    assert!(frames.iter().all(MediaFrame::is_keyframe));
    let mixed = b"\x95\x20mp4a\x00\0\0\x01cabcd\x01\0\0\x02de";
    let frames: Vec<_> = audio(mixed).unwrap().into_frames().collect();
    assert_eq!(frames[0].codec, CodecId::Aac);
    assert!(frames[1].is_as_received() && frames[1].is_config());
    assert_eq!(&frames[1].payload[..], b"\x95\x00abcd\x01de");
    frames
        .iter()
        .for_each(|frame| assert_eq!(there_and_back(frame), *frame));
    // A wrong size loses all the data that follows.
    let cut = b"\x95\x11Opus\x00\0\0\x01a\x01\0\0\x09b";
    assert_eq!(audio(cut).unwrap().into_frames().count(), 1);
    assert!(audio(b"\x95\x11Opus\x00\0\0\x09a").is_err());
    assert!(
        audio(b"\x95\x31Opus\x00\0\0\x01a").is_err(),
        "no such shape"
    );
}

#[test]
fn nanoseconds_are_kept_for_players_that_understand_them() {
    let frame = video(b"\x97\x02\x01\x02\x03\x01hvc1\0\0\x28frame").unwrap();
    let frame = frame.into_frame().unwrap();
    assert_eq!((frame.pts_nanos, frame.pts), (0x01_02_03, 47));
    assert_eq!(head(&frame).unwrap().bytes(), b"\x91hvc1\0\0\x28");
    let exact = exact_head(&frame).unwrap();
    assert_eq!(exact.bytes(), b"\x97\x02\x01\x02\x03\x01hvc1\0\0\x28");
    let legacy = MediaFrame {
        codec: CodecId::H264,
        track: 3,
        ..frame
    };
    assert_eq!(
        exact_head(&legacy).unwrap().bytes(),
        b"\x97\x02\x01\x02\x03\x06\x01avc1\x03\0\0\x28",
        "the longest"
    );
}

#[test]
fn an_intake_counts_what_it_cannot_use_and_reports_each_kind_once() {
    let mut intake = Intake::new();
    let mut take = |kind, body: &'static [u8]| {
        let frame = intake.take(kind, 0, &Bytes::from_static(body));
        (frame.is_some(), intake.take_report().map(|r| r.to_string()))
    };
    assert_eq!(take(TagKind::Video, b"\x17\x01\0\0\0x"), (true, None));
    let report = "video message dropped: video tag: the input ends too early";
    assert_eq!(
        take(TagKind::Video, b"\x27"),
        (false, Some(report.to_owned()))
    );
    assert_eq!(take(TagKind::Video, b"\x27"), (false, None));
    assert!(take(TagKind::Audio, b"\xaf").1.is_some());
    assert_eq!(take(TagKind::Audio, b"\xaf\x01x"), (true, None));
    assert_eq!(intake.unusable(), 3);
    let tracks = Bytes::from_static(b"\x95\x11Opus\x00\0\0\x01a\x01\0\0\x01b");
    assert_eq!(intake.take(TagKind::Audio, 0, &tracks).unwrap().track, 0);
    assert_eq!(intake.next_frame().unwrap().track, 1);
    assert_eq!(intake.next_frame(), None);
    let mut reports = 0;
    for kind in 0..200 {
        for (tag, first) in [(TagKind::Audio, 0xaf), (TagKind::Video, 0x17)] {
            intake.take(tag, 0, &Bytes::from(vec![first, kind]));
            reports += usize::from(intake.take_report().is_some());
        }
    }
    assert_eq!(reports, 14, "two came before");
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
    for leading in [
        &b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
        b"\x05\x01\x01",
    ] {
        let camera = [
            leading,
            b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05",
        ];
        let frame = decode(TagKind::Script, &camera.concat().into(), 3).unwrap();
        assert_eq!(frame.into_frame().unwrap(), set, "values before the name");
    }
    let endless = Bytes::from([5].repeat(20));
    let frame = decode(TagKind::Script, &endless, 3).unwrap();
    assert_eq!(frame.into_frame().unwrap().payload, endless);
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
