//! The segmenter: routes frames to their track, keeps time, and decides where the stream is cut.

use std::time::Duration;

use bytes::Bytes;
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, MediaKind};

use crate::{
    event::{Cause, Event, Init, Irregularity, Rendition, Track},
    format::{Format, supports},
    lane::{Lane, Rules, Sample, Writer},
    limits::Limits,
    mp4,
    options::{Container, Options, OptionsError, Targets},
    start::Start,
    state::{State, Waiting},
    time::{LINE_HZ, rescale, span, ticks, times},
    ts,
};

/// How long audio continues without video before it leads.
const VIDEO_STOPPED: Duration = Duration::from_secs(3);

/// Makes parts and segments of a stream's frames.
///
/// **Loop contract.** Each call adds all that it causes to `events`, and nothing is left to drain.
/// The host calls [`push`](Self::push) for each frame in the order of the stream,
/// [`discontinuity`](Self::discontinuity) where frames are missing, and [`finish`](Self::finish) at
/// the end. No call fails: what is unusual in the input is an [`Event::Irregular`].
///
/// **Latency.** A part comes with the frame after its last, because only that frame gives the
/// duration of the last one. At the start frames are held until both tracks are known and the frame
/// rate is measured: some frames, 1 s if there is one track, 5 s at most.
///
/// **Memory.** The frames of the open part ([`Options::max_part_bytes`], 1,024 frames), and the
/// parts of the open segment ([`Options::max_segment_bytes`] and one part more), for each
/// rendition; at the start 512 held frames of up to `max_part_bytes` together. Payloads are shared
/// with the frames until they are copied, once, into the buffer of their part. A frame costs no
/// other allocation.
#[derive(Debug)]
pub struct Segmenter {
    options: Options,
    limits: Limits,
    targets: Option<Targets>,
    /// Holds the first frames; `None` when they were segmented.
    start: Option<Start>,
    tracks: [State; 2],
    /// One for each track in CMAF, one for both in MPEG-TS.
    lanes: Vec<Lane>,
    discontinuity_sequence: u64,
    /// Whether there was a frame since the last discontinuity.
    has_frames: bool,
    is_finished: bool,
}

impl Segmenter {
    /// A segmenter for one stream.
    ///
    /// # Errors
    /// An option outside its bounds.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let sequence = options.first_sequence;
        let lane = |rendition, timing, writer| Lane::new(rendition, timing, writer, sequence);
        let lanes = match options.container {
            Container::Cmaf => vec![
                lane(Rendition::Video, Track::Video, Writer::Mp4(0)),
                lane(Rendition::Audio, Track::Audio, Writer::Mp4(0)),
            ],
            Container::MpegTs => {
                let writer = Writer::Ts(Box::new(ts::Writer::new()));
                vec![lane(Rendition::Muxed, Track::Video, writer)]
            }
        };
        Ok(Self {
            limits: Limits::new(&options),
            start: Some(Start::default()),
            discontinuity_sequence: options.first_discontinuity,
            options,
            targets: None,
            tracks: [State::new(Track::Video), State::new(Track::Audio)],
            lanes,
            has_frames: false,
            is_finished: false,
        })
    }

    /// Takes the next frame of the stream.
    pub fn push(&mut self, frame: &MediaFrame, events: &mut Vec<Event>) {
        if self.is_finished {
            self.is_finished = false;
            self.discontinuity(events);
        }
        let Some(track) = self.accept(frame, events) else {
            return;
        };
        let Some(start) = &mut self.start else {
            return self.take(track, frame, events);
        };
        start.hold(track, frame.clone());
        if start.is_complete(self.options.max_part_bytes) {
            self.begin(events);
        }
    }

    /// Marks that frames are missing here, or that another publisher follows: the open segments are
    /// closed, and the next ones follow a discontinuity. Video continues with the next keyframe.
    pub fn discontinuity(&mut self, events: &mut Vec<Event>) {
        self.begin(events);
        self.discontinue(Cause::Host, events);
        self.state(Track::Video).waits_for_key = true;
    }

    /// Closes all that is open. A frame after that follows a discontinuity.
    pub fn finish(&mut self, events: &mut Vec<Event>) {
        self.begin(events);
        self.close(events);
        self.is_finished = true;
    }

    /// The numbers that never change, as soon as they are known.
    #[must_use]
    pub fn targets(&self) -> Option<Targets> {
        self.targets
    }

    /// The frame's track, if it is one that is segmented.
    fn accept(&mut self, frame: &MediaFrame, events: &mut Vec<Event>) -> Option<Track> {
        let track = match frame.kind {
            MediaKind::Video => Track::Video,
            MediaKind::Audio => Track::Audio,
            MediaKind::Data => return None,
        };
        let container = self.options.container;
        let state = self.state(track);
        if frame.track != 0 {
            if !std::mem::replace(&mut state.has_extra, true) {
                events.push(Event::Irregular(Irregularity::ExtraTrack { track }));
            }
            return None;
        }
        if frame.is_as_received() || !supports(container, frame.codec) {
            let codec = frame.codec;
            // A description of a track is not a frame, and changes nothing here.
            if !frame.is_metadata() && state.unsupported.replace(codec) != Some(codec) {
                events.push(Event::Irregular(Irregularity::UnsupportedCodec { codec }));
            }
            return None;
        }
        state.unsupported = None;
        let is_end = frame.flags.contains(FrameFlags::END_OF_SEQUENCE);
        if frame.is_metadata() || is_end {
            return None;
        }
        let bytes = frame.payload.len();
        if bytes == 0 {
            events.push(Event::Irregular(Irregularity::BadFrame { track }));
            return None;
        }
        if bytes > self.options.max_part_bytes {
            let large = Irregularity::FrameTooLarge { track, bytes };
            events.push(Event::Irregular(large));
            return None;
        }
        Some(track)
    }

    /// Segments the frames that were held: with the formats of both tracks first, and a part target
    /// that fits the frame rate.
    fn begin(&mut self, events: &mut Vec<Event>) {
        let Some(start) = self.start.take() else {
            return;
        };
        for track in [Track::Video, Track::Audio] {
            if let Some(frame) = start.configuration(track) {
                self.configure(track, frame, events);
                self.change_format(track, events);
            }
        }
        let has_video = self.state(Track::Video).format.is_some() && start.has_keyframe();
        self.state(Track::Video).is_running = has_video;
        self.lead();
        match self.options.container {
            Container::Cmaf => {
                self.initialise(Track::Video, events);
                self.initialise(Track::Audio, events);
            }
            Container::MpegTs => self.initialise(Track::Video, events),
        }
        if let Some(frame) = start.video_frame() {
            self.limits.fit_frames(frame);
            let most = self.limits.in_ticks(LINE_HZ).part;
            self.state(Track::Video).nominal = ticks(frame, LINE_HZ).min(most);
        }
        if let Some(frame) = self.start_of_audio(&start) {
            self.limits.fit_frames(frame);
        }
        for (track, frame) in start.frames() {
            self.take(*track, frame, events);
        }
    }

    /// The duration of the first audio frame.
    fn start_of_audio(&self, start: &Start) -> Option<Duration> {
        let format = self.tracks.get(1)?.format.as_ref()?;
        let samples = format.samples(start.first(Track::Audio)?)?;
        Some(span(samples, format.hz))
    }

    fn take(&mut self, track: Track, frame: &MediaFrame, events: &mut Vec<Event>) {
        if frame.is_config() {
            return self.configure(track, frame, events);
        }
        if frame.codec == CodecId::Mp3 && !self.state(track).is_of(frame) {
            self.configure(track, frame, events);
        }
        let key = track == Track::Audio || frame.is_keyframe();
        let state = self.state(track);
        if !state.has_format() {
            events.push(Event::Irregular(Irregularity::NoConfiguration { track }));
            return;
        }
        if !key && (state.waits_for_key || state.next_format.is_some()) {
            events.push(Event::Irregular(Irregularity::BeforeKeyframe));
            return;
        }
        if state.next_format.is_some() {
            self.change_format(track, events);
            self.initialise(track, events);
        }
        let (raw, composition) = times(frame);
        let Some(nominal) = self.state(track).nominal_of(&frame.payload) else {
            events.push(Event::Irregular(Irregularity::BadFrame { track }));
            return;
        };
        self.start_track(track, events);
        let at = self.place(track, raw, events);
        let waiting = Waiting {
            at,
            composition: if track == Track::Video {
                composition
            } else {
                0
            },
            key,
            payload: frame.payload.clone(),
        };
        let state = self.state(track);
        state.last = Some(at);
        let before = state.waiting.replace(waiting);
        if let Some(before) = before {
            let duration = at.saturating_sub(before.at);
            self.complete(track, before, duration, events);
        }
        let state = self.state(track);
        if track == Track::Audio {
            state.nominal = nominal;
        }
        self.has_frames = true;
        self.arrive(track, at, key, events);
    }

    /// Notes a decoder configuration. It applies from the next frame that decoding can start at.
    fn configure(&mut self, track: Track, frame: &MediaFrame, events: &mut Vec<Event>) {
        let container = self.options.container;
        let state = self.state(track);
        if state
            .format
            .as_ref()
            .is_some_and(|format| format.is_of(frame))
        {
            state.next_format = None;
            state.is_broken = false;
            return;
        }
        match Format::of(frame, container) {
            Ok(format) => {
                state.next_format = Some(format);
                state.is_broken = false;
            }
            Err(error) => {
                state.is_broken = true;
                let bad = Irregularity::BadConfiguration { track, error };
                events.push(Event::Irregular(bad));
            }
        }
    }

    /// Applies the configuration that was noted.
    fn change_format(&mut self, track: Track, events: &mut Vec<Event>) {
        let state = self.state(track);
        let Some(format) = state.next_format.take() else {
            return;
        };
        if state.format.is_some() {
            self.discontinue(Cause::Configuration, events);
        } else if self.options.container == Container::MpegTs {
            self.discontinue(Cause::Tracks, events);
        }
        self.lane(track).set_format(&format);
        self.state(track).set_format(format);
    }

    /// Announces the rendition of a track, if it has a format.
    fn initialise(&self, track: Track, events: &mut Vec<Event>) {
        let is_muxed = self.options.container == Container::MpegTs;
        let formats = self.tracks.iter().filter_map(|state| state.format.as_ref());
        let formats: Vec<&Format> = formats
            .filter(|format| is_muxed || format.track() == track)
            .collect();
        let Some(first) = formats.first() else {
            return;
        };
        let audio = formats.iter().find(|format| format.track() == Track::Audio);
        let codecs: Vec<&str> = formats.iter().map(|format| &format.codecs[..]).collect();
        events.push(Event::Init(Init {
            rendition: match track {
                _ if is_muxed => Rendition::Muxed,
                Track::Video => Rendition::Video,
                Track::Audio => Rendition::Audio,
            },
            discontinuity_sequence: self.discontinuity_sequence,
            bytes: if is_muxed {
                Bytes::new()
            } else {
                mp4::init(first)
            },
            codecs: codecs.join(","),
            picture: first.picture,
            sample_rate_hz: audio.map(|format| format.hz),
            channels: audio.and_then(|format| format.channels),
        }));
    }

    /// The track has a frame: it may lead from now on.
    fn start_track(&mut self, track: Track, events: &mut Vec<Event>) {
        let leader = self.leader();
        let state = self.state(track);
        state.waits_for_key = false;
        state.is_running = true;
        if leader != self.leader() {
            self.change_leader(events);
        }
    }

    /// The track whose keyframes are where segments are cut.
    fn leader(&self) -> Track {
        let [video, _] = &self.tracks;
        if video.is_running {
            Track::Video
        } else {
            Track::Audio
        }
    }

    fn change_leader(&mut self, events: &mut Vec<Event>) {
        if self.options.container == Container::MpegTs {
            self.discontinue(Cause::Tracks, events);
        }
        self.lead();
    }

    /// Cuts follow the leading track from here on.
    fn lead(&mut self) {
        let leader = self.leader();
        for lane in &mut self.lanes {
            lane.forget_cuts();
            if self.options.container == Container::MpegTs {
                lane.set_timing(leader);
            }
        }
    }

    /// The time of a frame on the common time line, in ticks of its track.
    fn place(&mut self, track: Track, raw: i64, events: &mut Vec<Event>) -> i64 {
        let [video, audio] = &self.tracks;
        let (own, other) = match track {
            Track::Video => (video, audio),
            Track::Audio => (audio, video),
        };
        let part = self.limits.in_ticks(own.hz()).part;
        // A video frame lasts until the next one, and no part is longer than the target. Audio
        // frames may be longer than that.
        let most = match track {
            Track::Video => part,
            Track::Audio => part.max(own.nominal.saturating_mul(2)),
        };
        if let Some(found) = own.continues(raw, other.offset, most) {
            let hz = own.hz();
            let slack = self.limits.in_ticks(hz).slack;
            return self.state(track).follow(found, slack, events);
        }
        if let Some(by) = own.step(raw) {
            let by_ms = rescale(by, own.hz(), 1_000);
            let jumped = Irregularity::ClockJumped { track, by_ms };
            events.push(Event::Irregular(jumped));
            self.discontinue(Cause::Timestamps, events);
        }
        let horizon = self.horizon();
        let [video, audio] = &self.tracks;
        let other = match track {
            Track::Video => audio.offset,
            Track::Audio => video.offset,
        };
        let part = self.limits.in_ticks(LINE_HZ).part;
        self.state(track).join(raw, other, horizon, part)
    }

    /// How far the stream is on the common time line.
    fn horizon(&self) -> i64 {
        let reached = self.tracks.iter().map(State::reached);
        reached.max().unwrap_or(0)
    }

    /// A frame's duration is known.
    fn complete(&mut self, track: Track, waiting: Waiting, duration: i64, events: &mut Vec<Event>) {
        let duration = duration.max(1);
        let state = self.state(track);
        state.end = waiting.at.saturating_add(duration);
        if track == Track::Video {
            state.nominal = duration;
        }
        let (hz, next) = (state.hz(), state.nominal);
        let lane_hz = self.lane(track).hz;
        let to_lane = |ticks| rescale(ticks, hz, lane_hz);
        let at = to_lane(waiting.at);
        let duration = to_lane(waiting.at.saturating_add(duration)).saturating_sub(at);
        let ticks = self.limits.in_ticks(lane_hz);
        if self.lane(track).exceeds(track, duration, &ticks) {
            let first = span(self.lane(track).duration(), lane_hz);
            self.fix_targets(first, events);
        }
        let rules = self.rules(lane_hz);
        let sample = Sample {
            track,
            at,
            duration: u32::try_from(duration).unwrap_or(u32::MAX),
            composition: waiting.composition,
            key: waiting.key,
            payload: waiting.payload,
        };
        let lane = self.lane(track);
        lane.add(sample, to_lane(next), &rules, events);
        let open = span(lane.duration(), lane_hz);
        self.limits.see(open);
    }

    /// A frame has come, and all frames of its track before it are complete.
    fn arrive(&mut self, track: Track, at: i64, key: bool, events: &mut Vec<Event>) {
        let hz = self.state(track).hz();
        let lane_hz = self.lane(track).hz;
        let rules = self.rules(lane_hz);
        let in_lane = rescale(at, hz, lane_hz);
        if track != self.leader() {
            if self.options.container == Container::Cmaf {
                self.lane(track).reach(in_lane, &rules, events);
            }
            self.check_video(at, hz, events);
            return;
        }
        if !key {
            return;
        }
        let state = self.state(track);
        let gop = at.saturating_sub(state.last_key.replace(at).unwrap_or(at));
        let gop = rescale(gop, hz, lane_hz);
        let elapsed = self.lane(track).elapsed(in_lane);
        if elapsed.is_some_and(|elapsed| rules.ticks.cuts(elapsed, gop)) {
            self.cut(track, in_lane, events);
        }
    }

    /// Cuts all renditions here.
    fn cut(&mut self, leader: Track, at: i64, events: &mut Vec<Event>) {
        let lane = self.lane(leader);
        let (hz, duration) = (lane.hz, lane.duration());
        let mut first = span(duration, hz);
        if leader == Track::Video && self.options.container == Container::Cmaf {
            // The audio is cut up to a frame later.
            let audio = self.state(Track::Audio);
            let frame = span(audio.nominal, audio.hz());
            first = first.saturating_add(frame);
        }
        self.fix_targets(first, events);
        let rules = self.rules(hz);
        let number = self.lane(leader).cut(&rules, events);
        if leader == Track::Video && self.options.container == Container::Cmaf {
            let audio = self.state(Track::Audio);
            let (audio_hz, reached) = (audio.hz(), audio.last);
            // To the nearest frame.
            let half = audio.nominal >> 1;
            let at = rescale(at, hz, audio_hz).saturating_sub(half);
            let rules = self.rules(audio_hz);
            let lane = self.lane(Track::Audio);
            lane.follow_cut((at, number), reached, &rules, events);
        }
    }

    /// Audio has come: without video for too long it leads.
    fn check_video(&mut self, audio_at: i64, audio_hz: u32, events: &mut Vec<Event>) {
        let audio_at = rescale(audio_at, audio_hz, LINE_HZ);
        let [video, _] = &self.tracks;
        let silent = audio_at.saturating_sub(video.reached());
        if !video.is_running || video.offset.is_none() || silent <= ticks(VIDEO_STOPPED, LINE_HZ) {
            return;
        }
        events.push(Event::Irregular(Irregularity::VideoStopped));
        if self.options.container == Container::Cmaf {
            self.flush(Track::Video, events);
            let rules = self.rules(LINE_HZ);
            self.lane(Track::Video).close_segment(&rules, events);
        }
        self.state(Track::Video).is_running = false;
        self.change_leader(events);
    }

    /// Closes everything, and what follows has the next discontinuity sequence number.
    fn discontinue(&mut self, cause: Cause, events: &mut Vec<Event>) {
        if !self.has_frames {
            return;
        }
        self.has_frames = false;
        self.close(events);
        self.discontinuity_sequence = self.discontinuity_sequence.saturating_add(1);
        let sequence = self.discontinuity_sequence;
        events.push(Event::Discontinuity { sequence, cause });
    }

    fn close(&mut self, events: &mut Vec<Event>) {
        self.flush(Track::Video, events);
        self.flush(Track::Audio, events);
        for index in 0..self.lanes.len() {
            let hz = self.lanes.get(index).map_or(LINE_HZ, |lane| lane.hz);
            let rules = self.rules(hz);
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.discontinue(&rules, events);
            }
        }
        for state in &mut self.tracks {
            state.last = None;
            state.last_key = None;
        }
    }

    /// Completes the frame that waits for the next one, with the expected duration.
    fn flush(&mut self, track: Track, events: &mut Vec<Event>) {
        let state = self.state(track);
        if let Some(waiting) = state.waiting.take() {
            let duration = state.nominal;
            self.complete(track, waiting, duration, events);
        }
    }

    fn fix_targets(&mut self, first: Duration, events: &mut Vec<Event>) {
        if let Some(targets) = self.limits.fix(first) {
            self.targets = Some(targets);
            events.push(Event::Targets(targets));
        }
    }

    fn rules(&self, hz: u32) -> Rules {
        Rules {
            ticks: self.limits.in_ticks(hz),
            max_part_bytes: self.options.max_part_bytes,
            max_segment_bytes: self.options.max_segment_bytes,
            discontinuity_sequence: self.discontinuity_sequence,
        }
    }

    fn state(&mut self, track: Track) -> &mut State {
        let [video, audio] = &mut self.tracks;
        match track {
            Track::Video => video,
            Track::Audio => audio,
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "there is one lane, or one for each track, since `new`"
    )]
    fn lane(&mut self, track: Track) -> &mut Lane {
        let index = match self.options.container {
            Container::Cmaf => track.index(),
            Container::MpegTs => 0,
        };
        &mut self.lanes[index]
    }
}
