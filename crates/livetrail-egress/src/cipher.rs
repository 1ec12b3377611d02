//! The encryption of what one viewer gets.

use std::{
    cell::RefCell,
    fmt,
    io::{self, IoSlice},
};

use livetrail_engine::HeldBytes;
use tokio::net::TcpStream;

use crate::{sys, unsent::Unsent};

/// The most plain bytes that are encrypted for one viewer before its socket has taken what was
/// encrypted before. So this, and what encryption adds, is also the most that can be pending.
pub(crate) const MAX_SEALED_BYTES: usize = 64 << 10;

/// Slices that are encrypted together.
const MAX_SLICES: usize = 128;

/// Encrypts one direction of a connection. TLS makes records.
pub trait Encrypt: Send + Sync {
    /// Appends the encrypted form of these bytes to `out`: at most `limit` of them. Returns how
    /// many, at least one if there are any. What it appends must reach the other side whole and in
    /// order.
    ///
    /// # Errors
    /// Nothing more can be sent on this connection.
    fn encrypt(
        &mut self,
        plain: &[IoSlice<'_>],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<usize>;

    /// Appends what tells the other side that nothing more follows.
    ///
    /// # Errors
    /// As for [`encrypt`](Self::encrypt).
    fn close(&mut self, out: &mut Vec<u8>) -> io::Result<()>;
}

/// The encryption of one connection, and the encrypted bytes that its socket has not taken: at most
/// 64 KiB, and what encryption adds. The one writer of the socket owns it.
pub struct Cipher {
    encrypt: Box<dyn Encrypt>,
    pending: Vec<u8>,
    /// Bytes of `pending` that are written.
    written: usize,
    held: Option<HeldBytes>,
    is_closed: bool,
    /// Where this viewer's bytes are in the buffer of a batch.
    batch: Option<(usize, usize)>,
}

thread_local! {
    /// What is encrypted for one connection, before it is written. Kept for its capacity: at most
    /// [`MAX_SEALED_BYTES`], and what encryption adds.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Cipher {
    /// The encryption of a connection on which nothing is pending.
    #[must_use]
    pub fn new(encrypt: impl Encrypt + 'static) -> Self {
        Self {
            encrypt: Box::new(encrypt),
            pending: Vec::new(),
            written: 0,
            held: None,
            is_closed: false,
            batch: None,
        }
    }

    /// Whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Writes what is pending, as far as the socket takes it; true if it took anything.
    ///
    /// # Errors
    /// Socket errors. A full socket is not an error.
    pub fn flush(&mut self, socket: &TcpStream) -> io::Result<bool> {
        let mut any = false;
        while let Some(left) = self.pending.get(self.written..)
            && !left.is_empty()
        {
            match socket.try_write(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written = self.written.saturating_add(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            any = true;
        }
        if self.written > 0 {
            // Most viewers are never full again, so the buffer is freed.
            self.pending = Vec::new();
            self.written = 0;
            self.account();
        }
        Ok(any)
    }

    /// Encrypts some of these bytes and writes them. Returns how many bytes it has encrypted: they
    /// count as sent. The encrypted bytes that the socket does not take are
    /// [pending](Self::is_pending).
    ///
    /// # Errors
    /// Socket errors, and those of the encryption. [`WouldBlock`](io::ErrorKind::WouldBlock) if
    /// bytes from before are still pending: then nothing was encrypted.
    pub fn try_write(&mut self, socket: &TcpStream, plain: &[IoSlice<'_>]) -> io::Result<usize> {
        self.flush(socket)?;
        if self.is_pending() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.scratched(plain, |socket_takes| socket.try_write(socket_takes))
    }

    /// Writes as much of `unsent` as the socket takes now; true if it took anything.
    ///
    /// # Errors
    /// Socket errors, and those of the encryption. A full socket is not an error.
    pub fn try_write_unsent(
        &mut self,
        socket: &TcpStream,
        unsent: &mut impl Unsent,
    ) -> io::Result<bool> {
        let mut any = self.flush(socket)?;
        while !self.is_pending() && !unsent.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = unsent.fill(&mut slices);
            let taken = self.try_write(socket, slices.get(..count).unwrap_or_default())?;
            unsent.advance(taken);
            any = true;
        }
        Ok(any)
    }

    /// Adds to what is pending that nothing more follows. Only the first call has an effect.
    ///
    /// # Errors
    /// The connection can no longer be encrypted.
    pub fn close(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        self.encrypt.close(&mut self.pending)?;
        self.account();
        Ok(())
    }

    /// Sets the account that counts what is pending.
    pub(crate) fn hold(&mut self, held: Option<HeldBytes>) {
        self.held = held;
        self.account();
    }

    /// Encrypts bytes that many viewers get, and writes them without tokio's readiness. The length
    /// must be at most [`MAX_SEALED_BYTES`], and nothing may be pending.
    pub(crate) fn write_prepared(
        &mut self,
        socket: &TcpStream,
        plain: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.scratched(plain, |records| {
            sys::write_vectored(socket, &[IoSlice::new(records)])
        })
    }

    /// Encrypts bytes into the buffer of a batch.
    pub(crate) fn encrypt_into(
        &mut self,
        plain: &[IoSlice<'_>],
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        debug_assert!(!self.is_pending());
        let start = buffer.len();
        self.encrypt.encrypt(plain, usize::MAX, buffer)?;
        self.batch = Some((start, buffer.len()));
        Ok(())
    }

    /// What this viewer has in the buffer of a batch.
    pub(crate) fn of_batch<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        let (start, end) = self.batch?;
        buffer.get(start..end)
    }

    /// Keeps what the socket has not taken of the buffer of a batch.
    pub(crate) fn sent_of_batch(
        &mut self,
        result: io::Result<usize>,
        buffer: &[u8],
    ) -> io::Result<()> {
        let records = self.of_batch(buffer).unwrap_or_default();
        self.batch = None;
        self.keep(result, records)
    }

    /// Encrypts up to the bound into the thread's buffer, writes that, and keeps the rest.
    fn scratched(
        &mut self,
        plain: &[IoSlice<'_>],
        write: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let taken = self.encrypt.encrypt(plain, MAX_SEALED_BYTES, scratch)?;
            if !scratch.is_empty() {
                self.keep(write(scratch), scratch)?;
            }
            Ok(taken)
        })
    }

    /// After a write of `records`: keeps what the socket has not taken.
    fn keep(&mut self, result: io::Result<usize>, records: &[u8]) -> io::Result<()> {
        let written = match result {
            Ok(written) => written,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Err(error) => return Err(error),
        };
        let left = records.get(written..).unwrap_or_default();
        if !left.is_empty() {
            self.pending.extend_from_slice(left);
            self.account();
        }
        Ok(())
    }

    fn account(&mut self) {
        if let Some(held) = &mut self.held {
            held.set(self.pending.len());
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher")
            .field("pending", &self.pending.len().saturating_sub(self.written))
            .finish_non_exhaustive()
    }
}
