//! A client: publishes a stream to a server, or plays one from it.

use std::{future::poll_fn, io, time::Duration};

use livetrail_egress::Unsent as _;
use livetrail_engine::{Hops, MediaFrame, Role};
use livetrail_gateway::{Transport, clock};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    error::{Error, Result},
    outbox::Outbox,
    protocol::{ChunkLimits, ClientEvent, ClientSession},
    target::RtmpUrl,
};

const READ_BYTES: usize = 64 << 10;
/// [`RtmpPublisher::push`] waits while more bytes than this are unwritten.
const MAX_UNSENT_BYTES: usize = 256 << 10;

/// A client's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Time for making the connection. Default 5 s.
    pub connect_timeout: Duration,
    /// Time from the connection to the server's consent or refusal. Default 10 s.
    pub start_timeout: Duration,
    /// How long the server may read nothing of its pending input. Default 10 s.
    pub write_timeout: Duration,
    /// Bounds on the bytes that a server can make the client hold.
    pub chunks: ChunkLimits,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            start_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            chunks: ChunkLimits::default(),
        }
    }
}

/// Starts sessions with servers.
#[derive(Debug, Clone, Default)]
pub struct RtmpClient {
    config: ClientConfig,
    hops: Option<Hops>,
    #[cfg(feature = "tls")]
    tls: Option<livetrail_tls::ClientTls>,
}

impl RtmpClient {
    /// A client with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client with the given limits.
    #[must_use]
    pub fn with_config(config: ClientConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Says that this client is a server that passes the stream on, and which servers the stream or
    /// the request has passed, this one last.
    #[must_use]
    pub fn hops(mut self, hops: Hops) -> Self {
        self.hops = Some(hops);
        self
    }

    /// With TLS, which addresses that begin with `rtmps://` need.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: livetrail_tls::ClientTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Connects, and asks to publish. Returns once the server has agreed.
    ///
    /// If the future is dropped, the connection is closed.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's status code, and any error of the connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time. The result's methods need this runtime, too.
    pub async fn publish(&self, url: &RtmpUrl) -> Result<RtmpPublisher> {
        Ok(RtmpPublisher {
            connection: self.start(url, Role::Publish).await?,
        })
    }

    /// Connects, and asks to play. Returns once the server has agreed.
    ///
    /// If the future is dropped, the connection is closed.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's status code, and any error of the connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time. The result's methods need this runtime, too.
    pub async fn play(&self, url: &RtmpUrl) -> Result<RtmpPlayer> {
        Ok(RtmpPlayer {
            connection: self.start(url, Role::Play).await?,
        })
    }

    async fn start(&self, url: &RtmpUrl, role: Role) -> Result<Connection> {
        let connecting = self.connect(url);
        let stream = limited("to connect", self.config.connect_timeout, connecting).await??;
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), url.port);
        let mut session = ClientSession::new(url.clone(), role, self.config.chunks, seed);
        if let Some(hops) = &self.hops {
            session = session.with_hops(hops.clone());
        }
        let mut connection = Connection {
            session,
            outbox: Outbox::default(),
            write_timeout: self.config.write_timeout,
            stream,
        };
        limited(
            "the server to answer",
            self.config.start_timeout,
            connection.started(),
        )
        .await??;
        Ok(connection)
    }

    async fn connect(&self, url: &RtmpUrl) -> Result<Transport> {
        let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
        stream.set_nodelay(true)?;
        if !url.tls {
            return Ok(Transport::plain(stream));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return Ok(livetrail_gateway::connect_tls(tls, &url.host, stream).await?);
        }
        Err(Error::NoTls)
    }
}

/// A publish that the server has admitted.
#[derive(Debug)]
pub struct RtmpPublisher {
    connection: Connection,
}

impl RtmpPublisher {
    /// Sends a frame as soon as the connection accepts it.
    ///
    /// If the future is dropped after its first poll, the frame is in the output all the same: the
    /// next call sends it, and it must not be pushed again.
    ///
    /// # Errors
    /// [`Error::Ended`] if the server has ended the session, and the connection's errors.
    pub async fn push(&mut self, frame: &MediaFrame) -> Result<()> {
        let connection = &mut self.connection;
        connection
            .outbox
            .push_chunks(connection.session.frame(frame)?);
        connection.exchange()?;
        while connection.outbox.pending_bytes() > MAX_UNSENT_BYTES {
            connection.write_some().await?;
        }
        Ok(())
    }

    /// Waits until `at` and reads the server's messages meanwhile. For a publisher that sends at
    /// the media's own pace.
    ///
    /// Cancel safe: no message and no output is lost.
    ///
    /// # Errors
    /// As for [`push`](Self::push): it returns at once if the server ends the session.
    pub async fn wait_until(&mut self, at: Instant) -> Result<()> {
        let mut due = std::pin::pin!(sleep_until(at));
        loop {
            self.connection.exchange()?;
            let unsent = self.connection.has_output();
            let stream = &self.connection.stream;
            tokio::select! {
                () = &mut due => return Ok(()),
                () = poll_fn(|cx| stream.poll_readable(cx)) => {}
                () = poll_fn(|cx| stream.poll_writable(cx)), if unsent => {}
            }
        }
    }

    /// Sends the pending output, tells the server that the publisher is done, and closes.
    ///
    /// If the future is dropped, the connection is closed at once, and pending output is lost.
    ///
    /// # Errors
    /// The connection's errors; the server may have ended it before.
    pub async fn close(mut self) -> Result<()> {
        self.connection.close().await
    }
}

/// A play that the server has started.
#[derive(Debug)]
pub struct RtmpPlayer {
    connection: Connection,
}

impl RtmpPlayer {
    /// The next frame, or `None` if the publisher has ended the stream.
    ///
    /// Cancel safe: no frame is lost.
    ///
    /// # Errors
    /// [`Error::Ended`] if the server ended the session for another reason, [`Error::Closed`] if it
    /// closed the connection without a status, and the connection's errors.
    pub async fn next(&mut self) -> Result<Option<MediaFrame>> {
        loop {
            match self.connection.poll_event()? {
                Some(ClientEvent::Frame(frame)) => return Ok(Some(frame)),
                Some(ClientEvent::Ended { code, description }) => {
                    return match code.as_str() {
                        "NetStream.Play.UnpublishNotify"
                        | "NetStream.Play.Stop"
                        | "NetStream.Play.Complete" => Ok(None),
                        _ => Err(Error::Ended { code, description }),
                    };
                }
                Some(ClientEvent::Started) => {}
                None => self.connection.wait().await?,
            }
        }
    }

    /// What the server said last about the stream: where it comes from, and its epoch. `None` if
    /// it is not a server of this kind, or this client has no [hops](RtmpClient::hops).
    #[must_use]
    pub fn upstream(&self) -> Option<&Hops> {
        self.connection.session.upstream()
    }

    /// Tells the server that the player is done, and closes.
    ///
    /// If the future is dropped, the connection is closed at once, and pending output is lost.
    ///
    /// # Errors
    /// The connection's errors; the server may have ended it before.
    pub async fn close(mut self) -> Result<()> {
        self.connection.close().await
    }
}

/// Paces frames by their decode times: each is due as long after the first frame as its decode time
/// is.
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    first: Option<(Instant, i64)>,
}

impl Pacer {
    /// A pacer whose first frame is due at once.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When a frame with this decode time is due.
    pub fn due(&mut self, dts_ms: i64) -> Instant {
        let (start, first_ms) = *self.first.get_or_insert_with(|| (clock::now(), dts_ms));
        let after = u64::try_from(dts_ms.saturating_sub(first_ms)).unwrap_or(0);
        start
            .checked_add(Duration::from_millis(after))
            .unwrap_or(start)
    }
}

#[derive(Debug)]
struct Connection {
    stream: Transport,
    session: ClientSession,
    outbox: Outbox,
    write_timeout: Duration,
}

impl Connection {
    async fn started(&mut self) -> Result<()> {
        loop {
            match self.poll_event()? {
                Some(ClientEvent::Started) => return Ok(()),
                Some(_) => {}
                None => self.wait().await?,
            }
        }
    }

    fn poll_event(&mut self) -> Result<Option<ClientEvent>> {
        let event = self.session.poll_event();
        self.outbox.push_bytes(self.session.take_output());
        event
    }

    /// Waits until bytes can be read, and writes meanwhile.
    async fn wait(&mut self) -> Result<()> {
        loop {
            self.stream.try_write(&mut self.outbox)?;
            if self.read()? {
                return Ok(());
            }
            let unsent = self.has_output();
            let stream = &self.stream;
            tokio::select! {
                () = poll_fn(|cx| stream.poll_readable(cx)) => {}
                () = poll_fn(|cx| stream.poll_writable(cx)), if unsent => {}
            }
        }
    }

    /// Reads and writes as much as is possible now. For a publisher, which ignores incoming frames.
    fn exchange(&mut self) -> Result<()> {
        loop {
            while let Some(event) = self.poll_event()? {
                if let ClientEvent::Ended { code, description } = event {
                    return Err(Error::Ended { code, description });
                }
            }
            if !self.read()? {
                break;
            }
        }
        self.stream.try_write(&mut self.outbox)?;
        Ok(())
    }

    fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.stream.is_pending()
    }

    async fn write_some(&mut self) -> Result<()> {
        limited(
            "the server to read its input",
            self.write_timeout,
            poll_fn(|cx| self.stream.poll_writable(cx)),
        )
        .await?;
        self.exchange()
    }

    /// Reads. Returns whether there were bytes.
    fn read(&mut self) -> Result<bool> {
        let input = self.session.input();
        if input.capacity().saturating_sub(input.len()) < READ_BYTES / 8 {
            input.reserve(READ_BYTES);
        }
        match self.stream.try_read_buf(input) {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.session.close();
        self.outbox.push_bytes(self.session.take_output());
        while self.has_output() {
            limited(
                "the server to read its input",
                self.write_timeout,
                poll_fn(|cx| self.stream.poll_writable(cx)),
            )
            .await?;
            self.stream.try_write(&mut self.outbox)?;
        }
        self.stream.close().await?;
        // Closing with unread input would make the system discard bytes that the server has not
        // read yet.
        let drained = async {
            let mut sink = vec![0; READ_BYTES];
            loop {
                let socket = self.stream.socket();
                socket.readable().await?;
                match socket.try_read(&mut sink) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        };
        match timeout(Duration::from_secs(1), drained).await {
            Ok(Err(error)) if error.kind() != io::ErrorKind::ConnectionReset => Err(error.into()),
            _ => Ok(()),
        }
    }
}

async fn limited<F: Future>(what: &'static str, limit: Duration, future: F) -> Result<F::Output> {
    timeout(limit, future)
        .await
        .map_err(|_| Error::Timeout { what, limit })
}
