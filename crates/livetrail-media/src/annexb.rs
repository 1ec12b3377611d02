//! H.264 with start codes (ITU-T H.264 annex B), as capture cards, RTP and MPEG-TS bring it, from
//! and to the form that the engine carries: NAL units with lengths, and a decoder configuration.
//!
//! ```
//! use livetrail_media::annexb::H264Input;
//!
//! # const SPS: &[u8] = b"\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\0\0\x03\0\x08\
//! #     \0\0\x03\x01\x90\x78\xa1\x4c\xd0";
//! # const PPS: &[u8] = b"\x68\xe9\x78\x44\xb2";
//! # let access_unit = [&[0, 0, 0, 1], SPS, &[0, 0, 1], PPS, &[0, 0, 1, 0x65, 1, 2, 3]].concat();
//! let mut input = H264Input::default();
//! let frames = input.frames(&access_unit, 0, 40)?;
//! // The decoder configuration comes first, and again when the stream changes it.
//! assert!(frames[0].is_config() && frames[1].is_keyframe());
//! # let delta = [0, 0, 1, 0x41, 1, 2, 3];
//! assert_eq!(input.frames(&delta, 40, 80)?.len(), 1);
//! # Ok::<(), livetrail_media::Error>(())
//! ```

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};

use crate::{
    config::AvcConfig,
    error::{Error, Result},
    read::Reader,
};

const WHAT: &str = "H.264 access unit";
const START_CODE: [u8; 3] = [0, 0, 1];

/// NAL unit types (H.264 table 7-1).
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_DELIMITER: u8 = 9;
const NAL_FILLER: u8 = 12;

/// The maximum number of parameter sets of each kind that an access unit may have: a decoder
/// configuration counts the sequence parameter sets in five bits.
const MAX_SETS: usize = 31;

/// The NAL units between start codes, without the zeros around them. Bytes before the first start
/// code are skipped.
pub fn nal_units(bytes: &[u8]) -> NalUnits<'_> {
    NalUnits {
        rest: after_start_code(bytes).map(|(_, rest)| rest),
    }
}

/// The iterator of [`nal_units`].
#[derive(Debug, Clone)]
pub struct NalUnits<'a> {
    /// The bytes after the last start code that was found.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let (unit, next) = match after_start_code(rest) {
                Some((unit, next)) => (unit, Some(next)),
                None => (rest, None),
            };
            self.rest = next;
            // Zeros between units belong to the next start code. No unit ends in one.
            let end = unit.iter().rposition(|byte| *byte != 0);
            let unit = end.and_then(|end| unit.get(..=end));
            if unit.is_some() {
                return unit;
            }
        }
    }
}

/// The bytes before the first start code, and those after it.
fn after_start_code(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(3).position(|three| *three == START_CODE)?;
    let (before, from) = bytes.split_at_checked(at)?;
    Some((before, from.get(START_CODE.len()..)?))
}

/// NAL units in the engine's form: each behind its length in four bytes.
///
/// # Errors
/// A unit of 4 GiB or more.
pub fn length_prefixed<'a>(units: impl IntoIterator<Item = &'a [u8]>) -> Result<Bytes> {
    let mut out = Vec::new();
    for unit in units {
        let length = u32::try_from(unit.len()).map_err(|_| Error::Config {
            what: WHAT,
            detail: "a NAL unit of 4 GiB or more",
        })?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(unit);
    }
    Ok(out.into())
}

/// A frame's payload with start codes. `nal_length_bytes` is that of its configuration
/// ([`AvcConfig::nal_length_bytes`]). A decoder needs the parameter sets in front of a keyframe:
/// [`parameter_sets`] has them.
///
/// # Errors
/// A length that exceeds the payload.
pub fn with_start_codes(payload: &[u8], nal_length_bytes: u8) -> Result<Vec<u8>> {
    let mut reader = Reader::new(payload, WHAT);
    let mut out = Vec::with_capacity(payload.len().saturating_add(16));
    while !reader.is_empty() {
        let mut length = 0_usize;
        for byte in reader.take(usize::from(nal_length_bytes.max(1)))? {
            length = length
                .saturating_mul(256)
                .saturating_add(usize::from(*byte));
        }
        push_unit(&mut out, reader.take(length)?);
    }
    Ok(out)
}

/// The parameter sets of an `AVCDecoderConfigurationRecord`, with start codes.
///
/// # Errors
/// As [`AvcConfig::parse`].
pub fn parameter_sets(record: &[u8]) -> Result<Vec<u8>> {
    AvcConfig::parse(record)?;
    let mut reader = Reader::new(record, "AVCDecoderConfigurationRecord");
    reader.take(5)?;
    let mut out = Vec::new();
    for mask in [0x1f, 0xff] {
        for _ in 0..reader.u8()? & mask {
            let length = usize::from(reader.u16()?);
            push_unit(&mut out, reader.take(length)?);
        }
    }
    Ok(out)
}

fn push_unit(out: &mut Vec<u8>, unit: &[u8]) {
    out.push(0);
    out.extend_from_slice(&START_CODE);
    out.extend_from_slice(unit);
}

/// Makes frames of H.264 access units with start codes. It keeps the parameter sets that came last.
#[derive(Debug, Default, Clone)]
pub struct H264Input {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    /// The configuration that was returned last.
    config: Bytes,
}

impl H264Input {
    /// The frames of one access unit, with times in milliseconds: the decoder configuration if it
    /// is new, and then the pictures, if there are any. Parameter sets, delimiters and filler data
    /// are not in the pictures. Only an access unit with an IDR picture is a keyframe.
    ///
    /// Pictures before the first parameter sets are an error, as nobody could decode them.
    ///
    /// # Errors
    /// Pictures without a configuration; parameter sets that are invalid, or more than 31 of a
    /// kind. The input may continue with the next access unit.
    pub fn frames(
        &mut self,
        access_unit: &[u8],
        dts_ms: i64,
        pts_ms: i64,
    ) -> Result<Vec<MediaFrame>> {
        let (mut sps, mut pps, mut pictures) = (Vec::new(), Vec::new(), Vec::new());
        let mut flags = FrameFlags::NONE;
        for unit in nal_units(access_unit) {
            match unit.first().map_or(0, |header| header & 0x1f) {
                NAL_SPS => sps.push(Bytes::copy_from_slice(unit)),
                NAL_PPS => pps.push(Bytes::copy_from_slice(unit)),
                NAL_DELIMITER | NAL_FILLER => {}
                kind => {
                    if kind == NAL_IDR {
                        flags = FrameFlags::KEYFRAME;
                    }
                    pictures.push(unit);
                }
            }
        }
        if sps.len().max(pps.len()) > MAX_SETS {
            return Err(Error::Config {
                what: WHAT,
                detail: "more than 31 parameter sets of a kind",
            });
        }
        if !sps.is_empty() {
            self.sps = sps;
        }
        if !pps.is_empty() {
            self.pps = pps;
        }
        let mut frames = Vec::new();
        if !self.sps.is_empty() && !self.pps.is_empty() {
            let config = AvcConfig::encode(&self.sps, &self.pps)?;
            if config != self.config {
                self.config = config.clone();
                let flags = FrameFlags::CONFIG;
                frames.push(MediaFrame::video(
                    CodecId::H264,
                    dts_ms,
                    pts_ms,
                    flags,
                    config,
                ));
            }
        }
        if pictures.is_empty() {
            return Ok(frames);
        }
        if self.config.is_empty() {
            return Err(Error::Config {
                what: WHAT,
                detail: "pictures before the first parameter sets",
            });
        }
        let payload = length_prefixed(pictures)?;
        frames.push(MediaFrame::video(
            CodecId::H264,
            dts_ms,
            pts_ms,
            flags,
            payload,
        ));
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPS: &[u8] = b"\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\0\0\x03\0\x08\0\0\x03\x01\x90\x78\xa1\x4c\xd0";
    const PPS: &[u8] = b"\x68\xe9\x78\x44\xb2";
    /// What x264 wrote for these two.
    const RECORD: &[u8] = b"\x01\x4d\x40\x0c\xff\xe1\x00\x19\x67\x4d\x40\x0c\xec\xc0\xa0\xcf\xcf\x80\x88\x00\x00\x03\x00\x08\
        \x00\x00\x03\x01\x90\x78\xa1\x4c\xd0\x01\x00\x05\x68\xe9\x78\x44\xb2";

    fn units(bytes: &[u8]) -> Vec<&[u8]> {
        nal_units(bytes).collect()
    }

    #[test]
    fn units_are_between_start_codes_without_zeros() {
        assert_eq!(
            units(b"\0\0\0\x01ab\0\0\x01c\0\0\0\0\x01d\0"),
            [b"ab" as &[u8], b"c", b"d"]
        );
        assert_eq!(units(b"x\0\0\x01\0\0\x01\0\0\0\x01\0"), [] as [&[u8]; 0]);
        assert_eq!(units(b"no start code"), [] as [&[u8]; 0]);
    }

    #[test]
    fn an_access_unit_becomes_a_configuration_and_a_frame() {
        let mut input = H264Input::default();
        let pictures = [0, 0, 0, 1, 0x65, 7, 8, 0, 0, 1, 0x65, 9];
        assert!(input.frames(&pictures, 0, 0).is_err(), "no parameter sets");
        let unit = [
            b"\0\0\0\x01\x09\xf0\0\0\x01" as &[u8],
            SPS,
            b"\0\0\x01",
            PPS,
            &pictures,
        ]
        .concat();
        let frames = input.frames(&unit, 40, 80).unwrap();
        assert_eq!(frames[0].payload, RECORD);
        assert!(frames[0].is_config() && frames[1].is_keyframe());
        assert_eq!((frames[1].dts, frames[1].pts), (40, 80));
        assert_eq!(
            frames[1].payload[..],
            [0, 0, 0, 3, 0x65, 7, 8, 0, 0, 0, 2, 0x65, 9]
        );
        assert_eq!(
            with_start_codes(&frames[1].payload, 4).unwrap(),
            [0, 0, 0, 1, 0x65, 7, 8, 0, 0, 0, 1, 0x65, 9]
        );
        assert_eq!(units(&parameter_sets(RECORD).unwrap()), [SPS, PPS]);
        // The same parameter sets again are not a new configuration.
        assert_eq!(input.frames(&unit, 80, 120).unwrap().len(), 1);
        let delta = input.frames(&[0, 0, 1, 0x41, 5], 120, 120).unwrap();
        assert!(delta.len() == 1 && !delta[0].is_keyframe());
        let other = [&[0, 0, 1][..], PPS, &[7]].concat();
        assert!(input.frames(&other, 120, 120).unwrap()[0].is_config());
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, length in 0_u8..6) {
            crate::fuzz::fuzz_annexb(&bytes);
            let _ = with_start_codes(&bytes, length);
        }

        #[test]
        fn units_survive_the_way_there_and_back(
            units in proptest::collection::vec("[a-z]{1,20}", 1..10),
        ) {
            let units: Vec<_> = units.iter().map(String::as_bytes).collect();
            let payload = length_prefixed(units.iter().copied()).unwrap();
            let bytes = with_start_codes(&payload, 4).unwrap();
            prop_assert_eq!(nal_units(&bytes).collect::<Vec<_>>(), units);
        }
    }
}
