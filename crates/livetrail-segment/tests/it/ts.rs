//! Transport streams, read by a small demultiplexer.

use std::collections::HashMap;

use livetrail_engine::MediaFrame;
use livetrail_segment::{Container, Event, Options, Rendition, Segment};

use crate::stream::{Outcome, audio, both, segment, video};

const VIDEO: u16 = 0x100;
const AUDIO: u16 = 0x101;

/// What the packets have.
#[derive(Default)]
struct Read {
    counters: HashMap<u16, u8>,
    references: Vec<u64>,
    /// Elementary packets of each stream.
    units: HashMap<u16, Vec<Vec<u8>>>,
}

impl Read {
    fn segment(&mut self, segment: &Segment) {
        let bytes: Vec<u8> = segment.pieces().flat_map(|piece| piece.to_vec()).collect();
        for (at, packet) in bytes.chunks(188).enumerate() {
            assert_eq!((packet.len(), packet[0]), (188, 0x47));
            let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
            match at {
                0 => assert_eq!(pid, 0),
                1 => assert_eq!(pid, 0x1000),
                _ => {}
            }
            self.packet(pid, packet);
        }
    }

    fn packet(&mut self, pid: u16, packet: &[u8]) {
        let (has_field, has_payload) = (packet[3] & 0x20 != 0, packet[3] & 0x10 != 0);
        let counter = packet[3] & 15;
        if let Some(before) = self.counters.insert(pid, counter) {
            let expected = if has_payload {
                (before + 1) & 15
            } else {
                before
            };
            assert_eq!(counter, expected, "of stream {pid:#x}");
        }
        let mut payload = &packet[4..];
        if has_field {
            let length = usize::from(payload[0]);
            if length > 0 && payload[1] & 0x10 != 0 {
                let mut clock = [0; 8];
                clock[3..].copy_from_slice(&payload[2..7]);
                self.references.push(u64::from_be_bytes(clock) >> 7);
            }
            payload = &payload[1 + length..];
        }
        if !has_payload || pid == 0 || pid == 0x1000 {
            return;
        }
        let units = self.units.entry(pid).or_default();
        if packet[1] & 0x40 != 0 {
            assert_eq!(payload[..3], [0, 0, 1]);
            units.push(Vec::new());
        }
        units.last_mut().unwrap().extend_from_slice(payload);
    }
}

fn ts(frames: &[MediaFrame]) -> (Outcome, Read) {
    let out = segment(Options::new(Container::MpegTs), frames);
    let mut read = Read::default();
    for segment in out.segments(Rendition::Muxed) {
        read.segment(segment);
    }
    (out, read)
}

#[test]
fn every_segment_has_its_tables_and_counters_and_clocks_continue() {
    for fps in [2, 25] {
        let (out, read) = ts(&both(video(fps, fps * 2, 0, 13), audio(0, 13)));
        assert_eq!(out.irregular(), [] as [&str; 0]);
        let durations = out.durations(Rendition::Muxed);
        assert_eq!(durations, [2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 1_000]);
        let steps = read.references.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.clone().max() <= Some(9_000), "{:?}", steps.max());
        let videos = &read.units[&VIDEO];
        assert_eq!(videos.len(), 13 * fps as usize);
        // 14 or 19 bytes of header, a delimiter, parameter sets.
        let first = &videos[0][14..];
        assert!(first.starts_with(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67]));
        assert!(videos[1][14..].starts_with(&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x41]));
        let sounds: usize = read.units[&AUDIO]
            .iter()
            .map(|unit| {
                // Its length is that of its header.
                let length = usize::from(u16::from_be_bytes([unit[4], unit[5]]));
                assert_eq!(length + 6, unit.len());
                unit.windows(2).filter(|two| two == &[0xff, 0xf1]).count()
            })
            .sum();
        assert_eq!(sounds, 13 * 48_000 / 1_024);
    }
}

#[test]
fn an_init_names_both_codecs_and_has_no_bytes() {
    let (out, _) = ts(&both(video(25, 25, 0, 3), audio(0, 3)));
    let inits: Vec<_> = out
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Init(init) => Some((init.codecs.as_str(), init.bytes.len(), init.picture)),
            _ => None,
        })
        .collect();
    assert_eq!(inits, [("avc1.4d400c,mp4a.40.2", 0, Some((320, 180)))]);
}

#[test]
fn audio_leads_while_there_is_no_video() {
    let pictures = [video(25, 50, 0, 10), video(25, 50, 30_000, 10)].concat();
    let (out, read) = ts(&both(pictures, audio(0, 40)));
    assert_eq!(out.irregular(), ["video_stopped"]);
    assert_eq!(out.discontinuities(), 2);
    assert_eq!(read.units[&VIDEO].len(), 500);
    let all: u128 = out.durations(Rendition::Muxed).iter().sum();
    // Up to 3 s pass until video counts as stopped.
    assert!((36_900..=40_000).contains(&all), "{all}");
}
