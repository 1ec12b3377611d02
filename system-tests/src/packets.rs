//! The packets of a media file, each with its time and a hash of its bytes: compares played with
//! published media.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::{process, tool};

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Decoding time in milliseconds, from the file's begin.
    pub dts_ms: i64,
    /// Presentation time likewise.
    pub pts_ms: i64,
    /// Whether decoding can begin here.
    pub keyframe: bool,
    /// Size in bytes and hash, as ffprobe prints them.
    pub content: String,
}

/// The packets of a file with at most one video and one audio stream, in decoding order each.
#[derive(Debug, Clone, Default)]
pub struct Packets {
    /// Of the video stream.
    pub video: Vec<Packet>,
    /// Of the audio stream.
    pub audio: Vec<Packet>,
}

impl Packets {
    /// Reads them with ffprobe.
    ///
    /// # Panics
    /// When ffprobe is not installed, or cannot read the file.
    #[track_caller]
    #[must_use]
    pub fn of(file: &Path) -> Self {
        let mut command = tool::tool("ffprobe", "ffmpeg");
        command.args(["-v", "error", "-show_data_hash", "sha256", "-of", "json"]);
        let entries = "packet=codec_type,pts_time,dts_time,size,flags,data_hash";
        command.args(["-show_entries", entries]).arg(file);
        let finished = process::run("ffprobe", &command, Duration::from_secs(60)).success();
        let shown: serde_json::Value =
            serde_json::from_str(&finished.stdout).expect("JSON from ffprobe");
        let mut packets = Self::default();
        for packet in shown["packets"].as_array().into_iter().flatten() {
            let text = |key: &str| packet[key].as_str().unwrap_or_default();
            let read = Packet {
                dts_ms: milliseconds(text("dts_time")),
                pts_ms: milliseconds(text("pts_time")),
                keyframe: text("flags").starts_with('K'),
                content: format!("{} {}", text("size"), text("data_hash")),
            };
            match text("codec_type") {
                "video" => packets.video.push(read),
                "audio" => packets.audio.push(read),
                _ => {}
            }
        }
        packets
    }

    /// Asserts that these packets are those of `published` from a keyframe on, in both streams,
    /// none missing, none twice, with their original times; to the end of `published` if `whole`.
    ///
    /// Only the start may differ: a viewer's first keyframe, and its first audio after it.
    ///
    /// # Panics
    /// When they are not; the message says where they part.
    #[track_caller]
    pub fn assert_continue(&self, published: &Self, whole: bool) {
        let missing = self.missing_at_end(published);
        assert!(
            !whole || missing == 0,
            "the last {missing} packets are missing"
        );
    }

    /// The number of packets at the end of `published` that these packets lack, with the checks of
    /// [`assert_continue`](Self::assert_continue).
    ///
    /// # Panics
    /// When these packets do not continue `published`; the message says where they part.
    #[track_caller]
    #[must_use]
    pub fn missing_at_end(&self, published: &Self) -> usize {
        let video = Stretch::find("video", &self.video, &published.video);
        let audio = Stretch::find("audio", &self.audio, &published.audio);
        assert!(
            self.video.first().is_some_and(|first| first.keyframe),
            "the first video packet is not a keyframe"
        );
        // A video frame and the audio of its time come within a few packets of each other.
        let late = audio.begin_ms - video.begin_ms;
        assert!(late <= 100, "the first audio was played {late} ms late");
        // One time line: both streams have the same shift, except for the millisecond to which FLV
        // rounds.
        let apart = video.shift_ms.abs_diff(audio.shift_ms);
        assert!(
            apart <= 1,
            "audio and video have drifted apart by {apart} ms"
        );
        video.missing + audio.missing
    }
}

/// Where a played stream lies in the published one.
struct Stretch {
    /// When the first packet that was played had been published.
    begin_ms: i64,
    /// What must be added to a published time to get the played one.
    shift_ms: i64,
    /// Packets at the end of what was published that were not played.
    missing: usize,
}

impl Stretch {
    #[track_caller]
    fn find(kind: &str, played: &[Packet], published: &[Packet]) -> Self {
        let Some(first) = played.first() else {
            panic!(
                "no {kind} was played ({} packets published)",
                published.len()
            );
        };
        // Equal packets may occur more than once (silence); the start is where most of the later
        // ones are equal too.
        let begin = (0..published.len())
            .filter(|at| published[*at].content == first.content)
            .max_by_key(|at| agreeing(played, &published[*at..]));
        let Some(begin) = begin else {
            panic!("the first {kind} packet that was played was never published");
        };
        let rest = &published[begin..];
        let shift_ms = first.dts_ms - rest[0].dts_ms;
        for (at, packet) in played.iter().enumerate() {
            let expected = rest.get(at);
            let same = expected.is_some_and(|expected| {
                expected.content == packet.content
                    && expected.keyframe == packet.keyframe
                    && (expected.dts_ms + shift_ms).abs_diff(packet.dts_ms) <= 1
                    && (expected.pts_ms + shift_ms).abs_diff(packet.pts_ms) <= 1
            });
            assert!(
                same,
                "{kind} parts at packet {at} of those played, {} of those published (shift {shift_ms} ms)\n{}",
                begin + at,
                around(played, rest, at)
            );
        }
        Self {
            begin_ms: rest[0].dts_ms,
            shift_ms,
            missing: rest.len() - played.len(),
        }
    }
}

fn agreeing(played: &[Packet], published: &[Packet]) -> usize {
    let pairs = played.iter().zip(published);
    pairs.take_while(|(a, b)| a.content == b.content).count()
}

fn around(played: &[Packet], published: &[Packet], at: usize) -> String {
    let mut text = String::new();
    for i in at.saturating_sub(2)..at + 3 {
        let _ = writeln!(text, "  played    {:?}", played.get(i));
        let _ = writeln!(text, "  published {:?}", published.get(i));
    }
    text
}

fn milliseconds(seconds: &str) -> i64 {
    // Text as ffprobe prints it, `12.345000`: exact in a double to far below a millisecond.
    (seconds.parse::<f64>().unwrap_or(f64::NAN) * 1_000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 40 ms, a keyframe every fourth, as their contents say.
    fn stream(contents: &[&str], begin_ms: i64) -> Vec<Packet> {
        let packet = |(at, content): (usize, &&str)| Packet {
            dts_ms: begin_ms + 40 * at as i64,
            pts_ms: begin_ms + 40 * at as i64,
            keyframe: content.starts_with('K'),
            content: (*content).to_owned(),
        };
        contents.iter().enumerate().map(packet).collect()
    }

    fn published() -> Packets {
        Packets {
            video: stream(&["K0", "1", "2", "3", "K4", "5", "6", "7"], 0),
            audio: stream(&["a", "s", "s", "s", "b", "s", "s", "c"], 0),
        }
    }

    fn from(at: usize, shift_ms: i64) -> Packets {
        let mut played = published();
        for packets in [&mut played.video, &mut played.audio] {
            packets.drain(..at);
            for packet in packets {
                packet.dts_ms += shift_ms;
                packet.pts_ms += shift_ms;
            }
        }
        played
    }

    #[test]
    fn a_late_joiner_continues_from_a_keyframe_and_may_stop_early_unless_the_whole_is_asked_for() {
        from(4, -160).assert_continue(&published(), true);
        let mut early = from(4, -160);
        early.video.pop();
        early.assert_continue(&published(), false);
    }

    #[test]
    #[should_panic(expected = "the last 1 packets are missing")]
    fn a_lost_end_is_found() {
        let mut played = from(4, 0);
        played.video.pop();
        played.assert_continue(&published(), true);
    }

    #[test]
    #[should_panic(expected = "video parts at packet 2")]
    fn a_lost_packet_is_found() {
        let mut played = from(0, 0);
        played.video.remove(2);
        played.assert_continue(&published(), true);
    }

    #[test]
    #[should_panic(expected = "audio parts at packet 1")]
    fn a_packet_at_another_time_is_found() {
        let mut played = from(4, 0);
        played.audio[1].dts_ms += 2;
        played.assert_continue(&published(), true);
    }

    #[test]
    #[should_panic(expected = "not a keyframe")]
    fn a_begin_without_a_keyframe_is_found() {
        from(1, 0).assert_continue(&published(), true);
    }

    #[test]
    #[should_panic(expected = "120 ms late")]
    fn audio_that_is_missing_at_the_begin_is_found() {
        let mut played = from(4, 0);
        played.audio.drain(..3);
        played.assert_continue(&published(), true);
    }

    #[test]
    #[should_panic(expected = "drifted apart by 40 ms")]
    fn streams_that_drift_apart_are_found() {
        let mut played = from(4, 0);
        for packet in &mut played.audio {
            packet.dts_ms += 40;
            packet.pts_ms += 40;
        }
        played.assert_continue(&published(), true);
    }
}
