//! The content of segments and parts of one rendition, compared with its playlist.

use std::collections::{BTreeMap, HashMap};

use super::mp4::{self, Fragment, Track};
use super::playlist::{Fault, Part, Segment};
use super::rules::Rule;
use super::ts;

/// Decoded and declared durations may differ by this much.
const ROUNDING_US: u64 = 1_000;

/// What is known of a rendition's content.
#[derive(Default)]
pub(super) struct Content {
    inits: HashMap<String, Vec<Track>>,
    /// The parts of segments that are not compared yet, by number and position.
    parts: BTreeMap<(u64, usize), Vec<u8>>,
    /// Where each track must continue: its next decode time and the last fragment's number.
    next: HashMap<u32, (u64, u32)>,
    /// The discontinuity and init segment to which that applies.
    run: Option<(u64, Option<String>)>,
    /// For each discontinuity, what the date of decode time 0 is, in milliseconds since 1970.
    pub(super) zero_ms: BTreeMap<u64, i64>,
}

/// Content and its place in the playlist.
struct Piece<'a> {
    url: &'a str,
    duration_us: u64,
    /// `None` for a whole segment.
    independent: Option<bool>,
}

impl Content {
    pub(super) fn knows_init(&self, url: &str) -> bool {
        self.inits.contains_key(url)
    }

    /// Takes an init segment. `named` is what `CODECS` names, if there is a multivariant playlist.
    pub(super) fn init(&mut self, url: &str, bytes: &[u8], named: Option<&[String]>) -> Vec<Fault> {
        let mut faults = Vec::new();
        let tracks = mp4::init(bytes).unwrap_or_else(|error| {
            faults.push((Rule::Container, format!("{url}: {error}")));
            Vec::new()
        });
        for track in &tracks {
            if matches!(track.format.as_str(), "avc3" | "hev1") {
                faults.push((
                    Rule::InitFormat,
                    format!("{url}: the sample entry is {}", track.format),
                ));
            }
            faults.extend(codec(url, &track.codec, named));
        }
        self.inits.insert(url.to_owned(), tracks);
        faults
    }

    /// Takes a part, in the order of the playlist.
    pub(super) fn part(
        &mut self,
        of: &Segment,
        at: usize,
        part: &Part,
        bytes: Vec<u8>,
    ) -> Vec<Fault> {
        let piece = Piece {
            url: &part.url,
            duration_us: part.duration_us,
            independent: Some(part.independent),
        };
        let faults = self.piece(of, at == 0, &piece, &bytes, None);
        self.parts.insert((of.number, at), bytes);
        faults
    }

    /// Takes a complete segment.
    pub(super) fn segment(
        &mut self,
        of: &Segment,
        bytes: &[u8],
        named: Option<&[String]>,
    ) -> Vec<Fault> {
        let (url, duration_us) = (&of.url, of.duration_us);
        let later = self.parts.split_off(&(of.number + 1, 0));
        let parts = std::mem::replace(&mut self.parts, later);
        let parts: Vec<_> = parts.range((of.number, 0)..).collect();
        let mut faults = Vec::new();
        let is_whole = !parts.is_empty() && parts.len() == of.parts.len();
        if !is_whole {
            let piece = Piece {
                url,
                duration_us,
                independent: None,
            };
            return self.piece(of, true, &piece, bytes, named);
        }
        let joined: Vec<u8> = parts
            .iter()
            .flat_map(|(_, part)| part.iter().copied())
            .collect();
        if joined != bytes {
            let fact = format!(
                "{url}: {} bytes, its parts have {}",
                bytes.len(),
                joined.len()
            );
            faults.push((Rule::PartsAreSegment, fact));
        }
        faults.extend(self.alone(of, bytes, named));
        faults
    }

    /// What a segment has only as a whole: its duration, its tables.
    fn alone(&self, of: &Segment, bytes: &[u8], named: Option<&[String]>) -> Vec<Fault> {
        if is_ts(bytes) {
            return transport(&of.url, of.duration_us, bytes, named);
        }
        let tracks = of.map.as_ref().and_then(|map| self.inits.get(map));
        let tracks = tracks.map_or(&[][..], Vec::as_slice);
        match mp4::fragments(bytes, tracks) {
            Ok(fragments) => duration(&of.url, of.duration_us, &fragments, tracks)
                .into_iter()
                .collect(),
            Err(error) => vec![(Rule::Container, format!("{}: {error}", of.url))],
        }
    }

    fn piece(
        &mut self,
        of: &Segment,
        is_first: bool,
        piece: &Piece<'_>,
        bytes: &[u8],
        named: Option<&[String]>,
    ) -> Vec<Fault> {
        if is_ts(bytes) {
            return self.transport_piece(of, is_first, piece, bytes, named);
        }
        let url = piece.url;
        let Some(map) = &of.map else {
            return vec![(Rule::MapMissing, format!("{url} is fragmented MP4"))];
        };
        // An init segment that could not be read was reported.
        let tracks = self.inits.get(map).cloned().unwrap_or_default();
        if tracks.is_empty() {
            return Vec::new();
        }
        let fragments = match mp4::fragments(bytes, &tracks) {
            Ok(fragments) => fragments,
            Err(error) => {
                self.run = None;
                return vec![(Rule::Container, format!("{url}: {error}"))];
            }
        };
        let mut faults: Vec<Fault> = duration(url, piece.duration_us, &fragments, &tracks)
            .into_iter()
            .collect();
        if let Some(claimed) = piece.independent {
            let has_sync = synced(&fragments, &tracks);
            if has_sync != claimed {
                let fact =
                    format!("{url}: INDEPENDENT is {claimed}, a sync sample is there: {has_sync}");
                faults.push((Rule::Independent, fact));
            }
        }
        let run = Some((of.discontinuity, of.map.clone()));
        if self.run != run {
            self.next.clear();
            self.run = run;
        }
        for fragment in &fragments {
            faults.extend(self.continues(url, fragment));
        }
        if is_first && let Some(date_ms) = of.date_ms {
            self.date(of.discontinuity, date_ms, &fragments, &tracks);
        }
        faults
    }

    fn continues(&mut self, url: &str, fragment: &Fragment) -> Vec<Fault> {
        let mut faults = Vec::new();
        let end = fragment.decode_time + fragment.duration;
        let before = self.next.insert(fragment.track, (end, fragment.number));
        let Some((due, number)) = before else {
            return faults;
        };
        let track = fragment.track;
        if fragment.decode_time != due {
            let fact = format!(
                "{url}: track {track} is at {}, {due} was due",
                fragment.decode_time
            );
            faults.push((Rule::DecodeTime, fact));
        }
        if fragment.number <= number {
            let fact = format!(
                "{url}: track {track} has fragment {} after {number}",
                fragment.number
            );
            faults.push((Rule::FragmentNumber, fact));
        }
        faults
    }

    fn date(&mut self, discontinuity: u64, date_ms: i64, fragments: &[Fragment], tracks: &[Track]) {
        let Some((fragment, track)) = main(fragments, tracks).next() else {
            return;
        };
        let decode_ms = fragment.decode_time * 1_000 / u64::from(track.timescale);
        let zero_ms = date_ms - i64::try_from(decode_ms).unwrap_or(0);
        self.zero_ms.insert(discontinuity, zero_ms);
        while self.zero_ms.len() > 64 {
            self.zero_ms.pop_first();
        }
    }

    fn transport_piece(
        &self,
        of: &Segment,
        is_first: bool,
        piece: &Piece<'_>,
        bytes: &[u8],
        named: Option<&[String]>,
    ) -> Vec<Fault> {
        let url = piece.url;
        let Some(claimed) = piece.independent else {
            return transport(url, piece.duration_us, bytes, named);
        };
        // The tables that a later part needs are in the first one.
        let first = self.parts.get(&(of.number, 0)).filter(|_| !is_first);
        let with_tables = first.map_or_else(Vec::new, |first| {
            first.iter().copied().take(2 * 188).collect()
        });
        let has_sync = ts::read(&[&with_tables[..], bytes].concat());
        match has_sync {
            Ok(stream) if !stream.times.values().any(|(is_video, _)| *is_video) => Vec::new(),
            Ok(stream) if stream.has_random_access == claimed => Vec::new(),
            Ok(stream) => {
                let has_sync = stream.has_random_access;
                let fact = format!(
                    "{url}: INDEPENDENT is {claimed}, a random access point is there: {has_sync}"
                );
                vec![(Rule::Independent, fact)]
            }
            Err(error) => vec![(Rule::Container, format!("{url}: {error}"))],
        }
    }
}

fn is_ts(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x47)
}

fn transport(url: &str, declared_us: u64, bytes: &[u8], named: Option<&[String]>) -> Vec<Fault> {
    let stream = match ts::read(bytes) {
        Ok(stream) => stream,
        Err(error) => return vec![(Rule::Container, format!("{url}: {error}"))],
    };
    let mut faults = Vec::new();
    if !stream.begins_with_tables {
        faults.push((
            Rule::TsTables,
            format!("{url} does not begin with PAT and PMT"),
        ));
    }
    faults.extend(
        stream
            .holes
            .first()
            .map(|hole| (Rule::TsContinuity, format!("{url}: {hole}"))),
    );
    for format in &stream.formats {
        faults.extend(codec(url, format, named));
    }
    if let Some((decoded_us, unit_us)) = stream.duration_us()
        && decoded_us.abs_diff(declared_us) > unit_us + ROUNDING_US
    {
        faults.push((
            Rule::MediaDuration,
            format!("{url}: {decoded_us} us, declared are {declared_us} us"),
        ));
    }
    faults
}

/// `CODECS` has this format: equal, or with more fields behind it.
fn codec(url: &str, found: &str, named: Option<&[String]>) -> Option<Fault> {
    let named = named?;
    let is_it = |name: &String| {
        let (name, found) = (name.to_ascii_lowercase(), found.to_ascii_lowercase());
        name.strip_prefix(&found)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_named = named.iter().any(is_it);
    (!is_named).then(|| {
        (
            Rule::Codecs,
            format!("{url} has {found}, CODECS has {named:?}"),
        )
    })
}

/// The fragments of the video track, or of the only one.
fn main<'a>(
    fragments: &'a [Fragment],
    tracks: &'a [Track],
) -> impl Iterator<Item = (&'a Fragment, &'a Track)> {
    let track = tracks
        .iter()
        .find(|track| track.is_video)
        .or(tracks.first());
    let id = track.map(|track| track.id);
    let own = fragments
        .iter()
        .filter(move |fragment| Some(fragment.track) == id);
    own.zip(track.into_iter().cycle())
}

fn duration(
    url: &str,
    declared_us: u64,
    fragments: &[Fragment],
    tracks: &[Track],
) -> Option<Fault> {
    let units: u64 = main(fragments, tracks)
        .map(|(fragment, _)| fragment.duration)
        .sum();
    let timescale = main(fragments, tracks).next()?.1.timescale;
    let decoded_us = units * 1_000_000 / u64::from(timescale);
    let is_other = decoded_us.abs_diff(declared_us) > ROUNDING_US;
    is_other.then(|| {
        (
            Rule::MediaDuration,
            format!("{url}: {decoded_us} us, declared are {declared_us} us"),
        )
    })
}

fn synced(fragments: &[Fragment], tracks: &[Track]) -> bool {
    main(fragments, tracks).any(|(fragment, _)| fragment.has_sync)
}
