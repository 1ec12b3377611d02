//! A viewer's connection to its sender thread.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use livetrail_engine::{Placed, Playback, ViewerId};
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
};

use crate::{
    cipher::Cipher,
    format::Format,
    signal::WriteSignal,
    thread::{Command, ThreadHandle},
};

/// A viewer of a sender thread, for its connection.
pub struct ViewerHandle<F: Format> {
    viewer: ViewerId,
    thread: ThreadHandle<F>,
    stream: Arc<TcpStream>,
    signal: Arc<WriteSignal>,
    is_detached: bool,
    _placed: Placed,
}

/// A viewer that is no longer the egress's.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The session, unless it has ended.
    pub playback: Option<Playback>,
    /// Bytes that must be written before anything else: the rest of a partly written frame, and
    /// pending bytes.
    pub unwritten: Bytes,
    /// The encryption of the connection. What it has pending must be written first of all.
    pub cipher: Option<Box<Cipher>>,
    /// The error of a failed write, if any.
    pub failed: Option<io::ErrorKind>,
}

impl<F: Format> ViewerHandle<F> {
    pub(crate) fn new(
        viewer: ViewerId,
        thread: ThreadHandle<F>,
        stream: Arc<TcpStream>,
        signal: Arc<WriteSignal>,
        placed: Placed,
    ) -> Self {
        Self {
            viewer,
            thread,
            stream,
            signal,
            is_detached: false,
            _placed: placed,
        }
    }

    /// Waits for the socket when it is full. Call it whenever the connection's task is polled.
    /// Ready with an error when writing has failed.
    pub fn poll_full(&self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.signal.register(cx);
        if let Some(kind) = self.signal.failed() {
            return Poll::Ready(kind.into());
        }
        while self.signal.is_full() && self.stream.poll_write_ready(cx).is_ready() {
            self.signal.clear_full();
            match self.thread.commands.try_send(Command::Resume(self.viewer)) {
                Ok(()) => {}
                // The channel is full. That is rare and short, so poll again.
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.signal.keep_full();
                    cx.waker().wake_by_ref();
                    break;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    return Poll::Ready(io::ErrorKind::BrokenPipe.into());
                }
            }
        }
        Poll::Pending
    }

    /// Sends bytes that are not a frame, after the pending data. When this returns,
    /// [`is_full`](Self::is_full) takes them into account.
    ///
    /// If the future is dropped, the viewer gets all of the bytes or none of them. Needs no
    /// runtime.
    pub async fn send(&self, bytes: Bytes) {
        let (reply, sent) = oneshot::channel();
        let command = Command::Send(self.viewer, bytes, reply);
        // A thread that has stopped has ended the session.
        if self.thread.commands.send(command).await.is_ok() {
            let _ = sent.await;
        }
    }

    /// Whether the viewer must take pending data before it gets more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.signal.is_full()
    }

    /// Changes whenever a full viewer takes some data.
    #[must_use]
    pub fn writes(&self) -> usize {
        self.signal.writes()
    }

    /// Detaches the viewer and returns its socket to the connection.
    ///
    /// This is not cancel safe: if the future is dropped after its first poll, the session and the
    /// unwritten bytes may be lost. The viewer leaves the thread in any case. Needs no runtime.
    pub async fn detach(mut self) -> Detached {
        let (reply, detached) = oneshot::channel();
        let command = Command::Detach(self.viewer, reply);
        let _ = self.thread.commands.send(command).await;
        // Not before: if this future is dropped while the channel is full, `drop` detaches.
        self.is_detached = true;
        let playback = detached.await.ok();
        let (unwritten, mut cipher) = self.signal.take_left();
        if let Some(cipher) = &mut cipher {
            cipher.hold(None);
        }
        Detached {
            playback,
            unwritten,
            cipher,
            failed: self.signal.failed(),
        }
    }
}

impl<F: Format> Drop for ViewerHandle<F> {
    /// An aborted connection has not detached its viewer.
    fn drop(&mut self) {
        if !self.is_detached {
            self.thread.abandon(self.viewer);
        }
    }
}

/// The thread's answer when a viewer is attached. A viewer in an answer that nobody takes leaves
/// the thread.
pub(crate) struct Attaching<F: Format> {
    answer: oneshot::Receiver<Option<ViewerId>>,
    thread: ThreadHandle<F>,
}

impl<F: Format> Attaching<F> {
    pub(crate) const fn new(
        answer: oneshot::Receiver<Option<ViewerId>>,
        thread: ThreadHandle<F>,
    ) -> Self {
        Self { answer, thread }
    }

    /// The viewer, or `None` if the thread did not take it. Cancel safe.
    pub(crate) async fn viewer(&mut self) -> Option<ViewerId> {
        (&mut self.answer).await.ok().flatten()
    }
}

impl<F: Format> Drop for Attaching<F> {
    fn drop(&mut self) {
        // From now on the thread keeps no viewer whose answer it cannot send.
        self.answer.close();
        if let Ok(Some(viewer)) = self.answer.try_recv() {
            self.thread.abandon(viewer);
        }
    }
}

#[cfg(test)]
mod tests {
    use livetrail_engine::{AppSpec, Attempt, Engine, Shard, SharedFrame, Spread, StreamKey};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

    struct Nothing;
    impl Format for Nothing {
        type Variant = ();
        fn parts(_: &SharedFrame, (): ()) -> impl Iterator<Item = &[u8]> {
            std::iter::empty()
        }
    }

    /// Some viewer, which has left its shard already.
    async fn viewer(key: &StreamKey) -> ViewerId {
        let engine = Engine::builder()
            .application(AppSpec::new("live"))
            .build()
            .unwrap();
        let attempt = || Attempt::new(key.clone(), "test");
        let _publication = engine.publish(attempt()).await.unwrap();
        let playback = engine.play(attempt()).await.unwrap();
        Shard::new().attach(playback, ()).unwrap()
    }

    fn thread() -> (ThreadHandle<Nothing>, mpsc::Receiver<Command<Nothing>>) {
        let (commands, inbox) = mpsc::channel(1);
        let abandoned = Arc::default();
        (
            ThreadHandle {
                commands,
                abandoned,
            },
            inbox,
        )
    }

    #[tokio::test]
    async fn a_viewer_whose_attaching_is_given_up_after_the_answer_leaves_the_thread() {
        let viewer = viewer(&StreamKey::parse("live", "cam").unwrap()).await;
        let (thread, _inbox) = thread();
        let abandoned = thread.abandoned.clone();
        for (is_taken, left) in [(true, vec![]), (false, vec![viewer])] {
            let (reply, answer) = oneshot::channel();
            let mut attaching = Attaching::new(answer, thread.clone());
            reply.send(Some(viewer)).unwrap();
            if is_taken {
                assert_eq!(attaching.viewer().await, Some(viewer));
            }
            drop(attaching);
            assert_eq!(abandoned.take(), left);
        }
    }

    #[tokio::test]
    async fn a_viewer_whose_detaching_is_given_up_before_it_is_sent_leaves_the_thread() {
        let key = StreamKey::parse("live", "cam").unwrap();
        let viewer = viewer(&key).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (thread, _inbox) = thread();
        // The channel is full.
        let filled = thread.commands.try_send(Command::CollectAbandoned);
        assert!(filled.is_ok());
        let abandoned = thread.abandoned.clone();
        let handle = ViewerHandle::new(
            viewer,
            thread,
            Arc::new(stream.unwrap()),
            Arc::default(),
            Spread::new(1, 1).place(&key),
        );
        let mut detach = Box::pin(handle.detach());
        let polled = std::future::poll_fn(|cx| Poll::Ready(detach.as_mut().poll(cx).is_pending()));
        assert!(polled.await);
        drop(detach);
        assert_eq!(abandoned.take(), [viewer]);
    }
}
