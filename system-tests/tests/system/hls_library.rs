//! The segmenter and the playlists under the judge, without sockets and in a time of their own:
//! some minutes pass in seconds. The long form is an hour: `LIVETRAIL_HLS_MINUTES=60`.

use std::path::Path;
use std::time::Duration;

use livetrail_engine::{MediaFrame, MediaKind};
use livetrail_hls::{Decision, Found, Playlists, Reload, Resource};
use livetrail_segment::{Container, Event, Rendition, Segmenter};
use system_tests::clip;
use system_tests::hls_judge::{Answer, Ask, Fetch, Options, Verdict, judge};

use super::segments::frames;

/// The minutes that the judge watches, if the environment does not say otherwise.
const MINUTES: u64 = 4;
/// The judge begins when there is something to see.
const BEFORE_MS: u64 = 8_000;
/// The wall time of the beginning.
const EPOCH_MS: i64 = 1_796_113_800_000;

/// A publisher: a clip again and again, whose frames come late by some random time.
struct Publisher {
    clip: Vec<MediaFrame>,
    /// How long the clip is, in milliseconds.
    length_ms: i64,
    /// The most by which a frame comes late.
    jitter_ms: u64,
    /// How long it is away after each round; then it is another publisher, from 0 again.
    away_ms: u64,
    next: usize,
    rounds: u64,
    came_ms: u64,
    random: u64,
}

impl Publisher {
    fn of(clip: &Path, jitter_ms: u64, away_ms: u64) -> Self {
        let mut clip = frames(clip);
        let videos = clip.iter().filter(|frame| frame.kind == MediaKind::Video);
        let times: Vec<i64> = videos.map(MediaFrame::dts_ms).collect();
        let [.., before, last] = times[..] else {
            panic!("a clip without video");
        };
        // The last picture lasts as long as the one before it.
        let length_ms = 2 * last - before;
        clip.retain(|frame| frame.dts_ms() < length_ms);
        Self {
            clip,
            length_ms,
            jitter_ms,
            away_ms,
            next: 0,
            rounds: 0,
            came_ms: 0,
            random: 7,
        }
    }

    /// The next frame, when it comes, and whether it is the first of another publisher.
    fn next(&mut self) -> (MediaFrame, u64, bool) {
        let mut frame = self.clip[self.next].clone();
        let is_other = self.next == 0 && self.rounds > 0 && self.away_ms > 0;
        let begun_ms = self.rounds * (self.length_ms as u64 + self.away_ms);
        if self.away_ms == 0 {
            frame.dts += begun_ms as i64;
            frame.pts += begun_ms as i64;
        }
        // Numbers of a linear congruential generator, of which the upper bits are used.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let late_ms = (self.random >> 33) % (self.jitter_ms + 1);
        let due_ms = begun_ms + self.clip[self.next].dts_ms().max(0) as u64;
        // A connection keeps the order.
        self.came_ms = self.came_ms.max(due_ms + late_ms);
        self.next += 1;
        if self.next == self.clip.len() {
            (self.next, self.rounds) = (0, self.rounds + 1);
        }
        (frame, self.came_ms, is_other)
    }
}

/// A server of one stream.
struct Library {
    publisher: Publisher,
    segmenter: Segmenter,
    playlists: Playlists,
    now_ms: u64,
    pending: (MediaFrame, u64, bool),
}

impl Library {
    fn new(container: Container, mut publisher: Publisher) -> Self {
        let options = livetrail_segment::Options::new(container);
        let pending = publisher.next();
        let mut library = Self {
            publisher,
            segmenter: Segmenter::new(options).expect("valid options"),
            playlists: Playlists::new(livetrail_hls::Options::default()).expect("valid options"),
            now_ms: 0,
            pending,
        };
        library.advance(BEFORE_MS);
        library
    }

    /// Takes all frames that come until then.
    fn advance(&mut self, to_ms: u64) {
        while self.pending.1 <= to_ms {
            self.take();
        }
        self.now_ms = self.now_ms.max(to_ms);
    }

    /// Waits for the next frame.
    fn take(&mut self) {
        let next = self.publisher.next();
        let (frame, came_ms, _) = std::mem::replace(&mut self.pending, next);
        self.now_ms = self.now_ms.max(came_ms);
        let mut events: Vec<Event> = Vec::new();
        self.segmenter.push(&frame, &mut events);
        if self.pending.2 {
            // The publisher leaves: what it has sent is complete.
            self.segmenter.finish(&mut events);
        }
        for event in events {
            self.playlists.apply(event, EPOCH_MS + came_ms as i64);
        }
    }

    /// The answer as it is now, or `None` if the request is held.
    fn answer(&mut self, ask: &Ask) -> Option<(u16, &'static str, Vec<u8>)> {
        let name = ask.url.rsplit('/').next().unwrap_or_default();
        let (name, query) = name.split_once('?').unwrap_or((name, ""));
        if name == "index.m3u8" {
            let text = self.playlists.multivariant();
            return text.map(|text| (200, "application/vnd.apple.mpegurl", text.to_vec()));
        }
        let Some(resource) = Resource::parse(name) else {
            return Some((404, "", Vec::new()));
        };
        let kind = resource.media_type();
        if let Resource::Playlist(rendition) = resource {
            return self
                .playlist(rendition, query)
                .map(|(status, text)| (status, kind, text));
        }
        match self.playlists.find(resource) {
            Found::Media(pieces) => Some((200, kind, pieces.concat())),
            Found::Hinted => None,
            _ => Some((404, "", Vec::new())),
        }
    }

    fn playlist(&mut self, rendition: Rendition, query: &str) -> Option<(u16, Vec<u8>)> {
        let Ok(reload) = Reload::parse(query) else {
            return Some((400, Vec::new()));
        };
        match self.playlists.decide(rendition, &reload) {
            Decision::Now => {
                let text = self.playlists.media(rendition, reload.skip)?;
                Some((200, text.to_vec()))
            }
            Decision::TooFar => Some((400, Vec::new())),
            _ => None,
        }
    }
}

impl Fetch for Library {
    fn now_ms(&self) -> u64 {
        self.now_ms - BEFORE_MS
    }

    fn wait_ms(&mut self, ms: u64) {
        self.advance(self.now_ms + ms);
    }

    fn fetch(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let asked_ms = self.now_ms();
        let longest_ms = self.playlists.longest_wait().as_millis() as u64;
        let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
        loop {
            for (ask, slot) in asks
                .iter()
                .zip(&mut answers)
                .filter(|(_, slot)| slot.is_none())
            {
                let came_ms = self.now_ms();
                let held_too_long =
                    (came_ms - asked_ms >= longest_ms).then_some((503, "", Vec::new()));
                if let Some((status, kind, body)) = self.answer(ask).or(held_too_long) {
                    let header = vec![("content-type".to_owned(), kind.to_owned())];
                    let (asked_ms, began_ms) = (asked_ms, came_ms);
                    *slot = Some(Answer {
                        status,
                        header,
                        body,
                        asked_ms,
                        began_ms,
                        came_ms,
                    });
                }
            }
            if answers.iter().all(Option::is_some) {
                break;
            }
            self.take();
        }
        self.advance(self.now_ms + 1);
        answers.into_iter().flatten().collect()
    }
}

fn minutes() -> u64 {
    let set = std::env::var("LIVETRAIL_HLS_MINUTES").ok();
    set.map_or(MINUTES, |minutes| minutes.parse().expect("a number"))
}

fn watched(library: &mut Library, options: &Options) -> Verdict {
    let watch = Duration::from_secs(60 * minutes());
    judge(
        library,
        "http://library/live/cam/index.m3u8",
        watch,
        options,
    )
}

#[test]
fn fragmented_mp4_with_jitter_breaks_no_rule() {
    let publisher = Publisher::of(clip::small(), 120, 0);
    let verdict = watched(
        &mut Library::new(Container::Cmaf, publisher),
        &Options::default(),
    );
    assert!(verdict.is_clean(), "{verdict}");
    let (seen, minutes) = (&verdict.seen, minutes());
    assert!(
        seen.parts > 233 * minutes && seen.segments > 58 * minutes && seen.deltas > 8 * minutes,
        "{verdict}"
    );
}

#[test]
fn mpeg_ts_with_jitter_breaks_no_rule() {
    let publisher = Publisher::of(clip::small(), 120, 0);
    let verdict = watched(
        &mut Library::new(Container::MpegTs, publisher),
        &Options::default(),
    );
    assert!(verdict.is_clean(), "{verdict}");
    let (seen, minutes) = (&verdict.seen, minutes());
    assert!(
        seen.parts > 116 * minutes && seen.segments > 29 * minutes,
        "{verdict}"
    );
}

#[test]
fn reordered_pictures_break_no_rule() {
    let publisher = Publisher::of(clip::reordered(false), 40, 0);
    let verdict = watched(
        &mut Library::new(Container::Cmaf, publisher),
        &Options::default(),
    );
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn a_gop_without_end_breaks_no_rule() {
    let publisher = Publisher::of(clip::one_gop(), 40, 0);
    let verdict = watched(
        &mut Library::new(Container::Cmaf, publisher),
        &Options::default(),
    );
    assert!(verdict.is_clean(), "{verdict}");
}

#[test]
fn publishers_that_return_break_no_rule() {
    let options = Options {
        pauses: true,
        ..Options::default()
    };
    let publisher = Publisher::of(clip::small(), 120, 3_000);
    let verdict = watched(&mut Library::new(Container::Cmaf, publisher), &options);
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.seen.discontinuities > minutes(), "{verdict}");
}
