//! What one media playlist must fulfil by itself, and compared with the one before it.

use std::collections::HashSet;

use super::playlist::{Fault, Media, Part, Segment};
use super::rules::Rule;

/// Durations are written with some decimals: sums may differ by this much.
const ROUNDING_US: u64 = 1_000;
/// A date may differ by this much from the sum of durations.
const DATE_MS: i64 = 20;

/// The rules for a single media playlist. A delta update is one, too.
pub(super) fn check(media: &Media) -> Vec<Fault> {
    let mut faults = media.faults.clone();
    for segment in &media.segments {
        let seconds = (segment.duration_us + 500_000) / 1_000_000;
        if seconds > media.target_s {
            let fact = format!(
                "{} lasts {} us, the target is {} s",
                segment.url, segment.duration_us, media.target_s
            );
            faults.push((Rule::SegmentDuration, fact));
        }
    }
    parts(media, &mut faults);
    control(media, &mut faults);
    dates(media, &mut faults);
    let mut all = media.all().peekable();
    while let Some(segment) = all.next() {
        if let Some(next) = all.peek()
            && next.map != segment.map
            && next.discontinuity == segment.discontinuity
        {
            let fact = format!(
                "{:?} follows {:?} at segment {}",
                next.map, segment.map, next.number
            );
            faults.push((Rule::MapChange, fact));
        }
    }
    uris(media, &mut faults);
    if media.has_type && media.sequence > 0 && !media.has_ended {
        faults.push((
            Rule::PlaylistType,
            format!("it has one, and begins at segment {}", media.sequence),
        ));
    }
    faults
}

fn parts(media: &Media, faults: &mut Vec<Fault>) {
    let Some(target_us) = media.part_target_us else {
        if media.all().any(|segment| !segment.parts.is_empty()) {
            faults.push((Rule::PartInf, "parts without EXT-X-PART-INF".into()));
        }
        return;
    };
    for segment in media.all() {
        for (at, part) in segment.parts.iter().enumerate() {
            let fact = format!(
                "{} lasts {} us, the part target is {target_us} us",
                part.url, part.duration_us
            );
            let is_last = at + 1 == segment.parts.len();
            if part.duration_us > target_us {
                faults.push((Rule::PartTooLong, fact));
            } else if !is_last && part.duration_us * 100 < target_us * 85 {
                faults.push((Rule::PartTooShort, fact));
            }
        }
    }
    let mut after_us = media.open.parts_us();
    for segment in media.segments.iter().rev() {
        let sum_us = segment.parts_us();
        let (start_us, bound_us) = (after_us + segment.duration_us, media.target_s * 3_000_000);
        let is_last = segment.number + 1 == media.open.number;
        if segment.parts.is_empty() && start_us + ROUNDING_US < bound_us {
            let fact = format!(
                "segment {} has no parts, it starts {start_us} us before the end",
                segment.number
            );
            faults.push((Rule::PartUnlistedEarly, fact));
        } else if !segment.parts.is_empty() && !is_last && start_us > bound_us + ROUNDING_US {
            let fact = format!(
                "segment {} has parts, it starts {start_us} us before the end",
                segment.number
            );
            faults.push((Rule::PartListedLong, fact));
        }
        if !segment.parts.is_empty() && sum_us.abs_diff(segment.duration_us) > ROUNDING_US {
            let fact = format!(
                "segment {}: parts of {sum_us} us, EXTINF of {} us",
                segment.number, segment.duration_us
            );
            faults.push((Rule::PartsSum, fact));
        }
        after_us += segment.duration_us;
    }
    if media.hint.is_none() && !media.has_ended {
        faults.push((Rule::HintMissing, "no EXT-X-PRELOAD-HINT of a part".into()));
    }
}

fn control(media: &Media, faults: &mut Vec<Fault>) {
    let mut at_least = |rule, name, least: u64, needed: bool| {
        let value = media.control_us(name);
        if value.is_some_and(|value| value + ROUNDING_US < least) || (needed && value.is_none()) {
            faults.push((
                rule,
                format!("{name} is {value:?} us, the least is {least} us"),
            ));
        }
    };
    let target_us = media.target_s * 1_000_000;
    at_least(Rule::HoldBack, "HOLD-BACK", 3 * target_us, false);
    at_least(Rule::SkipUntil, "CAN-SKIP-UNTIL", 6 * target_us, false);
    if let Some(part_us) = media.part_target_us {
        at_least(Rule::PartHoldBack, "PART-HOLD-BACK", 3 * part_us, true);
        let lacks = |what: &str| (Rule::LowLatencyProfile, format!("has parts, but no {what}"));
        if !media.blocks() {
            faults.push(lacks("CAN-BLOCK-RELOAD=YES"));
        }
        if media.control_us("CAN-SKIP-UNTIL").is_none() {
            faults.push(lacks("CAN-SKIP-UNTIL"));
        }
        if media
            .segments
            .iter()
            .all(|segment| segment.date_ms.is_none())
        {
            faults.push(lacks("EXT-X-PROGRAM-DATE-TIME"));
        }
    }
}

fn dates(media: &Media, faults: &mut Vec<Fault>) {
    // The date that the next segment should have, and its discontinuity, in microseconds.
    let mut expected: Option<(u64, i64)> = None;
    for segment in media.all() {
        let due = expected.filter(|(of, _)| *of == segment.discontinuity);
        let date_us = segment.date_ms.map(|date| date * 1_000);
        if let (Some((_, due_us)), Some(date_us)) = (due, date_us)
            && (due_us - date_us).abs() > DATE_MS * 1_000
        {
            let late_ms = (date_us - due_us) / 1_000;
            let fact = format!(
                "segment {} is dated {late_ms} ms after the end of the one before",
                segment.number
            );
            faults.push((Rule::DateJump, fact));
        }
        // From the first date on, so that small differences do not hide a drift.
        let start = due.filter(|(_, due_us)| {
            date_us.is_none_or(|date| (date - due_us).abs() <= DATE_MS * 1_000)
        });
        let start = start.map(|(_, due_us)| due_us).or(date_us);
        let duration_us = i64::try_from(segment.duration_us).unwrap_or(0);
        expected = start.map(|start_us| (segment.discontinuity, start_us + duration_us));
    }
}

fn uris(media: &Media, faults: &mut Vec<Fault>) {
    let mut known = HashSet::new();
    let segments = media.segments.iter().map(|segment| &segment.url);
    let parts = media
        .all()
        .flat_map(|segment| segment.parts.iter().map(|part| &part.url));
    for url in segments.chain(parts) {
        if !known.insert(url) {
            faults.push((Rule::UriReused, format!("{url} occurs twice")));
        }
    }
}

/// The rules for a whole media playlist that follows another one.
pub(super) fn compare(before: &Media, after: &Media) -> Vec<Fault> {
    let mut faults = constants(before, after);
    let mut fault = |rule, fact: String| faults.push((rule, fact));
    if after.sequence < before.sequence {
        fault(
            Rule::MediaSequenceDecreases,
            format!("{}, then {}", before.sequence, after.sequence),
        );
        return faults;
    }
    let (first, second) = (before.discontinuity_sequence, after.discontinuity_sequence);
    if second < first {
        fault(
            Rule::DiscontinuitySequenceDecreases,
            format!("{first}, then {second}"),
        );
    }
    if before.has_ended && (!after.has_ended || before.segments != after.segments) {
        fault(
            Rule::EndRevoked,
            "the playlist had ended, and changed".into(),
        );
    }
    if after.sequence > before.sequence {
        if after.has_type {
            fault(
                Rule::PlaylistType,
                "it has one, and segments were removed".into(),
            );
        }
        let left_us = after.duration_us();
        if left_us < after.target_s * 3_000_000 {
            let fact = format!("{left_us} us are left, the target is {} s", after.target_s);
            fault(Rule::WindowTooShort, fact);
        }
    }
    let is_new = after
        .segments
        .first()
        .is_some_and(|first| first.discontinuity > before.open.discontinuity);
    if after.sequence > before.open_number() && !is_new {
        let fact = format!(
            "segments {} to {} were never listed",
            before.open_number(),
            after.sequence - 1
        );
        fault(Rule::SegmentRemoved, fact);
    }
    for segment in before
        .all()
        .filter(|segment| segment.number >= after.sequence)
    {
        match after.all().find(|other| other.number == segment.number) {
            Some(now) => faults.extend(changes(segment, now)),
            None => faults.push((
                Rule::SegmentRemoved,
                format!("segment {} has gone", segment.number),
            )),
        }
    }
    faults.extend(hint(before, after));
    faults
}

fn constants(before: &Media, after: &Media) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut same = |rule, first: String, second: String| {
        if first != second {
            faults.push((rule, format!("{first}, then {second}")));
        }
    };
    let texts = |of: fn(&Media) -> String| (of(before), of(after));
    let (first, second) = texts(|media| media.target_s.to_string());
    same(Rule::TargetDurationChanges, first, second);
    let (first, second) = texts(|media| format!("{:?}", media.part_target_us));
    same(Rule::PartTargetChanges, first, second);
    let (first, second) = texts(|media| format!("{:?}", media.control));
    same(Rule::ServerControlChanges, first, second);
    let (first, second) = texts(|media| media.version.to_string());
    same(Rule::VersionChanges, first, second);
    faults
}

/// What has changed in a segment that must not. The first one was open perhaps.
fn changes(before: &Segment, after: &Segment) -> Vec<Fault> {
    let mut faults = Vec::new();
    let number = before.number;
    let mut changed = |rule, what: &str, is_same: bool, values: String| {
        if !is_same {
            faults.push((rule, format!("segment {number}: {what}: {values}")));
        }
    };
    if !before.url.is_empty() {
        let same = before.url == after.url;
        changed(
            Rule::SegmentChanges,
            "URI",
            same,
            format!("{}, then {}", before.url, after.url),
        );
        let (first, second) = (before.duration_us, after.duration_us);
        changed(
            Rule::SegmentChanges,
            "EXTINF",
            first == second,
            format!("{first} us, then {second} us"),
        );
    }
    let same = before.map == after.map;
    changed(
        Rule::SegmentChanges,
        "EXT-X-MAP",
        same,
        format!("{:?}, then {:?}", before.map, after.map),
    );
    let same = before.date_ms == after.date_ms;
    changed(
        Rule::SegmentChanges,
        "date",
        same,
        format!("{:?}, then {:?}", before.date_ms, after.date_ms),
    );
    let (first, second) = (before.discontinuity, after.discontinuity);
    changed(
        Rule::DiscontinuityRenumbered,
        "discontinuity",
        first == second,
        format!("{first}, then {second}"),
    );
    // A segment's parts go all at once, and only when it is complete.
    if after.url.is_empty() || !after.parts.is_empty() {
        let same = after.parts.starts_with(&before.parts);
        let values = || format!("{:?}, then {:?}", facts(&before.parts), facts(&after.parts));
        changed(
            Rule::PartChanges,
            "parts",
            same,
            if same { String::new() } else { values() },
        );
    }
    faults
}

fn facts(parts: &[Part]) -> Vec<String> {
    let name = |url: &str| url.rsplit('/').next().unwrap_or_default().to_owned();
    parts
        .iter()
        .map(|part| {
            format!(
                "{} {} us {}",
                name(&part.url),
                part.duration_us,
                part.independent
            )
        })
        .collect()
}

/// The part that came first after `before` is the one that it hinted at.
fn hint(before: &Media, after: &Media) -> Option<Fault> {
    let hint = before.hint.as_ref()?;
    let (number, index) = before.next();
    let of = |number| after.all().find(move |segment| segment.number == number);
    let index = usize::try_from(index).ok()?;
    let next = of(number).and_then(|segment| segment.parts.get(index));
    // If the segment has ended without it, it is the first of the next.
    let next = next.or_else(|| of(number + 1)?.parts.first())?;
    (next.url != *hint).then(|| {
        (
            Rule::HintWrong,
            format!("{hint} was hinted at, {} came", next.url),
        )
    })
}

/// The whole playlist from a delta update and the playlist before it, or why that is not possible.
pub(super) fn merge(before: &Media, delta: &Media) -> Result<Media, String> {
    let skipped = delta.skipped.unwrap_or(0);
    let mut whole = delta.clone();
    whole.skipped = None;
    let mut segments = Vec::new();
    let mut last: Option<&Segment> = None;
    for number in delta.sequence..delta.sequence + skipped {
        let Some(segment) = before
            .segments
            .iter()
            .find(|segment| segment.number == number)
        else {
            return Err(format!(
                "segment {number} is skipped, but was not in the playlist before"
            ));
        };
        segments.push(segment.clone());
        last = Some(segment);
    }
    // Discontinuities and the init segment continue from the skipped segments.
    let map = last.and_then(|last| last.map.clone());
    let steps = last.map_or(0, |last| {
        last.discontinuity
            .saturating_sub(delta.discontinuity_sequence)
    });
    for segment in whole
        .segments
        .iter_mut()
        .chain(std::iter::once(&mut whole.open))
    {
        segment.discontinuity += steps;
        if segment.map.is_none() {
            segment.map.clone_from(&map);
        }
    }
    segments.append(&mut whole.segments);
    whole.segments = segments;
    Ok(whole)
}
