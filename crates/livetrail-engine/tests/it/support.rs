//! What the engine's tests share: an observer that keeps everything, and frames by the handful.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

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

/// Long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("in time");
}

/// Runs a future on this thread alone, with no runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Thread(std::thread::current())).into();
    let mut cx = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
