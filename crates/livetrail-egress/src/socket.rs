//! A viewer's socket, and what the egress writes to it.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use livetrail_engine::SharedFrame;
use tokio::net::TcpStream;

use crate::{format::Format, rest::Rest, seat::Bell, sender::Prepared, unsent::Unsent as _};

/// Slices in one vectored write; Linux takes up to 1,024.
pub(crate) const MAX_SLICES: usize = 256;

/// What a thread keeps for a viewer.
pub(crate) struct Socket<F: Format> {
    /// It keeps up: the preface is sent, nothing is left over, writing has not failed. All that a frame looks at of most viewers.
    clear: bool,
    pub(crate) variant: F::Variant,
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) rest: Rest<F>,
    bell: Arc<Bell>,
    prefaced: bool,
    failed: bool,
}

impl<F: Format> Socket<F> {
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        rest: Rest<F>,
        variant: F::Variant,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            clear: false,
            variant,
            stream,
            rest,
            bell,
            prefaced: false,
            failed: false,
        }
    }

    /// Leaves what is not written to the connection.
    pub(crate) fn hand_over(self) {
        self.bell.leave(self.rest.into_bytes());
    }

    /// Says something that is no frame.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.rest.say(bytes);
        self.send_rest();
    }

    /// Writes what the socket did not take before; true when nothing of it is left.
    pub(crate) fn send_rest(&mut self) -> bool {
        if !self.rest.is_empty() && !self.failed {
            match self.rest.try_write(&self.stream) {
                Ok(true) => self.bell.count_write(),
                Ok(false) => {}
                Err(error) => self.fail(error),
            }
            if !self.rest.is_empty() {
                self.bell.ring_full();
            }
        }
        self.clear = self.rest.is_empty() && self.prefaced && !self.failed;
        self.rest.is_empty() && !self.failed
    }

    /// Whether it gets what the others get, as they get it.
    pub(crate) fn is_clear(&self) -> bool {
        self.clear
    }

    /// Writes frames that have been prepared for many, which are one write; gives how many are no longer the shard's concern.
    ///
    /// Past tokio's readiness: most sockets have room, and to ask costs a look at memory that nothing else touches. When one
    /// has none, it is tried again by way of tokio, which then knows that somebody waits for it.
    pub(crate) fn send_prepared(
        &mut self,
        prepared: &Prepared<'_, F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        let result = rustix::io::writev(&*self.stream, &prepared.slices);
        self.sent_prepared(result.map_err(Into::into), prepared, frames)
    }

    /// The same after the write, of which this is the result.
    pub(crate) fn sent_prepared(
        &mut self,
        result: io::Result<usize>,
        prepared: &Prepared<'_, F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        match result {
            Ok(written) if written == prepared.bytes => frames.len(),
            Ok(written) => {
                let whole = self.keep_begun(frames, written);
                let left = frames.get(whole..).unwrap_or_default();
                whole.saturating_add(self.send(left))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                self.send(frames)
            }
            Err(error) => {
                self.fail(error);
                0
            }
        }
    }

    /// Writes what is left over, then frames, straight from their shared bytes; gives how many are no longer the shard's concern.
    /// The last of these may be begun only: its rest is kept here.
    pub(crate) fn send(&mut self, frames: &[Arc<SharedFrame>]) -> usize {
        if !self.prefaced && !frames.is_empty() {
            self.prefaced = true;
            self.rest.say(&F::preface(frames, self.variant));
        }
        let mut sent = 0_usize;
        while self.send_rest() {
            let left = frames.get(sent..).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            match self.write_some(left) {
                Ok(done) => sent = sent.saturating_add(done),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.bell.ring_full();
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(error),
            }
        }
        sent
    }

    /// One write of as many frames as fit; gives how many are written or begun.
    fn write_some(&mut self, frames: &[Arc<SharedFrame>]) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut held) = (0_usize, 0_usize);
        for frame in frames {
            let parts = F::parts(frame, self.variant).count();
            if count.saturating_add(parts) > MAX_SLICES && held > 0 {
                break;
            }
            let free = slices.iter_mut().skip(count);
            for (place, part) in free.zip(F::parts(frame, self.variant)) {
                *place = IoSlice::new(part);
                count = count.saturating_add(1);
            }
            held = held.saturating_add(1);
        }
        if count == 0 {
            return Ok(held);
        }
        let slices = slices.get(..count).unwrap_or_default();
        let written = self.stream.try_write_vectored(slices)?;
        self.bell.count_write();
        Ok(self.keep_begun(frames.get(..held).unwrap_or_default(), written))
    }

    /// After a write of so many bytes of these frames: how many frames are written or begun; one that is begun is kept.
    fn keep_begun(&mut self, frames: &[Arc<SharedFrame>], mut written: usize) -> usize {
        for (at, frame) in frames.iter().enumerate() {
            match written.checked_sub(F::len(frame, self.variant)) {
                Some(less) => written = less,
                None if written == 0 => return at,
                None => {
                    self.rest.begin(frame.clone(), written);
                    self.clear = false;
                    return at.saturating_add(1);
                }
            }
        }
        frames.len()
    }

    /// Tells the connection that the socket is no good.
    fn fail(&mut self, error: io::Error) {
        self.failed = true;
        self.clear = false;
        self.bell.ring_failed(error);
    }
}
