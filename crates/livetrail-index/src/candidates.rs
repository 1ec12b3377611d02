//! The bundles that may contain matching records.

use std::ops::Range;

use livetrail_tlog::TILE_WIDTH;

use crate::database::Snapshot;
use crate::error::IndexError;
use crate::filter::Filter;
use crate::segment::{
    Bundles, SEGMENT_BUNDLES, SEGMENT_RECORDS, bundles_with, bundles_within, posting_place,
};

/// Ranges of bundles, by number, in order: those that the index gives for the first `indexed`
/// records, and all bundles after them.
pub(crate) fn bundles(
    filter: &Filter,
    snapshot: &Snapshot<'_>,
    indexed: u64,
    size: u64,
) -> Result<Vec<Range<u64>>, IndexError> {
    let wanted = all(filter, size);
    let (keys, span) = (filter.keys(), filter.span_ms());
    let mut found = Ranges::default();
    if keys.is_empty() && span.is_none() {
        found.add(wanted);
        return Ok(found.0);
    }
    let mut postings = snapshot.postings()?;
    let mut times = snapshot.times()?;
    let segments = indexed.checked_div(SEGMENT_RECORDS).unwrap_or_default();
    let first = wanted
        .start
        .checked_div(SEGMENT_BUNDLES)
        .unwrap_or_default();
    for segment in first..segments.min(wanted.end.div_ceil(SEGMENT_BUNDLES)) {
        let mut bundles = Bundles::ALL;
        if let Some((since, until)) = span {
            bundles = bundles_within(since, until, segment, &times(segment)?)?;
        }
        for any_of in &keys {
            if bundles.is_empty() {
                break;
            }
            let mut these = Bundles::default();
            // The keys are sorted, so each row is read once, however many there are.
            for keys in any_of.chunk_by(|a, b| a.part() == b.part()) {
                let part = keys.first().map_or(0, |key| key.part());
                let place = posting_place(segment, part);
                these = these.or(bundles_with(keys, place, &postings(place)?)?);
            }
            bundles = bundles.and(these);
        }
        let base = segment.saturating_mul(SEGMENT_BUNDLES);
        for bundle in bundles.iter() {
            let number = base.saturating_add(u64::from(bundle));
            if wanted.contains(&number) {
                found.add(number..number.saturating_add(1));
            }
        }
    }
    let behind = segments.saturating_mul(SEGMENT_BUNDLES).max(wanted.start);
    found.add(behind..wanted.end);
    Ok(found.0)
}

/// All bundles that have entries in the wanted range of indices.
pub(crate) fn all(filter: &Filter, size: u64) -> Range<u64> {
    let entries = filter.entries.clone().unwrap_or(0..size);
    let end = entries.end.min(size);
    if entries.start >= end {
        return 0..0;
    }
    let width = u64::from(TILE_WIDTH);
    let first = entries.start.checked_div(width).unwrap_or_default();
    first..end.div_ceil(width)
}

/// Ranges in order; adjacent ones are joined.
#[derive(Default)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }
}
