//! Checks that the result is complete and right: every frame, and every record.

use livetrail_audit::{AuditAction, AuditRecord, Personal, Reason};
use livetrail_engine::{CodecId, MediaFrame, MediaKind};
use livetrail_record::TrailChecker;
use livetrail_verify::{Class, Verdict};

use super::{Evidence, Played, Shown};

/// One thing that must hold.
pub(super) struct Finding {
    /// The condition, in words.
    pub(super) what: String,
    /// The reason why the condition is not met.
    pub(super) problem: Option<String>,
}

impl Finding {
    fn new(what: impl Into<String>, found: Result<(), String>) -> Self {
        Self {
            what: what.into(),
            problem: found.err(),
        }
    }

    pub(super) fn holds(&self) -> bool {
        self.problem.is_none()
    }
}

/// All conditions.
pub(super) fn all(shown: &Shown) -> Vec<Finding> {
    vec![
        viewer("RTMP", &shown.rtmp, shown),
        viewer("HTTP-FLV", &shown.http, shown),
        Finding::new(
            "refused were a publisher and a viewer, each in its protocol's words",
            refusals(shown),
        ),
        Finding::new(
            "the trail has exactly the records of what happened, with the right reasons and names",
            expected_records(shown),
        ),
        Finding::new(
            "no record of schema 2 has a name: it commits to the ones in the vault",
            no_names(shown),
        ),
        Finding::new(
            "the totals on record are what the publisher sent and the viewers got",
            totals(shown),
        ),
        Finding::new(
            "the trail is sound: every session begins and ends exactly once, no number is missing",
            sound(shown),
        ),
        Finding::new(
            format!(
                "an outsider finds the trail whole: signature and cosignature, all {} entries and their hashes, every session",
                shown.evidence.whole.figures.entries
            ),
            whole(shown),
        ),
        Finding::new(
            format!(
                "the receipt for entry {} proves it by itself, and does not prove the entry with one byte changed",
                shown.evidence.changed_entry
            ),
            receipt(&shown.evidence),
        ),
        changed(&shown.evidence),
    ]
}

/// The viewer got the decoder configurations, and then every frame from a keyframe on, with its
/// times and its payload.
fn viewer(name: &str, played: &Played, shown: &Shown) -> Finding {
    let media = |frames: &[MediaFrame]| -> Vec<MediaFrame> {
        frames.iter().filter(|f| is_media(f)).cloned().collect()
    };
    let (sent, got) = (media(&shown.clip), media(&played.frames));
    let what = format!(
        "the {name} viewer got its keyframe and every frame after it: {} video, {} audio",
        count(&got, MediaKind::Video),
        count(&got, MediaKind::Audio)
    );
    Finding::new(
        what,
        configurations(played, shown).and_then(|()| suffix(&sent, &got)),
    )
}

fn is_media(frame: &MediaFrame) -> bool {
    frame.kind != MediaKind::Data && !frame.is_config()
}

fn count(frames: &[MediaFrame], kind: MediaKind) -> usize {
    frames.iter().filter(|frame| frame.kind == kind).count()
}

fn configurations(played: &Played, shown: &Shown) -> Result<(), String> {
    let before_media = played.frames.iter().take_while(|frame| !is_media(frame));
    let got: Vec<_> = before_media.collect();
    for codec in [CodecId::H264, CodecId::Aac] {
        let is_it = |frame: &&MediaFrame| frame.is_config() && frame.codec == codec;
        let sent = shown.clip.iter().find(is_it).map(|config| &config.payload);
        let there = got
            .iter()
            .any(|frame| is_it(frame) && Some(&frame.payload) == sent);
        if !there {
            return Err(format!(
                "the {} configuration did not come first",
                codec.label()
            ));
        }
    }
    Ok(())
}

fn suffix(sent: &[MediaFrame], got: &[MediaFrame]) -> Result<(), String> {
    if !got.first().is_some_and(MediaFrame::is_keyframe) {
        return Err("it did not begin with a keyframe".to_owned());
    }
    let skipped = sent
        .len()
        .checked_sub(got.len())
        .ok_or_else(|| format!("{} frames came, {} were sent", got.len(), sent.len()))?;
    if skipped == 0 {
        return Err("it joined late and yet got the whole clip".to_owned());
    }
    let differing = sent
        .iter()
        .skip(skipped)
        .zip(got)
        .position(|(sent, got)| sent != got);
    match differing {
        None => Ok(()),
        Some(at) => Err(format!("frame {at} is not the one that was sent")),
    }
}

fn refusals(shown: &Shown) -> Result<(), String> {
    let got = (
        shown.refused_publisher.as_str(),
        shown.refused_viewer.as_str(),
    );
    match got {
        ("NetStream.Publish.BadName", "403") => Ok(()),
        got => Err(format!("the clients got {got:?}")),
    }
}

/// Action, reason, protocol and principal of a record.
type Fact<'a> = (&'a str, &'a str, &'a str, &'a str);

fn fact<'a>(record: &'a AuditRecord, shown: &'a Shown) -> Fact<'a> {
    let names = record.session.and_then(|session| shown.names.get(&session));
    let principal = names.and_then(|names| names.principal.as_ref());
    (
        record.action.label(),
        record.reason.as_ref().map_or("", Reason::label),
        record.protocol.as_deref().unwrap_or(""),
        principal.map_or("", Personal::expose),
    )
}

fn expected_records(shown: &Shown) -> Result<(), String> {
    let mut expected = [
        ("server_started", "", "", ""),
        ("publish_denied", "unauthorized", "rtmp", ""),
        ("publish_started", "", "rtmp", "studio-1"),
        ("play_started", "", "rtmp", "audience"),
        ("play_started", "", "http-flv", "audience"),
        ("play_denied", "unauthorized", "http-flv", ""),
        ("publish_ended", "client_closed", "rtmp", "studio-1"),
        ("play_ended", "stream_ended", "rtmp", "audience"),
        ("play_ended", "stream_ended", "http-flv", "audience"),
        ("server_stopped", "", "", ""),
    ];
    let mut there: Vec<_> = shown
        .trail
        .iter()
        .map(|record| fact(record, shown))
        .collect();
    let ends = there.first().zip(there.last());
    if ends.map(|(first, last)| (first.0, last.0)) != Some(("server_started", "server_stopped")) {
        return Err("it does not begin and end with the server".to_owned());
    }
    // Two sessions that end together may be recorded in either order.
    there.sort_unstable();
    expected.sort_unstable();
    let missing: Vec<_> = expected.iter().filter(|e| !there.contains(e)).collect();
    let surplus: Vec<_> = there.iter().filter(|t| !expected.contains(t)).collect();
    if there != expected {
        return Err(format!(
            "{} records; missing {missing:?}, not expected {surplus:?}",
            there.len()
        ));
    }
    let elsewhere = shown.trail.iter().find(|record| {
        let stream = record.stream.as_deref();
        record.session.is_some() && (record.app.as_str(), stream) != ("live", Some("demo"))
    });
    elsewhere.map_or(Ok(()), |record| {
        Err(format!("a {} is of another stream", record.action))
    })
}

fn no_names(shown: &Shown) -> Result<(), String> {
    let mut records = shown.trail.iter().filter(|record| record.v >= 2);
    let named = records.find(|record| {
        record.principal.is_some() || record.peer.is_some() || record.user_agent.is_some()
    });
    match named {
        Some(record) => Err(format!("a {} has a name", record.action)),
        None => Ok(()),
    }
}

fn totals(shown: &Shown) -> Result<(), String> {
    let ended = |action: &AuditAction, protocol: &str| {
        shown
            .trail
            .iter()
            .find(|r| r.action == *action && r.protocol.as_deref() == Some(protocol))
            .map(|r| {
                (
                    r.frames.unwrap_or(0),
                    r.bytes.unwrap_or(0),
                    r.dropped_frames,
                )
            })
            .unwrap_or_default()
    };
    let got = |played: &Played| {
        let bytes: usize = played.frames.iter().map(|frame| frame.payload.len()).sum();
        (played.frames.len() as u64, bytes as u64, Some(0))
    };
    let published = (shown.published.frames, shown.published.bytes, Some(0));
    for (what, there, real) in [
        (
            "publish",
            ended(&AuditAction::PublishEnded, "rtmp"),
            published,
        ),
        (
            "RTMP play",
            ended(&AuditAction::PlayEnded, "rtmp"),
            got(&shown.rtmp),
        ),
        (
            "HTTP-FLV play",
            ended(&AuditAction::PlayEnded, "http-flv"),
            got(&shown.http),
        ),
    ] {
        if there != real {
            return Err(format!(
                "{what}: {there:?} frames, bytes and dropped frames are on record, {real:?} is right"
            ));
        }
    }
    Ok(())
}

fn sound(shown: &Shown) -> Result<(), String> {
    if !shown.wrote_everything {
        return Err("the trail was not written whole".to_owned());
    }
    let (findings, report) = TrailChecker::new().check(&shown.trail);
    if let Some(finding) = findings.first() {
        return Err(finding.to_string());
    }
    if !report.open.is_empty() || report.closed_sessions != 5 {
        return Err(format!(
            "{} sessions are closed and {} open",
            report.closed_sessions,
            report.open.len()
        ));
    }
    Ok(())
}

fn whole(shown: &Shown) -> Result<(), String> {
    let report = &shown.evidence.whole;
    let signed = report.checkpoint.as_ref().is_some_and(|c| c.verified);
    if report.verdict != Verdict::Sound || !signed || report.keys.from_trail {
        return Err(report.to_string());
    }
    if report.figures.entries != shown.trail.len() as u64 {
        return Err(format!("{} entries are sealed", report.figures.entries));
    }
    Ok(())
}

fn receipt(evidence: &Evidence) -> Result<(), String> {
    let (good, bad) = (&evidence.receipt, &evidence.receipt_of_changed);
    if good.verdict != Verdict::Sound || good.index != Some(evidence.changed_entry) {
        return Err(good.to_string());
    }
    if bad.verdict != Verdict::NotSound {
        return Err(bad.to_string());
    }
    Ok(())
}

/// One byte of the copy was changed. The verifier must find it, with its place.
fn changed(evidence: &Evidence) -> Finding {
    let (file, entry) = (&evidence.changed_file, evidence.changed_entry);
    let found = evidence.changed.findings.iter().find(|finding| {
        finding.class == Class::EntryChanged
            && finding.index == Some(entry)
            && finding.path.as_ref() == Some(file)
    });
    let refused = evidence.changed.verdict == Verdict::NotSound;
    let text = found
        .filter(|_| refused)
        .map_or_else(String::new, |finding| finding.text.clone());
    Finding::new(
        format!("one byte changed in a copy is found: entry {entry} in {file}: {text}"),
        match found {
            Some(_) if refused => Ok(()),
            _ => Err(evidence.changed.to_string()),
        },
    )
}
