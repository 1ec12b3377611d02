//! What the engine's tests share: an observer that keeps everything, and frames by the handful.

#![allow(dead_code, reason = "each test file uses its part")]

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use livetrail_engine::{
    Attempt, CodecId, FrameFlags, MediaFrame, Observer, SessionId, StreamEvent, StreamEventKind,
    StreamKey,
};

/// Keeps every event.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Vec<StreamEvent>>>);

impl Observer for Journal {
    fn on_event(&self, event: &StreamEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Journal {
    pub(crate) fn events(&self) -> Vec<StreamEvent> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn labels(&self) -> Vec<&'static str> {
        self.events().iter().map(|e| e.kind.label()).collect()
    }

    pub(crate) fn of(&self, session: SessionId) -> Vec<StreamEventKind> {
        self.events()
            .iter()
            .filter(|e| e.session == session)
            .map(|e| e.kind.clone())
            .collect()
    }
}

pub(crate) fn key(stream: &str) -> StreamKey {
    StreamKey::parse("live", stream).unwrap()
}

pub(crate) fn attempt(stream: &str) -> Attempt {
    Attempt::new(key(stream), "test")
}

pub(crate) fn keyframe(n: u64) -> MediaFrame {
    video(n, FrameFlags::KEYFRAME)
}

pub(crate) fn delta(n: u64) -> MediaFrame {
    video(n, FrameFlags::NONE)
}

/// A video frame that carries its number as payload and time.
pub(crate) fn video(n: u64, flags: FrameFlags) -> MediaFrame {
    MediaFrame::video(
        CodecId::H264,
        n as i64,
        n as i64,
        flags,
        Bytes::from(n.to_be_bytes().to_vec()),
    )
}

pub(crate) fn audio(n: u64) -> MediaFrame {
    MediaFrame::audio(
        CodecId::Aac,
        n as i64,
        FrameFlags::NONE,
        Bytes::from(n.to_be_bytes().to_vec()),
    )
}

pub(crate) fn config(version: u64) -> MediaFrame {
    video(version, FrameFlags::CONFIG)
}

pub(crate) fn number(frame: &MediaFrame) -> u64 {
    u64::from_be_bytes(frame.payload[..].try_into().unwrap())
}
