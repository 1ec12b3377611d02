//! MPEG-TS (ISO 13818-1), as far as the judge compares it: tables, continuity, and decode times.

use std::collections::BTreeMap;

const PACKET: usize = 188;

/// What a piece of a transport stream has.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Whether PAT and PMT come before everything else.
    pub(super) begins_with_tables: bool,
    /// The formats of the program, as far as `CODECS` names them: `avc1`, `hvc1`, `mp4a`.
    pub(super) formats: Vec<&'static str>,
    /// Packets whose continuity counter does not continue.
    pub(super) holes: Vec<String>,
    /// For each PID with PES packets, whether it is video, and its decode times in units of 90 kHz.
    pub(super) times: BTreeMap<u16, (bool, Vec<u64>)>,
    /// Whether a packet of video has the random access indicator.
    pub(super) has_random_access: bool,
}

impl Stream {
    /// The duration in microseconds, taken from the track whose decode times cover most: the last
    /// access unit lasts as long as one does on average. `None` if there are fewer than two.
    pub(super) fn duration_us(&self) -> Option<(u64, u64)> {
        let of_video = self
            .times
            .values()
            .find(|(is_video, times)| *is_video && times.len() > 1);
        let (_, times) =
            of_video.or_else(|| self.times.values().find(|(_, times)| times.len() > 1))?;
        let (first, last) = (times.first()?, times.last()?);
        let units = times.len() as u64;
        let covered = last.checked_sub(*first)?;
        let average = covered / (units - 1);
        Some(((covered + average) * 100 / 9, average * 100 / 9))
    }
}

/// Reads whole packets. `None` as counters: a piece that begins anywhere.
pub(super) fn read(bytes: &[u8]) -> Result<Stream, String> {
    let packets = bytes.chunks_exact(PACKET);
    if bytes.is_empty() || !packets.remainder().is_empty() {
        return Err(format!(
            "{} bytes are not packets of 188 bytes",
            bytes.len()
        ));
    }
    let mut reader = Reader::default();
    for (at, packet) in packets.enumerate() {
        if packet[0] != 0x47 {
            return Err(format!("packet {at} does not begin with 0x47"));
        }
        reader.packet(at, packet);
    }
    reader.stream.begins_with_tables = reader.first_pids == [Some(0), reader.pmt];
    Ok(reader.stream)
}

#[derive(Default)]
struct Reader {
    stream: Stream,
    counters: BTreeMap<u16, u8>,
    pmt: Option<u16>,
    first_pids: [Option<u16>; 2],
    video: Vec<u16>,
}

impl Reader {
    fn packet(&mut self, at: usize, packet: &[u8]) {
        let pid = u16::from(packet[1] & 0x1f) << 8 | u16::from(packet[2]);
        // Programs have null packets, and a table of services that players do not need.
        if let Some(first) = self.first_pids.iter_mut().find(|first| first.is_none())
            && pid != 0x11
        {
            *first = Some(pid);
        }
        let has_payload = packet[3] & 0x10 != 0;
        let adaptation = if packet[3] & 0x20 == 0 {
            0
        } else {
            1 + usize::from(packet[4])
        };
        let flags = if adaptation > 1 { packet[5] } else { 0 };
        if has_payload && pid != 0x1fff {
            let counter = packet[3] & 0x0f;
            let before = self.counters.insert(pid, counter);
            let is_discontinuous = flags & 0x80 != 0;
            if before.is_some_and(|before| (before + 1) & 0x0f != counter) && !is_discontinuous {
                self.stream.holes.push(format!(
                    "packet {at}: PID {pid}: {before:?}, then {counter}"
                ));
            }
        }
        if flags & 0x40 != 0 && self.video.contains(&pid) {
            self.stream.has_random_access = true;
        }
        let payload = packet.get(4 + adaptation..).filter(|_| has_payload);
        if let Some(payload) = payload.filter(|_| packet[1] & 0x40 != 0) {
            self.start(pid, payload);
        }
    }

    /// A payload in which a section or a PES packet begins.
    fn start(&mut self, pid: u16, payload: &[u8]) {
        if pid == 0 {
            self.pmt = section(payload).and_then(|section| {
                let program = section.get(8..12)?;
                Some(u16::from(program[2] & 0x1f) << 8 | u16::from(program[3]))
            });
        } else if Some(pid) == self.pmt {
            self.program(payload);
        } else if payload.starts_with(&[0, 0, 1]) {
            self.pes(pid, payload);
        }
    }

    fn program(&mut self, payload: &[u8]) -> Option<()> {
        let section = section(payload)?;
        let info = usize::from(section.get(10)? & 0x0f) << 8 | usize::from(*section.get(11)?);
        let mut rest = section.get(12 + info..section.len().checked_sub(4)?)?;
        self.stream.formats.clear();
        while let [kind, high, low, info_high, info_low, after @ ..] = rest {
            let pid = u16::from(high & 0x1f) << 8 | u16::from(*low);
            let format = match kind {
                0x1b => "avc1",
                0x24 => "hvc1",
                0x0f | 0x11 | 0x03 | 0x04 => "mp4a",
                _ => "",
            };
            if matches!(format, "avc1" | "hvc1") && !self.video.contains(&pid) {
                self.video.push(pid);
            }
            if !format.is_empty() {
                self.stream.formats.push(format);
            }
            let info = usize::from(info_high & 0x0f) << 8 | usize::from(*info_low);
            rest = after.get(info..)?;
        }
        Some(())
    }

    fn pes(&mut self, pid: u16, payload: &[u8]) -> Option<()> {
        let flags = payload.get(7)?;
        let time = match flags >> 6 {
            3 => payload.get(14..19)?,
            2 => payload.get(9..14)?,
            _ => return None,
        };
        let is_video = self.video.contains(&pid);
        let times = self
            .stream
            .times
            .entry(pid)
            .or_insert((is_video, Vec::new()));
        let bits = |byte: u8| u64::from(byte >> 1);
        let high = u64::from(time[0] >> 1 & 7) << 30;
        let middle = u64::from(time[1]) << 22 | bits(time[2]) << 15;
        times
            .1
            .push(high | middle | u64::from(time[3]) << 7 | bits(time[4]));
        Some(())
    }
}

/// A section that fits in one packet.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = usize::from(section.get(1)? & 0x0f) << 8 | usize::from(*section.get(2)?);
    section.get(..3 + length)
}
