//! A correct low-latency server of a stream of video and audio, whose time is a number, with a knob
//! for each fault that a script of its answers cannot make.

use std::io::Write as _;

use super::super::{Answer, Ask, Fetch};
use super::boxes::{Fragment, init};

/// How much of the stream there is when the judge begins, in milliseconds.
pub(super) const BEGUN_MS: u64 = 60_000;
const PART_MS: u64 = 400;
const PARTS: u64 = 5;
/// The wall time of the stream's start.
const EPOCH_MS: u64 = 1_796_113_800_000;

/// What a request asks, for [`Live::edit`]. The time is the stream's, when the answer comes.
pub(super) struct Asked<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) ms: u64,
}

impl Asked<'_> {
    /// Whether it is for this media playlist without a delta update.
    pub(super) fn is_playlist(&self, name: &str) -> bool {
        self.path == format!("/live/{name}.m3u8") && !self.query.contains("_HLS_skip")
    }

    /// Whether it is for a part of the video.
    pub(super) fn is_part(&self) -> bool {
        self.path.matches('.').count() == 2
            && self.path.ends_with(".m4s")
            && self.path.starts_with("/live/v")
    }

    /// Whether it is for a segment of the video.
    pub(super) fn is_segment(&self) -> bool {
        self.path.matches('.').count() == 1
            && self.path.ends_with(".m4s")
            && self.path.starts_with("/live/v")
    }
}

type Edit = Box<dyn Fn(&Asked<'_>, &mut Answer)>;

/// The server.
pub(super) struct Live {
    now_ms: u64,
    /// Changes answers.
    pub(super) edit: Edit,
    /// When the stream ends.
    pub(super) ends_ms: Option<u64>,
    /// The first segment after a discontinuity, with another init segment and another date.
    pub(super) discontinuity: Option<u64>,
    /// The first segment with another init segment, without a discontinuity.
    pub(super) map_change: Option<u64>,
    /// The first segment whose date jumps.
    pub(super) date_jump: Option<u64>,
    /// The first part that comes later, and by how much. All later ones are as late.
    pub(super) late: Option<(u64, u64)>,
    /// Listed segments.
    pub(super) window: u64,
    /// For how long parts are listed, in milliseconds.
    pub(super) parts_ms: u64,
    /// How much a delta update has, in milliseconds.
    pub(super) skip_ms: u64,
    /// Segments that are kept after they were listed.
    pub(super) kept: u64,
    /// Whether reloads and hints are held.
    pub(super) holds_reloads: bool,
    pub(super) holds_hints: bool,
    /// Added to the audio's decode times.
    pub(super) audio_units: u64,
    /// The first part of video whose decode time jumps.
    pub(super) time_jump: Option<u64>,
    /// Whether fragments are numbered.
    pub(super) numbers: bool,
}

impl Live {
    pub(super) fn new() -> Self {
        Self {
            now_ms: 0,
            edit: Box::new(|_, _| {}),
            ends_ms: None,
            discontinuity: None,
            map_change: None,
            date_jump: None,
            late: None,
            window: 8,
            parts_ms: 6_000,
            skip_ms: 12_000,
            kept: 12,
            holds_reloads: true,
            holds_hints: true,
            audio_units: 0,
            time_jump: None,
            numbers: true,
        }
    }

    /// When a part is there.
    fn published_ms(&self, part: u64) -> u64 {
        let late = self.late.filter(|(first, _)| part >= *first);
        (part + 1) * PART_MS + late.map_or(0, |(_, ms)| ms)
    }

    /// How many parts there are.
    fn parts(&self, ms: u64) -> u64 {
        let ms = self.ends_ms.map_or(ms, |ends| ends.min(ms));
        let mut count = ms / PART_MS;
        while count > 0 && self.published_ms(count - 1) > ms {
            count -= 1;
        }
        count
    }

    fn has_ended(&self, ms: u64) -> bool {
        self.ends_ms.is_some_and(|ends| ms >= ends)
    }

    fn map(&self, segment: u64) -> u64 {
        let is_after = |first: Option<u64>| u64::from(first.is_some_and(|first| segment >= first));
        is_after(self.discontinuity) + is_after(self.map_change)
    }

    /// First sample, number of samples and units per sample of a part.
    fn samples(&self, is_video: bool, part: u64) -> (u64, u64, u64) {
        if is_video {
            return (part * 10, 10, 3_600);
        }
        let at = |part: u64| (part * PART_MS * 48 + 512) / 1_024;
        (at(part), at(part + 1) - at(part), 1_024)
    }

    fn duration_us(&self, is_video: bool, part: u64) -> u64 {
        let (_, samples, units) = self.samples(is_video, part);
        samples * units * 1_000_000 / if is_video { 90_000 } else { 48_000 }
    }

    fn start_ms(&self, is_video: bool, segment: u64) -> u64 {
        let (first, _, units) = self.samples(is_video, segment * PARTS);
        let jump = u64::from(self.date_jump.is_some_and(|first| segment >= first)) * 500;
        let pause = u64::from(self.discontinuity.is_some_and(|first| segment >= first)) * 7_000;
        EPOCH_MS + first * units * 1_000 / if is_video { 90_000 } else { 48_000 } + jump + pause
    }

    fn content(&self, is_video: bool, part: u64) -> Vec<u8> {
        let (first, samples, units) = self.samples(is_video, part);
        let jump = u64::from(is_video && self.time_jump.is_some_and(|first| part >= first)) * 3_600;
        let fragment = Fragment {
            number: if self.numbers { part as u32 + 1 } else { 1 },
            decode_time: first * units + jump + if is_video { 0 } else { self.audio_units },
            samples: samples as u32,
            duration: units as u32,
            is_video,
            is_synced: !is_video || part.is_multiple_of(PARTS),
        };
        fragment.bytes()
    }

    fn playlist(&self, is_video: bool, ms: u64, skip: bool) -> String {
        let (name, other) = if is_video { ("v", "a") } else { ("a", "v") };
        let parts = self.parts(ms);
        let open = parts / PARTS;
        let first = open.saturating_sub(self.window);
        let number =
            |segment: u64| u64::from(self.discontinuity.is_some_and(|first| segment >= first));
        let mut text = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=1.260000\n\
             #EXT-X-PART-INF:PART-TARGET=0.420000\n#EXT-X-MEDIA-SEQUENCE:{first}\n\
             #EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            5 + number(first)
        );
        let left_ms = |segment: u64| (open - segment - 1) * PARTS * PART_MS;
        let skipped = (first..open)
            .take_while(|segment| skip && left_ms(*segment) > self.skip_ms)
            .count() as u64;
        if skipped > 0 {
            text += &format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n");
        }
        for segment in first + skipped..=open {
            let last = if segment == open {
                parts
            } else {
                (segment + 1) * PARTS
            };
            if segment * PARTS == last {
                continue;
            }
            if segment > first && number(segment) > number(segment - 1) {
                text += "#EXT-X-DISCONTINUITY\n";
            }
            if segment == first || self.map(segment) != self.map(segment - 1) {
                text += &format!("#EXT-X-MAP:URI=\"{name}{}.init.mp4\"\n", self.map(segment));
            }
            text += &format!(
                "#EXT-X-PROGRAM-DATE-TIME:{}\n",
                date(self.start_ms(is_video, segment))
            );
            let left_us: u64 = (segment * PARTS..parts)
                .map(|part| self.duration_us(is_video, part))
                .sum();
            let has_parts = segment == open || left_us < self.parts_ms * 1_000;
            for part in (segment * PARTS..last).filter(|_| has_parts) {
                let independent = if !is_video || part.is_multiple_of(PARTS) {
                    ",INDEPENDENT=YES"
                } else {
                    ""
                };
                let (duration, index) = (seconds(self.duration_us(is_video, part)), part % PARTS);
                text += &format!(
                    "#EXT-X-PART:DURATION={duration},URI=\"{name}{segment}.{index}.m4s\"{independent}\n"
                );
            }
            if segment < open {
                let duration_us = (segment * PARTS..last)
                    .map(|part| self.duration_us(is_video, part))
                    .sum();
                text += &format!("#EXTINF:{},\n{name}{segment}.m4s\n", seconds(duration_us));
            }
        }
        if self.has_ended(ms) {
            return text + "#EXT-X-ENDLIST\n";
        }
        text += &format!(
            "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}{open}.{}.m4s\"\n",
            parts % PARTS
        );
        let last = parts - 1;
        let (msn, part) = (last / PARTS, last % PARTS);
        text + &format!(
            "#EXT-X-RENDITION-REPORT:URI=\"{other}.m3u8\",LAST-MSN={msn},LAST-PART={part}\n"
        )
    }

    /// How long a reload waits; `Err` is a status.
    fn held_until(&self, query: &str, ms: u64) -> Result<u64, u16> {
        let of = |name: &str| {
            let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
            values
                .find(|(key, _)| *key == name)
                .and_then(|(_, value)| value.parse::<u64>().ok())
        };
        let parts = self.parts(ms);
        let needed = match (of("_HLS_msn"), of("_HLS_part")) {
            (None, None) => 0,
            (None, Some(_)) => return Err(400),
            _ if self.has_ended(ms) => 0,
            (Some(segment), None) => (segment + 1) * PARTS,
            (Some(segment), Some(part)) if segment < parts / PARTS => {
                segment * PARTS + part.min(PARTS) + 1
            }
            (Some(segment), Some(part)) => segment * PARTS + part + 1,
        };
        if needed > parts + 3 * PARTS {
            return Err(400);
        }
        if !self.holds_reloads || needed <= parts {
            return Ok(ms);
        }
        let there_ms = self.published_ms(needed - 1).max(ms);
        Ok(self.ends_ms.map_or(there_ms, |ends| ends.min(there_ms)))
    }

    fn media(&self, name: &str, ms: &mut u64) -> Option<Vec<u8>> {
        let is_video = name.starts_with('v');
        let name = name.get(1..)?;
        if name.ends_with(".init.mp4") {
            return Some(init(is_video));
        }
        let (segment, part) = match name.strip_suffix(".m4s")?.split_once('.') {
            None => (name.strip_suffix(".m4s")?.parse().ok()?, None),
            Some((segment, part)) => (
                segment.parse::<u64>().ok()?,
                Some(part.parse::<u64>().ok()?),
            ),
        };
        let there = self.parts(*ms);
        if segment + self.window + self.kept < there / PARTS {
            return None;
        }
        match part {
            Some(part) if part < PARTS && segment * PARTS + part == there && self.holds_hints => {
                *ms = self.published_ms(there).max(*ms);
                Some(self.content(is_video, there))
            }
            Some(part) if part < PARTS && segment * PARTS + part < there => {
                Some(self.content(is_video, segment * PARTS + part))
            }
            None if (segment + 1) * PARTS <= there => {
                let parts = segment * PARTS..(segment + 1) * PARTS;
                Some(
                    parts
                        .flat_map(|part| self.content(is_video, part))
                        .collect(),
                )
            }
            _ => None,
        }
    }

    fn answer(&self, ask: &Ask) -> Answer {
        let (_, target) = super::super::url::split(&ask.url);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut ms = self.now_ms + BEGUN_MS;
        let name = path.strip_prefix("/live/").unwrap_or_default();
        let mut status = 200;
        let mut kind = "application/vnd.apple.mpegurl";
        let body = match name {
            "index.m3u8" => MULTIVARIANT.into(),
            "v.m3u8" | "a.m3u8" => match self.held_until(query, ms) {
                Ok(until_ms) => {
                    ms = until_ms;
                    self.playlist(name == "v.m3u8", ms, query.contains("_HLS_skip=YES"))
                        .into_bytes()
                }
                Err(refused) => {
                    status = refused;
                    Vec::new()
                }
            },
            media => {
                kind = if media.starts_with('v') {
                    "video/mp4"
                } else {
                    "audio/mp4"
                };
                let found = self.media(media, &mut ms);
                status = if found.is_some() { 200 } else { 404 };
                found.unwrap_or_default()
            }
        };
        let came_ms = ms - BEGUN_MS;
        let header = vec![("content-type".to_owned(), kind.to_owned())];
        let mut answer = Answer {
            status,
            header,
            body,
            asked_ms: self.now_ms,
            began_ms: came_ms,
            came_ms,
        };
        (self.edit)(&Asked { path, query, ms }, &mut answer);
        if ask.gzip && answer.status == 200 {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(&answer.body).expect("memory");
            answer.body = writer.finish().expect("memory");
            answer
                .header
                .push(("content-encoding".into(), "gzip".into()));
        }
        answer
    }
}

const MULTIVARIANT: &str = "#EXTM3U\n#EXT-X-VERSION:9\n\
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"sound\",DEFAULT=YES,AUTOSELECT=YES,URI=\"a.m3u8\"\n\
#EXT-X-STREAM-INF:BANDWIDTH=300000,CODECS=\"avc1.42c01e,mp4a.40.2\",AUDIO=\"sound\"\nv.m3u8\n";

impl Fetch for Live {
    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    fn fetch(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let answers: Vec<Answer> = asks.iter().map(|ask| self.answer(ask)).collect();
        let last_ms = answers.iter().map(|answer| answer.came_ms).max();
        // Nothing takes no time at all.
        self.now_ms = last_ms.unwrap_or(0).max(self.now_ms) + 1;
        answers
    }
}

fn seconds(us: u64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// A date within the day of [`EPOCH_MS`], which is 2026-12-01T08:30:00Z.
fn date(unix_ms: u64) -> String {
    let ms = unix_ms - EPOCH_MS + 30_600_000;
    let (s, ms) = (ms / 1_000, ms % 1_000);
    format!(
        "2026-12-01T{:02}:{:02}:{:02}.{ms:03}Z",
        s / 3_600,
        s / 60 % 60,
        s % 60
    )
}
