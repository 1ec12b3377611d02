//! What a segmenter has written, read again by the judge's readers, which share no code with it.

use livetrail_segment::{Event, Part, Rendition, Segment};

use super::{mp4, ts};

/// Reads the events of one segmenter, and panics when they cannot be read or have something else in
/// them than they say.
#[derive(Debug, Default)]
pub(crate) struct Written {
    video: Track,
    audio: Track,
    parts: usize,
}

/// A track of fragmented MP4.
#[derive(Debug, Default)]
struct Track {
    tracks: Vec<mp4::Track>,
    end: u64,
}

impl Written {
    /// Reads an event.
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::Init(init) => {
                if let Some(track) = self.track(init.rendition) {
                    let tracks = mp4::init(&init.bytes).expect("an init segment");
                    assert_eq!(tracks.len(), 1, "tracks of an init segment");
                    // The units may be others from here on.
                    (track.tracks, track.end) = (tracks, 0);
                }
            }
            Event::Part(part) => {
                self.parts += 1;
                self.part(part);
            }
            Event::Segment(segment) => self.segment(segment),
            _ => {}
        }
    }

    fn part(&mut self, part: &Part) {
        let Some(track) = self.track(part.rendition) else {
            let stream = ts::read(&part.bytes).expect("packets");
            assert_eq!(stream.holes, [""; 0]);
            return;
        };
        let fragments = mp4::fragments(&part.bytes, &track.tracks).expect("a fragment");
        let [fragment] = &fragments[..] else {
            panic!("{} fragments in a part", fragments.len());
        };
        assert_eq!(fragment.samples, part.frames, "frames of a part");
        assert!(fragment.decode_time >= track.end, "time goes back");
        track.end = fragment.decode_time + fragment.duration;
        let hz = u128::from(track.tracks[0].timescale);
        let nanos = u128::from(fragment.duration) * 1_000_000_000 / hz;
        // A tick is rounded down to nanoseconds.
        let is_same = nanos.abs_diff(part.duration.as_nanos()) <= 2;
        assert!(is_same, "{nanos} ns of {:?}", part.duration);
    }

    fn segment(&mut self, segment: &Segment) {
        let bytes: Vec<u8> = segment.pieces().flat_map(|piece| piece.to_vec()).collect();
        let Some(track) = self.track(segment.rendition) else {
            let stream = ts::read(&bytes).expect("packets");
            assert_eq!(stream.holes, [""; 0]);
            assert!(stream.begins_with_tables);
            return;
        };
        let fragments = mp4::fragments(&bytes, &track.tracks).expect("fragments");
        assert_eq!(fragments.len(), segment.parts.len());
    }

    fn track(&mut self, rendition: Rendition) -> Option<&mut Track> {
        match rendition {
            Rendition::Video => Some(&mut self.video),
            Rendition::Audio => Some(&mut self.audio),
            Rendition::Muxed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_random_frames_is_read_again() {
        // Numbers of a linear congruential generator, of which the upper bits are used.
        let mut random = 11_u64;
        let mut next = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as u8
        };
        let mut parts = 0;
        for input in 0..400 {
            // Container and part, then both configurations.
            let mut bytes = vec![input as u8, 0, 0, 0, 210, 1, 0, 0, 210];
            for _ in 0..200 {
                // Mostly frames in the order of their times; sometimes anything.
                let is_likely = next() % 16 != 0;
                let [what, high, low, length] = [next(), next(), next(), next()];
                let (what, high) = if is_likely {
                    (what & 0x11, 0)
                } else {
                    (what, high)
                };
                let length = if is_likely { length % 200 } else { length };
                bytes.extend([what, high, low, length]);
                if length <= 200 {
                    bytes.extend((0..length & 31).map(|_| next()));
                }
            }
            let mut written = Written::default();
            livetrail_segment::fuzz_segmenter(&bytes, &mut |event| written.see(event));
            parts += written.parts;
        }
        assert!(parts > 5_000, "{parts} parts");
    }
}
