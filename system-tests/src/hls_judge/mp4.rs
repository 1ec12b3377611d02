//! Boxes of fragmented MP4 (ISO 14496-12), as far as the judge compares them: tracks and their
//! formats, and the times of fragments.

/// A track of an init segment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Track {
    pub(super) id: u32,
    /// Units per second.
    pub(super) timescale: u32,
    pub(super) is_video: bool,
    /// The code of the sample entry, such as `avc1`.
    pub(super) format: String,
    /// As in `CODECS` (RFC 6381).
    pub(super) codec: String,
    default_duration: u32,
    default_size: u32,
    default_flags: u32,
}

/// A movie fragment of one track.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fragment {
    pub(super) number: u32,
    pub(super) track: u32,
    /// Of the first sample, in the track's units.
    pub(super) decode_time: u64,
    /// Of all samples, in the track's units.
    pub(super) duration: u64,
    pub(super) samples: u32,
    /// Whether a sample is a sync sample.
    pub(super) has_sync: bool,
}

/// The tracks of an init segment.
pub(super) fn init(bytes: &[u8]) -> Result<Vec<Track>, String> {
    let top = boxes(bytes)?;
    if top.first().is_none_or(|(kind, _)| kind != b"ftyp") {
        return Err("an init segment begins with ftyp".into());
    }
    let movie = boxes(one(&top, b"moov")?)?;
    let extends = boxes(one(&movie, b"mvex")?)?;
    let mut tracks = Vec::new();
    for (_, body) in movie.iter().filter(|(kind, _)| kind == b"trak") {
        let mut track = track(body)?;
        let defaults = extends.iter().filter(|(kind, _)| kind == b"trex");
        let defaults = defaults.map(|(_, body)| *body);
        let Some(trex) = defaults
            .into_iter()
            .find(|body| u32_at(body, 4) == Ok(track.id))
        else {
            return Err(format!("no trex for track {}", track.id));
        };
        track.default_duration = u32_at(trex, 12)?;
        track.default_size = u32_at(trex, 16)?;
        track.default_flags = u32_at(trex, 20)?;
        tracks.push(track);
    }
    if tracks.is_empty() {
        return Err("moov without trak".into());
    }
    Ok(tracks)
}

/// The fragments of a segment or part.
pub(super) fn fragments(bytes: &[u8], tracks: &[Track]) -> Result<Vec<Fragment>, String> {
    let mut found = Vec::new();
    let top = boxes(bytes)?;
    for (at, (kind, body)) in top.iter().enumerate() {
        if kind != b"moof" {
            continue;
        }
        let Some((b"mdat", data)) = top.get(at + 1).map(|(kind, body)| (kind, body)) else {
            return Err("moof without mdat behind it".into());
        };
        // Offsets count from the first byte of moof.
        let start = address(bytes, body) - 8;
        let data_from = address(bytes, data) - start;
        let data = data_from..data_from + data.len();
        let inner = boxes(body)?;
        let number = u32_at(one(&inner, b"mfhd")?, 4)?;
        for (_, body) in inner.iter().filter(|(kind, _)| kind == b"traf") {
            found.push(fragment(body, number, tracks, &data)?);
        }
    }
    if found.is_empty() {
        return Err("no moof".into());
    }
    Ok(found)
}

fn fragment(
    body: &[u8],
    number: u32,
    tracks: &[Track],
    data: &std::ops::Range<usize>,
) -> Result<Fragment, String> {
    let inner = boxes(body)?;
    let header = one(&inner, b"tfhd")?;
    let id = u32_at(header, 4)?;
    let Some(track) = tracks.iter().find(|track| track.id == id) else {
        return Err(format!(
            "a fragment of track {id}, which the init segment does not have"
        ));
    };
    let defaults = Defaults::read(header, track)?;
    let time = one(&inner, b"tfdt")?;
    let decode_time = match time.first() {
        Some(1) => u64::from(u32_at(time, 4)?) << 32 | u64::from(u32_at(time, 8)?),
        _ => u64::from(u32_at(time, 4)?),
    };
    let mut fragment = Fragment {
        number,
        track: id,
        decode_time,
        ..Fragment::default()
    };
    let mut next_offset = None;
    for (_, body) in inner.iter().filter(|(kind, _)| kind == b"trun") {
        run(body, &defaults, data, &mut next_offset, &mut fragment)?;
    }
    if fragment.samples == 0 {
        return Err("a fragment without samples".into());
    }
    Ok(fragment)
}

struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Defaults {
    fn read(header: &[u8], track: &Track) -> Result<Self, String> {
        let flags = u32_at(header, 0)?;
        if flags & 0x01 != 0 {
            return Err("tfhd has a base data offset, which a part cannot have".into());
        }
        let mut at = 8;
        let mut field = |bit: u32, default: u32| -> Result<u32, String> {
            if flags & bit == 0 {
                return Ok(default);
            }
            at += 4;
            u32_at(header, at - 4)
        };
        field(0x02, 0)?;
        Ok(Self {
            duration: field(0x08, track.default_duration)?,
            size: field(0x10, track.default_size)?,
            flags: field(0x20, track.default_flags)?,
        })
    }
}

/// Sample flags: the sample is not a sync sample.
const NON_SYNC: u32 = 0x1_0000;

fn run(
    body: &[u8],
    defaults: &Defaults,
    data: &std::ops::Range<usize>,
    next_offset: &mut Option<usize>,
    fragment: &mut Fragment,
) -> Result<(), String> {
    let flags = u32_at(body, 0)?;
    let count = u32_at(body, 4)?;
    let mut at = 8;
    let mut field = |has: bool| -> Result<Option<u32>, String> {
        if !has {
            return Ok(None);
        }
        at += 4;
        u32_at(body, at - 4).map(Some)
    };
    let offset = field(flags & 0x01 != 0)?;
    let first_flags = field(flags & 0x04 != 0)?;
    let mut from = match (offset, *next_offset) {
        (Some(offset), _) => usize::try_from(offset).map_err(|_| "a negative data offset")?,
        (None, Some(next)) => next,
        (None, None) => return Err("the first trun has no data offset".into()),
    };
    for sample in 0..count {
        let duration = field(flags & 0x100 != 0)?.unwrap_or(defaults.duration);
        let size = field(flags & 0x200 != 0)?.unwrap_or(defaults.size);
        let own = field(flags & 0x400 != 0)?;
        field(flags & 0x800 != 0)?;
        let first = first_flags.filter(|_| sample == 0);
        let is_sync = first.or(own).unwrap_or(defaults.flags) & NON_SYNC == 0;
        let end = from + size as usize;
        if from < data.start || end > data.end {
            return Err(format!(
                "a sample at {from}..{end} is outside of mdat, {data:?}"
            ));
        }
        from = end;
        fragment.samples += 1;
        fragment.duration += u64::from(duration);
        fragment.has_sync |= is_sync;
    }
    *next_offset = Some(from);
    Ok(())
}

fn track(body: &[u8]) -> Result<Track, String> {
    let inner = boxes(body)?;
    let header = one(&inner, b"tkhd")?;
    // Browsers refuse a track whose header has another size.
    let size = if header.first() == Some(&1) { 96 } else { 84 };
    if header.len() != size {
        return Err(format!("tkhd has {} bytes, not {size}", header.len()));
    }
    let id = u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })?;
    let media = boxes(one(&inner, b"mdia")?)?;
    let header = one(&media, b"mdhd")?;
    let timescale = u32_at(header, if header.first() == Some(&1) { 20 } else { 12 })?;
    if timescale == 0 {
        return Err("a timescale of 0".into());
    }
    let is_video = slice(one(&media, b"hdlr")?, 8, 4)? == b"vide";
    let info = boxes(one(&media, b"minf")?)?;
    let table = boxes(one(&info, b"stbl")?)?;
    let entries = one(&table, b"stsd")?;
    let entries = boxes(entries.get(8..).ok_or("stsd is cut off")?)?;
    let [(format, entry)] = entries[..] else {
        return Err(format!("stsd has {} sample entries", entries.len()));
    };
    let fixed = if is_video { 78 } else { 28 };
    let inside = boxes(entry.get(fixed..).ok_or("a sample entry is cut off")?)?;
    let format = String::from_utf8_lossy(&format).into_owned();
    let codec = codec(&format, &inside)?;
    Ok(Track {
        id,
        timescale,
        is_video,
        format,
        codec,
        ..Track::default()
    })
}

/// The name of a format in `CODECS`. A format that the judge does not know is its own name.
fn codec(format: &str, inside: &[(Kind, &[u8])]) -> Result<String, String> {
    match format {
        "avc1" | "avc3" => {
            let config = one(inside, b"avcC")?;
            if format == "avc1" && config.get(5).is_none_or(|sets| sets & 31 == 0) {
                return Err("avcC has no sequence parameter set".into());
            }
            let of = slice(config, 1, 3)?;
            Ok(format!("{format}.{:02x}{:02x}{:02x}", of[0], of[1], of[2]))
        }
        "hvc1" | "hev1" => hevc(format, one(inside, b"hvcC")?),
        "av01" => {
            let of = slice(one(inside, b"av1C")?, 1, 2)?;
            let tier = if of[1] & 0x80 == 0 { 'M' } else { 'H' };
            let depth = match (of[1] >> 6 & 1, of[1] >> 5 & 1) {
                (0, _) => 8,
                (_, 0) => 10,
                _ => 12,
            };
            Ok(format!(
                "av01.{}.{:02}{tier}.{depth:02}",
                of[0] >> 5,
                of[0] & 31
            ))
        }
        "mp4a" => mpeg4_audio(one(inside, b"esds")?),
        "Opus" => one(inside, b"dOps").map(|_| "opus".into()),
        other => Ok(other.to_owned()),
    }
}

fn hevc(format: &str, config: &[u8]) -> Result<String, String> {
    let of = slice(config, 1, 12)?;
    let space = ["", "A", "B", "C"][usize::from(of[0] >> 6)];
    let tier = if of[0] & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = u32_at(of, 1)?.reverse_bits();
    let mut name = format!(
        "{format}.{space}{}.{compatible:X}.{tier}{}",
        of[0] & 31,
        of[11]
    );
    let constraints = &of[5..11];
    let used = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        name += &format!(".{byte:X}");
    }
    Ok(name)
}

/// The object type of an `esds`, and for MPEG-4 audio its audio object type.
fn mpeg4_audio(body: &[u8]) -> Result<String, String> {
    // Version and flags, ES_Descriptor with an identifier and flags, DecoderConfigDescriptor.
    let stream = descriptor(body.get(4..).unwrap_or_default(), 3)?;
    let config = descriptor(stream.get(3..).unwrap_or_default(), 4)?;
    let kind = *config.first().ok_or("an empty DecoderConfigDescriptor")?;
    if kind != 0x40 {
        return Ok(format!("mp4a.{kind:02x}"));
    }
    let specific = descriptor(config.get(13..).unwrap_or_default(), 5)?;
    let (first, second) = (slice(specific, 0, 2)?[0], specific[1]);
    let object = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        object => object,
    };
    Ok(format!("mp4a.40.{object}"))
}

/// The body of an MPEG-4 descriptor with this tag (ISO 14496-1 section 8.3.3).
fn descriptor(bytes: &[u8], tag: u8) -> Result<&[u8], String> {
    if bytes.first() != Some(&tag) {
        return Err(format!("esds has no descriptor {tag}"));
    }
    let mut length = 0;
    for (at, byte) in bytes.iter().enumerate().skip(1).take(4) {
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return slice(bytes, at + 1, length);
        }
    }
    Err("a descriptor's length does not end".into())
}

type Kind = [u8; 4];

/// The boxes that follow each other in `bytes`, which they fill.
fn boxes(mut bytes: &[u8]) -> Result<Vec<(Kind, &[u8])>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let kind: Kind = slice(bytes, 4, 4)?
            .try_into()
            .map_err(|_| "a box is cut off")?;
        let size = u32_at(bytes, 0)? as usize;
        let (header, size) = match size {
            0 => (8, bytes.len()),
            1 => (16, u32_at(bytes, 12)? as usize),
            size => (8, size),
        };
        if size < header || size > bytes.len() {
            let name = String::from_utf8_lossy(&kind);
            return Err(format!(
                "box {name} of {size} bytes, but {} are there",
                bytes.len()
            ));
        }
        found.push((kind, &bytes[header..size]));
        bytes = &bytes[size..];
    }
    Ok(found)
}

fn one<'a>(boxes: &[(Kind, &'a [u8])], kind: &Kind) -> Result<&'a [u8], String> {
    let mut all = boxes.iter().filter(|(of, _)| of == kind);
    match (all.next(), all.next()) {
        (Some((_, body)), None) => Ok(body),
        (None, _) => Err(format!("no box {}", String::from_utf8_lossy(kind))),
        _ => Err(format!("two boxes {}", String::from_utf8_lossy(kind))),
    }
}

fn slice(bytes: &[u8], from: usize, length: usize) -> Result<&[u8], String> {
    let found = bytes.get(from..).and_then(|rest| rest.get(..length));
    found.ok_or_else(|| format!("{} bytes where {} are needed", bytes.len(), from + length))
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, String> {
    let four: [u8; 4] = slice(bytes, at, 4)?.try_into().map_err(|_| "four bytes")?;
    Ok(u32::from_be_bytes(four))
}

/// Where `part`, a slice of `whole`, begins in it.
fn address(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}
