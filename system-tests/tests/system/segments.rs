//! Segments of real encoders' frames, read by ffprobe and decoded by ffmpeg: the packets are those
//! of the clip, with its times.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use livetrail_engine::{CodecId, MediaFrame, MediaKind};
use livetrail_hls::{Found, Playlists, Resource};
use livetrail_media::{flv::Demuxer, tag::Decoded};
use livetrail_segment::{Container, Event, Irregularity, Judge, Options, Rendition, Segmenter};
use sha2::{Digest as _, Sha256};
use system_tests::{Packet, Packets, clip, ffmpeg8, run, tool};
use tempfile::TempDir;

/// The frames of a clip.
pub(crate) fn frames(clip: &Path) -> Vec<MediaFrame> {
    let mut demuxer = Demuxer::new();
    demuxer.push(&std::fs::read(clip).expect("a clip"));
    let mut frames = Vec::new();
    while let Some(tag) = demuxer.next_tag().expect("an FLV file") {
        let decoded = tag.decode().expect("a tag");
        frames.extend(Decoded::into_frames(decoded));
    }
    frames
}

/// The packets that a player must read: those that were pushed.
fn pushed(clip: &Path) -> Packets {
    let mut packets = Packets::default();
    for frame in frames(clip) {
        let of_track = match frame.kind {
            MediaKind::Video => &mut packets.video,
            MediaKind::Audio => &mut packets.audio,
            MediaKind::Data => continue,
        };
        let hash = Sha256::digest(&frame.payload);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if !frame.is_config() && !frame.payload.is_empty() {
            of_track.push(Packet {
                dts_ms: frame.dts_ms(),
                pts_ms: frame.pts_ms(),
                keyframe: frame.kind == MediaKind::Audio || frame.is_keyframe(),
                content: format!("{} SHA256:{hash}", frame.payload.len()),
            });
        }
    }
    packets
}

/// The segments of a clip as one file for each rendition, after its init segment; and the codecs.
struct Files {
    _dir: TempDir,
    judge: Judge,
    codecs: Vec<String>,
    video: PathBuf,
    audio: PathBuf,
    muxed: PathBuf,
}

impl Files {
    fn of(clip: &Path, container: Container) -> Self {
        let options = Options::new(container);
        let mut segmenter = Segmenter::new(options.clone()).expect("valid options");
        let mut judge = Judge::new(options);
        let mut events = Vec::new();
        for frame in frames(clip) {
            segmenter.push(&frame, &mut events);
        }
        segmenter.finish(&mut events);
        let dir = TempDir::with_prefix("segments").expect("a directory");
        let path = |name: &str| dir.path().join(name);
        let (video, audio, muxed) = (path("video.mp4"), path("audio.mp4"), path("all.ts"));
        let mut codecs = Vec::new();
        let mut contents = [Vec::new(), Vec::new(), Vec::new()];
        for event in &events {
            match event {
                Event::Init(init) => {
                    contents[init.rendition as usize].extend_from_slice(&init.bytes);
                    codecs.push(init.codecs.clone());
                }
                Event::Segment(segment) => {
                    for piece in segment.pieces() {
                        contents[segment.rendition as usize].extend_from_slice(piece);
                    }
                }
                Event::Irregular(irregularity) => assert!(
                    // HLS has no Opus in transport streams.
                    matches!(
                        irregularity,
                        Irregularity::UnsupportedCodec {
                            codec: CodecId::Opus
                        }
                    ),
                    "{irregularity:?}"
                ),
                _ => {}
            }
        }
        judge.check(&mut events);
        for (file, content) in [&video, &audio, &muxed].into_iter().zip(contents) {
            std::fs::write(file, content).expect("a file");
        }
        Self {
            _dir: dir,
            judge,
            codecs,
            video,
            audio,
            muxed,
        }
    }
}

/// The hashes of the decoded pictures, in the order of presentation.
fn pictures(ffmpeg: Command, file: &Path) -> Vec<String> {
    let mut command = ffmpeg;
    command.arg("-i").arg(file);
    command.args([
        "-map",
        "0:v",
        "-fps_mode",
        "passthrough",
        "-f",
        "framemd5",
        "-",
    ]);
    let finished = run("ffmpeg", &command, Duration::from_secs(60)).success();
    let lines = finished
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#'));
    let hash = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    lines.map(hash).collect()
}

/// The packets of both renditions are those of the clip, and decode.
#[track_caller]
fn assert_cmaf(clip: &Path, codecs: [&str; 2], ffmpeg: fn() -> Command) {
    let files = Files::of(clip, Container::Cmaf);
    assert_eq!(files.codecs, codecs);
    let out = Packets {
        video: Packets::of(&files.video).video,
        audio: Packets::of(&files.audio).audio,
    };
    let clip_packets = pushed(clip);
    out.assert_continue(&clip_packets, true);
    assert_eq!(out.video.len(), clip_packets.video.len());
    assert_eq!(out.audio.len(), clip_packets.audio.len());
    tool::assert_decodes_with(ffmpeg(), &files.video);
    tool::assert_decodes_with(ffmpeg(), &files.audio);
    let segments = files.judge.segments(Rendition::Video);
    assert!(segments.iter().all(|segment| segment.independent));
    assert_eq!(segments.len(), files.judge.segments(Rendition::Audio).len());
}

#[test]
fn cmaf_of_h264_with_reordered_pictures_has_the_packets_of_the_encoder() {
    let clip = clip::reordered(false);
    assert_cmaf(clip, ["avc1.4d400d", "mp4a.40.2"], tool::ffmpeg);
    // MP3 has no configuration: its frames say what they are.
    let clip = clip::reordered(true);
    assert_cmaf(clip, ["avc1.4d400d", "mp4a.40.34"], tool::ffmpeg);
}

#[test]
fn cmaf_of_h265_av1_and_opus_has_the_packets_of_the_encoder() {
    assert_cmaf(
        &clip::enhanced("hevc"),
        ["hvc1.1.6.L60.90", "opus"],
        ffmpeg8,
    );
    assert_cmaf(&clip::enhanced("av1"), ["av01.0.00M.08", "opus"], ffmpeg8);
}

/// The times and the pictures of a transport stream are those of the clip. Its audio, too, if the
/// container has a form for it.
#[track_caller]
fn assert_ts(clip: &Path, codecs: &str, ffmpeg: fn() -> Command) {
    let files = Files::of(clip, Container::MpegTs);
    assert_eq!(files.codecs, [codecs]);
    let (out, pushed) = (Packets::of(&files.muxed), pushed(clip));
    let from = |first: i64, packets: &[Packet]| -> Vec<(i64, i64)> {
        let times = packets.iter();
        times
            .map(|packet| (packet.dts_ms - first, packet.pts_ms - first))
            .collect()
    };
    // One time line for both tracks.
    let (first, first_pushed) = (out.video[0].dts_ms, pushed.video[0].dts_ms);
    assert_eq!(from(first, &out.video), from(first_pushed, &pushed.video));
    if codecs.contains(',') {
        assert_eq!(out.audio.len(), pushed.audio.len());
    } else {
        assert!(out.audio.is_empty());
    }
    let pairs = from(first, &out.audio)
        .into_iter()
        .zip(from(first_pushed, &pushed.audio));
    for ((_, out), (_, pushed)) in pairs {
        assert!(
            out.abs_diff(pushed) <= 2,
            "audio at {out} ms instead of {pushed}"
        );
    }
    assert_eq!(pictures(ffmpeg(), &files.muxed), pictures(ffmpeg(), clip));
    tool::assert_decodes_with(ffmpeg(), &files.muxed);
}

#[test]
fn a_transport_stream_has_the_times_and_pictures_of_the_encoder() {
    assert_ts(
        clip::reordered(false),
        "avc1.4d400d,mp4a.40.2",
        tool::ffmpeg,
    );
    assert_ts(
        clip::reordered(true),
        "avc1.4d400d,mp4a.40.34",
        tool::ffmpeg,
    );
    assert_ts(&clip::enhanced("hevc"), "hvc1.1.6.L60.90", ffmpeg8);
}

/// Writes everything that the playlists of a clip name, as files. Returns the multivariant one.
fn publish(clip: &Path, container: Container, dir: &Path) -> PathBuf {
    let mut segmenter = Segmenter::new(Options::new(container)).expect("valid options");
    let mut playlists = Playlists::new(livetrail_hls::Options::default()).expect("valid options");
    let mut events = Vec::new();
    for frame in frames(clip) {
        segmenter.push(&frame, &mut events);
    }
    segmenter.finish(&mut events);
    for event in events {
        playlists.apply(event, 1_796_113_800_000);
    }
    playlists.end();
    let index = dir.join("index.m3u8");
    std::fs::write(&index, playlists.multivariant().expect("a playlist")).expect("a file");
    for rendition in [Rendition::Video, Rendition::Audio, Rendition::Muxed] {
        let Some(text) = playlists.media(rendition, false) else {
            continue;
        };
        let name = Resource::Playlist(rendition).to_string();
        std::fs::write(dir.join(name), &text).expect("a file");
        let text = String::from_utf8(text.to_vec()).expect("text");
        for line in text.lines() {
            let name = line.split("URI=\"").last().unwrap_or_default();
            let name = name.trim_end_matches('"');
            if let Some(resource) = Resource::parse(name)
                && let Found::Media(pieces) = playlists.find(resource)
            {
                std::fs::write(dir.join(name), pieces.concat()).expect("a file");
            }
        }
    }
    index
}

#[test]
fn a_player_reads_the_playlists_and_gets_every_packet() {
    let clip = clip::reordered(false);
    let dir = TempDir::with_prefix("playlists").expect("a directory");
    let index = publish(clip, Container::Cmaf, dir.path());
    Packets::of(&index).assert_continue(&pushed(clip), true);
    tool::assert_decodes(&index);

    let dir = TempDir::with_prefix("playlists").expect("a directory");
    let index = publish(clip, Container::MpegTs, dir.path());
    let (out, pushed) = (Packets::of(&index), pushed(clip));
    assert_eq!(out.video.len(), pushed.video.len());
    assert_eq!(out.audio.len(), pushed.audio.len());
    tool::assert_decodes(&index);
}
