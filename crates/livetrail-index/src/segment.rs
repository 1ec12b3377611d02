//! A segment: the possible keys and times in 256 bundles, as rows of bytes.
//!
//! ```text
//! postings of one part:  mark u24 BE │ bundle u8     sorted, each once
//!                        (`bundle` counts from the segment's first)
//! times:                 256 × (earliest ts_ms u64 LE │ latest ts_ms u64 LE)
//! ```
//!
//! Each row ends with a CRC-32C (LE) over its number and its bytes: SQLite does not notice a
//! flipped bit, and one here would hide a record.

use livetrail_record::{
    AuditAction, AuditRecord, Personal, RecordView, SessionRole, Uuid, opening_session,
};
use livetrail_tlog::TILE_WIDTH;

use crate::error::IndexError;
use crate::key::{Key, PARTS};

/// Bundles in a segment.
pub(crate) const SEGMENT_BUNDLES: u64 = 256;

/// Records in a segment: a full tile of level 1.
pub const SEGMENT_RECORDS: u64 = SEGMENT_BUNDLES * TILE_WIDTH as u64;

/// Bytes of the checksum at the end of a row.
const CRC_BYTES: usize = 4;

/// A bit for each bundle of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundles([u64; 4]);

impl Bundles {
    pub(crate) const ALL: Self = Self([u64::MAX; 4]);

    pub(crate) fn set(&mut self, bundle: u8) {
        if let Some(word) = self.0.get_mut(usize::from(bundle >> 6)) {
            *word |= 1 << (bundle & 63);
        }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| {
            word(&self.0, at) & word(&other.0, at)
        }))
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| {
            word(&self.0, at) | word(&other.0, at)
        }))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX)
            .filter(move |bundle| word(&self.0, usize::from(bundle >> 6)) >> (bundle & 63) & 1 == 1)
    }
}

fn word(words: &[u64; 4], at: usize) -> u64 {
    words.get(at).copied().unwrap_or_default()
}

/// A segment under construction.
pub(crate) struct SegmentBuilder {
    parts: Vec<Vec<u32>>,
    times: Vec<(u64, u64)>,
    bundle: u8,
}

impl SegmentBuilder {
    pub(crate) fn new() -> Self {
        Self {
            parts: vec![Vec::new(); usize::try_from(PARTS).unwrap_or(256)],
            times: Vec::with_capacity(256),
            bundle: 0,
        }
    }

    /// Starts this bundle, to which the next records belong; each bundle in turn, from 0.
    pub(crate) fn begin_bundle(&mut self, bundle: u8) {
        self.bundle = bundle;
        // No record yet: this span begins after every time and ends before every time, so it never
        // matches.
        self.times.push((u64::MAX, 0));
    }

    pub(crate) fn add(&mut self, record: &Fields<'_>) {
        if let Some((earliest, latest)) = self.times.last_mut() {
            *earliest = record.ts_ms.min(*earliest);
            *latest = record.ts_ms.max(*latest);
        }
        self.add_key(Key::app(record.app));
        self.add_key(Key::action(record.action));
        if let Some(stream) = record.stream {
            self.add_key(Key::stream(stream));
        }
        if record.principal.is_some() {
            self.add_key(Key::name_in_clear());
        }
        if let Some(session) = record.session {
            for key in Key::session(session) {
                self.add_key(key);
            }
        }
        if let Some(opening) = record.opening
            && record.opening != record.session
        {
            self.add_key(Key::session_end(opening));
        }
        if let Some(session) = record.session
            && record.is_detail
        {
            self.add_key(Key::detail(session));
        }
    }

    fn add_key(&mut self, key: Key) {
        if let Some(part) = self.parts.get_mut(usize::from(key.part())) {
            let pair = key.mark() | u32::from(self.bundle);
            // Adjacent records often have the same keys.
            if part.last() != Some(&pair) {
                part.push(pair);
            }
        }
    }

    /// The rows of the postings, by part, and the row of the times.
    pub(crate) fn finish(self, segment: u64) -> (Vec<Vec<u8>>, Vec<u8>) {
        let postings = (0..=u8::MAX)
            .zip(self.parts)
            .map(|(part, mut pairs)| {
                pairs.sort_unstable();
                pairs.dedup();
                let bytes = pairs.iter().flat_map(|pair| pair.to_be_bytes()).collect();
                sealed(posting_place(segment, part), bytes)
            })
            .collect();
        let times = self
            .times
            .iter()
            .flat_map(|(earliest, latest)| [earliest.to_le_bytes(), latest.to_le_bytes()])
            .flatten()
            .collect();
        (postings, sealed(segment, times))
    }
}

/// The searchable fields of a record.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) ts_ms: u64,
    pub(crate) action: &'a str,
    pub(crate) app: &'a str,
    pub(crate) stream: Option<&'a str>,
    pub(crate) principal: Option<&'a str>,
    pub(crate) session: Option<Uuid>,
    /// The id under which the vault has the opening that the entry commits to.
    pub(crate) opening: Option<Uuid>,
    /// Whether it is a later record of its session and commits to an opening of its own.
    pub(crate) is_detail: bool,
}

/// The first schema whose entries commit to openings. In older ones `personal` is a field of the
/// host's own.
const COMMITS_SINCE: u32 = 2;

/// The id of an entry's opening, or `None` when it commits to none.
pub(crate) fn opening_of(record: &AuditRecord) -> Option<Uuid> {
    let commits = record.v >= COMMITS_SINCE && record.extra.get("personal").is_some();
    commits.then(|| opening_session(&record.action, record.session, record.boot, record.seq))
}

/// Whether an opening with this id is that of a later record of this session.
fn is_detail(action: &AuditAction, session: Option<Uuid>, opening: Option<Uuid>) -> bool {
    session.is_some()
        && opening.is_some()
        && opening != session
        && action.role() != SessionRole::Apart
}

impl<'a> From<&RecordView<'a>> for Fields<'a> {
    fn from(view: &RecordView<'a>) -> Self {
        let commits = view.v >= COMMITS_SINCE && view.personal.is_some();
        let action = commits.then(|| view.action());
        let opening = action
            .as_ref()
            .map(|action| opening_session(action, view.session, view.boot, view.seq));
        Self {
            ts_ms: view.ts_ms,
            action: view.action,
            app: view.app,
            stream: view.stream,
            principal: view.principal,
            session: view.session,
            opening,
            is_detail: action.is_some_and(|action| is_detail(&action, view.session, opening)),
        }
    }
}

impl<'a> From<&'a AuditRecord> for Fields<'a> {
    fn from(record: &'a AuditRecord) -> Self {
        let opening = opening_of(record);
        Self {
            ts_ms: record.ts_ms,
            action: record.action.label(),
            app: &record.app,
            stream: record.stream.as_deref(),
            principal: record.principal.as_ref().map(Personal::expose),
            session: record.session,
            opening,
            is_detail: is_detail(&record.action, record.session, opening),
        }
    }
}

/// The number of a row of postings.
pub(crate) fn posting_place(segment: u64, part: u8) -> u64 {
    segment
        .saturating_mul(PARTS)
        .saturating_add(u64::from(part))
}

/// The bundles that have any of these keys, from the row of the part that they share. The keys are
/// sorted.
pub(crate) fn bundles_with(keys: &[Key], place: u64, row: &[u8]) -> Result<Bundles, IndexError> {
    let (mut pairs, rest) = opened(place, row)?.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(IndexError::Damaged {
            what: "a row of postings has an odd length",
        });
    }
    let mut bundles = Bundles::default();
    for key in keys {
        let from = pairs.partition_point(|pair| u32::from_be_bytes(*pair) < key.mark());
        pairs = pairs.get(from..).unwrap_or_default();
        for pair in pairs {
            let [high, middle, low, bundle] = *pair;
            if u32::from_be_bytes([high, middle, low, 0]) != key.mark() {
                break;
            }
            bundles.set(bundle);
        }
    }
    Ok(bundles)
}

/// The bundles that may have a record from `since_ms` on and before `until_ms`, judging by their
/// earliest and latest times.
pub(crate) fn bundles_within(
    since_ms: u64,
    until_ms: u64,
    segment: u64,
    row: &[u8],
) -> Result<Bundles, IndexError> {
    let (times, rest) = opened(segment, row)?.as_chunks::<16>();
    if !rest.is_empty() || times.len() != 256 {
        return Err(IndexError::Damaged {
            what: "a row of times does not have 256 spans",
        });
    }
    let mut bundles = Bundles::default();
    for (bundle, span) in (0..=u8::MAX).zip(times) {
        let number = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let earliest = number(span.first_chunk());
        let latest = number(span.last_chunk());
        if latest >= since_ms && earliest < until_ms {
            bundles.set(bundle);
        }
    }
    Ok(bundles)
}

/// A row with its checksum.
pub(crate) fn sealed(place: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc(place, &bytes);
    bytes.extend_from_slice(&crc);
    bytes
}

/// A row without its checksum.
pub(crate) fn opened(place: u64, row: &[u8]) -> Result<&[u8], IndexError> {
    let (bytes, found) = row
        .len()
        .checked_sub(CRC_BYTES)
        .and_then(|at| row.split_at_checked(at))
        .ok_or(IndexError::Damaged {
            what: "a row is too short",
        })?;
    if found != crc(place, bytes) {
        return Err(IndexError::Damaged {
            what: "a row's checksum is wrong",
        });
    }
    Ok(bytes)
}

fn crc(place: u64, bytes: &[u8]) -> [u8; CRC_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(&place.to_le_bytes()), bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_added_key_is_found_in_its_bundles_and_nowhere_else(
            placed in prop::collection::vec((0..40_u8, any::<u8>()), 0..400),
        ) {
            let mut builder = SegmentBuilder::new();
            for bundle in 0..=u8::MAX {
                builder.begin_bundle(bundle);
                for (stream, _) in placed.iter().filter(|(_, at)| *at == bundle) {
                    builder.add(&Fields {
                        ts_ms: 1_000 + u64::from(bundle),
                        action: "heartbeat",
                        app: "",
                        stream: Some(&stream.to_string()),
                        principal: None,
                        session: None,
                        opening: None,
                        is_detail: false,
                    });
                }
            }
            let (postings, times) = builder.finish(7);
            for stream in 0..40_u8 {
                let key = Key::stream(&stream.to_string());
                let place = posting_place(7, key.part());
                let found = bundles_with(&[key], place, &postings[usize::from(key.part())]).unwrap();
                let mut wanted = Bundles::default();
                placed.iter().filter(|(s, _)| *s == stream).for_each(|(_, at)| wanted.set(*at));
                prop_assert_eq!(found, wanted);
            }
            let mut keys: Vec<_> = (0..20).map(|stream: u8| Key::stream(&stream.to_string())).collect();
            keys.sort_unstable();
            let mut found = Bundles::default();
            for keys in keys.chunk_by(|a, b| a.part() == b.part()) {
                let part = keys[0].part();
                let row = &postings[usize::from(part)];
                found = found.or(bundles_with(keys, posting_place(7, part), row).unwrap());
            }
            let mut wanted = Bundles::default();
            placed.iter().filter(|(s, _)| *s < 20).for_each(|(_, at)| wanted.set(*at));
            prop_assert_eq!(found, wanted);
            let found = bundles_within(1_010, 1_020, 7, &times).unwrap();
            let mut wanted = Bundles::default();
            placed.iter().filter(|(_, at)| (10..20).contains(at)).for_each(|(_, at)| wanted.set(*at));
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_flipped_bit_and_a_misplaced_row_are_noticed() {
        let row = sealed(3, b"some pairs..".to_vec());
        assert!(opened(3, &row).is_ok() && opened(4, &row).is_err() && opened(3, &[]).is_err());
        for at in 0..row.len() {
            let mut other = row.clone();
            other[at] ^= 0x10;
            assert!(opened(3, &other).is_err(), "{at}");
        }
    }

    #[test]
    fn sets_of_bundles() {
        let mut some = Bundles::default();
        assert!(some.is_empty());
        for bundle in [0, 63, 64, 255] {
            some.set(bundle);
        }
        assert_eq!(some.iter().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert_eq!(some.and(Bundles::ALL), some);
        assert!(some.and(Bundles::default()).is_empty());
    }
}
