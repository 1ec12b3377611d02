//! Chunks: `moof` and `mdat` with the frames of a part.
//!
//! ```text
//! moof [mfhd] [traf [tfhd] [tfdt] [trun: duration, size, flags, composition per frame]]
//! mdat  the frames
//! ```

use bytes::Bytes;

use super::{put_box, put_full_box, put_u32};
use crate::{event::Track, lane::Sample};

/// Sample flags (ISO/IEC 14496-12 section 8.8.3.1): decoding can start here, or cannot.
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;

const DEFAULT_BASE_IS_MOOF: u32 = 0x2_0000;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_FLAGS: u32 = 0x20;

const DATA_OFFSET: u32 = 0x1;
const DURATION: u32 = 0x100;
const SIZE: u32 = 0x200;
const FLAGS: u32 = 0x400;
const COMPOSITION: u32 = 0x800;

/// The bytes before the frames without those per frame: the headers of all boxes, and their fields.
const FIXED: usize = 8 + 16 + 8 + 24 + 20 + 20 + 8;
/// The most bytes per frame.
const PER_FRAME: usize = 16;

/// The chunk of these samples, at least one, as the fragment with this number. Each payload is
/// copied once, into a buffer of the right size.
pub(crate) fn fragment(number: u32, samples: &[Sample], payload_bytes: usize) -> Bytes {
    let shape = Shape::of(samples);
    let head = FIXED.saturating_add(samples.len().saturating_mul(PER_FRAME));
    let mut out = Vec::with_capacity(head.saturating_add(payload_bytes));
    let start = samples.first().map_or(0, |sample| sample.at);
    let mut offset_at = 0;
    put_box(&mut out, b"moof", |out| {
        put_full_box(out, b"mfhd", 0, 0, |out| put_u32(out, number));
        put_box(out, b"traf", |out| {
            shape.header(out);
            put_full_box(out, b"tfdt", 1, 0, |out| {
                out.extend_from_slice(&start.max(0).to_be_bytes());
            });
            put_full_box(out, b"trun", 1, shape.run_flags(), |out| {
                put_u32(out, u32::try_from(samples.len()).unwrap_or(u32::MAX));
                offset_at = out.len();
                put_u32(out, 0);
                samples.iter().for_each(|sample| shape.sample(out, sample));
            });
        });
    });
    // Behind the header of the box that follows.
    let offset = u32::try_from(out.len().saturating_add(8)).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(offset_at..offset_at.saturating_add(4)) {
        field.copy_from_slice(&offset.to_be_bytes());
    }
    put_box(&mut out, b"mdat", |out| {
        for sample in samples {
            out.extend_from_slice(&sample.payload);
        }
    });
    out.into()
}

/// What all samples of a chunk have in common.
struct Shape {
    duration: Option<u32>,
    is_audio: bool,
    is_reordered: bool,
}

impl Shape {
    fn of(samples: &[Sample]) -> Self {
        let first = samples.first().map_or(0, |sample| sample.duration);
        let is_constant = samples.iter().all(|sample| sample.duration == first);
        Self {
            duration: is_constant.then_some(first),
            is_audio: samples.iter().all(|sample| sample.track == Track::Audio),
            is_reordered: samples.iter().any(|sample| sample.composition != 0),
        }
    }

    fn header(&self, out: &mut Vec<u8>) {
        let duration = self.duration.map_or(0, |_| DEFAULT_DURATION);
        let flags = DEFAULT_BASE_IS_MOOF | DEFAULT_FLAGS | duration;
        put_full_box(out, b"tfhd", 0, flags, |out| {
            put_u32(out, 1);
            if let Some(duration) = self.duration {
                put_u32(out, duration);
            }
            put_u32(out, if self.is_audio { SYNC } else { NOT_SYNC });
        });
    }

    fn run_flags(&self) -> u32 {
        let mut flags = DATA_OFFSET | SIZE;
        if self.duration.is_none() {
            flags |= DURATION;
        }
        if !self.is_audio {
            flags |= FLAGS;
        }
        if self.is_reordered {
            flags |= COMPOSITION;
        }
        flags
    }

    fn sample(&self, out: &mut Vec<u8>, sample: &Sample) {
        if self.duration.is_none() {
            put_u32(out, sample.duration);
        }
        put_u32(out, u32::try_from(sample.payload.len()).unwrap_or(u32::MAX));
        if !self.is_audio {
            put_u32(out, if sample.key { SYNC } else { NOT_SYNC });
        }
        if self.is_reordered {
            out.extend_from_slice(&sample.composition.to_be_bytes());
        }
    }
}
