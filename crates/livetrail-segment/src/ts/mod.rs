//! MPEG-2 transport streams (ISO/IEC 13818-1), as HLS restricts them (RFC 8216bis section 3.1.1):
//! one program, with its tables in front of each segment.
//!
//! ```text
//! PAT PMT  [PCR, PES: access unit delimiter, parameter sets, pictures]  [PES: audio frames] …
//! ```
//!
//! Continuity counters continue from segment to segment. There are at most 90 ms between two clock
//! references.

mod nal;
mod packet;
mod tables;

use bytes::Bytes;

use self::packet::{Adaptation, PACKET, Packets, Pid, pes_header};
use crate::{
    event::Track,
    format::{Coding, Format},
    lane::Sample,
};

/// The time of tick 0, so that the clock reference before it is not negative.
const START: i64 = 126_000;
/// How long before its decode time a frame is sent.
const LEAD: i64 = 9_000;
/// The most time between two clock references.
const REFERENCES: i64 = 8_100;
/// The most clock references that are written for a gap.
const MAX_REFERENCES: usize = 64;
/// The most bytes, frames and ticks of audio in one packet of the elementary stream.
const AUDIO_BYTES: usize = 2_800;
const AUDIO_FRAMES: usize = 8;
const AUDIO_TICKS: i64 = 8_100;
const AAC: u8 = 0x0f;

/// Writes parts of one program.
#[derive(Debug)]
pub(crate) struct Writer {
    formats: [Option<Format>; 2],
    /// The track with the clock references.
    clock: Track,
    packets: Packets,
    version: u8,
    needs_tables: bool,
    has_jumped: bool,
    /// The decode time of the last clock reference.
    last_reference: Option<i64>,
    /// The headers of the audio frames that are written together.
    headers: Vec<[u8; 7]>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self {
            formats: [None, None],
            clock: Track::Video,
            packets: Packets::default(),
            version: 0,
            needs_tables: true,
            has_jumped: false,
            last_reference: None,
            headers: Vec::new(),
        }
    }

    /// Changes the format of a track, or adds a track.
    pub(crate) fn set_format(&mut self, format: Format) {
        if let Some(of_track) = self.formats.get_mut(format.track().index()) {
            *of_track = Some(format);
        }
        self.version = self.version.wrapping_add(1) & 0x1f;
    }

    /// The clock references are in this track.
    pub(crate) fn set_clock(&mut self, track: Track) {
        if self.clock != track {
            self.clock = track;
            self.version = self.version.wrapping_add(1) & 0x1f;
        }
    }

    /// The next part begins a segment.
    pub(crate) fn start_segment(&mut self) {
        self.needs_tables = true;
    }

    /// The next part follows a discontinuity.
    pub(crate) fn discontinue(&mut self) {
        self.has_jumped = true;
        self.last_reference = None;
    }

    /// The packets of these samples. Each payload is copied once.
    pub(crate) fn write(&mut self, samples: &[Sample], payload_bytes: usize) -> Bytes {
        let of_video = |sample: &&Sample| sample.track == Track::Video;
        let videos = samples.iter().filter(of_video).count();
        // Up to two packets of a picture are not full, and one of an audio frame.
        let rest = samples.len().saturating_add(videos).saturating_add(8);
        let packets = (payload_bytes / 180).saturating_add(rest);
        self.packets.start(packets.saturating_mul(PACKET));
        let has_key = |sample: &Sample| sample.track == Track::Video && sample.key;
        if std::mem::take(&mut self.needs_tables) || samples.iter().any(has_key) {
            let tables = tables::program(&self.formats, self.clock, self.version);
            self.packets.section(Pid::Tables, &tables::ASSOCIATION);
            self.packets.section(Pid::Program, &tables);
        }
        let mut audio = Group::default();
        for (index, sample) in samples.iter().enumerate() {
            match sample.track {
                Track::Video => self.picture(sample),
                Track::Audio if audio.takes(sample) => audio.add(index, sample),
                Track::Audio => {
                    self.sound(samples, &audio);
                    audio = Group::default();
                    audio.add(index, sample);
                }
            }
        }
        self.sound(samples, &audio);
        self.packets.finish()
    }

    fn picture(&mut self, sample: &Sample) {
        let adaptation = self.reference(Track::Video, sample.at, sample.key);
        let [video, _] = &self.formats;
        let coding = video.as_ref().map(|format| &format.coding);
        let (sets, length_bytes, kind) = match coding {
            Some(Coding::Avc(sets, length_bytes)) => (&sets[..], *length_bytes, nal::Kind::Avc),
            Some(Coding::Hevc(sets, length_bytes)) => (&sets[..], *length_bytes, nal::Kind::Hevc),
            _ => return,
        };
        let unit = nal::access_unit(&sample.payload, length_bytes, kind, sample.key, sets);
        let size = unit.clone().map(<[u8]>::len).fold(0, usize::saturating_add);
        let dts = sample.at.saturating_add(START);
        let pts = dts.saturating_add(i64::from(sample.composition));
        let (header, length) = pes_header(0xe0, size, pts, Some(dts));
        let header = header.get(..length).unwrap_or_default();
        self.packets
            .unit(Pid::Video, adaptation, header, size, unit);
    }

    /// Audio frames that follow each other, as one packet of the elementary stream.
    fn sound(&mut self, samples: &[Sample], group: &Group) {
        if group.frames == 0 {
            return;
        }
        let adaptation = self.reference(Track::Audio, group.at, true);
        let samples = samples.get(group.first..=group.last).unwrap_or_default();
        let samples = || samples.iter().filter(|sample| sample.track == Track::Audio);
        let [_, audio] = &self.formats;
        let coding = audio.as_ref().map(|format| &format.coding);
        self.headers.clear();
        if let Some(Coding::Aac(config)) = coding {
            let headers = samples().filter_map(|sample| config.adts(sample.payload.len()));
            self.headers.extend(headers);
        }
        let header = |at: usize| self.headers.get(at).map_or(&[][..], |header| &header[..]);
        let frames = samples()
            .enumerate()
            .flat_map(|(at, sample)| [header(at), &sample.payload[..]]);
        let size = frames
            .clone()
            .map(<[u8]>::len)
            .fold(0, usize::saturating_add);
        let pts = group.at.saturating_add(START);
        let (pes, length) = pes_header(0xc0, size, pts, None);
        let pes = pes.get(..length).unwrap_or_default();
        self.packets.unit(Pid::Audio, adaptation, pes, size, frames);
    }

    /// What precedes a frame in its first packet; of the track with the clock, a reference. Packets
    /// with references alone fill a gap before it.
    fn reference(&mut self, track: Track, at: i64, key: bool) -> Adaptation {
        if track != self.clock {
            return Adaptation {
                is_random_access: key,
                ..Adaptation::default()
            };
        }
        let mut last = self.last_reference.unwrap_or(at);
        for _ in 0..MAX_REFERENCES {
            if at.saturating_sub(last) <= REFERENCES {
                break;
            }
            last = last.saturating_add(REFERENCES);
            let reference = last.saturating_add(START - LEAD);
            self.packets.reference(pid(track), reference);
        }
        self.last_reference = Some(at);
        Adaptation {
            clock: Some(at.saturating_add(START - LEAD)),
            is_random_access: key,
            has_jumped: std::mem::take(&mut self.has_jumped),
        }
    }
}

fn pid(track: Track) -> Pid {
    match track {
        Track::Video => Pid::Video,
        Track::Audio => Pid::Audio,
    }
}

/// Audio frames that are written together: they follow each other without a gap.
#[derive(Debug, Default)]
struct Group {
    first: usize,
    last: usize,
    frames: usize,
    bytes: usize,
    at: i64,
    end: i64,
}

impl Group {
    fn takes(&self, sample: &Sample) -> bool {
        let bytes = self.bytes.saturating_add(sample.payload.len());
        let gap = sample.at.saturating_sub(self.end).saturating_abs();
        let length = sample.at.saturating_sub(self.at);
        self.frames == 0
            || (bytes <= AUDIO_BYTES
                && self.frames < AUDIO_FRAMES
                && gap <= 1
                && length < AUDIO_TICKS)
    }

    fn add(&mut self, index: usize, sample: &Sample) {
        if self.frames == 0 {
            self.first = index;
            self.at = sample.at;
        }
        self.last = index;
        self.frames = self.frames.saturating_add(1);
        self.bytes = self.bytes.saturating_add(sample.payload.len());
        self.end = sample.at.saturating_add(i64::from(sample.duration));
    }
}
