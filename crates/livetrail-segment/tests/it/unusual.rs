//! Unusual streams: each is bounded, keeps the rules, and is reported by name.

use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use livetrail_segment::{Cause, Event, Irregularity, Options, Rendition, Segmenter};

use crate::stream::{AAC, AVC, OTHER_AVC, audio, both, config, picture, segment, sound, video};

const NONE: [&str; 0] = [];

fn with_avc(frames: Vec<MediaFrame>) -> Vec<MediaFrame> {
    [vec![config(CodecId::H264, AVC)], frames].concat()
}

#[test]
fn a_gop_of_a_minute_is_cut_without_a_keyframe() {
    let out = segment(
        Options::default(),
        &both(video(25, 1_500, 0, 70), audio(0, 70)),
    );
    assert_eq!(out.irregular(), ["long_gop"]);
    assert_eq!(out.judge.targets().unwrap().target_duration_s, 10);
    let durations = out.durations(Rendition::Video);
    assert_eq!(durations[..5], [10_480, 10_480, 10_480, 10_480, 10_480]);
    let independent: Vec<_> = out
        .segments(Rendition::Video)
        .iter()
        .map(|segment| segment.independent)
        .collect();
    // The keyframe at 60 s is where the next independent segment starts.
    assert_eq!(independent, [true, false, false, false, false, false, true]);
    assert_eq!(out.segments(Rendition::Audio).len(), independent.len());
}

#[test]
fn a_gop_longer_than_the_first_one_is_cut_within_the_target_duration() {
    let first = video(25, 50, 0, 6);
    let endless = video(25, 100_000, 6_000, 30);
    let out = segment(Options::default(), &with_avc([first, endless].concat()));
    assert_eq!(out.irregular(), ["long_gop"]);
    assert_eq!(out.judge.targets().unwrap().target_duration_s, 2);
}

#[test]
fn long_gops_from_the_start_set_the_target_duration() {
    let out = segment(
        Options::default(),
        &both(video(25, 100, 0, 21), audio(0, 21)),
    );
    assert_eq!(out.irregular(), NONE);
    assert_eq!(out.judge.targets().unwrap().target_duration_s, 4);
    assert_eq!(
        out.durations(Rendition::Video),
        [4_000, 4_000, 4_000, 4_000, 4_000, 1_000]
    );
}

#[test]
fn all_intra_has_constant_segments() {
    let out = segment(Options::default(), &both(video(25, 1, 0, 9), audio(0, 9)));
    assert_eq!(out.irregular(), NONE);
    assert_eq!(
        out.durations(Rendition::Video),
        [2_000, 2_000, 2_000, 2_000, 1_000]
    );
    let mut parts = out
        .segments(Rendition::Video)
        .iter()
        .flat_map(|segment| &segment.parts);
    assert!(parts.all(|part| part.independent));
}

#[test]
fn many_frames_a_second_and_few() {
    let out = segment(
        Options::default(),
        &both(video(120, 240, 0, 9), audio(0, 9)),
    );
    assert_eq!(out.irregular(), NONE);
    assert_eq!(out.durations(Rendition::Video)[..4], [2_000; 4]);
    for fps in [1, 2, 3, 4, 5, 6, 7, 10, 15, 24, 60] {
        let out = segment(
            Options::default(),
            &both(video(fps, fps * 2, 0, 13), audio(0, 13)),
        );
        assert_eq!(out.irregular(), NONE, "{fps}");
        let all: u128 = out.durations(Rendition::Video).iter().sum();
        assert!(all.abs_diff(13_000) <= 1, "{fps}: {all}");
        for segment in out.segments(Rendition::Video) {
            let (_, parts) = segment.parts.split_last().unwrap();
            let least = out.judge.targets().unwrap().part_target.mul_f64(0.85);
            assert!(
                parts.iter().all(|part| part.duration >= least),
                "{fps}: {parts:?}"
            );
        }
    }
}

#[test]
fn audio_alone_is_cut_by_its_own_clock() {
    let frames = [vec![config(CodecId::Aac, AAC)], audio(0, 21)].concat();
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), NONE);
    let durations = out.durations(Rendition::Audio);
    let (last, durations) = durations.split_last().unwrap();
    assert!(
        durations.iter().all(|ms| (1_990..=2_011).contains(ms)),
        "{durations:?}"
    );
    assert!(*last < 2_011);
    assert!(out.segments(Rendition::Video).is_empty());
    assert!(
        out.segments(Rendition::Audio)
            .iter()
            .all(|segment| segment.independent)
    );
}

#[test]
fn audio_continues_when_video_stops_and_video_when_it_returns() {
    let pictures = [video(25, 50, 0, 10), video(25, 50, 30_000, 10)].concat();
    let out = segment(Options::default(), &both(pictures, audio(0, 40)));
    assert_eq!(out.irregular(), ["video_stopped", "clock_jumped"]);
    assert_eq!(out.discontinuities(), 1);
    let sounds: u128 = out.durations(Rendition::Audio).iter().sum();
    assert!((39_900..=40_000).contains(&sounds), "{sounds}");
    // Video is where the audio is: the line has a hole.
    let back = &out.segments(Rendition::Video)[5];
    assert_eq!(
        (back.start.as_millis(), back.discontinuity_sequence),
        (30_000, 1)
    );
    assert!(back.independent);
    // Ten seconds of 25 frames, and again.
    assert_eq!(out.durations(Rendition::Video).iter().sum::<u128>(), 20_000);
}

#[test]
fn a_jump_of_both_clocks_is_one_discontinuity() {
    for from_ms in [3_600_000, 0] {
        let pictures = [video(25, 50, 5_000, 10), video(25, 50, from_ms, 10)].concat();
        let sounds = [audio(5_000, 10), audio(from_ms, 10)].concat();
        // In the order of arrival.
        let mut frames = both(pictures.clone(), sounds.clone());
        frames.truncate(2);
        let (mut pictures, mut sounds) = (pictures.into_iter(), sounds.into_iter());
        loop {
            let picture = pictures.next();
            frames.extend(picture.clone());
            let sounds: Vec<_> = sounds.by_ref().take(2).collect();
            if picture.is_none() && sounds.is_empty() {
                break;
            }
            frames.extend(sounds);
        }
        let out = segment(Options::default(), &frames);
        assert_eq!(out.irregular(), ["clock_jumped"]);
        assert_eq!(out.discontinuities(), 1, "{from_ms}");
        let (last, first) = (
            out.segments(Rendition::Video).last().unwrap(),
            &out.segments(Rendition::Video)[0],
        );
        let all = last.start + last.duration - first.start;
        assert!(all.as_millis().abs_diff(20_000) <= 500, "{all:?}");
    }
}

#[test]
fn clocks_that_wrap_do_not_jump() {
    let wrap = 1_i64 << 32;
    let mut frames = both(video(25, 50, wrap - 5_000, 10), audio(wrap - 5_000, 10));
    for frame in &mut frames {
        (frame.dts, frame.pts) = (frame.dts % wrap, frame.pts % wrap);
    }
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), ["clock_wrapped"]);
    assert_eq!(
        out.count(|this| matches!(this, Irregularity::ClockWrapped { .. })),
        2
    );
    assert_eq!(out.discontinuities(), 0);
    assert_eq!(out.durations(Rendition::Video), [2_000; 5]);
}

#[test]
fn timestamps_that_do_not_increase_lose_no_frame() {
    let mut frames = with_avc(video(25, 50, 0, 10));
    for pair in frames[1..].chunks_mut(2) {
        pair[1].dts = pair[0].dts;
    }
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), ["not_increasing"]);
    let parts = out
        .segments(Rendition::Video)
        .iter()
        .flat_map(|segment| &segment.parts);
    assert_eq!(parts.map(|part| part.frames).sum::<u32>(), 250);
}

#[test]
fn audio_that_drifts_is_adjusted_once_per_frame_of_drift() {
    // The sender's clock is 1 % fast.
    let frame = |n: i64| sound(n * 1_024 * 101 / 4_800);
    let frames = [
        vec![config(CodecId::Aac, AAC)],
        (0..500).map(frame).collect(),
    ]
    .concat();
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), ["audio_adjusted"]);
    let adjusted = out.count(|this| matches!(this, Irregularity::AudioAdjusted { .. }));
    assert!((3..=5).contains(&adjusted), "{adjusted}");
    assert_eq!(out.discontinuities(), 0);
}

#[test]
fn a_new_configuration_is_an_init_and_a_discontinuity() {
    let mut frames = both(video(25, 50, 0, 5), audio(0, 5));
    frames.push(config(CodecId::H264, OTHER_AVC));
    // Not decodable with the new configuration.
    frames.push(picture(5_000, false));
    frames.extend(video(25, 50, 5_040, 5));
    // The same again is no change.
    frames.push(config(CodecId::H264, OTHER_AVC));
    frames.push(picture(10_040, false));
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), ["before_keyframe"]);
    let causes: Vec<_> = out
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Discontinuity { sequence, cause } => Some((*sequence, *cause)),
            _ => None,
        })
        .collect();
    assert_eq!(causes, [(1, Cause::Configuration)]);
    let inits: Vec<_> = out
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Init(init) => Some((init.rendition, init.discontinuity_sequence, init.picture)),
            _ => None,
        })
        .collect();
    assert_eq!(
        inits,
        [
            (Rendition::Video, 0, Some((320, 180))),
            (Rendition::Audio, 0, None),
            (Rendition::Video, 1, Some((1920, 1080))),
        ]
    );
    for rendition in [Rendition::Video, Rendition::Audio] {
        let last = out.segments(rendition).last().unwrap();
        assert_eq!(
            last.discontinuity_sequence,
            u64::from(rendition == Rendition::Video)
        );
    }
}

#[test]
fn a_new_publisher_is_a_discontinuity_and_numbers_continue() {
    let mut segmenter = Segmenter::new(Options::default()).unwrap();
    let mut events = Vec::new();
    for (from, shift) in [(0, 0), (1, 9_990)] {
        for frame in both(video(25, 50, shift, 10), audio(shift, 10)) {
            segmenter.push(&frame, &mut events);
        }
        if from == 0 {
            segmenter.discontinuity(&mut events);
            // Twice is once.
            segmenter.discontinuity(&mut events);
        }
    }
    segmenter.finish(&mut events);
    let mut judge = livetrail_segment::Judge::new(Options::default());
    judge.check(&mut events);
    let numbers: Vec<_> = judge
        .segments(Rendition::Video)
        .iter()
        .map(|segment| (segment.sequence, segment.discontinuity_sequence))
        .collect();
    let expected: Vec<_> = (0..10).map(|n| (n, u64::from(n >= 5))).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn large_frames_have_a_part_of_their_own_or_are_dropped() {
    let large = |at_ms, bytes: usize| {
        let payload = vec![1; bytes].into();
        MediaFrame::video(CodecId::H264, at_ms, at_ms, FrameFlags::KEYFRAME, payload)
    };
    // 15 MiB fit by default.
    let frames = with_avc(
        (0..75)
            .map(|n| match n {
                30 => large(n * 40, 15 << 20),
                _ => picture(n * 40, n % 25 == 0),
            })
            .collect(),
    );
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), NONE);

    let mut options = Options::default();
    options.max_part_bytes = 1 << 20;
    options.max_segment_bytes = 2 << 20;
    let frames = with_avc((0..75).map(|n| large(n * 40, 600 << 10)).collect());
    let out = segment(options.clone(), &frames);
    assert_eq!(out.irregular(), ["full_part", "full_segment"]);
    assert_eq!(out.durations(Rendition::Video).iter().sum::<u128>(), 3_000);
    let out = segment(
        options,
        &with_avc(vec![picture(0, true), large(40, 1 + (1 << 20))]),
    );
    assert_eq!(out.irregular(), ["frame_too_large"]);
}

#[test]
fn what_cannot_be_segmented_is_named_once() {
    let mut frames = vec![
        picture(0, true),
        MediaFrame::video(
            CodecId::H264,
            0,
            0,
            FrameFlags::CONFIG,
            b"\x02bad"[..].into(),
        ),
        picture(40, true),
        MediaFrame::video(CodecId::Vp9, 40, 40, FrameFlags::KEYFRAME, b"x"[..].into()),
        MediaFrame::video(CodecId::Vp9, 80, 80, FrameFlags::NONE, b"x"[..].into()),
        MediaFrame {
            track: 3,
            ..picture(80, true)
        },
        MediaFrame {
            track: 3,
            ..picture(120, true)
        },
        MediaFrame::video(CodecId::H264, 120, 120, FrameFlags::NONE, b""[..].into()),
    ];
    frames.extend(audio(0, 3));
    let out = segment(Options::default(), &frames);
    assert_eq!(
        out.irregular(),
        [
            "unsupported_codec",
            "extra_track",
            "bad_frame",
            "bad_configuration",
            "no_configuration"
        ]
    );
    assert_eq!(
        out.count(|this| matches!(this, Irregularity::UnsupportedCodec { .. })),
        1
    );
    assert_eq!(
        out.count(|this| matches!(this, Irregularity::ExtraTrack { .. })),
        1
    );
}
