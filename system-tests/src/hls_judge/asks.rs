//! Requests that no player sends, and some that players send rarely: what each must be answered.

use super::fetch::{Answer, Ask};
use super::one;
use super::playlist::{Fault, Media};
use super::rendition::{has, read};
use super::rules::Rule;
use super::url::{join, with_query};

/// An answer that must not be held comes within this time.
const AT_ONCE_MS: u64 = 1_000;

/// What must come back.
enum Due {
    Status(u16),
    /// A playlist that has at least the open segment that was known, at once.
    Current,
    /// A playlist that has this.
    Having(u64, u64),
}

/// A request with its rule.
pub(super) struct Probe {
    rule: Rule,
    pub(super) ask: Ask,
    due: Due,
}

/// The requests for a rendition whose last playlist was `media`.
pub(super) fn probes(url: &str, media: &Media) -> Vec<Probe> {
    let mut all = Vec::new();
    let mut add = |rule, url: String, due| {
        all.push(Probe {
            rule,
            ask: Ask::new(url),
            due,
        })
    };
    let with = |query: String| with_query(url, &query);
    let (open, part) = media.next();
    if media.has_ended {
        if media.blocks() {
            add(
                Rule::DirectivesAfterEnd,
                with(format!("_HLS_msn={}&_HLS_part=1", open + 5)),
                Due::Current,
            );
        }
        return all;
    }
    if media.blocks() {
        add(
            Rule::PartAlone,
            with("_HLS_part=0".into()),
            Due::Status(400),
        );
        add(
            Rule::FarFuture,
            with(format!("_HLS_msn={}", open + 8)),
            Due::Status(400),
        );
        add(
            Rule::Past,
            with(format!("_HLS_msn={}", media.sequence)),
            Due::Current,
        );
        if let Some(unlisted) = media.sequence.checked_sub(1) {
            add(
                Rule::Past,
                with(format!("_HLS_msn={unlisted}")),
                Due::Current,
            );
        }
    }
    if let Some(target_us) = media.part_target_us.filter(|_| media.blocks()) {
        let far = part + 3_000_000_u64.div_ceil(target_us.max(1)) + 20;
        add(
            Rule::FarFuture,
            with(format!("_HLS_msn={open}&_HLS_part={far}")),
            Due::Status(400),
        );
        if let Some(closed) = media
            .segments
            .last()
            .filter(|segment| !segment.parts.is_empty())
        {
            let (number, beyond) = (closed.number, closed.parts.len() + 3);
            add(
                Rule::PartBeyondLast,
                with(format!("_HLS_msn={number}&_HLS_part={beyond}")),
                Due::Having(number + 1, 0),
            );
        }
    }
    if let Some(segment) = media.segments.last() {
        let folder = join(&segment.url, "no-such-segment.m4s");
        add(Rule::Unknown, folder, Due::Status(404));
        for url in [
            Some(&segment.url),
            segment.parts.first().map(|part| &part.url),
        ]
        .into_iter()
        .flatten()
        {
            let name = url.rsplit('/').next().unwrap_or_default();
            let number = segment.number;
            if name.contains(&number.to_string()) {
                let later = name.replacen(&number.to_string(), &(number + 1_000).to_string(), 1);
                add(Rule::Unknown, join(url, &later), Due::Status(404));
            }
        }
    }
    all
}

impl Probe {
    /// What is wrong with an answer. `now` is a playlist that came afterwards: if the stream has
    /// gone on meanwhile, the future may have become the present.
    pub(super) fn judge(
        &self,
        url: &str,
        before: &Media,
        answer: &Answer,
        now: &Media,
    ) -> Option<Fault> {
        let took_ms = answer.came_ms - answer.asked_ms;
        let fault = |fact: String| Some((self.rule, format!("{}: {fact}", self.ask.url)));
        let is_moved = now.open_number() != before.open_number();
        match self.due {
            Due::Status(_) if is_moved && self.rule == Rule::FarFuture => None,
            Due::Status(due) if answer.status == due => None,
            Due::Status(due) => fault(format!("status {}, {due} is due", answer.status)),
            Due::Current | Due::Having(..) => {
                let media = match read(answer, url) {
                    Ok(media) => media,
                    Err((_, fact)) => return fault(fact),
                };
                match self.due {
                    Due::Having(number, part)
                        if !has(&media, number, Some(part)) && !media.has_ended =>
                    {
                        fault(format!("the last is {:?}", media.last()))
                    }
                    Due::Current if took_ms > AT_ONCE_MS => fault(format!("{took_ms} ms")),
                    Due::Current
                        if media.skipped.is_some()
                            || media.open_number() < before.open_number() =>
                    {
                        fault(format!(
                            "not the current playlist: the last is {:?}",
                            media.last()
                        ))
                    }
                    _ => None,
                }
            }
        }
    }
}

/// Requests for the same playlist in several forms, in this order: whole, as a delta update if that
/// is offered, compressed, whole.
pub(super) fn forms(url: &str, base: &Media) -> [Ask; 4] {
    let whole = Ask::new(url);
    let is_offered = base.control_us("CAN-SKIP-UNTIL").is_some();
    let query = if is_offered { "_HLS_skip=YES" } else { "" };
    let delta = Ask::new(with_query(url, query));
    let gzip = Ask {
        url: url.to_owned(),
        gzip: true,
    };
    [whole.clone(), delta, gzip, whole]
}

/// Compares the forms, if the playlist has not changed meanwhile. Returns whether it has compared a
/// delta update.
pub(super) fn compare_forms(
    url: &str,
    base: &Media,
    answers: &[Answer],
    faults: &mut Vec<Fault>,
) -> bool {
    let [first, delta, gzip, second] = answers else {
        return false;
    };
    if !first.is_ok() || first.body != second.body {
        return false;
    }
    if let Err(fact) = same_text(gzip, &first.body) {
        faults.push((Rule::Encodings, fact));
    }
    let (whole, delta) = match (read(first, url), read(delta, url)) {
        (Ok(whole), Ok(delta)) => (whole, delta),
        (Err(fault), _) | (_, Err(fault)) => {
            faults.push(fault);
            return false;
        }
    };
    if delta.skipped.is_none() {
        return false;
    }
    faults.extend(delta.faults.clone());
    if delta.has_ended || whole.control_us("CAN-SKIP-UNTIL").is_none() {
        faults.push((
            Rule::DeltaUnasked,
            "EXT-X-SKIP without CAN-SKIP-UNTIL or after the end".into(),
        ));
    }
    let left_us = delta.duration_us() + delta.open.parts_us();
    if whole
        .control_us("CAN-SKIP-UNTIL")
        .is_some_and(|boundary_us| left_us < boundary_us)
    {
        faults.push((Rule::DeltaTooMuch, format!("{left_us} us are left")));
    }
    match one::merge(base, &delta).map(bare) {
        Ok(merged) if merged == bare(whole.clone()) => {}
        Ok(merged) => {
            let segment = merged
                .segments
                .iter()
                .zip(&whole.segments)
                .find(|(merged, whole)| merged != whole);
            let fact = format!(
                "{} and {} segments; the first difference: {segment:?}",
                merged.segments.len(),
                whole.segments.len()
            );
            faults.push((Rule::DeltaUnequal, fact));
        }
        Err(fact) => faults.push((Rule::DeltaUnequal, fact)),
    }
    true
}

/// Without the reports on other renditions, which may have changed between two answers when the
/// playlist's own content has not.
fn bare(media: Media) -> Media {
    Media {
        reports: Vec::new(),
        ..media
    }
}

fn same_text(gzip: &Answer, identity: &[u8]) -> Result<(), String> {
    match gzip.field("content-encoding") {
        None | Some("identity") => {
            let is_same = gzip.body == identity;
            is_same
                .then_some(())
                .ok_or_else(|| "another text when compression is allowed".into())
        }
        Some("gzip") => {
            let mut text = Vec::new();
            let mut reader = flate2::read::MultiGzDecoder::new(&gzip.body[..]);
            std::io::Read::read_to_end(&mut reader, &mut text)
                .map_err(|error| format!("gzip: {error}"))?;
            (text == identity)
                .then_some(())
                .ok_or_else(|| format!("{} bytes, {} uncompressed", identity.len(), text.len()))
        }
        Some(other) => Err(format!("gzip was accepted, {other} came")),
    }
}
