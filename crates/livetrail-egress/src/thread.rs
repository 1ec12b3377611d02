//! One thread: a shard, and orders from connections.
//!
//! Its turn, in this order: orders (a few), news for those who are up to date (when it is due), those who wait (a few). However
//! many join at once, a frame for those who watch is never later than one such turn.

use std::{
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
    format::Format,
    seat::Left,
    sender::{Rings, Sender},
    socket::Socket,
};

/// Orders in one turn. One costs a few microseconds, and a write when there is something left over to be written.
const ORDERS_A_TURN: usize = 64;
/// Viewers that are served on their own in one turn. One costs a GOP, if it has just come and its socket takes that.
const WAITING_A_TURN: usize = 16;

/// What a connection wants.
pub(crate) enum Order<F: Format> {
    Seat {
        playback: Box<Playback>,
        socket: Socket<F>,
        reply: oneshot::Sender<Option<ViewerId>>,
    },
    /// The socket takes bytes again.
    Resume(ViewerId),
    /// An answer to something that the viewer said; acknowledged when it is written or waits for the socket.
    Say(ViewerId, Bytes, oneshot::Sender<()>),
    /// The viewer leaves.
    Leave(ViewerId, oneshot::Sender<Playback>),
    /// Somebody is among those who left without a word.
    Look,
}

pub(crate) struct Thread<F: Format> {
    shard: Shard<Socket<F>>,
    inbox: mpsc::Receiver<Order<F>>,
    left: Arc<Left>,
    rings: Arc<Rings>,
    send_interval: Duration,
    orders: Vec<Order<F>>,
    /// There is news, and when it is to be sent.
    due: Option<Instant>,
}

impl<F: Format> Thread<F> {
    pub(crate) fn new(
        inbox: mpsc::Receiver<Order<F>>,
        left: Arc<Left>,
        rings: Arc<Rings>,
        send_interval: Duration,
    ) -> Self {
        Self {
            shard: Shard::new(),
            inbox,
            left,
            rings,
            send_interval,
            orders: Vec::new(),
            due: None,
        }
    }

    /// Until nobody can give orders any more.
    pub(crate) async fn run(mut self) {
        let mut sender = Sender::new(self.rings.clone());
        let mut timer = Box::pin(sleep_until(Instant::now()));
        while self.wait(timer.as_mut()).await {
            let mut orders = std::mem::take(&mut self.orders);
            for order in orders.drain(..) {
                self.obey(order);
            }
            self.orders = orders;
            for viewer in self.left.take() {
                self.shard.detach(viewer);
            }
            if self.is_due() {
                self.due = None;
                self.shard.serve_news(&mut sender);
            }
            self.shard.serve_waiting(WAITING_A_TURN, &mut sender);
        }
    }

    /// Waits for something to do; false when there will be nothing.
    async fn wait(&mut self, mut timer: Pin<&mut Sleep>) -> bool {
        poll_fn(|cx| {
            // Without asking tokio for leave: it would hold back, after some turns, a thread that it takes for a task.
            while self.orders.len() < ORDERS_A_TURN {
                match self.inbox.try_recv() {
                    Ok(order) => self.orders.push(order),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) if self.orders.is_empty() => {
                        return Poll::Ready(false);
                    }
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                }
            }
            if self.due.is_none() && self.shard.poll_news(cx).is_ready() {
                // The first frame waits for those that come after it.
                let now = Instant::now();
                let at = now.checked_add(self.send_interval).unwrap_or(now);
                self.due = Some(at);
                if !self.send_interval.is_zero() {
                    timer.as_mut().reset(at);
                }
            }
            if !self.orders.is_empty() || self.is_due() || self.shard.has_waiting() {
                return Poll::Ready(true);
            }
            if self.due.is_some() && timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            match self.inbox.poll_recv(cx) {
                Poll::Ready(Some(order)) => self.orders.push(order),
                Poll::Ready(None) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
            Poll::Ready(true)
        })
        .await
    }

    fn is_due(&self) -> bool {
        self.due
            .is_some_and(|at| self.send_interval.is_zero() || at <= Instant::now())
    }

    fn obey(&mut self, order: Order<F>) {
        match order {
            Order::Seat {
                playback,
                mut socket,
                reply,
            } => {
                socket.send_rest();
                let seated = self.shard.attach(playback, socket);
                if let Err(full) = &seated {
                    error!(%full, "a viewer was turned away");
                }
                let viewer = seated
                    .map_err(|full| full.playback.end(Reason::LimitReached))
                    .ok();
                // Who asked has gone: nobody would ever take the viewer from its seat.
                if let Err(Some(viewer)) = reply.send(viewer) {
                    self.shard.detach(viewer);
                }
            }
            Order::Resume(viewer) => {
                if let Some(socket) = self.shard.state_mut(viewer)
                    && socket.send_rest()
                {
                    self.shard.resume(viewer);
                }
            }
            Order::Say(viewer, bytes, said) => {
                if let Some(socket) = self.shard.state_mut(viewer) {
                    socket.say(&bytes);
                }
                let _ = said.send(());
            }
            Order::Leave(viewer, reply) => {
                if let Some((playback, socket)) = self.shard.detach(viewer) {
                    socket.hand_over();
                    let _ = reply.send(playback);
                }
            }
            Order::Look => {}
        }
    }
}
