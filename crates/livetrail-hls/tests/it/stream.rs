//! Made streams, and their playlists at any time.

use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use livetrail_hls::{Options, Playlists};
use livetrail_segment::{Container, Event, Rendition, Segmenter};

const AVC: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";

/// 2026-12-01T08:30:00Z.
pub(crate) const BEGIN_MS: i64 = 1_796_113_800_000;

/// A stream of 25 pictures a second with a keyframe every two seconds, and audio.
pub(crate) struct Stream {
    segmenter: Segmenter,
    pub(crate) playlists: Playlists,
    events: Vec<Event>,
    /// The time of the next picture, and of the next audio frame by its number.
    pub(crate) now_ms: i64,
    sounds: i64,
}

impl Stream {
    pub(crate) fn new(container: Container, options: Options) -> Self {
        let segmenter = livetrail_segment::Options::new(container);
        let mut stream = Self {
            segmenter: Segmenter::new(segmenter).unwrap(),
            playlists: Playlists::new(options).unwrap(),
            events: Vec::new(),
            now_ms: 0,
            sounds: 0,
        };
        let config = FrameFlags::CONFIG;
        stream.push(MediaFrame::video(CodecId::H264, 0, 0, config, AVC.into()));
        stream.push(MediaFrame::audio(
            CodecId::Aac,
            0,
            config,
            (&[0x11, 0x90][..]).into(),
        ));
        stream
    }

    /// Another decoder configuration of this many bytes.
    pub(crate) fn configure(&mut self, number: u8, bytes: usize) {
        let mut record = AVC.to_vec();
        // Readers ignore what follows the parameter sets.
        record.resize(bytes, number);
        let config = FrameFlags::CONFIG;
        self.push(MediaFrame::video(
            CodecId::H264,
            0,
            0,
            config,
            record.into(),
        ));
    }

    fn push(&mut self, frame: MediaFrame) {
        self.segmenter.push(&frame, &mut self.events);
        self.apply();
    }

    fn apply(&mut self) {
        for event in self.events.drain(..) {
            self.playlists.apply(event, BEGIN_MS + self.now_ms);
        }
    }

    /// The next picture, and the audio until then.
    pub(crate) fn step(&mut self) {
        let at_ms = self.now_ms;
        while self.sounds * 1_024 / 48 <= at_ms {
            let time_ms = self.sounds * 1_024 / 48;
            let payload = vec![0x21; 100].into();
            self.push(MediaFrame::audio(
                CodecId::Aac,
                time_ms,
                FrameFlags::NONE,
                payload,
            ));
            self.sounds += 1;
        }
        let is_key = at_ms % 2_000 == 0;
        let flags = if is_key {
            FrameFlags::KEYFRAME
        } else {
            FrameFlags::NONE
        };
        let payload = vec![0, 0, 0, 2, if is_key { 0x65 } else { 0x41 }, 0x80].into();
        self.push(MediaFrame::video(
            CodecId::H264,
            at_ms,
            at_ms,
            flags,
            payload,
        ));
        self.now_ms += 40;
    }

    pub(crate) fn run_until(&mut self, ms: i64) {
        while self.now_ms < ms {
            self.step();
        }
    }

    pub(crate) fn discontinuity(&mut self) {
        self.segmenter.discontinuity(&mut self.events);
        self.apply();
    }

    pub(crate) fn finish(&mut self) {
        self.segmenter.finish(&mut self.events);
        self.apply();
        self.playlists.end();
    }

    pub(crate) fn text(&mut self, rendition: Rendition, skip: bool) -> String {
        let bytes = self.playlists.media(rendition, skip).expect("a playlist");
        String::from_utf8(bytes.to_vec()).unwrap()
    }
}
