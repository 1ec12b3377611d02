//! Chunks and init segments, read by a small reader of MP4.

use bytes::Bytes;
use livetrail_engine::{CodecId, MediaFrame};
use livetrail_segment::{Event, Init, Options, Rendition, Segment};

use crate::stream::{AAC, AVC, audio, both, segment, video};

/// A frame in a segment: its decode time, duration, composition in ticks, whether it is a keyframe,
/// and its bytes.
#[derive(Debug, PartialEq)]
struct Read {
    at: u64,
    duration: u32,
    composition: i32,
    key: bool,
    payload: Bytes,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The boxes of some bytes: the position of each content, its type and its content.
fn boxes(bytes: &[u8]) -> Vec<(usize, &[u8], &[u8])> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let size = u32_at(bytes, at) as usize;
        assert!(size >= 8, "a box of {size} bytes");
        found.push((at + 8, &bytes[at + 4..at + 8], &bytes[at + 8..at + size]));
        at += size;
    }
    found
}

fn only<'a>(bytes: &'a [u8], kind: &[u8]) -> &'a [u8] {
    let found: Vec<_> = boxes(bytes)
        .into_iter()
        .filter(|(_, k, _)| *k == kind)
        .collect();
    assert_eq!(found.len(), 1, "{}", String::from_utf8_lossy(kind));
    found[0].2
}

/// The frames of chunks.
fn read(bytes: &[u8]) -> Vec<Read> {
    let mut frames = Vec::new();
    let mut moof_at = 0;
    for (content_at, kind, content) in boxes(bytes) {
        if kind == b"mdat" {
            continue;
        }
        assert_eq!(kind, b"moof");
        moof_at = content_at - 8;
        let traf = only(content, b"traf");
        let (tfhd, tfdt, trun) = (
            only(traf, b"tfhd"),
            only(traf, b"tfdt"),
            only(traf, b"trun"),
        );
        let mut at = u64::from_be_bytes(tfdt[4..12].try_into().unwrap());
        let has_duration = u32_at(tfhd, 0) & 8 != 0;
        let default_flags = u32_at(tfhd, if has_duration { 12 } else { 8 });
        let flags = u32_at(trun, 0);
        let mut data = moof_at + u32_at(trun, 8) as usize;
        let mut fields = trun[12..].chunks(4).map(|field| u32_at(field, 0));
        for _ in 0..u32_at(trun, 4) {
            let mut next = |flag| (flags & flag != 0).then(|| fields.next().unwrap());
            let duration = next(0x100).unwrap_or_else(|| u32_at(tfhd, 8));
            let size = next(0x200).unwrap() as usize;
            let key = next(0x400).unwrap_or(default_flags) & 0x1_0000 == 0;
            let composition = next(0x800).unwrap_or(0).cast_signed();
            let payload = Bytes::copy_from_slice(&bytes[data..data + size]);
            frames.push(Read {
                at,
                duration,
                composition,
                key,
                payload,
            });
            at += u64::from(duration);
            data += size;
        }
    }
    let _ = moof_at;
    frames
}

fn bytes_of(segments: &[Segment]) -> Vec<u8> {
    let pieces = segments.iter().flat_map(Segment::pieces);
    pieces.flat_map(|piece| piece.to_vec()).collect()
}

fn coded(frames: &[MediaFrame], codec: CodecId) -> Vec<&MediaFrame> {
    frames
        .iter()
        .filter(|frame| frame.codec == codec && !frame.is_config())
        .collect()
}

fn inits(events: &[Event]) -> Vec<&Init> {
    let mut inits = Vec::new();
    for event in events {
        if let Event::Init(init) = event {
            inits.push(init);
        }
    }
    inits
}

#[test]
fn the_frames_of_the_segments_are_those_of_the_stream() {
    let mut frames = both(video(25, 25, 40, 9), audio(0, 9));
    // Reordered, as with B-frames.
    for (n, frame) in frames
        .iter_mut()
        .filter(|frame| frame.codec == CodecId::H264)
        .enumerate()
    {
        frame.pts += [80, 0, 120, 40][n % 4];
    }
    let out = segment(Options::default(), &frames);
    assert_eq!(out.irregular(), [] as [&str; 0]);

    let pictures = read(&bytes_of(out.segments(Rendition::Video)));
    let pushed = coded(&frames, CodecId::H264);
    assert_eq!(pictures.len(), pushed.len());
    for (picture, frame) in pictures.iter().zip(pushed) {
        assert_eq!(picture.at, frame.dts as u64 * 90);
        assert_eq!(i64::from(picture.composition), (frame.pts - frame.dts) * 90);
        assert_eq!(
            (picture.key, &picture.payload),
            (frame.is_keyframe(), &frame.payload)
        );
        assert_eq!(picture.duration, 3_600);
    }
    let sounds = read(&bytes_of(out.segments(Rendition::Audio)));
    let pushed = coded(&frames, CodecId::Aac);
    assert_eq!(sounds.len(), pushed.len());
    for (n, (sound, frame)) in sounds.iter().zip(pushed).enumerate() {
        // The clock of the samples, without the rounding to milliseconds.
        assert_eq!((sound.at, sound.duration), (n as u64 * 1_024, 1_024));
        assert_eq!((sound.key, &sound.payload), (true, &frame.payload));
    }
}

#[test]
fn the_parts_of_a_segment_are_the_segment() {
    let out = segment(Options::default(), &both(video(30, 60, 0, 9), audio(0, 9)));
    for rendition in [Rendition::Video, Rendition::Audio] {
        let mut parts = out.events.iter().filter_map(|event| match event {
            Event::Part(part) if part.rendition == rendition => Some(part),
            _ => None,
        });
        for segment in out.segments(rendition) {
            let pieces: Vec<u8> = segment.pieces().flat_map(|piece| piece.to_vec()).collect();
            let of_parts = parts.by_ref().take(segment.parts.len());
            let of_parts: Vec<u8> = of_parts.flat_map(|part| part.bytes.to_vec()).collect();
            assert_eq!(of_parts, pieces);
            assert_eq!(segment.len(), pieces.len());
            // Not a copy: each part has one buffer.
            assert!(
                segment
                    .pieces()
                    .zip(&segment.parts)
                    .all(|(a, b)| a.as_ptr() == b.bytes.as_ptr())
            );
        }
        assert!(parts.next().is_none());
    }
}

#[test]
fn durations_are_constant_and_within_the_targets() {
    let out = segment(
        Options::default(),
        &both(video(25, 50, 0, 11), audio(0, 11)),
    );
    let targets = out.judge.targets().unwrap();
    assert_eq!(
        (targets.target_duration_s, targets.part_target.as_millis()),
        (2, 500)
    );
    assert_eq!(
        out.durations(Rendition::Video),
        [2_000, 2_000, 2_000, 2_000, 2_000, 1_000]
    );
    let segments = out.segments(Rendition::Video);
    for segment in &segments[..5] {
        let parts: Vec<_> = segment
            .parts
            .iter()
            .map(|part| part.duration.as_millis())
            .collect();
        assert_eq!(parts, [480, 480, 480, 480, 80]);
        let independent: Vec<_> = segment.parts.iter().map(|part| part.independent).collect();
        assert_eq!(independent, [true, false, false, false, false]);
        assert!(segment.independent);
    }
    // Audio is cut at the nearest frame.
    let sounds = out.segments(Rendition::Audio);
    assert_eq!(sounds.len(), segments.len());
    for (sound, picture) in sounds.iter().zip(segments) {
        let apart = sound.start.abs_diff(picture.start).as_millis();
        assert!(apart <= 11, "{apart} ms apart");
        let (last, parts) = sound.parts.split_last().unwrap();
        assert!(
            parts.iter().all(|part| part.duration.as_millis() >= 425),
            "{parts:?}"
        );
        assert!(last.independent);
    }
    assert_eq!(segments[4].measured.frames_per_1000_s, 25_000);
}

#[test]
fn an_init_segment_has_the_configuration_and_what_a_playlist_needs() {
    let out = segment(Options::default(), &both(video(25, 25, 0, 3), audio(0, 3)));
    let [video, audio] = inits(&out.events)[..] else {
        panic!("two inits");
    };
    assert_eq!(
        (video.rendition, &video.codecs[..]),
        (Rendition::Video, "avc1.4d400c")
    );
    assert_eq!(
        (video.picture, video.sample_rate_hz),
        (Some((320, 180)), None)
    );
    assert_eq!(
        (audio.rendition, &audio.codecs[..]),
        (Rendition::Audio, "mp4a.40.2")
    );
    assert_eq!(
        (audio.sample_rate_hz, audio.channels),
        (Some(48_000), Some(2))
    );
    for (init, entry, size, config) in [(video, b"avc1", 78, AVC), (audio, b"mp4a", 28, AAC)] {
        let names: Vec<_> = boxes(&init.bytes)
            .iter()
            .map(|(_, kind, _)| *kind)
            .collect();
        assert_eq!(names, [b"ftyp", b"moov"]);
        let moov = only(&init.bytes, b"moov");
        only(only(moov, b"mvex"), b"trex");
        let media = only(only(moov, b"trak"), b"mdia");
        let table = only(only(media, b"minf"), b"stbl");
        let stsd = only(table, b"stsd");
        let entry = only(&stsd[8..], entry);
        let (_, _, record) = boxes(&entry[size..])[0];
        assert!(record.windows(config.len()).any(|bytes| bytes == config));
    }
}
