//! The bytes between a client and a gateway, encrypted or not.

use std::{
    fmt, io,
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use livetrail_egress::{Cipher, Encrypt, Output, Unsent};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Encrypted bytes are read from the socket in pieces of this size. A record of TLS fits.
const READ_BYTES: usize = 32 << 10;

/// Decrypts what a connection receives.
pub(crate) trait Decrypt: Send + Sync {
    /// Reads from the start of `encrypted` up to the first data, appends that to `plain`, and
    /// removes what it has read.
    ///
    /// # Errors
    /// The other side breaks the protocol; the connection must be closed.
    fn decrypt(&mut self, encrypted: &mut BytesMut, plain: &mut BytesMut) -> io::Result<Decrypted>;
}

/// What [`Decrypt::decrypt`] has found.
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing decrypts"))]
pub(crate) enum Decrypted {
    Data,
    Incomplete,
    Closed,
}

/// A connection, as its gateway reads and writes it: a socket, and the encryption of each direction
/// if it has any. Each method that writes must be called by the connection's task alone.
///
/// What is encrypted waits here until the socket takes it, at most 64 KiB. So a connection has
/// output until [`is_pending`](Self::is_pending) is false.
pub struct Transport {
    stream: Arc<TcpStream>,
    writing: Writing,
    reading: Option<Box<Reading>>,
}

/// Who encrypts.
enum Writing {
    Plain,
    Cipher(Box<Cipher>),
    /// The sender threads have the cipher, or had it when they ended.
    Elsewhere,
}

struct Reading {
    decrypt: Box<dyn Decrypt>,
    encrypted: BytesMut,
    plain: BytesMut,
    /// `encrypted` may have more data.
    has_more: bool,
    is_closed: bool,
}

impl Transport {
    /// A connection without encryption.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self {
            stream: Arc::new(stream),
            writing: Writing::Plain,
            reading: None,
        }
    }

    /// A connection whose bytes are encrypted. `encrypted` and `plain` are bytes that are received
    /// already.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "nothing encrypts"))]
    pub(crate) fn encrypted(
        stream: TcpStream,
        encrypt: impl Encrypt + 'static,
        decrypt: impl Decrypt + 'static,
        (encrypted, plain): (BytesMut, BytesMut),
    ) -> Self {
        Self {
            stream: Arc::new(stream),
            writing: Writing::Cipher(Box::new(Cipher::new(encrypt))),
            reading: Some(Box::new(Reading {
                decrypt: Box::new(decrypt),
                has_more: !encrypted.is_empty(),
                encrypted,
                plain,
                is_closed: false,
            })),
        }
    }

    /// The socket, to wait for it. Read and write through the transport.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.reading.is_some()
    }

    /// Whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match &self.writing {
            Writing::Plain | Writing::Elsewhere => false,
            Writing::Cipher(cipher) => cipher.is_pending(),
        }
    }

    /// Ready when a read may find something: bytes, the end, or an error.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let has_some =
            |reading: &Reading| reading.has_more || reading.is_closed || !reading.plain.is_empty();
        if self.reading.as_deref().is_some_and(has_some) {
            return Poll::Ready(());
        }
        self.stream.poll_read_ready(cx).map(|_| ())
    }

    /// Ready when the socket may take bytes. The next write reports an error.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_write_ready(cx).map(|_| ())
    }

    /// Appends what can be read now to `input`, which must have room. Zero is the end.
    ///
    /// # Errors
    /// Socket errors, and those of the encryption. [`WouldBlock`](io::ErrorKind::WouldBlock) if
    /// there is nothing now.
    pub fn try_read_buf(&mut self, input: &mut BytesMut) -> io::Result<usize> {
        match &mut self.reading {
            None => self.stream.try_read_buf(input),
            Some(reading) => {
                let before = input.len();
                if !reading.plain.is_empty() {
                    input.unsplit(reading.plain.split());
                    return Ok(input.len().saturating_sub(before));
                }
                reading.fill(&self.stream, input)?;
                Ok(input.len().saturating_sub(before))
            }
        }
    }

    /// Writes as much of `unsent` as the socket takes now; true if it took anything. Part of it may
    /// then be [pending](Self::is_pending).
    ///
    /// # Errors
    /// Socket errors, and those of the encryption. A full socket is not an error.
    pub fn try_write(&mut self, unsent: &mut impl Unsent) -> io::Result<bool> {
        match &mut self.writing {
            Writing::Plain => unsent.try_write(&self.stream),
            Writing::Cipher(cipher) => cipher.try_write_unsent(&self.stream, unsent),
            Writing::Elsewhere if unsent.is_empty() => Ok(false),
            Writing::Elsewhere => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Writes these bytes, and what is pending. Waits for the socket.
    ///
    /// If the future is dropped, any part may be written.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(self, bytes).await?;
        tokio::io::AsyncWriteExt::flush(self).await
    }

    /// Tells the other side that nothing more follows, and closes the sending side of the socket.
    ///
    /// # Errors
    /// Socket errors.
    pub async fn close(&mut self) -> io::Result<()> {
        tokio::io::AsyncWriteExt::shutdown(self).await
    }

    /// Hands writing over to another owner, with what is pending.
    pub(crate) fn take_output(&mut self) -> Output {
        let cipher = match std::mem::replace(&mut self.writing, Writing::Plain) {
            Writing::Plain => None,
            Writing::Cipher(cipher) => {
                self.writing = Writing::Elsewhere;
                Some(cipher)
            }
            Writing::Elsewhere => {
                self.writing = Writing::Elsewhere;
                None
            }
        };
        Output {
            stream: self.stream.clone(),
            cipher,
        }
    }

    /// Takes writing back.
    pub(crate) fn put_back(&mut self, cipher: Option<Box<Cipher>>) {
        if let Some(cipher) = cipher {
            self.writing = Writing::Cipher(cipher);
        }
    }

    /// The socket without its encryption: to read and discard what still comes.
    pub(crate) fn raw(&self) -> &TcpStream {
        &self.stream
    }
}

impl Reading {
    /// Appends the next data to `plain`. Nothing is appended at the end.
    fn fill(&mut self, stream: &TcpStream, plain: &mut BytesMut) -> io::Result<()> {
        loop {
            if self.is_closed {
                return Ok(());
            }
            match self.decrypt.decrypt(&mut self.encrypted, plain)? {
                Decrypted::Data => {
                    self.has_more = !self.encrypted.is_empty();
                    return Ok(());
                }
                Decrypted::Closed => {
                    self.is_closed = true;
                    return Ok(());
                }
                Decrypted::Incomplete => {}
            }
            self.has_more = false;
            self.encrypted.reserve(READ_BYTES);
            let read = stream.try_read_buf(&mut self.encrypted);
            if self.encrypted.is_empty() {
                // A connection that says nothing for a while holds no buffer.
                self.encrypted = BytesMut::new();
            }
            if read? == 0 {
                self.is_closed = true;
            }
        }
    }

    /// Moves data to a buffer that may be smaller.
    fn read(&mut self, stream: &TcpStream, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        if self.plain.is_empty() {
            let mut plain = std::mem::take(&mut self.plain);
            let filled = self.fill(stream, &mut plain);
            self.plain = plain;
            filled?;
        }
        let part = self.plain.len().min(buf.remaining());
        buf.put_slice(&self.plain.split_to(part));
        Ok(())
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_readable(cx));
            let read = match &mut this.reading {
                None => this.stream.try_read_buf(buf).map(|_| ()),
                Some(reading) => reading.read(&this.stream, buf),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            ready!(this.stream.poll_write_ready(cx))?;
            let written = match &mut this.writing {
                Writing::Plain => this.stream.try_write_vectored(bufs),
                Writing::Cipher(cipher) => cipher.try_write(&this.stream, bufs),
                Writing::Elsewhere => Err(io::ErrorKind::BrokenPipe.into()),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let Writing::Cipher(cipher) = &mut this.writing
            && cipher.is_pending()
        {
            ready!(this.stream.poll_write_ready(cx))?;
            cipher.flush(&this.stream)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Writing::Cipher(cipher) = &mut self.writing {
            // Once, even if this is polled again.
            cipher.close()?;
        }
        ready!(self.as_mut().poll_flush(cx))?;
        // Others may hold the socket for a moment, so dropping it would close nothing.
        Poll::Ready(SockRef::from(&*self.stream).shutdown(Shutdown::Write))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("stream", &self.stream)
            .field("is_encrypted", &self.is_encrypted())
            .field("is_pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}
