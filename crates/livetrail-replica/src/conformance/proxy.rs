//! A TCP proxy that breaks on demand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes per read, and so how finely a connection can be cut.
const CHUNK_BYTES: usize = 4_096;

const UNLIMITED: u64 = u64::MAX;

/// A proxy between a sink and its server, on loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Control {
    target: SocketAddr,
    /// Counts cuts; each connection ends when the count changes.
    cuts: watch::Sender<u64>,
    requests: Direction,
    replies: Direction,
    /// The delay before each chunk, in microseconds.
    delay_us: AtomicU64,
}

/// One direction of all connections.
#[derive(Debug)]
struct Direction {
    bytes: AtomicU64,
    /// How many more bytes pass before all connections are cut.
    left: AtomicU64,
}

impl Direction {
    const fn new() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            left: AtomicU64::new(UNLIMITED),
        }
    }

    /// How many of these bytes may pass.
    fn take(&self, bytes: u64) -> u64 {
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                (left != UNLIMITED).then(|| left.saturating_sub(bytes))
            })
            .map_or(bytes, |left| left.min(bytes));
        self.bytes.fetch_add(taken, Ordering::SeqCst);
        taken
    }
}

impl Proxy {
    /// Starts a proxy in front of this server, on a port that the system picks.
    ///
    /// # Errors
    /// If there is no port.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time. The proxy lives as long as this runtime.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control {
            target,
            cuts: watch::Sender::new(0),
            requests: Direction::new(),
            replies: Direction::new(),
            delay_us: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&control)));
        Ok(Self {
            address,
            control,
            accepting,
        })
    }

    /// The address that sinks connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        self.control.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Lets this many more bytes pass to the server, and then cuts all connections, once.
    pub fn cut_after_requests(&self, bytes: u64) {
        self.control.requests.left.store(bytes, Ordering::SeqCst);
    }

    /// Lets this many more bytes pass from the server, and then cuts all connections, once.
    pub fn cut_after_replies(&self, bytes: u64) {
        self.control.replies.left.store(bytes, Ordering::SeqCst);
    }

    /// Waits for `delay` before each chunk of 4 KiB, in both directions.
    pub fn slow_down(&self, delay: Duration) {
        let us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.control.delay_us.store(us, Ordering::SeqCst);
    }

    /// How many bytes went to the server and came from it so far.
    #[must_use]
    pub fn passed(&self) -> (u64, u64) {
        (
            self.control.requests.bytes.load(Ordering::SeqCst),
            self.control.replies.bytes.load(Ordering::SeqCst),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cuts = control.cuts.subscribe();
        let control = Arc::clone(&control);
        tokio::spawn(async move {
            tokio::select! {
                () = carry(client, &control) => {}
                _ = cuts.changed() => {}
            }
        });
    }
}

async fn carry(client: TcpStream, control: &Control) {
    // The server is not there: the client's connection ends.
    let Ok(server) = TcpStream::connect(control.target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The end of one direction is passed on and leaves the other open; an error ends both.
    let _ = tokio::try_join!(
        copy(from_client, to_server, &control.requests, control),
        copy(from_server, to_client, &control.replies, control),
    );
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    direction: &Direction,
    control: &Control,
) -> io::Result<()> {
    let mut chunk = [0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let delay = control.delay_us.load(Ordering::SeqCst);
        if delay > 0 {
            tokio::time::sleep(Duration::from_micros(delay)).await;
        }
        let may = direction.take(read as u64);
        let passed = usize::try_from(may).unwrap_or(read);
        to.write_all(&chunk[..passed]).await?;
        if passed < read {
            direction.left.store(UNLIMITED, Ordering::SeqCst);
            control.cuts.send_modify(|cuts| *cuts += 1);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
    }
}
