//! A viewer's socket, and the egress's writes to it.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use livetrail_engine::{EgressCap, SharedFrame};
use tokio::net::TcpStream;

use crate::{
    cipher::Cipher,
    format::Format,
    meter::Meter,
    prepared::{MAX_SLICES, Prepared},
    signal::WriteSignal,
    sys,
    unsent::Unsent as _,
    unwritten::Unwritten,
};

/// A thread's state for one viewer.
pub(crate) struct Socket<F: Format> {
    /// The viewer keeps up: the preface is sent, nothing is unwritten, writing has not failed. For
    /// most viewers a frame reads only this field.
    clear: bool,
    pub(crate) variant: F::Variant,
    pub(crate) stream: Arc<TcpStream>,
    /// The viewer's encryption. What it has pending comes before everything else.
    pub(crate) cipher: Option<Box<Cipher>>,
    unwritten: Unwritten<F>,
    signal: Arc<WriteSignal>,
    prefaced: bool,
    failed: bool,
    /// A viewer with a cap is never clear: it is written to by itself.
    meter: Option<Box<Meter>>,
}

impl<F: Format> Socket<F> {
    pub(crate) fn new(
        stream: Arc<TcpStream>,
        cipher: Option<Box<Cipher>>,
        unwritten: Unwritten<F>,
        variant: F::Variant,
        signal: Arc<WriteSignal>,
    ) -> Self {
        Self {
            clear: false,
            variant,
            stream,
            cipher,
            unwritten,
            signal,
            prefaced: false,
            failed: false,
            meter: None,
        }
    }

    /// Sets how much the viewer may be sent.
    pub(crate) fn capped(mut self, cap: Option<EgressCap>) -> Self {
        self.meter = cap.map(|cap| Box::new(Meter::new(cap)));
        self
    }

    /// Whether frames wait for the viewer's cap and its next turn must be noted.
    pub(crate) fn needs_turn(&mut self) -> bool {
        self.meter.as_mut().is_some_and(|meter| meter.needs_turn())
    }

    /// The noted turn has come.
    pub(crate) fn take_turn(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.take_turn();
        }
    }

    /// Leaves the unwritten bytes to the connection.
    pub(crate) fn hand_over(self) {
        let cipher = self.cipher;
        self.signal.leave(self.unwritten.into_bytes(), cipher);
    }

    /// Sends bytes that are not a frame, after everything before them.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.unwritten.push(bytes);
        self.send_unwritten();
    }

    /// Writes the data that the socket did not take before; true if all of it is written now.
    pub(crate) fn send_unwritten(&mut self) -> bool {
        if self.is_unwritten() && !self.failed {
            let tried = match &mut self.cipher {
                None => self.unwritten.try_write(&self.stream),
                Some(cipher) => cipher.try_write_unsent(&self.stream, &mut self.unwritten),
            };
            match tried {
                Ok(true) => self.signal.count_write(),
                Ok(false) => {}
                Err(error) => self.fail(error),
            }
            if self.is_unwritten() {
                self.signal.set_full();
            }
        }
        let all = !self.is_unwritten() && !self.failed;
        self.clear = all && self.prefaced && self.meter.is_none();
        all
    }

    /// Whether anything must be written before a further frame.
    fn is_unwritten(&self) -> bool {
        let pending = self
            .cipher
            .as_ref()
            .is_some_and(|cipher| cipher.is_pending());
        pending || !self.unwritten.is_empty()
    }

    /// Whether the viewer keeps up, so that it gets the same write as the others.
    pub(crate) fn is_clear(&self) -> bool {
        self.clear
    }

    /// Writes prepared frames, which are one write; returns how many frames the shard can release.
    ///
    /// Bypasses tokio's readiness where the system allows it: most sockets have room, and asking
    /// reads memory that nothing else touches. A full socket is tried again through tokio, which
    /// then knows that a task waits.
    pub(crate) fn send_prepared(
        &mut self,
        prepared: &Prepared<'_, F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        match &mut self.cipher {
            None => {
                let result = sys::write_vectored(&self.stream, &prepared.slices);
                self.sent_prepared(result, prepared, frames)
            }
            Some(cipher) => {
                let written = cipher.write_prepared(&self.stream, &prepared.slices);
                self.sent_encrypted(written.map(|_| ()), frames)
            }
        }
    }

    /// After encrypted frames were written, or wait for the socket: all of them count as sent.
    pub(crate) fn sent_encrypted(
        &mut self,
        written: io::Result<()>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        match written {
            Ok(()) => {
                if self.is_unwritten() {
                    // Through tokio, which then knows that a task waits.
                    self.send_unwritten();
                }
                frames.len()
            }
            Err(error) => {
                self.fail(error);
                0
            }
        }
    }

    /// Encrypts prepared frames into the buffer of a batch. A viewer for which that fails gets
    /// nothing more.
    pub(crate) fn encrypt_prepared(&mut self, prepared: &Prepared<'_, F>, buffer: &mut Vec<u8>) {
        let encrypted = match &mut self.cipher {
            None => Ok(()),
            Some(cipher) => cipher.encrypt_into(&prepared.slices, buffer),
        };
        if let Err(error) = encrypted {
            self.fail(error);
        }
    }

    /// The same after the write, with its result.
    pub(crate) fn sent_prepared(
        &mut self,
        result: io::Result<usize>,
        prepared: &Prepared<'_, F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        match result {
            Ok(written) if written == prepared.bytes => frames.len(),
            Ok(written) => {
                let whole = self.keep_partial(frames, written);
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

    /// Writes unwritten data, then frames, directly from their shared bytes; returns how many
    /// frames the shard can release. The last of these may be partly written: the rest of it is
    /// kept here.
    pub(crate) fn send(&mut self, frames: &[Arc<SharedFrame>]) -> usize {
        if !self.prefaced && !frames.is_empty() {
            self.prefaced = true;
            self.unwritten.push(&F::preface(frames, self.variant));
        }
        let mut sent = 0_usize;
        while self.send_unwritten() {
            let left = frames.get(sent..).unwrap_or_default();
            let variant = self.variant;
            let left = match &mut self.meter {
                None => left,
                Some(meter) => meter.allowed::<F>(left, variant),
            };
            if left.is_empty() {
                break;
            }
            match self.write_some(left) {
                Ok(done) => {
                    if let Some(meter) = &mut self.meter {
                        meter.charge::<F>(left.get(..done).unwrap_or_default(), variant);
                    }
                    sent = sent.saturating_add(done);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.signal.set_full();
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.fail(error),
            }
        }
        sent
    }

    /// Writes as many frames as fit one write; returns how many are written or partly written.
    fn write_some(&mut self, frames: &[Arc<SharedFrame>]) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (mut count, mut held) = (0_usize, 0_usize);
        for frame in frames {
            let parts = F::parts(frame, self.variant).count();
            if count.saturating_add(parts) > MAX_SLICES && held > 0 {
                break;
            }
            let free = slices.iter_mut().skip(count);
            for (slice, part) in free.zip(F::parts(frame, self.variant)) {
                *slice = IoSlice::new(part);
                count = count.saturating_add(1);
            }
            held = held.saturating_add(1);
        }
        if count == 0 {
            return Ok(held);
        }
        let slices = slices.get(..count).unwrap_or_default();
        let written = match &mut self.cipher {
            None => self.stream.try_write_vectored(slices)?,
            Some(cipher) => cipher.try_write(&self.stream, slices)?,
        };
        self.signal.count_write();
        Ok(self.keep_partial(frames.get(..held).unwrap_or_default(), written))
    }

    /// After a write of `written` bytes of these frames: how many frames are written or partly
    /// written. Keeps a partly written one.
    fn keep_partial(&mut self, frames: &[Arc<SharedFrame>], mut written: usize) -> usize {
        for (at, frame) in frames.iter().enumerate() {
            match written.checked_sub(F::len(frame, self.variant)) {
                Some(less) => written = less,
                None if written == 0 => return at,
                None => {
                    self.unwritten.set_frame(frame.clone(), written);
                    self.clear = false;
                    return at.saturating_add(1);
                }
            }
        }
        frames.len()
    }

    /// Reports to the connection that the socket has failed.
    fn fail(&mut self, error: io::Error) {
        self.failed = true;
        self.clear = false;
        self.signal.set_failed(error);
    }
}
