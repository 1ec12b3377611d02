//! The program association and the program map (ISO/IEC 13818-1 section 2.4.4).

use super::{AAC, packet::Pid, pid};
use crate::{
    event::Track,
    format::{Coding, Format},
};

/// One program, whose map is in packets 0x1000.
pub(super) const ASSOCIATION: [u8; 16] = [
    0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0x00, 0x00, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2,
];

/// The map: the track with the clock, and the type of each stream.
pub(super) fn program(formats: &[Option<Format>; 2], clock: Track, version: u8) -> Vec<u8> {
    let mut streams = Vec::new();
    for format in formats.iter().flatten() {
        let kind = match &format.coding {
            Coding::Avc(..) => 0x1b,
            Coding::Hevc(..) => 0x24,
            Coding::Aac(_) => AAC,
            Coding::Mp3(header) if header.is_mpeg_1 => 0x03,
            Coding::Mp3(_) => 0x04,
            // They are not supported in this container.
            Coding::Av1 | Coding::Opus(_) => continue,
        };
        let [high, low] = pid(format.track()).number().to_be_bytes();
        streams.extend_from_slice(&[kind, 0xe0 | high, low, 0xf0, 0]);
    }
    let length = u8::try_from(streams.len().saturating_add(13)).unwrap_or(u8::MAX);
    let clock: Pid = pid(clock);
    let [high, low] = clock.number().to_be_bytes();
    let mut table = vec![0x02, 0xb0, length, 0, 1, 0xc1 | version << 1, 0, 0];
    table.extend_from_slice(&[0xe0 | high, low, 0xf0, 0]);
    table.extend_from_slice(&streams);
    let sum = crc(&table);
    table.extend_from_slice(&sum.to_be_bytes());
    table
}

/// CRC-32 of MPEG-2: polynomial 0x04c11db7, not reflected.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            let carry = if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            (crc << 1) ^ carry
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_a_table_and_its_checksum_is_zero() {
        assert_eq!(crc(&ASSOCIATION), 0);
        assert_eq!(crc(&program(&[None, None], Track::Audio, 3)), 0);
    }
}
