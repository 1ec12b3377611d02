//! What all renditions of a stream must have in common.

use super::Options;
use super::playlist::{Fault, Media, Segment};
use super::rendition::Rendition;
use super::rules::Rule;

/// Decode times of renditions may differ by this much at the same date.
const TIMESTAMPS_MS: u64 = 50;
/// The maximum number of reports that wait for the other playlist.
const MAX_PENDING: usize = 256;

/// The comparison of renditions.
#[derive(Default)]
pub(super) struct Across {
    /// Reports that the next playlist of the other rendition must confirm: the reporting rendition,
    /// the other one, when the report came, and the part.
    pending: Vec<(usize, usize, u64, (u64, u64))>,
}

impl Across {
    /// Compares the latest playlists. Each fault belongs to the rendition with that index.
    pub(super) fn check(&mut self, all: &[Rendition], options: &Options) -> Vec<(usize, Fault)> {
        let mut faults = Vec::new();
        let Some((first, rest)) = all.split_first() else {
            return faults;
        };
        if let Some(first_media) = &first.last {
            for (at, other) in rest.iter().enumerate() {
                if let Some(media) = &other.last {
                    let found = constants(first_media, media)
                        .into_iter()
                        .chain(discontinuities(first_media, media));
                    faults.extend(
                        found
                            .chain(timestamps(first, other))
                            .map(|fault| (at + 1, fault)),
                    );
                }
            }
        }
        for (at, rendition) in all.iter().enumerate() {
            faults.extend(
                self.reports(at, rendition, all, options)
                    .into_iter()
                    .map(|fault| (at, fault)),
            );
        }
        self.confirm(all, &mut faults);
        faults
    }

    fn reports(
        &mut self,
        at: usize,
        of: &Rendition,
        all: &[Rendition],
        options: &Options,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        let Some(media) = of
            .last
            .as_ref()
            .filter(|media| media.is_low_latency() && !media.has_ended)
        else {
            return faults;
        };
        for (other_at, other) in all.iter().enumerate().filter(|(other, _)| *other != at) {
            let Some(report) = media
                .reports
                .iter()
                .find(|report| bare(&report.url) == bare(&other.url))
            else {
                faults.push((Rule::ReportMissing, format!("nothing about {}", other.url)));
                continue;
            };
            let said = (report.last.0, report.last.1.unwrap_or(0));
            if self.pending.len() < MAX_PENDING {
                self.pending.push((at, other_at, of.came_ms, said));
            }
            // What the other had already a while before this playlist was asked for.
            let part_ms = media.part_target_us.unwrap_or(0) / 1_000;
            let before_ms = of.asked_ms.saturating_sub(part_ms + options.late_ms);
            let known = other
                .positions
                .iter()
                .rev()
                .find(|(came_ms, _)| *came_ms <= before_ms);
            if let Some((_, known)) = known.filter(|(_, known)| *known > said) {
                faults.push((
                    Rule::ReportStale,
                    format!("{said:?}, but {} had {known:?} long before", other.url),
                ));
            }
        }
        faults
    }

    /// A playlist that was asked for after a report came has what the report names.
    fn confirm(&mut self, all: &[Rendition], faults: &mut Vec<(usize, Fault)>) {
        self.pending.retain(|(by, of, came_ms, said)| {
            let other = &all[*of];
            if other.asked_ms < *came_ms {
                return true;
            }
            let last = other.last.as_ref().and_then(Media::last);
            if last.is_some_and(|last| last < *said) {
                faults.push((
                    *by,
                    (
                        Rule::ReportAhead,
                        format!("{said:?}, but {} has {last:?} later", other.url),
                    ),
                ));
            }
            false
        });
    }
}

fn bare(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

fn constants(first: &Media, other: &Media) -> Vec<Fault> {
    let mut faults = Vec::new();
    if first.target_s != other.target_s {
        faults.push((
            Rule::RenditionsTarget,
            format!("{} s and {} s", first.target_s, other.target_s),
        ));
    }
    if first.control != other.control {
        faults.push((
            Rule::RenditionsControl,
            format!("{:?} and {:?}", first.control, other.control),
        ));
    }
    let has_dates = |media: &Media| {
        media
            .segments
            .iter()
            .any(|segment| segment.date_ms.is_some())
    };
    if has_dates(first) != has_dates(other) {
        faults.push((
            Rule::RenditionsDates,
            format!("{} and {}", has_dates(first), has_dates(other)),
        ));
    }
    faults
}

/// The middle of each segment of one rendition is in a segment of the other with the same number.
fn discontinuities(first: &Media, other: &Media) -> Option<Fault> {
    let span = |segment: &Segment| {
        let start = segment.date_ms?;
        Some((
            start,
            start + i64::try_from(segment.duration_us / 1_000).ok()?,
        ))
    };
    for segment in &first.segments {
        let Some((start, end)) = span(segment) else {
            continue;
        };
        let middle = i64::midpoint(start, end);
        let covers =
            |of: &&Segment| span(of).is_some_and(|(start, end)| start <= middle && middle < end);
        let mut both = other.segments.iter().filter(covers);
        if let (Some(same), None) = (both.next(), both.next())
            && same.discontinuity != segment.discontinuity
        {
            let fact = format!(
                "segment {} has {}, segment {} of the same time has {}",
                segment.number, segment.discontinuity, same.number, same.discontinuity
            );
            return Some((Rule::RenditionsDiscontinuity, fact));
        }
    }
    None
}

fn timestamps(first: &Rendition, other: &Rendition) -> Option<Fault> {
    let last = |of: &Rendition| {
        of.content
            .zero_ms
            .last_key_value()
            .map(|(number, zero)| (*number, *zero))
    };
    let ((number, zero), (other_number, other_zero)) = (last(first)?, last(other)?);
    let apart_ms = zero.abs_diff(other_zero);
    let is_apart = number == other_number && apart_ms > TIMESTAMPS_MS;
    is_apart.then(|| (Rule::RenditionsTimestamps, format!("{apart_ms} ms apart")))
}
