//! Playlists, read strictly: what is malformed is a violation, not an error that ends the reading.

use std::collections::{BTreeMap, HashSet};

use super::rules::Rule;
use super::url::join;

/// The attributes of a tag; quotation marks are removed.
pub(super) type Attributes = BTreeMap<String, String>;

/// A violation that is in the text itself.
pub(super) type Fault = (Rule, String);

/// A multivariant playlist.
#[derive(Debug, Default)]
pub(super) struct Multivariant {
    pub(super) variants: Vec<Variant>,
    pub(super) audio: Vec<Attributes>,
    pub(super) faults: Vec<Fault>,
}

/// A variant stream.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) attributes: Attributes,
    pub(super) url: String,
}

/// A media playlist. Durations are in microseconds, dates in milliseconds since 1970.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Media {
    pub(super) version: u64,
    pub(super) target_s: u64,
    pub(super) part_target_us: Option<u64>,
    pub(super) control: Option<Attributes>,
    pub(super) sequence: u64,
    pub(super) discontinuity_sequence: u64,
    pub(super) has_type: bool,
    pub(super) has_ended: bool,
    pub(super) skipped: Option<u64>,
    pub(super) segments: Vec<Segment>,
    /// What follows the last complete segment.
    pub(super) open: Segment,
    /// The address of the part that is hinted at.
    pub(super) hint: Option<String>,
    pub(super) reports: Vec<Report>,
    pub(super) faults: Vec<Fault>,
}

/// A segment, or the parts of the open one, which has no address.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) url: String,
    pub(super) duration_us: u64,
    pub(super) date_ms: Option<i64>,
    /// Its discontinuity sequence number.
    pub(super) discontinuity: u64,
    /// The address of the init segment that applies.
    pub(super) map: Option<String>,
    pub(super) parts: Vec<Part>,
}

/// A part.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) url: String,
    pub(super) duration_us: u64,
    pub(super) independent: bool,
}

/// A rendition report.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) last: (u64, Option<u64>),
}

impl Segment {
    /// The sum of its parts' durations, in microseconds.
    pub(super) fn parts_us(&self) -> u64 {
        self.parts.iter().map(|part| part.duration_us).sum()
    }
}

impl Media {
    /// The duration of all complete segments, in microseconds.
    pub(super) fn duration_us(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.duration_us)
            .sum()
    }

    /// The number of the open segment, or of the next one.
    pub(super) fn open_number(&self) -> u64 {
        let listed = self.segments.len() as u64 + self.skipped.unwrap_or(0);
        self.sequence + listed
    }

    /// The next part: its segment's number and its position.
    pub(super) fn next(&self) -> (u64, u64) {
        (self.open_number(), self.open.parts.len() as u64)
    }

    /// The last part, or the last segment of a playlist without parts.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        if let Some(part) = self.open.parts.len().checked_sub(1) {
            return Some((self.open_number(), part as u64));
        }
        let segment = self.segments.last()?;
        Some((
            segment.number,
            (segment.parts.len() as u64).saturating_sub(1),
        ))
    }

    /// Whether it has parts.
    pub(super) fn is_low_latency(&self) -> bool {
        self.part_target_us.is_some()
    }

    /// A duration of `EXT-X-SERVER-CONTROL`, in microseconds.
    pub(super) fn control_us(&self, name: &str) -> Option<u64> {
        micros(self.control.as_ref()?.get(name)?)
    }

    /// Whether it offers blocking reloads.
    pub(super) fn blocks(&self) -> bool {
        let control = self.control.as_ref();
        control.is_some_and(|control| {
            control
                .get("CAN-BLOCK-RELOAD")
                .is_some_and(|yes| yes == "YES")
        })
    }

    /// All segments, the open one last if it has parts.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        let open = (!self.open.parts.is_empty()).then_some(&self.open);
        self.segments.iter().chain(open)
    }

    fn fault(&mut self, rule: Rule, fact: impl Into<String>) {
        self.faults.push((rule, fact.into()));
    }
}

/// Whether a playlist is a media playlist.
pub(super) fn is_media(text: &str) -> bool {
    text.lines()
        .any(|line| line.starts_with("#EXTINF:") || line.starts_with("#EXT-X-TARGETDURATION"))
}

/// The text of a playlist, or what is wrong with it (section 4.1).
pub(super) fn text(body: &[u8]) -> Result<&str, Fault> {
    let syntax = |fact: &str| Err((Rule::Syntax, fact.to_owned()));
    let Ok(text) = std::str::from_utf8(body) else {
        return syntax("not UTF-8");
    };
    if text.starts_with('\u{feff}') {
        return syntax("begins with a byte order mark");
    }
    let is_control = |c: char| c.is_control() && c != '\n' && c != '\r';
    if text.contains(is_control) {
        return syntax("has control characters");
    }
    if text.lines().next().map(str::trim_end) != Some("#EXTM3U") {
        return syntax("does not begin with #EXTM3U");
    }
    Ok(text)
}

/// Reads a multivariant playlist that came from `base`.
pub(super) fn multivariant(text: &str, base: &str) -> Multivariant {
    let mut all = Multivariant::default();
    let mut pending: Option<Attributes> = None;
    for line in text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
    {
        if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            let found = attributes(list, &mut all.faults);
            need(
                &found,
                "EXT-X-STREAM-INF",
                &["BANDWIDTH"],
                Rule::Multivariant,
                &mut all.faults,
            );
            pending = Some(found);
        } else if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
            let found = attributes(list, &mut all.faults);
            let needed = ["TYPE", "GROUP-ID", "NAME"];
            need(
                &found,
                "EXT-X-MEDIA",
                &needed,
                Rule::Multivariant,
                &mut all.faults,
            );
            if found.get("TYPE").is_some_and(|kind| kind == "AUDIO") {
                all.audio.push(found);
            }
        } else if !line.starts_with('#') {
            match pending.take() {
                Some(attributes) => all.variants.push(Variant {
                    attributes,
                    url: join(base, line),
                }),
                None => all.faults.push((
                    Rule::Syntax,
                    format!("a URI without EXT-X-STREAM-INF: {line}"),
                )),
            }
        }
    }
    if all.variants.is_empty() {
        all.faults
            .push((Rule::Multivariant, "there is no variant".into()));
    }
    let group = |media: &Attributes| media.get("GROUP-ID").cloned();
    let groups: HashSet<String> = all.audio.iter().filter_map(group).collect();
    for variant in &all.variants {
        if let Some(group) = variant
            .attributes
            .get("AUDIO")
            .filter(|group| !groups.contains(*group))
        {
            all.faults.push((
                Rule::Multivariant,
                format!("no EXT-X-MEDIA has GROUP-ID {group:?}"),
            ));
        }
    }
    all
}

/// Reads a media playlist that came from `base`.
pub(super) fn media(text: &str, base: &str) -> Media {
    let mut reader = Reader {
        media: Media {
            version: 1,
            ..Media::default()
        },
        base,
        ..Reader::default()
    };
    for line in text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .skip(1)
    {
        reader.line(line);
    }
    reader.end()
}

#[derive(Default)]
struct Reader<'a> {
    media: Media,
    base: &'a str,
    once: HashSet<&'a str>,
    duration_us: Option<u64>,
    discontinuities: u64,
    map: Option<String>,
    has_target: bool,
    needed_version: u64,
}

/// Tags that apply to the whole playlist.
const ONCE: &[&str] = &[
    "EXT-X-VERSION",
    "EXT-X-TARGETDURATION",
    "EXT-X-MEDIA-SEQUENCE",
    "EXT-X-DISCONTINUITY-SEQUENCE",
    "EXT-X-ENDLIST",
    "EXT-X-PLAYLIST-TYPE",
    "EXT-X-PART-INF",
    "EXT-X-SERVER-CONTROL",
    "EXT-X-SKIP",
    "EXT-X-INDEPENDENT-SEGMENTS",
];

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        let Some(tag) = line.strip_prefix('#') else {
            return self.uri(line);
        };
        if !tag.starts_with("EXT") {
            return;
        }
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        if ONCE.contains(&name) && !self.once.insert(name) {
            self.media
                .fault(Rule::TagOnce, format!("{name} occurs twice"));
        }
        self.tag(name, value);
    }

    fn tag(&mut self, name: &str, value: &str) {
        match name {
            "EXT-X-VERSION" => self.media.version = self.number(name, value),
            "EXT-X-TARGETDURATION" => {
                self.has_target = true;
                self.media.target_s = self.number(name, value);
            }
            "EXT-X-MEDIA-SEQUENCE" => {
                self.before_segments(name);
                self.media.sequence = self.number(name, value);
            }
            "EXT-X-DISCONTINUITY-SEQUENCE" => {
                self.before_segments(name);
                self.media.discontinuity_sequence = self.number(name, value);
            }
            "EXT-X-ENDLIST" => self.media.has_ended = true,
            "EXT-X-PLAYLIST-TYPE" => self.media.has_type = true,
            "EXT-X-PART-INF" => {
                let list = self.list(name, value, &["PART-TARGET"]);
                self.media.part_target_us = list.get("PART-TARGET").and_then(|text| micros(text));
            }
            "EXT-X-SERVER-CONTROL" => self.media.control = Some(self.list(name, value, &[])),
            "EXT-X-SKIP" => {
                let list = self.list(name, value, &["SKIPPED-SEGMENTS"]);
                let skipped = list.get("SKIPPED-SEGMENTS").map_or("", String::as_str);
                self.media.skipped = Some(self.number(name, skipped));
                self.needs_version(9);
            }
            "EXTINF" => self.duration(value),
            "EXT-X-DISCONTINUITY" => self.discontinuities += 1,
            "EXT-X-PROGRAM-DATE-TIME" => {
                let date = super::date::unix_ms(value);
                if date.is_none() {
                    self.media
                        .fault(Rule::Syntax, format!("{name}: not a date: {value}"));
                }
                self.media.open.date_ms = date;
            }
            "EXT-X-MAP" => {
                let list = self.list(name, value, &["URI"]);
                self.map = list.get("URI").map(|uri| join(self.base, uri));
                self.needs_version(6);
            }
            "EXT-X-PART" => self.part(name, value),
            "EXT-X-PRELOAD-HINT" => {
                let list = self.list(name, value, &["TYPE", "URI"]);
                if list.get("TYPE").is_some_and(|kind| kind == "PART") {
                    self.media.hint = list.get("URI").map(|uri| join(self.base, uri));
                }
            }
            "EXT-X-RENDITION-REPORT" => self.report(name, value),
            _ => {}
        }
    }

    fn duration(&mut self, value: &str) {
        let text = value.split(',').next().unwrap_or_default();
        self.duration_us = micros(text);
        if self.duration_us.is_none() || !value.contains(',') {
            self.media.fault(
                Rule::Syntax,
                format!("EXTINF: not a duration and a comma: {value}"),
            );
        }
        if text.contains('.') {
            self.needs_version(3);
        }
    }

    fn part(&mut self, name: &str, value: &str) {
        let list = self.list(name, value, &["URI", "DURATION"]);
        let text = list.get("DURATION").map_or("", String::as_str);
        let Some(duration_us) = micros(text) else {
            return self
                .media
                .fault(Rule::Syntax, format!("EXT-X-PART: not a duration: {text}"));
        };
        let uri = list.get("URI").map_or("", String::as_str);
        self.media.open.parts.push(Part {
            url: join(self.base, uri),
            duration_us,
            independent: list.get("INDEPENDENT").is_some_and(|yes| yes == "YES"),
        });
    }

    fn report(&mut self, name: &str, value: &str) {
        let list = self.list(name, value, &["URI", "LAST-MSN"]);
        let text = |key: &str| list.get(key).map_or("", String::as_str);
        let sequence = self.number(name, text("LAST-MSN"));
        let part = list.get("LAST-PART").map(|part| self.number(name, part));
        let url = join(self.base, text("URI"));
        self.media.reports.push(Report {
            url,
            last: (sequence, part),
        });
    }

    fn uri(&mut self, line: &str) {
        let Some(duration_us) = self.duration_us.take() else {
            return self
                .media
                .fault(Rule::Syntax, format!("a URI without EXTINF: {line}"));
        };
        self.close(join(self.base, line), duration_us);
    }

    fn close(&mut self, url: String, duration_us: u64) {
        let media = &mut self.media;
        let number = media.open_number();
        let discontinuity = media.discontinuity_sequence + self.discontinuities;
        let mut segment = std::mem::take(&mut media.open);
        (segment.number, segment.discontinuity) = (number, discontinuity);
        segment.map.clone_from(&self.map);
        (segment.url, segment.duration_us) = (url, duration_us);
        media.segments.push(segment);
    }

    fn end(mut self) -> Media {
        if self.duration_us.is_some() {
            self.media.fault(Rule::Syntax, "EXTINF without a URI");
        }
        if !self.has_target {
            self.media.fault(Rule::Syntax, "no EXT-X-TARGETDURATION");
        }
        let needed = self.needed_version;
        if self.media.version < needed {
            let fact = format!("version {}, but its tags need {needed}", self.media.version);
            self.media.fault(Rule::Version, fact);
        }
        let number = self.media.open_number();
        let discontinuity = self.media.discontinuity_sequence + self.discontinuities;
        let open = &mut self.media.open;
        (open.number, open.discontinuity, open.map) = (number, discontinuity, self.map);
        self.media
    }

    fn before_segments(&mut self, name: &str) {
        if !self.media.segments.is_empty() || !self.media.open.parts.is_empty() {
            self.media.fault(
                Rule::Syntax,
                format!("{name} comes after the first segment"),
            );
        }
    }

    fn list(&mut self, name: &str, value: &str, needed: &[&str]) -> Attributes {
        let list = attributes(value, &mut self.media.faults);
        need(&list, name, needed, Rule::Syntax, &mut self.media.faults);
        list
    }

    fn number(&mut self, name: &str, value: &str) -> u64 {
        let is_decimal = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse() {
            Ok(number) if is_decimal => number,
            _ => {
                self.media
                    .fault(Rule::Syntax, format!("{name}: not a number: {value}"));
                0
            }
        }
    }

    fn needs_version(&mut self, version: u64) {
        self.needed_version = self.needed_version.max(version);
    }
}

fn need(list: &Attributes, tag: &str, needed: &[&str], rule: Rule, faults: &mut Vec<Fault>) {
    for name in needed.iter().filter(|name| !list.contains_key(**name)) {
        faults.push((rule, format!("{tag} without {name}")));
    }
}

/// An attribute list (section 4.2).
fn attributes(list: &str, faults: &mut Vec<Fault>) -> Attributes {
    let mut found = Attributes::new();
    let mut rest = list;
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('=') else {
            faults.push((
                Rule::Syntax,
                format!("an attribute without a value: {rest}"),
            ));
            break;
        };
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_name) {
            faults.push((
                Rule::Syntax,
                format!("not the name of an attribute: {name}"),
            ));
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if found.insert(name.to_owned(), value.to_owned()).is_some() {
            faults.push((Rule::Syntax, format!("the attribute {name} occurs twice")));
        }
        rest = match after.strip_prefix(',') {
            Some(rest) if !rest.is_empty() => rest,
            None if after.is_empty() => "",
            _ => {
                faults.push((
                    Rule::Syntax,
                    format!("an attribute list that does not end: {list}"),
                ));
                ""
            }
        };
    }
    found
}

/// Decimal seconds as microseconds, rounded down.
pub(super) fn micros(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_decimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_decimal(whole) || !is_decimal(decimals) {
        return None;
    }
    let mut micros: u64 = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    let mut weight = 100_000;
    for digit in decimals.bytes().take(6) {
        micros += u64::from(digit - b'0') * weight;
        weight /= 10;
    }
    Some(micros)
}
