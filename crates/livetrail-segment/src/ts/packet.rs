//! Packets of 188 bytes, and the header of an elementary stream's packet.

use bytes::Bytes;

/// Bytes of a packet.
pub(super) const PACKET: usize = 188;
const HEAD: usize = 4;

/// The streams of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pid {
    Tables,
    Program,
    Video,
    Audio,
}

impl Pid {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Tables => 0,
            Self::Program => 0x1000,
            Self::Video => 0x100,
            Self::Audio => 0x101,
        }
    }
}

/// What the first packet of a frame has in its adaptation field.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Adaptation {
    /// The program clock reference, in ticks of 90 kHz.
    pub(super) clock: Option<i64>,
    pub(super) is_random_access: bool,
    pub(super) has_jumped: bool,
}

impl Adaptation {
    /// The field without its length and stuffing; up to 7 bytes.
    fn bytes(self) -> ([u8; 7], usize) {
        let flag = |is: bool, bit: u8| if is { bit } else { 0 };
        let flags = flag(self.has_jumped, 0x80)
            | flag(self.is_random_access, 0x40)
            | flag(self.clock.is_some(), 0x10);
        let Some(clock) = self.clock else {
            return ([flags, 0, 0, 0, 0, 0, 0], usize::from(flags != 0));
        };
        // 33 bits, 6 reserved, and 9 bits of 27 MHz that are 0.
        let [_, _, _, a, b, c, d, e] = ((clock & 0x1_ffff_ffff) << 7).to_be_bytes();
        ([flags, a, b, c, d, e | 0x7e, 0], 7)
    }
}

/// The packets of a part, and the counters that continue from part to part.
#[derive(Debug, Default)]
pub(super) struct Packets {
    out: Vec<u8>,
    counters: [u8; 4],
}

impl Packets {
    pub(super) fn start(&mut self, capacity: usize) {
        self.out = Vec::with_capacity(capacity);
    }

    pub(super) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.out).into()
    }

    /// A table of up to 182 bytes in one packet.
    pub(super) fn section(&mut self, pid: Pid, section: &[u8]) {
        self.head(pid, true, false, true);
        self.out.push(0);
        self.out.extend_from_slice(section);
        let stuffing = (PACKET - HEAD - 1).saturating_sub(section.len());
        self.out
            .resize(self.out.len().saturating_add(stuffing), 0xff);
    }

    /// A packet with a clock reference alone.
    pub(super) fn reference(&mut self, pid: Pid, clock: i64) {
        self.head(pid, false, true, false);
        let adaptation = Adaptation {
            clock: Some(clock),
            ..Adaptation::default()
        };
        self.adaptation(adaptation, PACKET - HEAD);
    }

    /// A header and `size` bytes of slices, in as many packets as they need.
    pub(super) fn unit<'a>(
        &mut self,
        pid: Pid,
        first: Adaptation,
        header: &'a [u8],
        size: usize,
        slices: impl Iterator<Item = &'a [u8]>,
    ) {
        let mut left = size.saturating_add(header.len());
        let mut slices = std::iter::once(header).chain(slices);
        let mut slice: &[u8] = &[];
        let mut adaptation = first;
        let mut is_start = true;
        while left > 0 {
            let (_, used) = adaptation.bytes();
            let used = if used > 0 { used.saturating_add(1) } else { 0 };
            let room = (PACKET - HEAD).saturating_sub(used);
            let take = room.min(left);
            let field = (PACKET - HEAD).saturating_sub(take);
            self.head(pid, is_start, field > 0, true);
            if field > 0 {
                self.adaptation(adaptation, field);
            }
            let mut wanted = take;
            while wanted > 0 {
                if slice.is_empty() {
                    // There are as many bytes as were counted.
                    match slices.next() {
                        Some(next) => slice = next,
                        None => break,
                    }
                }
                let (now, later) = slice.split_at(wanted.min(slice.len()));
                self.out.extend_from_slice(now);
                wanted = wanted.saturating_sub(now.len());
                slice = later;
            }
            left = left.saturating_sub(take);
            adaptation = Adaptation::default();
            is_start = false;
        }
    }

    /// The four bytes of each packet.
    fn head(&mut self, pid: Pid, is_start: bool, has_adaptation: bool, has_payload: bool) {
        let [high, low] = pid.number().to_be_bytes();
        let counter = match pid {
            Pid::Tables => 0,
            Pid::Program => 1,
            Pid::Video => 2,
            Pid::Audio => 3,
        };
        let mut number = 0;
        if let Some(counter) = self.counters.get_mut(counter) {
            // A packet without a payload repeats the number of the one before.
            if has_payload {
                *counter = counter.wrapping_add(1) & 15;
            }
            number = *counter;
        }
        let control = if has_adaptation { 0x20 } else { 0 } | if has_payload { 0x10 } else { 0 };
        let start = if is_start { 0x40 } else { 0 };
        self.out
            .extend_from_slice(&[0x47, start | high, low, control | number]);
    }

    /// An adaptation field of this many bytes with its length: at least 1, up to 184.
    fn adaptation(&mut self, adaptation: Adaptation, field: usize) {
        let end = self.out.len().saturating_add(field);
        let length = u8::try_from(field.saturating_sub(1)).unwrap_or(u8::MAX);
        self.out.push(length);
        if length > 0 {
            let (bytes, used) = adaptation.bytes();
            // The flags are there whenever the field has more than its length.
            self.out
                .extend_from_slice(bytes.get(..used.max(1)).unwrap_or_default());
        }
        self.out.resize(end, 0xff);
    }
}

/// The header of an elementary stream's packet with `size` bytes after it, and its length. Without
/// a size if that has more than 16 bits, which only video may have.
pub(super) fn pes_header(stream: u8, size: usize, pts: i64, dts: Option<i64>) -> ([u8; 19], usize) {
    let dts = dts.filter(|dts| *dts != pts);
    let (flags, times) = if dts.is_some() {
        (0xc0, 10_u8)
    } else {
        (0x80, 5)
    };
    let rest = size.saturating_add(usize::from(times)).saturating_add(3);
    let [high, low] = u16::try_from(rest).unwrap_or(0).to_be_bytes();
    let mut header = [0; 19];
    let head = [0, 0, 1, stream, high, low, 0x84, flags, times];
    let first = timestamp(if dts.is_some() { 3 } else { 2 }, pts);
    let second = timestamp(1, dts.unwrap_or(0));
    let bytes = head.into_iter().chain(first).chain(second);
    for (field, byte) in header.iter_mut().zip(bytes) {
        *field = byte;
    }
    (header, usize::from(times).saturating_add(9))
}

/// 33 bits with a marker behind every 15.
fn timestamp(prefix: u8, ticks: i64) -> [u8; 5] {
    let bits = |shift: u32| (ticks >> shift) as u8;
    [
        (prefix << 4) | ((bits(30) & 7) << 1) | 1,
        bits(22),
        (bits(15) << 1) | 1,
        bits(7),
        (bits(0) << 1) | 1,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_has_33_bits_and_wraps() {
        assert_eq!(timestamp(2, 0), [0x21, 0, 1, 0, 1]);
        assert_eq!(timestamp(2, 0x1_ffff_ffff), [0x2f, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(timestamp(2, 0x2_0000_0000), timestamp(2, 0));
    }

    #[test]
    fn every_packet_is_full_and_its_content_is_that_of_the_slices() {
        for size in 0..600 {
            let content: Vec<u8> = (0..size).map(|at| at as u8).collect();
            for clock in [None, Some(5)] {
                let mut packets = Packets::default();
                packets.start(0);
                let first = Adaptation {
                    clock,
                    ..Adaptation::default()
                };
                let slices = content.chunks(7);
                packets.unit(Pid::Video, first, &[1, 2, 3], content.len(), slices);
                let out = packets.finish();
                assert_eq!(out.len() % PACKET, 0);
                let mut read = Vec::new();
                for packet in out.chunks(PACKET) {
                    let field = if packet[3] & 0x20 == 0 {
                        0
                    } else {
                        1 + usize::from(packet[4])
                    };
                    read.extend_from_slice(&packet[4 + field..]);
                }
                assert_eq!(read, [&[1, 2, 3], &content[..]].concat());
            }
        }
    }
}
