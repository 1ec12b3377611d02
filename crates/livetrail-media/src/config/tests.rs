//! The promises of the readers of configuration records. The records are from x264 and ffmpeg.

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use proptest::prelude::*;

use super::{
    AudioSpecificConfig, Av1Config, AvcConfig, HevcConfig, Mp3Header, OpusConfig, TrackInfo,
};
use crate::Error;

const MAIN_320X180: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
    \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";
const HIGH_1080P: &[u8] = b"\x01\x64\x00\x28\xff\xe1\x00\x1b\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27\xe5\xc0\x44\x00\x00\x03\
    \x00\x04\x00\x00\x03\x00\xc8\x3c\x60\xc6\x58";
const HIGH_INTERLACED_576: &[u8] =
    b"\x01\x64\x00\x1e\xff\xe1\x00\x1c\x67\x64\x00\x1e\xac\xd9\x40\xb4\x24\xdf\xf8\x02\x00\x01\
    \x68\x80\x00\x00\x03\x00\x80\x00\x00\x19\x0f\x8a\x14\xcb";
const HIGH_422_WITH_MATRICES: &[u8] =
    b"\x01\x7a\x00\x1f\xff\xe1\x00\x1a\x67\x7a\x00\x1f\xbc\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\
    \x03\x00\x10\x00\x00\x03\x03\x20\xf1\x83\x19\x60";
const HIGH_444_CROPPED: &[u8] = b"\x01\xf4\x00\x1e\xff\xe1\x00\x1e\x67\xf4\x00\x1e\x91\x9b\x28\x14\x85\xfc\x7c\xff\xf8\x5a\x80\x5a\
    \x48\x80\x00\x00\x03\x00\x80\x00\x00\x19\x07\x8b\x16\xcb";

/// Of x265 and libaom, 320x180, by way of ffmpeg.
const HEVC_320X180: &[u8] =
    b"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x3c\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f\
        \x03\x20\x00\x01\x00\x18\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\
        \x00\x00\x03\x00\x3c\xba\x02\x40\x21\x00\x01\x00\x29\x42\x01\x01\x01\x60\x00\x00\x03\x00\
        \x90\x00\x00\x03\x00\x00\x03\x00\x3c\xa0\x0a\x08\x0c\x1f\x3e\x5b\xa4\xa4\xc2\xf0\x16\x80\
        \x80\x00\x00\x03\x00\x80\x00\x00\x0c\x84\x22\x00\x01\x00\x06\x44\x01\xc0\x71\x83\x12";
const AV1_320X180: &[u8] = b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3c\xfe\xcc\xda\xf9\x00\x40";
const OPUS_MONO: &[u8] = b"OpusHead\x01\x01\x38\x01\x80\xbb\0\0\0\0\0";

#[test]
fn configurations_of_newer_codecs_give_profile_level_and_picture() {
    let hevc = HevcConfig::parse(HEVC_320X180).unwrap();
    assert_eq!((hevc.profile_space, hevc.profile, hevc.level), (0, 1, 60));
    assert_eq!((hevc.high_tier, hevc.compatibility), (false, 0x6000_0000));
    assert_eq!(hevc.constraints, [0x90, 0, 0, 0, 0, 0]);
    assert_eq!((hevc.nal_length_bytes, hevc.picture), (4, (320, 180)));
    let sets = HevcConfig::parameter_sets(HEVC_320X180).unwrap();
    let kinds = crate::annexb::nal_units(&sets).map(|unit| unit[0] >> 1);
    assert_eq!(kinds.collect::<Vec<_>>(), [32, 33, 34]);
    let av1 = Av1Config::parse(AV1_320X180).unwrap();
    assert_eq!((av1.profile, av1.level, av1.high_tier), (0, 0, false));
    assert_eq!((av1.depth, av1.picture), (8, Some((320, 180))));
    assert_eq!(Av1Config::parse(&AV1_320X180[..4]).unwrap().picture, None);
    let opus = OpusConfig::parse(OPUS_MONO).unwrap();
    assert_eq!(
        (opus.channels, opus.pre_skip, opus.input_hz),
        (1, 312, 48_000)
    );
    assert_eq!(opus.mapping, (0, Vec::new()));
    let with = |record: &[u8], at: usize, byte| {
        let mut record = record.to_vec();
        record[at] = byte;
        record
    };
    assert!(HevcConfig::parse(&with(HEVC_320X180, 0, 2)).is_err());
    assert!(Av1Config::parse(&with(AV1_320X180, 0, 0x82)).is_err());
    for (at, byte) in [(0, b'o'), (8, 0x10), (9, 0), (9, 3)] {
        assert!(OpusConfig::parse(&with(OPUS_MONO, at, byte)).is_err());
    }
    for length in 0..HEVC_320X180.len() {
        assert!(HevcConfig::parse(&HEVC_320X180[..length]).is_err());
    }
}

#[test]
fn a_frame_says_how_many_samples_it_has() {
    // SILK 60 ms; hybrid 20 ms twice; CELT 2.5 ms six times.
    for (packet, samples) in [(&[0x18][..], 2_880), (&[0x69], 1_920), (&[0x83, 6], 720)] {
        assert_eq!(OpusConfig::samples(packet), Ok(samples));
    }
    assert!(OpusConfig::samples(&[0x83, 0]).is_err() && OpusConfig::samples(&[0x1b, 3]).is_err());
    let header = |bytes: &[u8]| {
        Mp3Header::parse(bytes).map(|h| (h.sample_rate_hz, h.channels, h.samples, h.is_mpeg_1))
    };
    assert_eq!(header(b"\xff\xfb\x90\x00"), Ok((44_100, 2, 1_152, true)));
    assert_eq!(header(b"\xff\xf3\x44\xc0"), Ok((24_000, 1, 576, false)));
    assert_eq!(header(b"\xff\xe3\x40\xc0"), Ok((11_025, 1, 576, false)));
    for wrong in [
        &b"\xfe\xfb\x90\x00"[..],
        b"\xff\xfd\x90\x00",
        b"\xff\xfb\x9c\x00",
        b"\xff",
    ] {
        assert!(header(wrong).is_err());
    }
    let samples = |bytes: &[u8]| AudioSpecificConfig::parse(bytes).unwrap().samples_per_frame;
    assert_eq!(
        (samples(&[0x11, 0x90]), samples(&[0x11, 0x94])),
        (1_024, 960)
    );
    // HE-AAC: 24 kHz core, 48 kHz out. Its ADTS header is that of the core.
    let he = AudioSpecificConfig::parse(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
    assert_eq!(he.samples_per_frame, 2_048);
    assert_eq!(
        he.adts(93).unwrap(),
        [0xff, 0xf1, 0x58, 0x80, 0x0c, 0x9f, 0xfc]
    );
    assert!(he.adts(8_184).is_some() && he.adts(8_185).is_none());
    // A rate, or channels, without a code.
    for record in [&[0x17, 0x80, 0x5d, 0xc1, 0x10][..], &[0x11, 0x80]] {
        assert_eq!(AudioSpecificConfig::parse(record).unwrap().adts(1), None);
    }
}

#[test]
fn the_picture_size_is_that_after_cropping() {
    let size = |record| AvcConfig::parse(record).map(|config| config.picture);
    assert_eq!(size(MAIN_320X180), Ok((320, 180)));
    assert_eq!(size(HIGH_1080P), Ok((1920, 1080)));
    assert_eq!(size(HIGH_INTERLACED_576), Ok((720, 576)));
    assert_eq!(size(HIGH_422_WITH_MATRICES), Ok((1280, 720)));
    assert_eq!(size(HIGH_444_CROPPED), Ok((642, 362)));
}

#[test]
fn profile_level_and_lengths_are_read() {
    let config = AvcConfig::parse(MAIN_320X180).unwrap();
    assert_eq!(
        (
            config.profile,
            config.compatibility,
            config.level,
            config.nal_length_bytes
        ),
        (77, 0x40, 12, 4)
    );
}

#[test]
fn a_contradictory_record_is_refused_by_its_violation() {
    let with = |at: usize, byte| {
        let mut record = MAIN_320X180.to_vec();
        record[at] = byte;
        AvcConfig::parse(&record).unwrap_err().to_string()
    };
    assert!(with(0, 2).contains("version"));
    assert!(with(4, 0xfe).contains("three bytes"));
    assert!(with(5, 0xe0).contains("no sequence parameter set"));
    assert!(with(8, 0x68).contains("another type"));
    assert_eq!(
        AvcConfig::parse(&MAIN_320X180[..20]).unwrap_err(),
        Error::Truncated {
            what: "AVCDecoderConfigurationRecord"
        }
    );
}

#[test]
fn aac_configurations_give_rate_and_channels() {
    let parse = |bytes: &[u8]| {
        AudioSpecificConfig::parse(bytes).map(|c| (c.object_type, c.sample_rate_hz, c.channels))
    };
    assert_eq!(parse(&[0x12, 0x08, 0x56, 0xe5, 0x00]), Ok((2, 44_100, 1)));
    assert_eq!(parse(&[0x11, 0x90]), Ok((2, 48_000, 2)));
    // HE-AAC: 24 kHz core, 48 kHz out.
    assert_eq!(parse(&[0x2b, 0x11, 0x88]), Ok((5, 48_000, 2)));
    // An explicit rate of 24 bits.
    assert_eq!(parse(&[0x17, 0x80, 0x5d, 0xc0, 0x10]), Ok((2, 48_000, 2)));
    assert!(parse(&[0x16, 0x90]).is_err());
    assert_eq!(
        parse(&[0x12]),
        Err(Error::Truncated {
            what: "AudioSpecificConfig"
        })
    );
}

#[test]
fn a_track_is_shown_as_people_say_it() {
    let config = FrameFlags::CONFIG;
    let shown = |frame: MediaFrame| TrackInfo::of(&frame).unwrap().to_string();
    assert_eq!(
        shown(MediaFrame::video(
            CodecId::H264,
            0,
            0,
            config,
            Bytes::from_static(HIGH_1080P)
        )),
        "h264 1920x1080"
    );
    assert_eq!(
        shown(MediaFrame::audio(
            CodecId::Aac,
            0,
            config,
            Bytes::from_static(&[0x11, 0x90])
        )),
        "aac 48000 Hz stereo"
    );
    assert_eq!(
        shown(MediaFrame::audio(
            CodecId::Opus,
            0,
            config,
            Bytes::from_static(b"OpusHead\x01\x01")
        )),
        "opus 48000 Hz mono"
    );
    assert_eq!(
        shown(MediaFrame::video(
            CodecId::Av1,
            0,
            0,
            config,
            Bytes::from_static(b"\x81")
        )),
        "av1"
    );
    assert_eq!(
        shown(MediaFrame::audio(
            CodecId::Mp3,
            0,
            FrameFlags::NONE,
            Bytes::from_static(b"x")
        )),
        "mp3"
    );
}

proptest! {
    #[test]
    fn any_bytes_give_a_record_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = AvcConfig::parse(&bytes);
        let _ = AudioSpecificConfig::parse(&bytes);
        let _ = (OpusConfig::parse(&bytes), OpusConfig::samples(&bytes), Mp3Header::parse(&bytes));
        let _ = Av1Config::parse(&[b"\x81\0\0\0\x0a\x14", &bytes[..]].concat());
        let sps = [&HEVC_320X180[..57], &[0, 60], &HEVC_320X180[59..80], &bytes].concat();
        let _ = (HevcConfig::parse(&sps), HevcConfig::parameter_sets(&sps));
        // Most random bytes fail early. These begin like a record, so that parsing reaches the
        // parameter set.
        bytes.splice(..0, *b"\x01\x64\x00\x1e\xff\xe1\x00\x20\x67\x64\x00\x1e");
        if let Ok(config) = AvcConfig::parse(&bytes) {
            prop_assert!(config.picture.0 > 0 && config.picture.1 > 0);
        }
    }
}

#[test]
fn a_record_of_aac_is_read_as_it_was_made() {
    for rate in [96_000, 48_000, 44_100, 7_350, 50_000, 1] {
        for channels in (1..=6).chain([8]) {
            let record = AudioSpecificConfig::encode_lc(rate, channels).unwrap();
            let config = AudioSpecificConfig::parse(&record).unwrap();
            assert_eq!((config.object_type, config.sample_rate_hz), (2, rate));
            assert_eq!(config.channels, channels);
        }
    }
    for (rate, channels) in [(48_000, 0), (48_000, 7), (48_000, 9), (1 << 24, 2)] {
        assert!(AudioSpecificConfig::encode_lc(rate, channels).is_err());
    }
}

#[test]
fn a_record_of_h264_is_read_as_it_was_made() {
    for record in [
        MAIN_320X180,
        HIGH_1080P,
        HIGH_INTERLACED_576,
        HIGH_422_WITH_MATRICES,
        HIGH_444_CROPPED,
    ] {
        let length = usize::from(record[7]);
        let sps = &record[8..8 + length];
        let made = AvcConfig::encode(&[sps], &[b"\x68\xe9"]).unwrap();
        assert_eq!(AvcConfig::parse(&made), AvcConfig::parse(record));
        assert_eq!(made[..8 + length], record[..8 + length]);
    }
    let none: [&[u8]; 0] = [];
    let sps = &MAIN_320X180[8..33];
    assert!(AvcConfig::encode(&none, &[b"\x68"]).is_err());
    assert!(AvcConfig::encode(&[sps], &none).is_err());
    assert!(AvcConfig::encode(&[sps; 32], &[b"\x68"]).is_err());
    assert!(AvcConfig::encode(&[sps], &[vec![0x68; 65_536]]).is_err());
    // High profile repeats the chroma format (1, 4:2:0) and the depths (8 bits).
    let high = &HIGH_1080P[8..8 + usize::from(HIGH_1080P[7])];
    let made = AvcConfig::encode(&[high], &[b"\x68"]).unwrap();
    assert!(made.ends_with(&[0xfd, 0xf8, 0xf8, 0]));
}
