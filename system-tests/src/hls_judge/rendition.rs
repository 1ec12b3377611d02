//! One rendition over time: when what came, what must still be fetched, and what must be kept.

use std::collections::{HashMap, HashSet, VecDeque};

use super::content::Content;
use super::fetch::Answer;
use super::one;
use super::playlist::{self, Fault, Media, Segment};
use super::rules::Rule;
use super::{Options, url};

/// A reload that takes at least this long was held by the server.
pub(super) const HELD_MS: u64 = 30;
/// The maximum number of addresses that are to be fetched again after they were removed.
const MAX_UNLISTED: usize = 256;
/// The maximum number of positions that are remembered for rendition reports.
const MAX_POSITIONS: usize = 64;

/// A rendition that is watched.
pub(super) struct Rendition {
    pub(super) url: String,
    /// What `CODECS` names.
    pub(super) named: Option<Vec<String>>,
    pub(super) last: Option<Media>,
    pub(super) content: Content,
    /// The last parts, each with the time when it was seen.
    pub(super) positions: VecDeque<(u64, (u64, u64))>,
    /// When the last playlist was asked for, and when it came.
    pub(super) asked_ms: u64,
    pub(super) came_ms: u64,
    new_part_ms: Option<u64>,
    new_segment_ms: Option<u64>,
    /// Hints that were fetched and are not listed yet.
    pub(super) hinted: HashMap<String, Answer>,
    fetched: HashSet<String>,
    pub(super) unlisted: VecDeque<Unlisted>,
    pub(super) discontinuities: u64,
}

/// An address that must still be served.
pub(super) struct Unlisted {
    pub(super) url: String,
    pub(super) until_ms: u64,
    pub(super) rule: Rule,
}

/// What is to be fetched, in the order of the playlist.
pub(super) enum Wanted {
    Init(String),
    Part(Segment, usize),
    Segment(Segment),
}

impl Wanted {
    pub(super) fn url(&self) -> &str {
        match self {
            Self::Init(url) => url,
            Self::Part(segment, at) => &segment.parts[*at].url,
            Self::Segment(segment) => &segment.url,
        }
    }
}

impl Rendition {
    pub(super) fn new(url: String, named: Option<Vec<String>>) -> Self {
        Self {
            url,
            named,
            last: None,
            content: Content::default(),
            positions: VecDeque::new(),
            asked_ms: 0,
            came_ms: 0,
            new_part_ms: None,
            new_segment_ms: None,
            hinted: HashMap::new(),
            fetched: HashSet::new(),
            unlisted: VecDeque::new(),
            discontinuities: 0,
        }
    }

    /// The part or segment that the next reload waits for.
    pub(super) fn due(&self) -> Option<(u64, Option<u64>)> {
        let last = self
            .last
            .as_ref()
            .filter(|last| last.blocks() && !last.has_ended)?;
        let (number, part) = last.next();
        Some((number, last.is_low_latency().then_some(part)))
    }

    /// The address of the next reload.
    pub(super) fn reload(&self) -> String {
        let query = match self.due() {
            None => String::new(),
            Some((number, None)) => format!("_HLS_msn={number}"),
            Some((number, Some(part))) => format!("_HLS_msn={number}&_HLS_part={part}"),
        };
        url::with_query(&self.url, &query)
    }

    /// The target duration in milliseconds, before the first playlist 6 s.
    pub(super) fn target_ms(&self) -> u64 {
        self.last
            .as_ref()
            .map_or(6_000, |last| last.target_s * 1_000)
    }

    /// Takes the answer to a whole playlist request. Returns what is wrong with it; `due` is what
    /// the request waited for.
    pub(super) fn take(
        &mut self,
        answer: &Answer,
        due: Option<(u64, Option<u64>)>,
        options: &Options,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        let took_ms = answer.came_ms - answer.asked_ms;
        let longest_ms = 3 * self.target_ms();
        if took_ms > longest_ms + 1_000 {
            faults.push((
                Rule::ReloadTooLong,
                format!("{took_ms} ms, status {}", answer.status),
            ));
        }
        if answer.status == 503 && due.is_some() && took_ms + options.late_ms >= longest_ms {
            return faults;
        }
        let media = match read(answer, &self.url) {
            Ok(media) => media,
            Err(fault) => {
                faults.push(fault);
                return faults;
            }
        };
        if !is_typed(answer, PLAYLISTS) {
            faults.push((
                Rule::ContentType,
                format!("{:?}", answer.field("content-type")),
            ));
        }
        faults.extend(one::check(&media));
        if media.skipped.is_some() {
            faults.push((
                Rule::DeltaUnasked,
                "EXT-X-SKIP in a playlist that was asked for whole".into(),
            ));
            return faults;
        }
        if let Some((number, part)) = due.filter(|_| !media.has_ended)
            && !has(&media, number, part)
        {
            let fact = format!(
                "{number}, part {part:?} after {took_ms} ms; the last is {:?}",
                media.last()
            );
            faults.push((Rule::ReloadEarly, fact));
        }
        if let Some(before) = self.last.take() {
            faults.extend(one::compare(&before, &media));
            faults.extend(self.arrivals(&before, &media, answer, options));
            self.unlist(&before, &media, answer.came_ms);
        } else {
            self.new_part_ms = Some(answer.came_ms).filter(|_| media.is_low_latency());
            self.new_segment_ms = Some(answer.came_ms);
        }
        if let Some(last) = media.last() {
            self.positions.push_back((answer.came_ms, last));
            if self.positions.len() > MAX_POSITIONS {
                self.positions.pop_front();
            }
        }
        (self.asked_ms, self.came_ms) = (answer.asked_ms, answer.came_ms);
        self.last = Some(media);
        faults
    }

    /// Whether new parts and segments came in time. The time between two of them is at least that
    /// from when the first was seen until the second was not there yet.
    fn arrivals(
        &mut self,
        before: &Media,
        after: &Media,
        answer: &Answer,
        options: &Options,
    ) -> Vec<Fault> {
        let mut faults = Vec::new();
        let was_held = answer.came_ms - answer.asked_ms >= HELD_MS;
        let not_before_ms = if was_held {
            answer.came_ms
        } else {
            self.asked_ms
        };
        let steps = after
            .open
            .discontinuity
            .saturating_sub(before.open.discontinuity);
        self.discontinuities += steps;
        let is_excused = (options.pauses && steps > 0) || after.has_ended;
        let mut late = |rule, since_ms: Option<u64>, limit_us: u64| {
            let gap_ms = since_ms.map_or(0, |since| not_before_ms.saturating_sub(since));
            if gap_ms > limit_us / 1_000 + options.late_ms && !is_excused {
                faults.push((
                    rule,
                    format!(
                        "{gap_ms} ms after the one before, the limit is {} ms",
                        limit_us / 1_000
                    ),
                ));
            }
        };
        if let Some(target_us) = after.part_target_us
            && after.last() > before.last()
        {
            late(Rule::PartLate, self.new_part_ms, target_us);
            self.new_part_ms = Some(answer.came_ms);
        }
        if after.open_number() > before.open_number() {
            late(
                Rule::SegmentLate,
                self.new_segment_ms,
                after.target_s * 1_500_000,
            );
            self.new_segment_ms = Some(answer.came_ms);
        } else if is_excused {
            // The open segment began after the pause.
            self.new_segment_ms = Some(answer.came_ms);
        }
        faults
    }

    /// Nothing has come for too long, and nothing will be compared with it any more.
    pub(super) fn overdue(&self, now_ms: u64, options: &Options) -> Option<Fault> {
        let last = self.last.as_ref().filter(|last| !last.has_ended)?;
        let gap_ms = now_ms.saturating_sub(self.new_segment_ms?);
        let limit_ms = last.target_s * 1_500 + options.late_ms;
        let fact = || format!("none for {gap_ms} ms at the end of the watch");
        (gap_ms > limit_ms + last.target_s * 1_000).then(|| (Rule::SegmentLate, fact()))
    }

    /// Notes what was removed, to fetch it shortly before it may go.
    fn unlist(&mut self, before: &Media, after: &Media, now_ms: u64) {
        let window_ms = before.duration_us() / 1_000;
        let three_ms = after.target_s * 3_000;
        for segment in &before.segments {
            let now = after
                .segments
                .iter()
                .find(|now| now.number == segment.number);
            let parts_gone = now.is_none_or(|now| now.parts.is_empty());
            if let Some(part) = segment.parts.last().filter(|_| parts_gone) {
                self.keep(&part.url, now_ms + three_ms, Rule::PartGoneEarly);
            }
            if segment.number < after.sequence {
                let kept_ms = segment.duration_us / 1_000 + window_ms;
                self.keep(&segment.url, now_ms + kept_ms, Rule::SegmentGoneEarly);
            }
        }
    }

    fn keep(&mut self, url: &str, until_ms: u64, rule: Rule) {
        if self.unlisted.len() < MAX_UNLISTED {
            self.unlisted.push_back(Unlisted {
                url: url.to_owned(),
                until_ms,
                rule,
            });
        }
    }

    /// What is listed and was not fetched. At first it is the last three segments.
    pub(super) fn wanted(&mut self) -> Vec<Wanted> {
        let Some(last) = &self.last else {
            return Vec::new();
        };
        let first = if self.fetched.is_empty() {
            last.segments.len().saturating_sub(3)
        } else {
            0
        };
        let listed: HashSet<&String> = last.segments.iter().map(|segment| &segment.url).collect();
        let since = last.segments.get(first).map_or(0, |segment| segment.number);
        let mut wanted = Vec::new();
        let mut new = |url: &String| self.fetched.insert(url.clone());
        for segment in last.all().filter(|segment| segment.number >= since) {
            if let Some(map) = segment.map.as_ref().filter(|map| new(map)) {
                wanted.push(Wanted::Init(map.clone()));
            }
            for (at, part) in segment.parts.iter().enumerate() {
                if new(&part.url) {
                    wanted.push(Wanted::Part(segment.clone(), at));
                }
            }
            if listed.contains(&segment.url) && new(&segment.url) {
                wanted.push(Wanted::Segment(segment.clone()));
            }
        }
        // What was listed before the first is never wanted.
        for segment in &last.segments[..first] {
            self.fetched.insert(segment.url.clone());
            self.fetched
                .extend(segment.parts.iter().map(|part| part.url.clone()));
        }
        wanted
    }
}

const PLAYLISTS: &[&str] = &["application/vnd.apple.mpegurl", "audio/mpegurl"];

/// Reads the answer to a request for a media playlist.
pub(super) fn read(answer: &Answer, url: &str) -> Result<Media, Fault> {
    if !answer.is_ok() {
        let said = String::from_utf8_lossy(&answer.body)
            .chars()
            .take(80)
            .collect::<String>();
        return Err((
            Rule::PlaylistFails,
            format!("status {}: {said}", answer.status),
        ));
    }
    playlist::text(&answer.body).map(|text| playlist::media(text, url))
}

/// Whether the answer has one of these media types.
pub(super) fn is_typed(answer: &Answer, types: &[&str]) -> bool {
    let given = answer.field("content-type").unwrap_or_default();
    let given = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    types.contains(&given.as_str())
}

/// Whether a playlist has a part, or the segment (section 6.2.5.2).
pub(super) fn has(media: &Media, number: u64, part: Option<u64>) -> bool {
    let open = media.open_number();
    let Some(part) = part.filter(|_| number >= open.saturating_sub(1)) else {
        return open > number;
    };
    if number == open {
        return (media.open.parts.len() as u64) > part;
    }
    let closed = media
        .segments
        .iter()
        .find(|segment| segment.number == number);
    let is_inside = closed.is_some_and(|segment| (segment.parts.len() as u64) > part);
    open > number + 1 || is_inside || (open == number + 1 && !media.open.parts.is_empty())
}
