//! For each rule, a fault that breaks it.

use std::collections::BTreeSet;

use super::super::content::Content;
use super::super::playlist::Segment;
use super::super::{Answer, Options, Rule};
use super::live::{Asked, Live};
use super::run;

/// Makes the fault, and returns the rules that are broken then.
pub(super) type Seed = Box<dyn Fn() -> BTreeSet<Rule>>;

/// When a fault begins that is a change, in the stream's time.
const THEN_MS: u64 = 66_000;

/// A stream whose answers are edited.
fn edited(edit: impl Fn(&Asked<'_>, &mut Answer) + Clone + 'static) -> Seed {
    with(move |live| live.edit = Box::new(edit.clone()))
}

/// A stream with a knob turned.
fn with(knob: impl Fn(&mut Live) + 'static) -> Seed {
    Box::new(move || {
        let mut live = Live::new();
        knob(&mut live);
        run(&mut live, &Options::default())
            .broken()
            .keys()
            .copied()
            .collect()
    })
}

/// Playlists of a rendition in which a text is another.
fn replaced(name: &'static str, from: &'static str, to: &'static str) -> Seed {
    edited(move |asked, answer| {
        if asked.is_playlist(name) {
            replace(answer, from, to);
        }
    })
}

/// The same, from a moment on.
fn changed(from: &'static str, to: &'static str) -> Seed {
    edited(move |asked, answer| {
        if asked.is_playlist("v") && asked.ms > THEN_MS {
            replace(answer, from, to);
        }
    })
}

/// Playlists of a rendition without the lines that begin like this.
fn without(name: &'static str, start: &'static str) -> Seed {
    edited(move |asked, answer| {
        if asked.is_playlist(name) {
            lines(answer, |line| {
                (!line.starts_with(start)).then(|| line.to_owned())
            });
        }
    })
}

/// Answers to requests for playlists with queries like this get this status.
fn refused(status: u16, query: impl Fn(&str) -> bool + Clone + 'static) -> Seed {
    edited(move |asked, answer| {
        if asked.path.ends_with("v.m3u8") && query(asked.query) {
            answer.status = status;
        }
    })
}

fn replace(answer: &mut Answer, from: &str, to: &str) {
    let text = String::from_utf8_lossy(&answer.body).replace(from, to);
    answer.body = text.into_bytes();
}

fn lines(answer: &mut Answer, edit: impl Fn(&str) -> Option<String>) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let text: String = text
        .lines()
        .filter_map(edit)
        .map(|line| line + "\n")
        .collect();
    answer.body = text.into_bytes();
}

/// The number behind the start of a line is another.
fn renumbered(line: &str, start: &str, number: impl Fn(u64) -> u64) -> String {
    let Some(rest) = line.strip_prefix(start) else {
        return line.to_owned();
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (value, rest) = rest.split_at(digits);
    format!("{start}{}{rest}", number(value.parse().expect("a number")))
}

pub(super) fn all() -> Vec<(Rule, Seed)> {
    let mut all = of_one();
    all.extend(over_time());
    all.extend(across());
    all.extend(requests());
    all.extend(content());
    all
}

fn of_one() -> Vec<(Rule, Seed)> {
    vec![
        (Rule::Syntax, replaced("v", "#EXTINF:", "#EXTINF:x")),
        (
            Rule::ContentType,
            edited(|asked, answer| {
                if asked.is_segment() {
                    answer.header =
                        vec![("content-type".into(), "application/octet-stream".into())];
                }
            }),
        ),
        (
            Rule::TagOnce,
            replaced(
                "v",
                "#EXT-X-VERSION:9\n",
                "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n",
            ),
        ),
        (
            Rule::Version,
            replaced("v", "#EXT-X-VERSION:9", "#EXT-X-VERSION:5"),
        ),
        (
            Rule::SegmentDuration,
            replaced("v", "#EXTINF:2.000000", "#EXTINF:2.500000"),
        ),
        (Rule::PartInf, without("v", "#EXT-X-PART-INF")),
        (
            Rule::PartTooLong,
            replaced("v", "DURATION=0.400000", "DURATION=0.420001"),
        ),
        (
            Rule::PartTooShort,
            replaced("v", "DURATION=0.400000", "DURATION=0.356000"),
        ),
        (
            Rule::PartsSum,
            replaced("v", "#EXTINF:2.000000", "#EXTINF:1.998000"),
        ),
        (
            Rule::PartHoldBack,
            replaced("v", "PART-HOLD-BACK=1.260000", "PART-HOLD-BACK=1.2"),
        ),
        (
            Rule::HoldBack,
            replaced(
                "v",
                "CAN-BLOCK-RELOAD=YES",
                "CAN-BLOCK-RELOAD=YES,HOLD-BACK=5.9",
            ),
        ),
        (
            Rule::SkipUntil,
            replaced("v", "CAN-SKIP-UNTIL=12.0", "CAN-SKIP-UNTIL=11.9"),
        ),
        (
            Rule::LowLatencyProfile,
            replaced("v", "CAN-SKIP-UNTIL=12.0,", ""),
        ),
        (
            Rule::PlaylistType,
            replaced(
                "v",
                "#EXT-X-PART-INF",
                "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-PART-INF",
            ),
        ),
        (Rule::HintMissing, without("v", "#EXT-X-PRELOAD-HINT")),
        (Rule::DateJump, with(|live| live.date_jump = Some(32))),
        (Rule::MapMissing, without("v", "#EXT-X-MAP")),
        (Rule::MapChange, with(|live| live.map_change = Some(32))),
        (
            Rule::UriReused,
            edited(|asked, answer| {
                if asked.is_playlist("v") {
                    lines(answer, |line| {
                        Some(if line.starts_with('v') {
                            "v29.m4s".into()
                        } else {
                            line.into()
                        })
                    });
                }
            }),
        ),
        (
            Rule::Multivariant,
            replaced("index", "GROUP-ID=\"sound\"", "GROUP-ID=\"other\""),
        ),
    ]
}

fn over_time() -> Vec<(Rule, Seed)> {
    vec![
        (
            Rule::TargetDurationChanges,
            changed("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3"),
        ),
        (
            Rule::PartTargetChanges,
            changed("PART-TARGET=0.420000", "PART-TARGET=0.410000"),
        ),
        (
            Rule::ServerControlChanges,
            changed("PART-HOLD-BACK=1.260000", "PART-HOLD-BACK=1.4"),
        ),
        (
            Rule::VersionChanges,
            changed("#EXT-X-VERSION:9", "#EXT-X-VERSION:10"),
        ),
        (
            Rule::MediaSequenceDecreases,
            edited(|asked, answer| {
                if asked.is_playlist("v") && asked.ms > THEN_MS {
                    lines(answer, |line| {
                        Some(renumbered(line, "#EXT-X-MEDIA-SEQUENCE:", |number| {
                            number - 9
                        }))
                    });
                }
            }),
        ),
        (
            Rule::DiscontinuitySequenceDecreases,
            changed(
                "#EXT-X-DISCONTINUITY-SEQUENCE:5",
                "#EXT-X-DISCONTINUITY-SEQUENCE:4",
            ),
        ),
        (
            Rule::DiscontinuityRenumbered,
            changed(
                "#EXT-X-DISCONTINUITY-SEQUENCE:5",
                "#EXT-X-DISCONTINUITY-SEQUENCE:6",
            ),
        ),
        (
            Rule::SegmentChanges,
            changed("#EXTINF:2.000000", "#EXTINF:1.999900"),
        ),
        (Rule::PartChanges, changed(",INDEPENDENT=YES", "")),
        (
            Rule::SegmentRemoved,
            edited(|asked, answer| {
                if asked.is_playlist("v") && asked.ms > THEN_MS {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    let third_last = text
                        .rmatch_indices("#EXTINF")
                        .nth(2)
                        .map_or(0, |(at, _)| at);
                    answer.body.truncate(third_last);
                }
            }),
        ),
        (Rule::WindowTooShort, with(|live| live.window = 2)),
        (Rule::PartUnlistedEarly, with(|live| live.parts_ms = 3_500)),
        (Rule::PartListedLong, with(|live| live.parts_ms = 8_000)),
        (
            Rule::EndRevoked,
            with(|live| {
                live.ends_ms = Some(THEN_MS);
                live.edit = Box::new(|asked, answer| {
                    if asked.ms > THEN_MS + 400 {
                        replace(answer, "#EXT-X-ENDLIST\n", "");
                    }
                });
            }),
        ),
        (
            Rule::SegmentLate,
            with(|live| live.late = Some((170, 2_000))),
        ),
        (Rule::PartLate, with(|live| live.late = Some((170, 500)))),
        (
            Rule::HintWrong,
            replaced("v", "TYPE=PART,URI=\"v", "TYPE=PART,URI=\"w"),
        ),
    ]
}

fn across() -> Vec<(Rule, Seed)> {
    let report = |number: fn(u64) -> u64| {
        edited(move |asked, answer| {
            let start = "#EXT-X-RENDITION-REPORT:URI=\"a.m3u8\",LAST-MSN=";
            if asked.is_playlist("v") {
                lines(answer, |line| Some(renumbered(line, start, number)));
            }
        })
    };
    vec![
        (
            Rule::RenditionsTarget,
            replaced("a", "#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3"),
        ),
        (
            Rule::RenditionsControl,
            replaced("a", "PART-HOLD-BACK=1.260000", "PART-HOLD-BACK=1.3"),
        ),
        (
            Rule::RenditionsDates,
            without("a", "#EXT-X-PROGRAM-DATE-TIME"),
        ),
        (
            Rule::RenditionsDiscontinuity,
            replaced("a", "DISCONTINUITY-SEQUENCE:5", "DISCONTINUITY-SEQUENCE:6"),
        ),
        (
            Rule::RenditionsTimestamps,
            with(|live| live.audio_units = 4_800),
        ),
        (Rule::ReportMissing, without("v", "#EXT-X-RENDITION-REPORT")),
        (Rule::ReportAhead, report(|number| number + 1)),
        (Rule::ReportStale, report(|number| number - 1)),
    ]
}

fn requests() -> Vec<(Rule, Seed)> {
    let status = |from: u16, to: u16, is_it: fn(&Asked<'_>) -> bool| {
        edited(move |asked, answer| {
            if is_it(asked) && answer.status == from {
                (answer.status, answer.body) = (to, vec![0; 10]);
            }
        })
    };
    vec![
        (
            Rule::PlaylistFails,
            status(200, 500, |asked| {
                asked.is_playlist("v") && asked.ms > THEN_MS
            }),
        ),
        (Rule::ReloadEarly, with(|live| live.holds_reloads = false)),
        (
            Rule::ReloadTooLong,
            edited(|asked, answer| {
                if asked.is_playlist("v") && (THEN_MS..THEN_MS + 500).contains(&asked.ms) {
                    answer.came_ms += 7_500;
                }
            }),
        ),
        (
            Rule::PartAlone,
            refused(200, |query| query == "_HLS_part=0"),
        ),
        (
            Rule::FarFuture,
            refused(404, |query| {
                query.contains("_HLS_part=2") || query.contains("_HLS_part=3")
            }),
        ),
        (Rule::Past, refused(400, |query| query == "_HLS_msn=21")),
        (
            Rule::PartBeyondLast,
            refused(400, |query| query.ends_with("_HLS_part=8")),
        ),
        (
            Rule::DirectivesAfterEnd,
            with(|live| {
                live.ends_ms = Some(THEN_MS);
                live.edit = Box::new(|asked, answer| {
                    if asked.ms >= THEN_MS && asked.query.contains("_HLS_msn=38") {
                        answer.status = 400;
                    }
                });
            }),
        ),
        (
            Rule::DeltaUnequal,
            edited(|asked, answer| {
                if asked.query.contains("_HLS_skip") {
                    lines(answer, |line| {
                        Some(renumbered(
                            line,
                            "#EXT-X-SKIP:SKIPPED-SEGMENTS=",
                            |number| number - 1,
                        ))
                    });
                }
            }),
        ),
        (Rule::DeltaTooMuch, with(|live| live.skip_ms = 8_000)),
        (
            Rule::DeltaUnasked,
            replaced(
                "v",
                "#EXT-X-PART-INF",
                "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXT-X-PART-INF",
            ),
        ),
        (Rule::Encodings, Box::new(other_when_compressed)),
        (
            Rule::Unknown,
            status(404, 200, |asked| {
                asked.path.ends_with("no-such-segment.m4s")
            }),
        ),
        (
            Rule::MediaFails,
            status(200, 404, |asked| asked.is_segment() && asked.ms > THEN_MS),
        ),
        (Rule::HintFails, with(|live| live.holds_hints = false)),
        (
            Rule::HintTrickles,
            edited(|asked, answer| {
                if asked.is_part() {
                    answer.began_ms = answer.came_ms.saturating_sub(200);
                }
            }),
        ),
        (Rule::SegmentGoneEarly, with(|live| live.kept = 3)),
        (Rule::PartGoneEarly, Box::new(parts_go_early)),
    ]
}

/// The compressed playlist, which is the third of four, is another.
fn other_when_compressed() -> BTreeSet<Rule> {
    use super::super::asks::compare_forms;
    use super::super::playlist::Media;
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
    let whole = Answer {
        status: 200,
        body: text.into(),
        ..Answer::default()
    };
    let gzip = Answer {
        body: b"#EXTM3U\n".to_vec(),
        ..whole.clone()
    };
    let mut faults = Vec::new();
    let answers = [whole.clone(), whole.clone(), gzip, whole];
    compare_forms(
        "http://live/v.m3u8",
        &Media::default(),
        &answers,
        &mut faults,
    );
    faults.into_iter().map(|(rule, _)| rule).collect()
}

/// Parts are there for as long as they are listed.
fn parts_go_early() -> BTreeSet<Rule> {
    edited(|asked, answer| {
        let number = asked
            .path
            .strip_prefix("/live/v")
            .and_then(|name| name.split('.').next()?.parse::<u64>().ok());
        let is_old = number.is_some_and(|number| (number + 1) * 2_000 + 8_200 < asked.ms);
        if asked.is_part() && is_old {
            answer.status = 404;
        }
    })()
}

fn content() -> Vec<(Rule, Seed)> {
    let bytes = |is_it: fn(&Asked<'_>) -> bool, edit: fn(&mut Vec<u8>)| {
        edited(move |asked, answer| {
            if is_it(asked) && answer.status == 200 {
                edit(&mut answer.body);
            }
        })
    };
    let is_init = |asked: &Asked<'_>| asked.path.ends_with("v0.init.mp4");
    vec![
        (
            Rule::Container,
            bytes(
                |asked| asked.is_part(),
                |body| body.truncate(body.len() - 1),
            ),
        ),
        (
            Rule::PartsAreSegment,
            bytes(
                |asked| asked.is_segment(),
                |body| *body.last_mut().expect("a byte") ^= 1,
            ),
        ),
        (
            Rule::MediaDuration,
            edited(|asked, answer| {
                if asked.is_playlist("v") {
                    replace(answer, "DURATION=0.400000", "DURATION=0.398000");
                    replace(answer, "EXTINF:2.000000", "EXTINF:1.990000");
                }
            }),
        ),
        (Rule::DecodeTime, with(|live| live.time_jump = Some(172))),
        (Rule::FragmentNumber, with(|live| live.numbers = false)),
        (Rule::Independent, replaced("v", ",INDEPENDENT=YES", "")),
        (
            Rule::InitFormat,
            bytes(is_init, |body| {
                let at = body
                    .windows(4)
                    .position(|four| four == b"avc1")
                    .expect("a sample entry");
                body[at + 3] = b'3';
            }),
        ),
        (Rule::Codecs, replaced("index", ",mp4a.40.2", "")),
        (
            Rule::TsTables,
            Box::new(|| transport(&[packet(256, 0), packet(0, 0), packet(4_096, 0)])),
        ),
        (
            Rule::TsContinuity,
            Box::new(|| transport(&[packet(0, 0), packet(0, 1), packet(0, 3)])),
        ),
    ]
}

fn transport(packets: &[[u8; 188]]) -> BTreeSet<Rule> {
    let of = Segment {
        duration_us: 1,
        ..Segment::default()
    };
    let faults = Content::default().segment(&of, &packets.concat(), None);
    faults.into_iter().map(|(rule, _)| rule).collect()
}

/// A packet of MPEG-TS that starts nothing.
fn packet(pid: u16, counter: u8) -> [u8; 188] {
    let mut packet = [0xff; 188];
    let [high, low] = pid.to_be_bytes();
    packet[..4].copy_from_slice(&[0x47, high, low, 0x10 | counter]);
    packet
}
