//! Made streams, and the judge of what a segmenter makes of them.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use livetrail_segment::{Event, Irregularity, Judge, Options, Rendition, Segment, Segmenter};

pub(crate) const AVC: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";
/// 1920x1080.
pub(crate) const OTHER_AVC: &[u8] = b"\x01\x64\x00\x28\xff\xe1\x00\x1b\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\x00\x00\x03\
    \x00\x04\x00\x00\x03\x00\xc8\x3c\x60\xc6\x58\x01\x00\x05\x68\xe9\x78\x44\xb2";
/// AAC-LC, 48 kHz, stereo.
pub(crate) const AAC: &[u8] = b"\x11\x90";

pub(crate) fn config(codec: CodecId, record: &'static [u8]) -> MediaFrame {
    let record = Bytes::from_static(record);
    match codec {
        CodecId::Aac | CodecId::Opus => MediaFrame::audio(codec, 0, FrameFlags::CONFIG, record),
        _ => MediaFrame::video(codec, 0, 0, FrameFlags::CONFIG, record),
    }
}

/// A NAL unit with its length; the number is its content.
fn unit(kind: u8, number: i64) -> Bytes {
    let mut bytes = vec![0, 0, 0, 10, kind, 0x80];
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

pub(crate) fn picture(at_ms: i64, key: bool) -> MediaFrame {
    let (flags, kind) = if key {
        (FrameFlags::KEYFRAME, 0x65)
    } else {
        (FrameFlags::NONE, 0x41)
    };
    MediaFrame::video(CodecId::H264, at_ms, at_ms, flags, unit(kind, at_ms))
}

pub(crate) fn sound(at_ms: i64) -> MediaFrame {
    MediaFrame::audio(CodecId::Aac, at_ms, FrameFlags::NONE, unit(0x21, at_ms))
}

/// Video at a rate from a time on for some seconds, with a keyframe each `gop` frames.
pub(crate) fn video(fps: i64, gop: i64, from_ms: i64, seconds: i64) -> Vec<MediaFrame> {
    let frame = |n: i64| picture(from_ms + (n * 1_000 + fps / 2) / fps, n % gop == 0);
    (0..fps * seconds).map(frame).collect()
}

/// Audio likewise.
pub(crate) fn audio(from_ms: i64, seconds: i64) -> Vec<MediaFrame> {
    let frame = |n: i64| sound(from_ms + n * 1_024 / 48);
    (0..seconds * 48_000 / 1_024).map(frame).collect()
}

/// Both, in the order of their times, each with its configuration.
pub(crate) fn both(video: Vec<MediaFrame>, audio: Vec<MediaFrame>) -> Vec<MediaFrame> {
    let mut frames = [video, audio].concat();
    frames.sort_by_key(|frame| frame.dts);
    let configs = [config(CodecId::H264, AVC), config(CodecId::Aac, AAC)];
    configs.into_iter().chain(frames).collect()
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) judge: Judge,
    pub(crate) events: Vec<Event>,
}

impl Outcome {
    pub(crate) fn segments(&self, rendition: Rendition) -> &[Segment] {
        self.judge.segments(rendition)
    }

    /// The durations of the segments in milliseconds.
    pub(crate) fn durations(&self, rendition: Rendition) -> Vec<u128> {
        let segments = self.segments(rendition).iter();
        segments
            .map(|segment| segment.duration.as_millis())
            .collect()
    }

    /// The names of what was irregular, each once, in order.
    pub(crate) fn irregular(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for event in &self.events {
            if let Event::Irregular(irregularity) = event
                && !names.contains(&irregularity.label())
            {
                names.push(irregularity.label());
            }
        }
        names
    }

    pub(crate) fn count(&self, of: impl Fn(&Irregularity) -> bool) -> usize {
        let is = |event: &&Event| matches!(event, Event::Irregular(this) if of(this));
        self.events.iter().filter(is).count()
    }

    pub(crate) fn discontinuities(&self) -> usize {
        let is = |event: &&Event| matches!(event, Event::Discontinuity { .. });
        self.events.iter().filter(is).count()
    }
}

pub(crate) fn segment(options: Options, frames: &[MediaFrame]) -> Outcome {
    let mut segmenter = Segmenter::new(options.clone()).unwrap();
    let mut judge = Judge::new(options);
    let (mut now, mut events) = (Vec::new(), Vec::new());
    for frame in frames {
        segmenter.push(frame, &mut now);
        events.extend(now.iter().cloned());
        judge.check(&mut now);
    }
    segmenter.finish(&mut now);
    events.extend(now.iter().cloned());
    judge.check(&mut now);
    assert_eq!(segmenter.targets(), judge.targets());
    Outcome { judge, events }
}
