//! One connection to the gateway, from handshake to end, in one task.

use std::{
    borrow::Cow,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use livetrail_egress::Unsent as _;
use livetrail_engine::{
    Attempt, CertificateName, ClientAddress, Denied, Engine, Playback, Publication, Reason, Role,
    SessionId, StreamKey, log,
};
use livetrail_gateway::{
    Closed, ConnectedViewer, FrameDelay, Incoming, LeftViewer, Opened, Slot, Transport, ViewerEnd,
    Viewers, clock, poll_gone, say_goodbye,
};
use tokio::{
    io::Interest,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tracing::{debug, field::display, info, warn};

use crate::{
    config::RtmpConfig,
    error::{Error, Result},
    nodes::Publications,
    outbox::Outbox,
    protocol::{Request, ServerEvent, ServerSession, Status},
    wire::RtmpWire,
};

/// The protocol's name in attempts, and thus in records.
const PROTOCOL: &str = "rtmp";
/// Input buffer of a peer that only sends commands.
const READ_BYTES: usize = 4 << 10;
/// Input buffer of a publisher: frames that are complete in it are not copied.
const READ_MEDIA_BYTES: usize = 64 << 10;
/// The session reads no more while more answer bytes than this are unwritten. A peer that only
/// sends requests cannot make the server queue answers without bound.
const MAX_UNSENT_BYTES: usize = 64 << 10;
/// How much a client may send ahead while it waits for admission; more stays in the socket.
const MAX_EARLY_BYTES: usize = 64 << 10;
/// Interval between checks whether a client that has sent that much is still there.
const EARLY_LOOK: Duration = Duration::from_millis(250);

/// On shutdown, how long to wait for players to finish before ending publishers, and the poll
/// interval.
const PLAYERS_END_TIMEOUT: Duration = Duration::from_secs(1);
const PLAYERS_POLL: Duration = Duration::from_millis(5);

/// Resolves when the server stops.
type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;
type Ended = Pin<Box<dyn Future<Output = Reason> + Send>>;

/// What all connections of a server share.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) config: Arc<RtmpConfig>,
    pub(crate) viewers: Arc<Viewers<RtmpWire>>,
}

/// Serves one connection until it ends. Each of its sessions ends exactly once, with its reason.
pub(crate) async fn serve(incoming: Incoming, host: Host, seed: u64) -> Closed {
    let Incoming {
        mut stream,
        client,
        certificate,
        is_proxys_own,
        accepted,
        opened,
        stop,
        ..
    } = incoming;
    if is_proxys_own {
        return wait_for_proxy(&mut stream, stop.wait(), host.config.handshake_timeout).await;
    }
    // This gateway has no reserve: each connection is meant for a session.
    let Opened::Slot(slot) = opened else {
        return Closed::Cut;
    };
    let handshake_timeout = host.config.handshake_timeout;
    let mut connection = Connection {
        protocol: ServerSession::new(host.config.chunks, seed),
        outbox: Outbox::default(),
        media: Media::None,
        timer: Box::pin(sleep_until(clock::now())),
        awaits: Awaits::Handshake,
        current: None,
        skipped: Skipped::default(),
        slot,
        progress: clock::now(),
        stream,
        peer: client.peer,
        client,
        certificate,
        host,
        stop: Box::pin(stop.wait()),
        delay: FrameDelay::default(),
        next: None,
    };
    connection.set_timer(accepted.checked_add(handshake_timeout));
    let end = connection.run().await;
    connection.finish(end).await
}

/// Waits until a trusted proxy closes a connection of its own, such as a health check. It cannot
/// become a session, so nothing is answered.
async fn wait_for_proxy(
    stream: &mut Transport,
    stop: impl Future<Output = ()>,
    limit: Duration,
) -> Closed {
    let gone = poll_fn(|cx| poll_gone(stream, cx));
    tokio::select! {
        _ = gone => {}
        () = stop => {}
        () = sleep(limit) => {}
    }
    Closed::Whole
}

struct Connection {
    stream: Transport,
    /// The client's address, for the log.
    peer: SocketAddr,
    client: ClientAddress,
    /// The name in the client's certificate.
    certificate: Option<CertificateName>,
    host: Host,
    protocol: ServerSession,
    /// Pending output. Unused while a player is with the egress, which then does all writing.
    outbox: Outbox,
    media: Media,
    /// The current session, for the log.
    current: Option<(SessionId, StreamKey)>,
    skipped: Skipped,
    slot: Slot,
    /// The next deadline: of the handshake, the next command, a pause, or a stalled write.
    timer: Pin<Box<Sleep>>,
    awaits: Awaits,
    /// When the peer last read a byte, or nothing was pending.
    progress: Instant,
    stop: Stop,
    /// Of a player that is another server: the next publication.
    next: Option<Publications>,
    /// How long a frame waits for a player.
    delay: FrameDelay,
}

/// Messages of the session that could not be decoded.
#[derive(Default)]
struct Skipped {
    /// The connection's count before this session.
    before: u64,
    first: Option<String>,
}

/// What the timer waits for.
#[derive(Clone, Copy)]
enum Awaits {
    Handshake,
    /// `publish` or `play`.
    Command,
    /// A paused player continues.
    Unpause,
    /// The peer reads its output, while media flows.
    Progress,
}

impl Awaits {
    fn timeout(self, config: &RtmpConfig) -> Error {
        let (what, limit) = match self {
            Self::Handshake => ("the handshake", config.handshake_timeout),
            Self::Command => ("publish or play", config.command_timeout),
            Self::Unpause => ("a paused player to resume", config.pause_timeout),
            Self::Progress => ("the peer to read its output", config.write_stall_timeout),
        };
        Error::Timeout { what, limit }
    }
}

/// The connection's current use.
enum Media {
    None,
    Publish(Box<Publication>, Ended),
    Play(Box<ConnectedViewer<RtmpWire>>),
    /// A player that wants no frames for now. Its connection task writes to it.
    Paused(Box<Playback>, Ended),
}

impl Media {
    fn role(&self) -> Option<Role> {
        match self {
            Self::None => None,
            Self::Publish(..) => Some(Role::Publish),
            Self::Play(..) | Self::Paused(..) => Some(Role::Play),
        }
    }

    /// Ends the session. Returns the pending output of a player.
    async fn end(self, stream: &mut Transport, reason: Reason, detail: &str) -> Bytes {
        match self {
            Self::None => {}
            Self::Publish(publication, _) => publication.end_with(reason, detail),
            Self::Paused(playback, _) => playback.end_with(reason, detail),
            Self::Play(viewer) => {
                let left = viewer.leave(stream).await;
                if let Ok(playback) = left.playback {
                    playback.end_with(reason, detail);
                }
                return left.unwritten;
            }
        }
        Bytes::new()
    }
}

/// Why a task wakes.
enum Wake {
    Readable,
    Writable,
    /// The viewer's connection failed.
    Broken(Error),
    /// The engine ended the session, or the stream has ended.
    Ended(Reason),
    /// Another publication of the stream has begun.
    Published(Option<u64>),
    Stop,
    Timer,
}

/// How a connection ends.
enum End {
    /// The engine or the server ended the session; the peer gets a status.
    Server(Reason),
    /// The peer was refused, and the status is in the output.
    Refused,
    /// The peer closed the connection, broke the protocol, or cannot be reached.
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
                Wake::Broken(error) => Err(error),
                Wake::Ended(reason) => return End::Server(reason),
                Wake::Published(begun) => {
                    self.announce(begun);
                    Ok(())
                }
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

    /// Resolves when players have ended. Players end first when the server stops: otherwise they
    /// would end because their stream did.
    fn let_players_end(&self) -> impl Future<Output = ()> + use<> {
        let publishes = self.media.role() == Some(Role::Publish);
        let viewers = self.host.viewers.clone();
        let ended = async move {
            while publishes && viewers.count() > 0 {
                sleep(PLAYERS_POLL).await;
            }
        };
        async {
            let _ = timeout(PLAYERS_END_TIMEOUT, ended).await;
        }
    }

    /// Drains the protocol's events, and writes as much as the socket accepts.
    async fn advance(&mut self) -> Result<(), End> {
        loop {
            let event = self.protocol.poll_event();
            while let Some(report) = self.protocol.take_report() {
                self.report(report);
            }
            let output = self.protocol.take_output();
            self.say(output).await;
            match event.map_err(End::Peer)? {
                None => break,
                Some(event) => self.on_event(event).await?,
            }
        }
        self.write()
    }

    /// Writes as much as the socket accepts.
    fn write(&mut self) -> Result<(), End> {
        let is_idle = !self.has_output();
        let written = self.stream.try_write(&mut self.outbox);
        if written.map_err(|e| End::Peer(e.into()))? || is_idle {
            self.progress = clock::now();
        }
        Ok(())
    }

    /// Whether output waits for the socket. The egress has the output of an attached viewer.
    fn has_output(&self) -> bool {
        !self.outbox.is_empty() || self.stream.is_pending()
    }

    async fn say(&mut self, bytes: Bytes) {
        match &self.media {
            Media::Play(viewer) if !bytes.is_empty() => viewer.say(bytes).await,
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
            ServerEvent::Refused {
                request,
                reason,
                detail,
                over,
            } => {
                let attempt = self.attempt(&request).unwrap_or_else(|stand_in| *stand_in);
                let role = request.role;
                let denied = self.host.engine.refuse(role, attempt, reason);
                debug!(peer = log::personal(self.peer), session = %denied.session, role = role.label(), detail, "refused");
                if over {
                    return Err(End::Refused);
                }
            }
            ServerEvent::Paused(true) => self.pause().await?,
            ServerEvent::Paused(false) => self.unpause().await?,
            ServerEvent::Finished => {
                let media = std::mem::replace(&mut self.media, Media::None);
                let detail = self.left_out();
                let rest = media
                    .end(&mut self.stream, Reason::ClientClosed, &detail)
                    .await;
                self.outbox.push_bytes(rest);
                self.current = None;
                self.next = None;
                if !self.slot.idle() {
                    debug!(
                        peer = log::personal(self.peer),
                        "turned away: too many connections from its address"
                    );
                    return Err(End::Refused);
                }
                self.expect_command();
            }
        }
        Ok(())
    }

    /// Logs each new fault. The first fault of a session is also on its record.
    fn report(&mut self, report: String) {
        let current = self.current.as_ref();
        let session = current.map(|(session, _)| display(session));
        let stream = current.map(|(_, key)| log::stream(key));
        warn!(peer = log::personal(self.peer), stream, session, "{report}");
        self.skipped.first.get_or_insert(report);
    }

    /// How many messages of the session were dropped, for its record.
    fn left_out(&self) -> String {
        let unusable = self.protocol.unusable();
        let count = unusable.saturating_sub(self.skipped.before);
        match (count, &self.skipped.first) {
            (0, _) => String::new(),
            (count, Some(first)) => format!("{count} messages were dropped; the first: {first}"),
            (count, None) => format!("{count} messages were dropped"),
        }
    }

    async fn admit(&mut self, request: Request) -> Result<(), End> {
        let role = request.role;
        let attempt = match self.attempt(&request) {
            Ok(attempt) => attempt,
            Err(stand_in) => {
                let denied = self.host.engine.refuse(role, *stand_in, Reason::BadName);
                return Err(self.refuse(&denied));
            }
        };
        match role {
            Role::Publish => self.start_publish(attempt).await,
            Role::Play => self.start_play(attempt, request.hops.is_some()).await,
        }
    }

    /// Makes an attempt of the client's request. If its names are invalid, the error is an attempt
    /// that represents it on record.
    fn attempt(&self, request: &Request) -> Result<Attempt, Box<Attempt>> {
        let engine = &self.host.engine;
        // This compares whole texts with the configured keys: a replaced or shortened name would
        // hide them.
        let is_scrubbed = |text: &str| matches!(engine.scrub(text), Cow::Owned(_));
        let is_cut = request.cut.as_ref().is_some_and(|[query, whole]| {
            is_scrubbed(whole.expose()) && !is_scrubbed(query.expose())
        });
        let stream = if is_cut { "" } else { &request.stream };
        let app = &request.app;
        let with_key = |key| {
            let credentials = request.credentials.clone();
            let attempt = Attempt::new(key, PROTOCOL)
                .client(self.client)
                .credentials(credentials.certificate(self.certificate.clone()));
            let attempt = match &request.user_agent {
                Some(user_agent) => attempt.user_agent(user_agent),
                None => attempt,
            };
            match &request.hops {
                Some(hops) => attempt.hops(Arc::new(hops.clone())),
                None => attempt,
            }
        };
        StreamKey::parse(app, stream).map(with_key).map_err(|_| {
            let (app, stream) = (engine.scrub(app), engine.scrub(stream));
            Box::new(with_key(StreamKey::sanitized(
                app.as_bytes(),
                stream.as_bytes(),
            )))
        })
    }

    fn refuse(&mut self, denied: &Denied) -> End {
        self.protocol
            .refuse(&Status::refused(denied.role, &denied.reason));
        End::Refused
    }

    async fn start_publish(&mut self, attempt: Attempt) -> Result<(), End> {
        let engine = self.host.engine.clone();
        let admitted = self.while_connected(engine.publish(attempt)).await?;
        let publication = admitted.map_err(|denied| self.refuse(&denied))?;
        self.begin(publication.session(), publication.key().clone());
        let signal = publication.end_signal();
        self.media = Media::Publish(
            Box::new(publication),
            Box::pin(async move { signal.wait().await }),
        );
        self.protocol.accept();
        Ok(())
    }

    async fn start_play(&mut self, attempt: Attempt, is_node: bool) -> Result<(), End> {
        let engine = self.host.engine.clone();
        let admitted = self.while_connected(engine.play(attempt)).await?;
        let playback = admitted.map_err(|denied| self.refuse(&denied))?;
        self.begin(playback.session(), playback.key().clone());
        if is_node {
            // It passes the frames on.
            self.delay = FrameDelay::None;
            self.next = Publications::of(&self.host.engine, &playback);
        }
        let engine = &self.host.engine;
        match self.next.as_ref().and_then(|next| next.source(engine, 0)) {
            Some(from) => self.protocol.accept_node(from),
            None => self.protocol.accept(),
        }
        self.outbox.push_bytes(self.protocol.take_output());
        self.connect(playback).await
    }

    /// Says to a player that is another server that the next publication has begun. There is none
    /// any more without their number.
    fn announce(&mut self, begun: Option<u64>) {
        let Some(begun) = begun else {
            self.next = None;
            return;
        };
        let engine = &self.host.engine;
        let next = self.next.as_ref();
        if let Some(from) = next.and_then(|next| next.source(engine, next.epoch(begun))) {
            self.protocol.published_again(from);
        }
    }

    fn begin(&mut self, session: SessionId, key: StreamKey) {
        self.slot.admitted();
        self.awaits = Awaits::Progress;
        self.current = Some((session, key));
        self.skipped = Skipped {
            before: self.protocol.unusable(),
            first: None,
        };
    }

    async fn connect(&mut self, playback: Playback) -> Result<(), End> {
        // Pending output goes along: from here on the egress is the only writer.
        let first = std::mem::take(&mut self.outbox).into_bytes();
        let accepts = self.protocol.accepts();
        let (viewers, stream) = (&self.host.viewers, &mut self.stream);
        let (stall, delay) = (self.host.config.write_stall_timeout, self.delay);
        let viewer = viewers.connect(playback, stream, first, accepts, stall, delay);
        self.media = Media::Play(Box::new(viewer.await.map_err(End::Server)?));
        Ok(())
    }

    /// The connection takes the viewer's socket back, and the session continues.
    async fn pause(&mut self) -> Result<(), End> {
        match std::mem::replace(&mut self.media, Media::None) {
            Media::Play(viewer) => {
                let LeftViewer {
                    playback,
                    unwritten,
                    ..
                } = viewer.leave(&mut self.stream).await;
                self.outbox.push_bytes(unwritten);
                let playback = playback.map_err(End::Server)?;
                playback.pause();
                let ended = playback.end_signal();
                let ended = Box::pin(async move { ended.wait().await });
                self.media = Media::Paused(Box::new(playback), ended);
                self.awaits = Awaits::Unpause;
                self.set_timer(clock::now().checked_add(self.host.config.pause_timeout));
            }
            media => self.media = media,
        }
        Ok(())
    }

    /// Resumes from the newest keyframe, like a viewer who joins.
    async fn unpause(&mut self) -> Result<(), End> {
        match std::mem::replace(&mut self.media, Media::None) {
            Media::Paused(mut playback, _) => {
                playback.resume();
                self.awaits = Awaits::Progress;
                self.set_timer(clock::now().checked_add(self.host.config.write_stall_timeout));
                self.connect(*playback).await
            }
            media => {
                self.media = media;
                Ok(())
            }
        }
    }

    /// Waits for the engine while the client stays connected and the server runs.
    ///
    /// Meanwhile it reads ahead, up to [`MAX_EARLY_BYTES`]: only a read reveals that a client has
    /// closed.
    async fn while_connected<T>(&mut self, admission: impl Future<Output = T>) -> Result<T, End> {
        // The client must get this output before it waits.
        self.write()?;
        let mut admission = std::pin::pin!(admission);
        let mut look = Box::pin(sleep(EARLY_LOOK));
        poll_fn(|cx| {
            if let Poll::Ready(admitted) = admission.as_mut().poll(cx) {
                return Poll::Ready(Ok(admitted));
            }
            if self.stop.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(End::Server(Reason::ServerShutdown)));
            }
            while self.has_output() && self.stream.poll_writable(cx).is_ready() {
                if let Err(end) = self.write() {
                    return Poll::Ready(Err(end));
                }
            }
            while self.protocol.input().len() < MAX_EARLY_BYTES
                && self.stream.poll_readable(cx).is_ready()
            {
                if let Err(error) = self.read() {
                    return Poll::Ready(Err(End::Peer(error)));
                }
            }
            while look.as_mut().poll(cx).is_ready() {
                look.set(sleep(EARLY_LOOK));
                if self.protocol.input().len() >= MAX_EARLY_BYTES && self.has_closed(cx) {
                    return Poll::Ready(Err(End::Peer(Error::Closed)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Whether the client has closed its side although unread bytes are pending.
    fn has_closed(&self, cx: &mut Context<'_>) -> bool {
        let ready = std::pin::pin!(self.stream.socket().ready(Interest::READABLE));
        match ready.poll(cx) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
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
            Media::Publish(_, ended) | Media::Paused(_, ended) => {
                if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
                    return Poll::Ready(Wake::Ended(reason));
                }
            }
            Media::Play(viewer) => {
                if let Poll::Ready(end) = viewer.poll_end(cx) {
                    return Poll::Ready(match end {
                        ViewerEnd::Ended(reason) => Wake::Ended(reason),
                        ViewerEnd::Failed(error) => Wake::Broken(error.into()),
                        ViewerEnd::Stalled(_) => {
                            Wake::Broken(Awaits::Progress.timeout(&self.host.config))
                        }
                    });
                }
                // A peer that does not read its output gets no more answers.
                unsaid |= viewer.is_full();
            }
        }
        if matches!(self.media, Media::Play(_))
            && let Some(next) = &mut self.next
            && let Poll::Ready(begun) = next.poll(cx)
        {
            return Poll::Ready(Wake::Published(begun));
        }
        // The next read or write reports the error that the socket reports here.
        if self.has_output() && self.stream.poll_writable(cx).is_ready() {
            return Poll::Ready(Wake::Writable);
        }
        if !unsaid && self.stream.poll_readable(cx).is_ready() {
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
        self.set_timer(clock::now().checked_add(self.host.config.command_timeout));
    }

    /// Checks the current deadline. While media flows, the timer only checks whether the peer still
    /// reads.
    fn check_deadline(&mut self) -> Result<()> {
        if !matches!(self.awaits, Awaits::Progress) {
            let error = self.awaits.timeout(&self.host.config);
            // A limit beyond the range of the clock is no limit.
            if matches!(error, Error::Timeout { limit, .. } if clock::now().checked_add(limit).is_none())
            {
                self.set_timer(None);
                return Ok(());
            }
            return Err(error);
        }
        let now = clock::now();
        // A viewer has its own check, and its outbox here is empty.
        let takes = !self.has_output();
        let since = if takes { now } else { self.progress };
        self.progress = since;
        let due = since.checked_add(self.host.config.write_stall_timeout);
        if due.is_some_and(|due| due <= now) {
            return Err(self.awaits.timeout(&self.host.config));
        }
        self.set_timer(due);
        Ok(())
    }

    fn set_timer(&mut self, at: Option<Instant>) {
        // Checks again in a day.
        let day = Duration::from_secs(86_400);
        let at = at
            .or_else(|| clock::now().checked_add(day))
            .unwrap_or_else(clock::now);
        self.timer.as_mut().reset(at);
    }

    /// Ends the session if there is one. Then gives the peer the linger time to read the reason.
    async fn finish(mut self, end: End) -> Closed {
        let media = std::mem::replace(&mut self.media, Media::None);
        let role = media.role().unwrap_or(Role::Publish);
        let skipped = self.left_out();
        match end {
            End::Refused => {
                let rest = media
                    .end(&mut self.stream, Reason::ClientClosed, &skipped)
                    .await;
                self.outbox.push_bytes(rest);
            }
            End::Server(reason) => {
                let session = self.current.as_ref().map(|(session, _)| display(session));
                debug!(peer = log::personal(self.peer), session, %reason, "ended by the server");
                let rest = media.end(&mut self.stream, reason.clone(), &skipped).await;
                self.outbox.push_bytes(rest);
                let mut status = Status::ended(role, &reason);
                if reason == Reason::Idle && !skipped.is_empty() {
                    status = status.because(&skipped);
                }
                self.protocol.end(&status);
            }
            End::Peer(Error::Closed) => {
                media
                    .end(&mut self.stream, Reason::ClientClosed, &skipped)
                    .await;
                return Closed::Whole;
            }
            End::Peer(error) => {
                let cause = causes(&error);
                let reason = match self.awaits {
                    Awaits::Unpause => Reason::Idle,
                    _ => error.reason(),
                };
                self.log_failure(&reason, &cause);
                let rest = media.end(&mut self.stream, reason.clone(), &cause).await;
                if matches!(error, Error::Io(_)) {
                    return Closed::Whole;
                }
                self.outbox.push_bytes(rest);
                self.protocol
                    .end(&Status::ended(role, &reason).because(&cause));
            }
        }
        self.outbox.push_bytes(self.protocol.take_output());
        // The session has ended, whatever happens from here on; only the last words may be lost.
        let last = self.outbox.into_bytes();
        say_goodbye(&mut self.stream, [&last[..]], self.host.config.linger).await
    }

    /// Logs a session that ended with an error. A connection that never had a session is only debug
    /// output.
    fn log_failure(&self, reason: &Reason, cause: &str) {
        match &self.current {
            Some((session, key)) => {
                info!(peer = log::personal(self.peer), stream = ?log::stream(key), %session, %reason, cause, "an error ended a session");
            }
            None => debug!(
                peer = log::personal(self.peer),
                cause, "an error ended a connection"
            ),
        }
    }
}

/// An error and its causes, in one line.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
