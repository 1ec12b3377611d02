//! A strict judge of HLS and low-latency HLS. It plays a live stream as Apple's player does
//! (blocking reloads, hints, delta updates, rendition reports), and checks over time each rule in
//! [`Rule`].
//!
//! It knows no code of the server: it reads playlists, MP4 and MPEG-TS itself, over an HTTP client
//! of its own, so that both cannot have the same fault. It judges what RFC 8216bis
//! (draft-pantos-hls-rfc8216bis) demands, and what players refuse.
//!
//! - [`judge`] watches for a while and returns a [`Verdict`].
//! - [`Fetch`] is its access to a server: [`Http`], or the script of a test.
//!
//! Not judged: encryption, byte ranges, trick play, subtitles, and requests over HTTP/2.

mod across;
mod asks;
mod content;
mod date;
mod fetch;
mod mp4;
mod one;
mod playlist;
mod rendition;
mod rules;
#[cfg(test)]
mod tests;
mod ts;
mod url;
mod verdict;
#[cfg(test)]
mod written;

use std::time::Duration;

use across::Across;
pub use fetch::{Answer, Ask, Fetch, Http};
use playlist::Fault;
use rendition::{HELD_MS, Rendition, Wanted};
pub use rules::Rule;
pub use verdict::{Seen, Verdict, Violation};

/// Bytes of a part on their way for longer than this: the server had not all of it.
const TRICKLE_MS: u64 = 150;
/// The maximum number of requests at the same time.
const MAX_AT_ONCE: usize = 6;
/// The maximum number of renditions.
const MAX_RENDITIONS: usize = 16;
/// What was removed is fetched this long before it may go.
const UNLISTED_MS: u64 = 1_000;
/// Between two comparisons of a playlist's forms, and between two series of odd requests.
const FORMS_EVERY_MS: u64 = 1_700;
const PROBES_EVERY_MS: u64 = 20_000;

/// How strict the judge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How much later than the specification demands segments and parts may come, in milliseconds.
    /// It covers the way to the judge and the jitter of the publisher; by default 300.
    pub late_ms: u64,
    /// Whether the publisher may pause: then what comes late may, if it begins a discontinuity.
    pub pauses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            late_ms: 300,
            pauses: false,
        }
    }
}

/// Watches the stream at `url`, a multivariant or a media playlist, for this long or until it ends.
pub fn judge(fetch: &mut dyn Fetch, url: &str, watch: Duration, options: &Options) -> Verdict {
    let mut judge = Judge {
        fetch,
        options,
        verdict: Verdict::default(),
        renditions: Vec::new(),
        across: Across::default(),
    };
    judge.start(url);
    let until_ms = u64::try_from(watch.as_millis()).unwrap_or(u64::MAX);
    judge.watch(until_ms);
    judge.verdict
}

struct Judge<'a> {
    fetch: &'a mut dyn Fetch,
    options: &'a Options,
    verdict: Verdict,
    renditions: Vec<Rendition>,
    across: Across,
}

impl Judge<'_> {
    fn start(&mut self, url: &str) {
        let answer = self.ask(&[Ask::new(url)]).remove(0);
        let faults = match playlist::text(&answer.body) {
            _ if !answer.is_ok() => {
                vec![(Rule::PlaylistFails, format!("status {}", answer.status))]
            }
            Err(fault) => vec![fault],
            Ok(text) if playlist::is_media(text) => {
                self.renditions.push(Rendition::new(url.to_owned(), None));
                Vec::new()
            }
            Ok(text) => self.variants(text, url, &answer),
        };
        self.report(url, faults);
        let urls = self
            .renditions
            .iter()
            .map(|rendition| rendition.url.clone());
        self.verdict.renditions = urls.collect();
    }

    fn variants(&mut self, text: &str, url: &str, answer: &Answer) -> Vec<Fault> {
        let all = playlist::multivariant(text, url);
        let mut faults = all.faults;
        if !rendition::is_typed(answer, &["application/vnd.apple.mpegurl", "audio/mpegurl"]) {
            faults.push((
                Rule::ContentType,
                format!("{:?}", answer.field("content-type")),
            ));
        }
        for variant in &all.variants {
            let named = variant.attributes.get("CODECS");
            if named.is_none() {
                faults.push((Rule::Codecs, format!("{} has no CODECS", variant.url)));
            }
            let named: Option<Vec<String>> = named.map(|named| {
                named
                    .split(',')
                    .map(|name| name.trim().to_owned())
                    .collect()
            });
            let group = variant.attributes.get("AUDIO");
            let audio = all
                .audio
                .iter()
                .filter(|media| media.get("GROUP-ID") == group && group.is_some());
            let audio = audio.filter_map(|media| Some(url::join(url, media.get("URI")?)));
            for url in std::iter::once(variant.url.clone()).chain(audio) {
                let is_known = self.renditions.iter().any(|known| known.url == url);
                if !is_known && self.renditions.len() < MAX_RENDITIONS {
                    self.renditions.push(Rendition::new(url, named.clone()));
                }
            }
        }
        faults
    }

    fn watch(&mut self, until_ms: u64) {
        let (mut forms_ms, mut probes_ms) = (FORMS_EVERY_MS, 0);
        while !self.renditions.is_empty() && self.fetch.now_ms() < until_ms {
            let news = self.round();
            self.content();
            self.unlisted();
            let faults = self.across.check(&self.renditions, self.options);
            for (at, fault) in faults {
                self.report_of(at, vec![fault]);
            }
            let has_ended = |of: &Rendition| of.last.as_ref().is_some_and(|last| last.has_ended);
            let all_ended = self.renditions.iter().all(has_ended);
            let now_ms = self.fetch.now_ms();
            if now_ms >= forms_ms {
                self.forms();
                forms_ms = now_ms + FORMS_EVERY_MS;
            }
            if now_ms >= probes_ms || all_ended {
                self.probes();
                probes_ms = now_ms + PROBES_EVERY_MS;
            }
            if all_ended {
                self.ended();
                break;
            }
            self.pause(news);
        }
        self.verdict.watched_ms = self.fetch.now_ms();
        for at in 0..self.renditions.len() {
            let overdue = self.renditions[at].overdue(self.verdict.watched_ms, self.options);
            self.report_of(at, overdue.into_iter().collect());
            self.verdict.seen.discontinuities += self.renditions[at].discontinuities;
        }
    }

    /// Reloads all playlists and what they hint at, at the same time. Returns whether there is
    /// anything new.
    fn round(&mut self) -> bool {
        let count = self.renditions.len();
        let mut asks: Vec<Ask> = self
            .renditions
            .iter()
            .map(|of| Ask::new(of.reload()))
            .collect();
        let dues: Vec<_> = self.renditions.iter().map(Rendition::due).collect();
        let mut hints = Vec::new();
        for (at, rendition) in self.renditions.iter().enumerate() {
            let hint = rendition.last.as_ref().and_then(|last| last.hint.clone());
            if let Some(hint) = hint.filter(|hint| !rendition.hinted.contains_key(hint)) {
                asks.push(Ask::new(hint.clone()));
                hints.push((at, hint));
            }
        }
        let mut answers = self.ask(&asks);
        let hinted = answers.split_off(count);
        let mut is_new = false;
        for (at, answer) in answers.iter().enumerate() {
            self.verdict.seen.playlists += 1;
            let was_held = answer.came_ms - answer.asked_ms >= HELD_MS;
            self.verdict.seen.blocked += u64::from(was_held && dues[at].is_some());
            let before = self.renditions[at]
                .last
                .as_ref()
                .and_then(playlist::Media::last);
            let faults = self.renditions[at].take(answer, dues[at], self.options);
            let after = self.renditions[at]
                .last
                .as_ref()
                .and_then(playlist::Media::last);
            is_new |= before != after;
            self.report_of(at, faults);
        }
        for ((at, hint), answer) in hints.into_iter().zip(hinted) {
            self.hint(at, hint, answer);
        }
        is_new
    }

    /// A hint was answered: with the part, if it came.
    fn hint(&mut self, at: usize, hint: String, answer: Answer) {
        let rendition = &mut self.renditions[at];
        let is_listed = rendition.last.as_ref().is_some_and(|last| {
            let mut parts = last.all().flat_map(|segment| &segment.parts);
            parts.any(|part| part.url == hint)
        });
        let mut faults = Vec::new();
        if answer.is_ok() {
            let trickled_ms = answer.came_ms.saturating_sub(answer.began_ms);
            if trickled_ms > TRICKLE_MS {
                faults.push((
                    Rule::HintTrickles,
                    format!("{hint}: its bytes took {trickled_ms} ms"),
                ));
            }
            self.verdict.seen.hints += 1;
            // Only the current hint is needed.
            rendition.hinted.clear();
            rendition.hinted.insert(hint, answer);
        } else if is_listed {
            faults.push((Rule::HintFails, format!("{hint}: status {}", answer.status)));
        }
        self.report_of(at, faults);
    }

    /// Fetches what is new in the playlists, and compares it with them.
    fn content(&mut self) {
        for at in 0..self.renditions.len() {
            let wanted = self.renditions[at].wanted();
            for wanted in wanted.chunks(MAX_AT_ONCE) {
                let missing =
                    |wanted: &&Wanted| !self.renditions[at].hinted.contains_key(wanted.url());
                let asks: Vec<Ask> = wanted
                    .iter()
                    .filter(missing)
                    .map(|wanted| Ask::new(wanted.url()))
                    .collect();
                let mut answers = self.ask(&asks).into_iter();
                for wanted in wanted {
                    let hinted = self.renditions[at].hinted.remove(wanted.url());
                    if let Some(answer) = hinted.or_else(|| answers.next()) {
                        self.take(at, wanted, answer);
                    }
                }
            }
        }
    }

    fn take(&mut self, at: usize, wanted: &Wanted, answer: Answer) {
        let url = wanted.url();
        let Rendition { content, named, .. } = &mut self.renditions[at];
        let mut faults = Vec::new();
        if !answer.is_ok() || answer.body.is_empty() {
            let fact = format!(
                "{url}: status {}, {} bytes",
                answer.status,
                answer.body.len()
            );
            return self.report_of(at, vec![(Rule::MediaFails, fact)]);
        }
        if !rendition::is_typed(&answer, types(&answer.body)) {
            faults.push((
                Rule::ContentType,
                format!("{url}: {:?}", answer.field("content-type")),
            ));
        }
        let named = named.as_deref();
        faults.extend(match wanted {
            Wanted::Init(url) if content.knows_init(url) => Vec::new(),
            Wanted::Init(url) => content.init(url, &answer.body, named),
            Wanted::Part(of, at) => {
                self.verdict.seen.parts += 1;
                content.part(of, *at, &of.parts[*at], answer.body)
            }
            Wanted::Segment(of) => {
                self.verdict.seen.segments += 1;
                content.segment(of, &answer.body, named)
            }
        });
        self.report_of(at, faults);
    }

    /// Fetches what was removed from the playlists just before it may go.
    fn unlisted(&mut self) {
        for at in 0..self.renditions.len() {
            let now_ms = self.fetch.now_ms();
            let unlisted = std::mem::take(&mut self.renditions[at].unlisted);
            let (due, later): (Vec<_>, Vec<_>) = unlisted
                .into_iter()
                .partition(|one| one.until_ms <= now_ms + UNLISTED_MS);
            self.renditions[at].unlisted = later.into();
            for one in due {
                let answer = self.ask(&[Ask::new(one.url.clone())]).remove(0);
                self.verdict.seen.unlisted += 1;
                // If the judge itself was late, it may have gone.
                let is_in_time = answer.came_ms < one.until_ms;
                if !answer.is_ok() && is_in_time {
                    self.report_of(
                        at,
                        vec![(one.rule, format!("{}: status {}", one.url, answer.status))],
                    );
                }
            }
        }
    }

    /// Compares delta updates and compressed playlists with the whole one.
    fn forms(&mut self) {
        for at in 0..self.renditions.len() {
            let url = self.renditions[at].url.clone();
            let Some(base) = self.renditions[at].last.clone() else {
                continue;
            };
            let mut answers = Vec::new();
            for ask in asks::forms(&url, &base) {
                answers.extend(self.ask(&[ask]));
            }
            let mut faults = Vec::new();
            let is_compared = asks::compare_forms(&url, &base, &answers, &mut faults);
            self.verdict.seen.playlists += answers.len() as u64;
            self.verdict.seen.deltas += u64::from(is_compared);
            self.report_of(at, faults);
        }
    }

    fn probes(&mut self) {
        for at in 0..self.renditions.len() {
            let url = self.renditions[at].url.clone();
            let Some(before) = self.renditions[at].last.clone() else {
                continue;
            };
            for probe in asks::probes(&url, &before) {
                let mut answers = self.ask(std::slice::from_ref(&probe.ask));
                answers.extend(self.ask(&[Ask::new(url.clone())]));
                let faults = match rendition::read(&answers[1], &url) {
                    Ok(now) => probe
                        .judge(&url, &before, &answers[0], &now)
                        .into_iter()
                        .collect(),
                    Err(fault) => vec![fault],
                };
                self.report_of(at, faults);
            }
        }
    }

    /// The playlists have ended: they stay as they are.
    fn ended(&mut self) {
        self.fetch.wait_ms(500);
        self.round();
    }

    /// Waits before the next round if the server does not hold requests.
    fn pause(&mut self, is_new: bool) {
        let blocks = self.renditions.iter().any(|of| of.due().is_some());
        let target_ms = self
            .renditions
            .iter()
            .map(Rendition::target_ms)
            .min()
            .unwrap_or(6_000);
        match (blocks, is_new) {
            (true, true) => {}
            (true, false) => self.fetch.wait_ms(200),
            // A player that does not block asks again after a target duration, or half of it.
            (false, _) => self.fetch.wait_ms((target_ms / 4).clamp(100, 1_000)),
        }
    }

    fn ask(&mut self, asks: &[Ask]) -> Vec<Answer> {
        self.verdict.seen.requests += asks.len() as u64;
        if asks.is_empty() {
            Vec::new()
        } else {
            self.fetch.fetch(asks)
        }
    }

    fn report_of(&mut self, at: usize, faults: Vec<Fault>) {
        let url = self.renditions[at].url.clone();
        self.report(&url, faults);
    }

    fn report(&mut self, place: &str, faults: Vec<Fault>) {
        let at_ms = self.fetch.now_ms();
        for (rule, fact) in faults {
            let place = place.to_owned();
            self.verdict.add(Violation {
                rule,
                at_ms,
                place,
                fact,
            });
        }
    }
}

/// The media types of content.
fn types(bytes: &[u8]) -> &'static [&'static str] {
    match bytes.first() {
        Some(0x47) => &["video/mp2t"],
        _ => &["video/mp4", "audio/mp4"],
    }
}
