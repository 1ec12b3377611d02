//! MP4 as a test's server sends it: init segments and fragments.

pub(super) fn mp4_box(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let size = (body.len() as u32 + 8).to_be_bytes();
    [&size[..], kind, &body].concat()
}

fn numbers(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// An init segment: H.264 with 90,000 units per second, or AAC with 48,000.
pub(super) fn init(is_video: bool) -> Vec<u8> {
    let (timescale, handler) = if is_video {
        (90_000, b"vide")
    } else {
        (48_000, b"soun")
    };
    let entry = if is_video {
        let config = mp4_box(
            b"avcC",
            &[&[1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 1, 0x68]],
        );
        mp4_box(b"avc1", &[&[0; 78], &config])
    } else {
        let specific = [5, 2, 0x11, 0x90];
        let config = [&[4, 13 + 4, 0x40, 0x15][..], &[0; 11], &specific].concat();
        let stream = [&[3, 3 + config.len() as u8, 0, 0, 0][..], &config].concat();
        let esds = mp4_box(b"esds", &[&[0; 4], &stream]);
        mp4_box(b"mp4a", &[&[0; 28], &esds])
    };
    let stsd = mp4_box(b"stsd", &[&numbers(&[0, 1]), &entry]);
    let stbl = mp4_box(b"stbl", &[&stsd]);
    let minf = mp4_box(b"minf", &[&stbl]);
    let hdlr = mp4_box(b"hdlr", &[&[0; 8], handler, &[0; 12]]);
    let mdhd = mp4_box(b"mdhd", &[&numbers(&[0, 0, 0, timescale, 0, 0])]);
    let mdia = mp4_box(b"mdia", &[&mdhd, &hdlr, &minf]);
    let tkhd = mp4_box(b"tkhd", &[&numbers(&[0, 0, 0, 1]), &[0; 68]]);
    let trak = mp4_box(b"trak", &[&tkhd, &mdia]);
    let trex = mp4_box(b"trex", &[&numbers(&[0, 1, 1, 0, 0, 0])]);
    let moov = mp4_box(b"moov", &[&trak, &mp4_box(b"mvex", &[&trex])]);
    [mp4_box(b"ftyp", &[b"iso6", &[0; 4]]), moov].concat()
}

/// A fragment with samples of the same duration. If it is not synced, no sample is a sync sample;
/// otherwise the first is, and for audio all are.
pub(super) struct Fragment {
    pub(super) number: u32,
    pub(super) decode_time: u64,
    pub(super) samples: u32,
    pub(super) duration: u32,
    pub(super) is_video: bool,
    pub(super) is_synced: bool,
}

impl Fragment {
    pub(super) fn bytes(&self) -> Vec<u8> {
        const NON_SYNC: u32 = 0x0101_0000;
        const SYNC: u32 = 0x0200_0000;
        const SIZE: u32 = 10;
        let mfhd = mp4_box(b"mfhd", &[&numbers(&[0, self.number])]);
        // Default duration, size and flags; offsets from moof.
        let flags = if self.is_video { NON_SYNC } else { SYNC };
        let tfhd = mp4_box(
            b"tfhd",
            &[&numbers(&[0x02_0038, 1, self.duration, SIZE, flags])],
        );
        let tfdt = mp4_box(
            b"tfdt",
            &[&numbers(&[0x0100_0000]), &self.decode_time.to_be_bytes()],
        );
        let first = if self.is_synced { SYNC } else { flags };
        let moof = |offset: u32| {
            let trun = mp4_box(b"trun", &[&numbers(&[0x05, self.samples, offset, first])]);
            mp4_box(b"moof", &[&mfhd, &mp4_box(b"traf", &[&tfhd, &tfdt, &trun])])
        };
        let offset = moof(0).len() as u32 + 8;
        let data = vec![self.number as u8; (self.samples * SIZE) as usize];
        [moof(offset), mp4_box(b"mdat", &[&data])].concat()
    }
}
