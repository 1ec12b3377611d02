//! A client: publishes a stream to a server, or plays one from it.

use std::{io, time::Duration};

use livetrail_egress::Unsent as _;
use livetrail_engine::{MediaFrame, Role};
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
/// With more than this unsent, [`RtmpPublisher::push`] waits.
const MAX_UNSENT_BYTES: usize = 256 << 10;

/// A client's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientConfig {
    /// For the connection to be made. Default 5 s.
    pub connect_timeout: Duration,
    /// From the connection to the server's consent or refusal. Default 10 s.
    pub start_timeout: Duration,
    /// Without the server taking a byte that is queued for it. Default 10 s.
    pub write_timeout: Duration,
    /// What a server can make the client hold.
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

/// Begins sessions with servers.
#[derive(Debug, Clone, Default)]
pub struct RtmpClient {
    config: ClientConfig,
}

impl RtmpClient {
    /// A client with default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A client with limits of one's own.
    #[must_use]
    pub fn with_config(config: ClientConfig) -> Self {
        Self { config }
    }

    /// Connects, and asks to publish. Returns once the server has said yes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's status code, and whatever else can happen on the way.
    pub async fn publish(&self, url: &RtmpUrl) -> Result<RtmpPublisher> {
        Ok(RtmpPublisher {
            connection: self.start(url, Role::Publish).await?,
        })
    }

    /// Connects, and asks to play. Returns once the server has said yes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's status code, and whatever else can happen on the way.
    pub async fn play(&self, url: &RtmpUrl) -> Result<RtmpPlayer> {
        Ok(RtmpPlayer {
            connection: self.start(url, Role::Play).await?,
        })
    }

    async fn start(&self, url: &RtmpUrl, role: Role) -> Result<Connection> {
        let connecting = TcpStream::connect((url.host.as_str(), url.port));
        let stream = limited("to connect", self.config.connect_timeout, connecting).await??;
        stream.set_nodelay(true)?;
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), url.port);
        let mut connection = Connection {
            session: ClientSession::new(url.clone(), role, self.config.chunks, seed),
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
}

/// A publish that the server has admitted.
#[derive(Debug)]
pub struct RtmpPublisher {
    connection: Connection,
}

impl RtmpPublisher {
    /// Sends a frame, as soon as the connection takes it.
    ///
    /// # Errors
    /// [`Error::Ended`] when the server has ended the session; the connection's.
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

    /// Waits until `at` while listening to the server: for a publisher that sends at the media's own pace.
    ///
    /// # Errors
    /// As [`push`](Self::push): a session that the server ends is noticed at once.
    pub async fn wait_until(&mut self, at: Instant) -> Result<()> {
        let mut due = std::pin::pin!(sleep_until(at));
        loop {
            self.connection.exchange()?;
            let unsent = !self.connection.outbox.is_empty();
            tokio::select! {
                () = &mut due => return Ok(()),
                ready = self.connection.stream.readable() => ready?,
                ready = self.connection.stream.writable(), if unsent => ready?,
            }
        }
    }

    /// Sends what is queued, tells the server that we are done, and closes.
    ///
    /// # Errors
    /// The connection's; the server may have ended it before.
    pub async fn close(mut self) -> Result<()> {
        self.connection.close().await
    }
}

/// A play that the server has begun.
#[derive(Debug)]
pub struct RtmpPlayer {
    connection: Connection,
}

impl RtmpPlayer {
    /// The next frame; `None` when the stream's publisher has ended it.
    ///
    /// # Errors
    /// [`Error::Ended`] when the server ended the session for another reason; [`Error::Closed`] when it closed without a
    /// word; the connection's.
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

    /// Tells the server that we are done, and closes.
    ///
    /// # Errors
    /// The connection's; the server may have ended it before.
    pub async fn close(mut self) -> Result<()> {
        self.connection.close().await
    }
}

/// Sends frames at their own pace: each when as much time has passed since the first as their decode times say.
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
        let (start, first_ms) = *self.first.get_or_insert_with(|| (Instant::now(), dts_ms));
        let after = u64::try_from(dts_ms.saturating_sub(first_ms)).unwrap_or(0);
        start
            .checked_add(Duration::from_millis(after))
            .unwrap_or(start)
    }
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
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

    /// Waits until something can be read, writing meanwhile.
    async fn wait(&mut self) -> Result<()> {
        loop {
            self.outbox.try_write(&self.stream)?;
            if self.read()? {
                return Ok(());
            }
            let unsent = !self.outbox.is_empty();
            tokio::select! {
                ready = self.stream.readable() => ready?,
                ready = self.stream.writable(), if unsent => ready?,
            }
        }
    }

    /// Reads and writes what can be now; for a publisher, to whom frames say nothing.
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
        self.outbox.try_write(&self.stream)?;
        Ok(())
    }

    async fn write_some(&mut self) -> Result<()> {
        limited(
            "the server to take what is sent",
            self.write_timeout,
            self.stream.writable(),
        )
        .await??;
        self.exchange()
    }

    /// Whether there was something to read.
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
        while !self.outbox.is_empty() {
            limited(
                "the server to take what is sent",
                self.write_timeout,
                self.stream.writable(),
            )
            .await??;
            self.outbox.try_write(&self.stream)?;
        }
        tokio::io::AsyncWriteExt::shutdown(&mut self.stream).await?;
        // Closing with unread input would make the system drop what the server has not read yet.
        let drained = async {
            let mut sink = vec![0; READ_BYTES];
            loop {
                self.stream.readable().await?;
                match self.stream.try_read(&mut sink) {
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
