//! A sender thread: a shard, and commands from connections.
//!
//! A turn consists of, in this order: a few commands, new frames for viewers that are up to date
//! (when due), a few viewers that are behind. So however many viewers join at once, a frame is
//! delayed by at most one such turn.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use livetrail_engine::{Playback, Reason, Shard, ViewerId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Sleep, sleep_until},
};
use tracing::error;

use crate::{
    abandoned::Abandoned, clock, format::Format, rings::Rings, sender::Sender, socket::Socket,
};

/// Commands per turn. One costs a few microseconds, and a write if data are unwritten.
const COMMANDS_PER_TURN: usize = 64;
/// Viewers that are behind and are served per turn. One that has just joined costs a GOP, if its
/// socket takes it.
const WAITING_PER_TURN: usize = 16;
/// How long frames wait for a viewer's cap before they are tried again.
const CAP_INTERVAL: Duration = Duration::from_millis(50);
/// Commands that wait for a thread; a connection with a further one waits.
const MAX_COMMANDS: usize = 1_024;

/// A connection's command to its thread.
pub(crate) enum Command<F: Format> {
    Attach {
        playback: Box<Playback>,
        socket: Socket<F>,
        reply: oneshot::Sender<Option<ViewerId>>,
    },
    /// The socket is writable again.
    Resume(ViewerId),
    /// Bytes that are not a frame; acknowledged once they are written or wait for the socket.
    Send(ViewerId, Bytes, oneshot::Sender<()>),
    /// The viewer leaves the thread.
    Detach(ViewerId, oneshot::Sender<Playback>),
    /// A viewer was abandoned.
    CollectAbandoned,
}

/// A thread, for connections.
pub(crate) struct ThreadHandle<F: Format> {
    pub(crate) commands: mpsc::Sender<Command<F>>,
    pub(crate) abandoned: Arc<Abandoned>,
}

impl<F: Format> ThreadHandle<F> {
    /// Detaches a viewer without waiting for space in the channel.
    pub(crate) fn abandon(&self, viewer: ViewerId) {
        self.abandoned.add(viewer);
        // If the channel is full, the thread is awake and handles its commands.
        let _ = self.commands.try_send(Command::CollectAbandoned);
    }
}

impl<F: Format> Clone for ThreadHandle<F> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            abandoned: self.abandoned.clone(),
        }
    }
}

pub(crate) struct Thread<F: Format> {
    shard: Shard<Socket<F>>,
    inbox: mpsc::Receiver<Command<F>>,
    abandoned: Arc<Abandoned>,
    rings: Arc<Rings>,
    send_interval: Duration,
    commands: Vec<Command<F>>,
    /// When to send the new frames, if there are any.
    due: Option<Instant>,
    /// Viewers whose frames wait for their caps, in the order of their turns. Each is there once.
    capped: VecDeque<(Instant, ViewerId)>,
}

impl<F: Format> Thread<F> {
    /// A thread's body and the handle to it.
    pub(crate) fn new(rings: Arc<Rings>, send_interval: Duration) -> (Self, ThreadHandle<F>) {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        let abandoned = Arc::<Abandoned>::default();
        let thread = Self {
            shard: Shard::new(),
            inbox,
            abandoned: abandoned.clone(),
            rings,
            send_interval,
            commands: Vec::new(),
            due: None,
            capped: VecDeque::new(),
        };
        let handle = ThreadHandle {
            commands,
            abandoned,
        };
        (thread, handle)
    }

    /// Runs until all handles are dropped.
    pub(crate) async fn run(mut self) {
        let mut sender = Sender::new(self.rings.clone());
        let mut timer = Box::pin(sleep_until(clock::now()));
        let mut turn = Box::pin(sleep_until(clock::now()));
        while self.wait(timer.as_mut(), turn.as_mut()).await {
            let mut commands = std::mem::take(&mut self.commands);
            for command in commands.drain(..) {
                self.handle(command);
            }
            self.commands = commands;
            for viewer in self.abandoned.take() {
                self.shard.detach(viewer);
            }
            self.resume_capped();
            if self.is_due() {
                self.due = None;
                self.shard.serve_news(&mut sender);
            }
            self.shard.serve_waiting(WAITING_PER_TURN, &mut sender);
            self.note_capped(&mut sender.capped);
        }
    }

    /// Notes when viewers whose frames wait for their caps have their next turn.
    fn note_capped(&mut self, viewers: &mut Vec<ViewerId>) {
        if viewers.is_empty() {
            return;
        }
        let now = clock::now();
        let at = now.checked_add(CAP_INTERVAL).unwrap_or(now);
        self.capped
            .extend(viewers.drain(..).map(|viewer| (at, viewer)));
    }

    /// Resumes those whose turn has come.
    fn resume_capped(&mut self) {
        if self.capped.is_empty() {
            return;
        }
        let now = clock::now();
        while let Some((_, viewer)) = self.capped.pop_front_if(|(at, _)| *at <= now) {
            if let Some(socket) = self.shard.state_mut(viewer) {
                socket.take_turn();
                self.shard.resume(viewer);
            }
        }
    }

    /// Waits for work; false when there will be none.
    async fn wait(&mut self, mut timer: Pin<&mut Sleep>, mut turn: Pin<&mut Sleep>) -> bool {
        if let Some((at, _)) = self.capped.front()
            && turn.deadline() != *at
        {
            turn.as_mut().reset(*at);
        }
        poll_fn(|cx| {
            // `try_recv` ignores tokio's budget for tasks, which would delay this thread after some
            // turns.
            while self.commands.len() < COMMANDS_PER_TURN {
                match self.inbox.try_recv() {
                    Ok(command) => self.commands.push(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) if self.commands.is_empty() => {
                        return Poll::Ready(false);
                    }
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                }
            }
            if self.due.is_none() && self.shard.poll_news(cx).is_ready() {
                // The first frame waits for those after it.
                let now = clock::now();
                let at = now.checked_add(self.send_interval).unwrap_or(now);
                self.due = Some(at);
                if !self.send_interval.is_zero() {
                    timer.as_mut().reset(at);
                }
            }
            if !self.commands.is_empty() || self.is_due() || self.shard.has_waiting() {
                return Poll::Ready(true);
            }
            if self.due.is_some() && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if !self.capped.is_empty() && turn.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(command)) => self.commands.push(command),
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
            Poll::Ready(true)
        })
        .await
    }

    fn is_due(&self) -> bool {
        self.due
            .is_some_and(|at| self.send_interval.is_zero() || at <= clock::now())
    }

    fn handle(&mut self, command: Command<F>) {
        match command {
            Command::Attach {
                playback,
                mut socket,
                reply,
            } => {
                socket.send_unwritten();
                let attached = self.shard.attach(playback, socket);
                if let Err(full) = &attached {
                    error!(%full, "turned away a viewer");
                }
                let viewer = attached
                    .map_err(|full| full.playback.end(Reason::LimitReached))
                    .ok();
                // The connection ended meanwhile: nobody else would ever detach the viewer.
                if let Err(Some(viewer)) = reply.send(viewer) {
                    self.shard.detach(viewer);
                }
            }
            Command::Resume(viewer) => {
                if let Some(socket) = self.shard.state_mut(viewer)
                    && socket.send_unwritten()
                {
                    self.shard.resume(viewer);
                }
            }
            Command::Send(viewer, bytes, sent) => {
                if let Some(socket) = self.shard.state_mut(viewer) {
                    socket.send_bytes(&bytes);
                }
                let _ = sent.send(());
            }
            Command::Detach(viewer, reply) => {
                if let Some((playback, socket)) = self.shard.detach(viewer) {
                    socket.hand_over();
                    let _ = reply.send(playback);
                }
            }
            Command::CollectAbandoned => {}
        }
    }
}
