//! One connection to the gateway, from its handshake to its end, in one task.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use livetrail_engine::{
    Attempt, Engine, Playback, Publication, Reason, Role, SharedFrame, StreamKey,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tracing::debug;

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    outbox::Outbox,
    protocol::{Request, ServerEvent, ServerSession, Status},
};

/// The protocol's name in attempts, and so in records.
const PROTOCOL: &str = "rtmp";
/// Input buffer of a peer that only sends commands.
const READ_BYTES: usize = 4 << 10;
/// Input buffer of a publisher: frames that are whole in it are not copied.
const READ_MEDIA_BYTES: usize = 64 << 10;
/// With more answers than this unsent, nothing more is read: a peer that only asks cannot make the server queue answers.
const MAX_UNSENT_BYTES: usize = 64 << 10;
/// Frames taken from the bus at once. They are written before more are taken, so this bounds what is queued for a viewer.
const BATCH_FRAMES: usize = 64;
/// What is read, and not looked at, while a peer reads why it was refused.
const MAX_LINGER_BYTES: usize = 4 << 20;

/// Resolves when the server stops.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;
type Ended = Pin<Box<dyn Future<Output = Reason> + Send>>;

/// Serves one connection to its end. Each of its sessions ends exactly once, with its reason.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    engine: Engine,
    config: Arc<RtmpConfig>,
    seed: u64,
    stop: Stop,
) {
    let deadline = Instant::now().checked_add(config.handshake_timeout);
    let mut connection = Connection {
        protocol: ServerSession::new(config.chunks, seed),
        outbox: Outbox::default(),
        media: Media::None,
        timer: Box::pin(sleep_until(deadline.unwrap_or_else(Instant::now))),
        awaits: Awaits::Handshake,
        progress: Instant::now(),
        batch: Vec::new(),
        stream,
        peer,
        engine,
        config,
        stop,
    };
    let end = connection.run().await;
    connection.finish(end).await;
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    engine: Engine,
    config: Arc<RtmpConfig>,
    protocol: ServerSession,
    outbox: Outbox,
    media: Media,
    /// The next deadline: of the handshake, of the next command, or of a stalled write.
    timer: Pin<Box<Sleep>>,
    awaits: Awaits,
    /// When the peer last took a byte, or there was none for it to take.
    progress: Instant,
    batch: Vec<Arc<SharedFrame>>,
    stop: Stop,
}

/// What the timer is for.
#[derive(Clone, Copy)]
enum Awaits {
    Handshake,
    /// `publish` or `play`.
    Command,
    /// That the peer takes what is sent, while media flows.
    Progress,
}

impl Awaits {
    fn timeout(self, config: &RtmpConfig) -> Error {
        let (what, limit) = match self {
            Self::Handshake => ("the handshake", config.handshake_timeout),
            Self::Command => ("publish or play", config.command_timeout),
            Self::Progress => ("the peer to take what is sent", config.write_timeout),
        };
        Error::Timeout { what, limit }
    }
}

/// What the connection is for at the moment.
enum Media {
    None,
    Publish(Publication, Ended),
    Play(Playback, Ended),
}

impl Media {
    fn role(&self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Publish(..) => Some(Role::Publish),
            Self::Play(..) => Some(Role::Play),
        }
    }

    fn end(self, reason: Reason) {
        match self {
            Self::None => {}
            Self::Publish(publication, _) => publication.end(reason),
            Self::Play(playback, _) => playback.end(reason),
        }
    }
}

/// Why a task wakes.
enum Wake {
    Readable,
    Writable,
    /// The batch has frames.
    Frames,
    /// The engine ended the session, or there is nothing more to watch.
    Ended(Reason),
    Stop,
    Timer,
}

/// How a connection comes to its end.
enum End {
    /// The engine or the server ended the session: the peer is told.
    Server(Reason),
    /// The peer was refused, and the status is in the output.
    Refused,
    /// The peer closed, broke the protocol, or cannot be reached.
    Peer(Error),
}

impl Connection {
    async fn run(&mut self) -> End {
        loop {
            if let Err(end) = self.advance().await {
                return end;
            }
            let result = match self.wake().await {
                Wake::Readable => self.read(),
                Wake::Writable => Ok(()),
                Wake::Frames => {
                    self.queue_frames();
                    Ok(())
                }
                Wake::Ended(reason) => return End::Server(reason),
                Wake::Stop => return End::Server(Reason::ServerShutdown),
                Wake::Timer => self.check_deadline(),
            };
            if let Err(error) = result {
                return End::Peer(error);
            }
        }
    }

    /// Drains the protocol's events and writes what the socket takes.
    async fn advance(&mut self) -> Result<(), End> {
        loop {
            let event = self.protocol.poll_event();
            self.outbox.push_bytes(self.protocol.take_output());
            match event.map_err(End::Peer)? {
                None => break,
                Some(event) => self.on_event(event).await?,
            }
        }
        if self.outbox.is_empty()
            || self
                .outbox
                .try_write(&self.stream)
                .map_err(|e| End::Peer(e.into()))?
        {
            self.progress = Instant::now();
        }
        Ok(())
    }

    async fn on_event(&mut self, event: ServerEvent) -> Result<(), End> {
        match event {
            ServerEvent::HandshakeDone => self.expect_command(),
            ServerEvent::Requested(request) => return self.admit(request).await,
            ServerEvent::Frame(frame) => {
                if let Media::Publish(publication, _) = &mut self.media {
                    publication
                        .push(frame)
                        .map_err(|ended| End::Server(ended.reason))?;
                }
            }
            ServerEvent::Finished => {
                std::mem::replace(&mut self.media, Media::None).end(Reason::ClientClosed);
                self.expect_command();
            }
        }
        Ok(())
    }

    async fn admit(&mut self, request: Request) -> Result<(), End> {
        let role = request.role;
        let Ok(key) = StreamKey::parse(&request.app, &request.stream) else {
            debug!(peer = %self.peer, role = role.label(), "refused: not a stream's name");
            let nowhere = match role {
                Role::Publish => Reason::Unauthorized,
                Role::Play => Reason::StreamNotFound,
            };
            let status = Status::refused(role, nowhere).because("this is not a stream's name");
            self.protocol.refuse(&status);
            return Err(End::Refused);
        };
        let mut attempt = Attempt::new(key, PROTOCOL)
            .peer(self.peer)
            .credentials(request.credentials);
        if let Some(user_agent) = &request.user_agent {
            attempt = attempt.user_agent(user_agent);
        }
        let admitted = match role {
            Role::Publish => self.engine.publish(attempt).await.map(|publication| {
                let signal = publication.end_signal();
                Media::Publish(publication, Box::pin(async move { signal.wait().await }))
            }),
            Role::Play => self.engine.play(attempt).await.map(|playback| {
                let signal = playback.end_signal();
                Media::Play(playback, Box::pin(async move { signal.wait().await }))
            }),
        };
        match admitted {
            Ok(media) => {
                self.media = media;
                self.awaits = Awaits::Progress;
                self.protocol.accept();
                Ok(())
            }
            Err(denied) => {
                self.protocol.refuse(&Status::refused(role, denied.reason));
                Err(End::Refused)
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        poll_fn(|cx| self.poll_wake(cx)).await
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Media::Publish(_, ended) | Media::Play(_, ended) = &mut self.media
            && let Poll::Ready(reason) = ended.as_mut().poll(cx)
        {
            return Poll::Ready(Wake::Ended(reason));
        }
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Wake::Stop);
        }
        // What the socket says goes wrong, the read or write that follows says too.
        if !self.outbox.is_empty() && self.stream.poll_write_ready(cx).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if self.outbox.answer_bytes() <= MAX_UNSENT_BYTES
            && self.stream.poll_read_ready(cx).is_ready()
        {
            return Poll::Ready(Wake::Readable);
        }
        if self.outbox.is_empty()
            && let Media::Play(playback, _) = &mut self.media
            && let Poll::Ready(more) = playback.poll_batch(cx, &mut self.batch, BATCH_FRAMES)
        {
            let over = || Wake::Ended(playback.end_reason().unwrap_or(Reason::StreamEnded));
            return Poll::Ready(if more { Wake::Frames } else { over() });
        }
        self.timer.as_mut().poll(cx).map(|()| Wake::Timer)
    }

    fn read(&mut self) -> Result<()> {
        let publishing = self.media.role() == Some(Role::Publish);
        let size = if publishing {
            READ_MEDIA_BYTES
        } else {
            READ_BYTES
        };
        let input = self.protocol.input();
        if input.capacity().saturating_sub(input.len()) < READ_BYTES / 2 {
            input.reserve(size);
        }
        match self.stream.try_read_buf(input) {
            Ok(0) => Err(Error::Closed),
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn queue_frames(&mut self) {
        let multitrack = self.protocol.accepts_multitrack();
        for frame in self.batch.drain(..) {
            if frame.track == 0 || multitrack {
                self.outbox.push_shared(frame);
            }
        }
    }

    fn expect_command(&mut self) {
        self.awaits = Awaits::Command;
        self.set_timer(Instant::now().checked_add(self.config.command_timeout));
    }

    /// While media flows, the timer only looks whether the peer still takes what is sent.
    fn check_deadline(&mut self) -> Result<()> {
        if matches!(self.awaits, Awaits::Handshake | Awaits::Command) {
            return Err(self.awaits.timeout(&self.config));
        }
        let now = Instant::now();
        let since = if self.outbox.is_empty() {
            now
        } else {
            self.progress
        };
        let due = since.checked_add(self.config.write_timeout);
        if due.is_some_and(|due| due <= now) {
            return Err(self.awaits.timeout(&self.config));
        }
        self.set_timer(due);
        Ok(())
    }

    fn set_timer(&mut self, at: Option<Instant>) {
        // A limit beyond what the clock can say is no limit: look again in a day.
        let day = std::time::Duration::from_secs(86_400);
        let at = at
            .or_else(|| Instant::now().checked_add(day))
            .unwrap_or_else(Instant::now);
        self.timer.as_mut().reset(at);
    }

    /// Ends the session, if there is one, then lets the peer read why, within the linger time.
    async fn finish(mut self, end: End) {
        let media = std::mem::replace(&mut self.media, Media::None);
        let role = media.role().unwrap_or(Role::Publish);
        match end {
            End::Refused => {}
            End::Server(reason) => {
                debug!(peer = %self.peer, %reason, "ended by the server");
                media.end(reason);
                self.protocol.end(&Status::ended(role, reason));
            }
            End::Peer(error) => {
                debug!(peer = %self.peer, %error, "ended by the peer");
                let reason = error.reason();
                media.end(reason);
                if matches!(error, Error::Closed | Error::Io(_)) {
                    return;
                }
                self.protocol
                    .end(&Status::ended(role, reason).because(&error));
            }
        }
        self.outbox.drop_unbegun_frames();
        self.outbox.push_bytes(self.protocol.take_output());
        let linger = self.config.linger;
        // Whatever happens from here on, the session has ended; only the last words may be lost.
        let _ = timeout(linger, self.say_goodbye()).await;
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            self.stream.writable().await?;
            self.outbox.try_write(&self.stream)?;
        }
        self.stream.shutdown().await?;
        // Closing with unread input would make the system drop what the peer has not read yet.
        let mut sink = vec![0; READ_BYTES];
        let mut left = MAX_LINGER_BYTES;
        while left > 0 {
            self.stream.readable().await?;
            match self.stream.try_read(&mut sink) {
                Ok(0) => break,
                Ok(read) => left = left.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
