//! One connection to the gateway, from its handshake to its end, in one task.

use std::{
    future::{Future, poll_fn},
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use livetrail_egress::{Egress, Seat, Unsent as _};
use livetrail_engine::{Attempt, Engine, Publication, Reason, Role, StreamKey};
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    outbox::Outbox,
    protocol::{Request, ServerEvent, ServerSession, Status},
    wire::RtmpWire,
};

/// The protocol's name in attempts, and so in records.
const PROTOCOL: &str = "rtmp";
/// Input buffer of a peer that only sends commands.
const READ_BYTES: usize = 4 << 10;
/// Input buffer of a publisher: frames that are whole in it are not copied.
const READ_MEDIA_BYTES: usize = 64 << 10;
/// With more answers than this unsent, nothing more is read: a peer that only asks cannot make the server queue answers.
const MAX_UNSENT_BYTES: usize = 64 << 10;
/// What is read, and not looked at, while a peer reads why it was refused.
const MAX_LINGER_BYTES: usize = 4 << 20;

/// For players to end before publishers do when the server stops, and how often it is looked whether they have.
const PLAYERS_END_TIMEOUT: Duration = Duration::from_secs(1);
const PLAYERS_POLL: Duration = Duration::from_millis(5);

/// Resolves when the server stops.
pub(crate) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;
type Ended = Pin<Box<dyn Future<Output = Reason> + Send>>;

/// What all connections of a server share.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) config: Arc<RtmpConfig>,
    pub(crate) egress: Arc<Egress<RtmpWire>>,
}

/// Serves one connection to its end. Each of its sessions ends exactly once, with its reason.
pub(crate) async fn serve(stream: TcpStream, peer: SocketAddr, host: Host, seed: u64, stop: Stop) {
    let deadline = Instant::now().checked_add(host.config.handshake_timeout);
    let mut connection = Connection {
        protocol: ServerSession::new(host.config.chunks, seed),
        outbox: Outbox::default(),
        media: Media::None,
        timer: Box::pin(sleep_until(deadline.unwrap_or_else(Instant::now))),
        awaits: Awaits::Handshake,
        progress: Instant::now(),
        writes_seen: 0,
        stream: Arc::new(stream),
        peer,
        host,
        stop,
    };
    let end = connection.run().await;
    connection.finish(end).await;
}

struct Connection {
    stream: Arc<TcpStream>,
    peer: SocketAddr,
    host: Host,
    protocol: ServerSession,
    /// What is to be written; unused while a player sits with the egress, which then does all writing.
    outbox: Outbox,
    media: Media,
    /// The next deadline: of the handshake, of the next command, or of a stalled write.
    timer: Pin<Box<Sleep>>,
    awaits: Awaits,
    /// When the peer last took a byte, or there was none for it to take.
    progress: Instant,
    /// Of a player: how often it had taken something when the timer last looked.
    writes_seen: usize,
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
    Publish(Box<Publication>, Ended),
    Play(Seat<RtmpWire>, Ended),
}

impl Media {
    fn role(&self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Publish(..) => Some(Role::Publish),
            Self::Play(..) => Some(Role::Play),
        }
    }

    /// Ends the session; gives what was to be written to a player.
    async fn end(self, reason: Reason) -> Bytes {
        match self {
            Self::None => {}
            Self::Publish(publication, _) => publication.end(reason),
            Self::Play(seat, _) => {
                let (playback, rest) = seat.leave().await;
                if let Some(playback) = playback {
                    playback.end(reason);
                }
                return rest;
            }
        }
        Bytes::new()
    }
}

/// Why a task wakes.
enum Wake {
    Readable,
    Writable,
    /// Sending to the player failed.
    Broken(io::Error),
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
                Wake::Broken(error) => Err(error.into()),
                Wake::Ended(reason) => return End::Server(reason),
                Wake::Stop => {
                    self.let_players_end().await;
                    return End::Server(Reason::ServerShutdown);
                }
                Wake::Timer => self.check_deadline(),
            };
            if let Err(error) = result {
                return End::Peer(error);
            }
        }
    }

    /// Players end first when the server stops: otherwise they would end because their stream did.
    fn let_players_end(&self) -> impl Future<Output = ()> + use<> {
        let publishes = self.media.role() == Some(Role::Publish);
        let egress = self.host.egress.clone();
        let ended = async move {
            while publishes && egress.viewers() > 0 {
                sleep(PLAYERS_POLL).await;
            }
        };
        async {
            let _ = timeout(PLAYERS_END_TIMEOUT, ended).await;
        }
    }

    /// Drains the protocol's events and writes what the socket takes.
    async fn advance(&mut self) -> Result<(), End> {
        loop {
            let event = self.protocol.poll_event();
            while let Some(report) = self.protocol.take_report() {
                warn!(peer = %self.peer, "{report}");
            }
            let output = self.protocol.take_output();
            self.say(output).await;
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

    async fn say(&mut self, bytes: Bytes) {
        match &self.media {
            Media::Play(seat, _) if !bytes.is_empty() => seat.say(bytes).await,
            _ => self.outbox.push_bytes(bytes),
        }
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
                let media = std::mem::replace(&mut self.media, Media::None);
                self.take_over(media.end(Reason::ClientClosed).await);
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
            Role::Publish => self.start_publish(attempt).await,
            Role::Play => self.start_play(attempt).await,
        };
        admitted.map_err(|denied| {
            self.protocol.refuse(&Status::refused(role, denied));
            End::Refused
        })
    }

    async fn start_publish(&mut self, attempt: Attempt) -> Result<(), Reason> {
        let admitted = self.host.engine.publish(attempt).await;
        let publication = admitted.map_err(|denied| denied.reason)?;
        let signal = publication.end_signal();
        self.media = Media::Publish(
            Box::new(publication),
            Box::pin(async move { signal.wait().await }),
        );
        self.awaits = Awaits::Progress;
        self.protocol.accept();
        Ok(())
    }

    async fn start_play(&mut self, attempt: Attempt) -> Result<(), Reason> {
        let admitted = self.host.engine.play(attempt).await;
        let playback = admitted.map_err(|denied| denied.reason)?;
        let signal = playback.end_signal();
        self.awaits = Awaits::Progress;
        self.protocol.accept();
        self.outbox.push_bytes(self.protocol.take_output());
        // What is to be said first goes along: from here on one writer writes.
        let first = std::mem::take(&mut self.outbox).into_bytes();
        let accepts = self.protocol.accepts();
        let seat = self
            .host
            .egress
            .seat(playback, self.stream.clone(), first, accepts);
        let seat = seat.await.ok_or(Reason::LimitReached)?;
        self.media = Media::Play(seat, Box::pin(async move { signal.wait().await }));
        Ok(())
    }

    async fn wake(&mut self) -> Wake {
        poll_fn(|cx| self.poll_wake(cx)).await
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Wake::Stop);
        }
        let mut unsaid = self.outbox.answer_bytes() > MAX_UNSENT_BYTES;
        match &mut self.media {
            Media::None => {}
            Media::Publish(_, ended) => {
                if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
                    return Poll::Ready(Wake::Ended(reason));
                }
            }
            Media::Play(seat, ended) => {
                if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
                    return Poll::Ready(Wake::Ended(reason));
                }
                if let Poll::Ready(error) = seat.poll_full(cx) {
                    return Poll::Ready(Wake::Broken(error));
                }
                // One that does not take what it is sent gets no more answers.
                unsaid |= seat.is_full();
            }
        }
        // What the socket says goes wrong, the read or write that follows says too.
        if !self.outbox.is_empty() && self.stream.poll_write_ready(cx).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if !unsaid && self.stream.poll_read_ready(cx).is_ready() {
            return Poll::Ready(Wake::Readable);
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

    fn expect_command(&mut self) {
        self.awaits = Awaits::Command;
        self.set_timer(Instant::now().checked_add(self.host.config.command_timeout));
    }

    /// While media flows, the timer only looks whether the peer still takes what is sent.
    fn check_deadline(&mut self) -> Result<()> {
        if matches!(self.awaits, Awaits::Handshake | Awaits::Command) {
            return Err(self.awaits.timeout(&self.host.config));
        }
        let now = Instant::now();
        let takes = match &self.media {
            Media::Play(seat, _) => {
                let before = std::mem::replace(&mut self.writes_seen, seat.writes());
                !seat.is_full() || before != self.writes_seen
            }
            Media::None | Media::Publish(..) => self.outbox.is_empty(),
        };
        let since = if takes { now } else { self.progress };
        self.progress = since;
        let due = since.checked_add(self.host.config.write_timeout);
        if due.is_some_and(|due| due <= now) {
            return Err(self.awaits.timeout(&self.host.config));
        }
        self.set_timer(due);
        Ok(())
    }

    fn set_timer(&mut self, at: Option<Instant>) {
        // A limit beyond what the clock can say is no limit: look again in a day.
        let day = Duration::from_secs(86_400);
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
                self.take_over(media.end(reason).await);
                self.protocol.end(&Status::ended(role, reason));
            }
            End::Peer(error) => {
                debug!(peer = %self.peer, %error, "ended by the peer");
                let reason = error.reason();
                self.take_over(media.end(reason).await);
                if matches!(error, Error::Closed | Error::Io(_)) {
                    return;
                }
                self.protocol
                    .end(&Status::ended(role, reason).because(&error));
            }
        }
        self.outbox.push_bytes(self.protocol.take_output());
        let linger = self.host.config.linger;
        // Whatever happens from here on, the session has ended; only the last words may be lost.
        let _ = timeout(linger, self.say_goodbye()).await;
    }

    /// What was left to be written to a player; its connection wrote nothing itself in the meantime.
    fn take_over(&mut self, rest: Bytes) {
        self.outbox.push_bytes(rest);
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        while !self.outbox.is_empty() {
            self.stream.writable().await?;
            self.outbox.try_write(&self.stream)?;
        }
        // The egress lets go of the socket with the player, so that this is the last handle; what counts is that no more
        // will be sent.
        SockRef::from(&*self.stream).shutdown(Shutdown::Write)?;
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
