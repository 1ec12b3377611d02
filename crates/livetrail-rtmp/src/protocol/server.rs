//! The server's side of one connection.

use std::{borrow::Cow, fmt};

use bytes::{Bytes, BytesMut};
use livetrail_engine::{AppName, Credentials, Hops, MediaFrame, Reason, Role, Secret};
use livetrail_media::amf0::Value;

use super::{
    MEDIA_STREAM_ID, OUT_CHUNK_BYTES,
    chunk::{ChunkLimits, Message},
    handshake::ServerHandshake,
    hops,
    link::{Incoming, Link, WINDOW_ACK_BYTES},
    message::Command,
    status::{Level, Status},
    streams::Streams,
};
use crate::{
    error::{Error, Result},
    target::{self, Address},
};

/// The longest message before a publish is admitted. Commands are far shorter, and the client has
/// no rights yet.
const MAX_COMMAND_BYTES: usize = 64 << 10;
/// The maximum number of bytes in all incomplete messages together, before a publish is admitted.
const MAX_EARLY_PARTIAL_BYTES: usize = 2 * MAX_COMMAND_BYTES;

/// The number of requests for a second stream that are refused alone; one more ends the connection.
const MAX_DECLINED: u32 = 8;

/// Codecs that are forwarded (Enhanced RTMP, "Enhancing NetConnection connect Command").
const VIDEO_FOURCCS: [&str; 6] = ["avc1", "hvc1", "av01", "vp09", "vp08", "vvc1"];
const AUDIO_FOURCCS: [&str; 6] = ["mp4a", "Opus", ".mp3", "ac-3", "ec-3", "fLaC"];
const CAN_FORWARD: f64 = 4.0;
const CAPS_MULTITRACK: u32 = 2;
const CAPS_MOD_EX: u32 = 4;

/// One connection to a server, for one publish or one play at a time. A request for a second stream
/// is refused alone; a repeated request gets its answer again.
///
/// Follows the drain rule of [`protocol`](super): append to [`input`](Self::input), call
/// [`poll_event`](Self::poll_event) until it returns `None`, send
/// [`take_output`](Self::take_output).
///
/// After [`ServerEvent::Requested`] the session reads nothing until the host has called
/// [`accept`](Self::accept) or [`refuse`](Self::refuse). Media that a client sends early stays in
/// the input and is not lost.
pub struct ServerSession {
    input: BytesMut,
    output: BytesMut,
    phase: Phase,
    /// Whether a play is active. It stays set after an error, because the end of a play has its own
    /// messages.
    playing: bool,
    link: Link,
    limits: ChunkLimits,
    client: Client,
    streams: Streams,
    /// The last request. It is what the client publishes or plays now, if it does.
    active: Option<Active>,
    declined: u32,
    /// Of a player that is another server: where its stream comes from.
    told: Option<Hops>,
}

/// A client's request.
#[derive(Debug)]
struct Active {
    address: Address,
    /// The message stream of the request; its statuses go there.
    stream_id: u32,
}

#[derive(Debug)]
enum Phase {
    Handshake(ServerHandshake),
    /// `connect` is next.
    Connect,
    /// Connected, and neither publishing nor playing.
    Idle,
    /// The host has not answered the request yet.
    Asked(Role),
    Publishing,
    Playing,
    /// The request was refused, or the session was ended or failed.
    Over,
}

/// The content of `connect`. `app` and `tcUrl` may contain a token, so no output shows them.
#[derive(Debug, Default)]
struct Client {
    app: Redacted,
    tc_url: Redacted,
    user_agent: Option<String>,
    accepts: Accepts,
    hops: Option<Hops>,
}

/// What a player understands beyond RTMP 1.0, from its `connect`. The server sends it nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Accepts {
    /// Several tracks of one kind (`capsEx`).
    pub multitrack: bool,
    /// Modifiers of packets, such as nanoseconds (`capsEx`).
    pub modifiers: bool,
    /// Enhanced RTMP as such, and with it packets that describe a track: colours, speakers.
    pub metadata: bool,
}

#[derive(Default)]
struct Redacted(String);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A client's request.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// Publish or play.
    pub role: Role,
    /// The application: without instance and query, and not validated.
    pub app: String,
    /// The stream, after its instance and a `/` if it has an instance: without query, and not
    /// validated.
    pub stream: String,
    /// The token, the user and the password, from the query of the stream or of the application.
    pub credentials: Credentials,
    /// The application's query, if it has one and names no stream, and the same text followed by
    /// `/` and the stream's name. A client without a stream name splits its key at a `/`. If only
    /// the second text contains a configured key, `stream` is a part of that key.
    pub cut: Option<[Secret; 2]>,
    /// The name of the client's program (`flashVer`).
    pub user_agent: Option<String>,
    /// What the client says about the stream, if it is another server.
    pub hops: Option<Hops>,
}

/// An event of the session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The handshake is done.
    HandshakeDone,
    /// The client wants to publish or to play. Answer with [`ServerSession::accept`] or
    /// [`ServerSession::refuse`].
    Requested(Request),
    /// A frame from the publisher; its payload is a slice of the received bytes.
    Frame(MediaFrame),
    /// A request that the session has refused itself. It is for the record; the host need not
    /// answer.
    Refused {
        /// The request.
        request: Request,
        /// Why it was refused.
        reason: Reason,
        /// The exact fault.
        detail: &'static str,
        /// Whether the connection is over: the host sends the output and closes.
        over: bool,
    },
    /// The player pauses, or resumes (`false`).
    Paused(bool),
    /// The client has finished publishing or playing. It may make another request.
    Finished,
}

impl ServerSession {
    /// A session that waits for a client's handshake. `seed` fills the server's part of it and need
    /// not be secret.
    #[must_use]
    pub fn new(limits: ChunkLimits, seed: u64) -> Self {
        let early = ChunkLimits {
            max_message_bytes: limits.max_message_bytes.min(MAX_COMMAND_BYTES),
            max_partial_bytes: limits.max_partial_bytes.min(MAX_EARLY_PARTIAL_BYTES),
            ..limits
        };
        Self {
            input: BytesMut::new(),
            output: BytesMut::new(),
            phase: Phase::Handshake(ServerHandshake::new(seed)),
            playing: false,
            link: Link::new(early),
            limits,
            client: Client::default(),
            streams: Streams::default(),
            active: None,
            declined: 0,
            told: None,
        }
    }

    /// The buffer to which the host appends received bytes.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// All output since the last call.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// The next event; `None` until more input comes or the host has answered.
    ///
    /// # Errors
    /// The client's violation. The session is then over; its output may hold a last status.
    pub fn poll_event(&mut self) -> Result<Option<ServerEvent>> {
        let event = self.step();
        if event.is_err() {
            self.phase = Phase::Over;
        }
        event
    }

    /// Admits the request. A publisher's frames follow as events. A player gets
    /// [`FrameChunks`](super::FrameChunks) for [`MEDIA_STREAM_ID`] in chunks of
    /// [`OUT_CHUNK_BYTES`], after the output of [`take_output`](Self::take_output).
    pub fn accept(&mut self) {
        let Phase::Asked(role) = self.phase else {
            return;
        };
        if role == Role::Publish {
            self.link.set_limits(self.limits);
            self.phase = Phase::Publishing;
        } else {
            self.phase = Phase::Playing;
            self.playing = true;
        }
        self.say_started(role);
    }

    /// As [`accept`](Self::accept), for a player that is another server: says where the stream
    /// comes from.
    pub fn accept_node(&mut self, from: Hops) {
        self.told = Some(from);
        self.accept();
    }

    /// Tells a player that is another server that the next publication of the stream has begun.
    pub fn published_again(&mut self, from: Hops) {
        if !matches!(self.phase, Phase::Playing) || self.told.is_none() {
            return;
        }
        self.told = Some(from);
        let code = "NetStream.Play.PublishNotify";
        self.send_status(&Status::new(Level::Status, code, "published again"));
    }

    /// Refuses the request. The host sends the output and closes.
    pub fn refuse(&mut self, status: &Status) {
        self.send_status(status);
        self.phase = Phase::Over;
    }

    /// Tells the client that the server ends its publish or play, or the connection. Sends nothing
    /// before `connect`. The host sends the output and closes.
    pub fn end(&mut self, status: &Status) {
        let playing = std::mem::take(&mut self.playing);
        self.phase = Phase::Over;
        if self.client.app.0.is_empty() {
            return;
        }
        if playing {
            self.send(&Message::stream_eof(MEDIA_STREAM_ID));
        }
        self.send_status(status);
        if playing {
            self.send_status(&Status::new(
                Level::Status,
                "NetStream.Play.Stop",
                "stopped",
            ));
        }
    }

    fn say_started(&mut self, role: Role) {
        let started = match role {
            Role::Publish => {
                let id = self.active_stream_id();
                self.send(&Message::stream_begin(id));
                Status::new(Level::Status, "NetStream.Publish.Start", "publishing")
            }
            Role::Play => {
                self.send(&Message::stream_begin(MEDIA_STREAM_ID));
                self.send_status(&Status::new(
                    Level::Status,
                    "NetStream.Play.Reset",
                    "resetting",
                ));
                Status::new(Level::Status, "NetStream.Play.Start", "playing")
            }
        };
        self.send_status(&started);
        if role == Role::Play {
            let access = [
                Value::from("|RtmpSampleAccess"),
                Value::from(true),
                Value::from(true),
            ];
            self.send(&Message::data(MEDIA_STREAM_ID, &access));
        }
    }

    /// What the client understands, from its `connect`.
    #[must_use]
    pub fn accepts(&self) -> Accepts {
        self.client.accepts
    }

    /// The number of messages that could not be decoded and were dropped.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.link.unusable()
    }

    /// A fault of a message that this client has not made before, for the log. At most 17 per
    /// session.
    pub fn take_report(&mut self) -> Option<String> {
        self.link.take_report()
    }

    fn step(&mut self) -> Result<Option<ServerEvent>> {
        if let Phase::Handshake(handshake) = &mut self.phase {
            if !handshake.handle_input(&mut self.input, &mut self.output)? {
                return Ok(None);
            }
            self.phase = Phase::Connect;
            return Ok(Some(ServerEvent::HandshakeDone));
        }
        while !matches!(self.phase, Phase::Asked(_) | Phase::Over) {
            let Some(incoming) = self.link.next(&mut self.input, &mut self.output)? else {
                return Ok(None);
            };
            let event = match incoming {
                Incoming::Command(stream_id, command) => self.command(stream_id, &command)?,
                // Media outside a publish was sent before the client knew of its end. Media on
                // another created stream belongs to a request that was refused alone.
                Incoming::Media(media)
                    if matches!(self.phase, Phase::Publishing)
                        && !self
                            .streams
                            .is_other(media.stream_id(), self.active_stream_id()) =>
                {
                    self.link.frame(&media).map(ServerEvent::Frame)
                }
                Incoming::Frame(frame) => Some(ServerEvent::Frame(frame)),
                // The first command of a connection is its `connect`.
                Incoming::Unreadable if matches!(self.phase, Phase::Connect) => {
                    Some(self.reject(None, "connect cannot be decoded"))
                }
                Incoming::Media(_) | Incoming::StreamEof | Incoming::Unreadable => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn command(&mut self, stream_id: u32, command: &Command) -> Result<Option<ServerEvent>> {
        match command.name.as_str() {
            "connect" => self.connect(command),
            "createStream" => {
                self.create_stream(command);
                Ok(None)
            }
            "publish" => self.request(Role::Publish, stream_id, command),
            "play" => self.request(Role::Play, stream_id, command),
            "deleteStream" | "closeStream" | "FCUnpublish" | "close" => {
                Ok(self.finish(stream_id, command))
            }
            "pause" | "pauseRaw" => Ok(self.pause(command)),
            "getStreamLength" => {
                // The length in seconds; a live stream has none.
                self.reply(command, vec![Value::Null, Value::from(0.0)]);
                Ok(None)
            }
            // Encoders and players also send these; nothing here depends on them.
            "releaseStream" | "FCPublish" | "FCSubscribe" | "FCUnsubscribe" | "_checkbw"
            | "checkBandwidth" | "seek" | "receiveAudio" | "receiveVideo" => {
                self.reply(command, vec![Value::Null, Value::Undefined]);
                Ok(None)
            }
            "_result" | "_error" | "onStatus" => Ok(None),
            _ => {
                self.fail(command, "no such command");
                Ok(None)
            }
        }
    }

    fn connect(&mut self, command: &Command) -> Result<Option<ServerEvent>> {
        if !matches!(self.phase, Phase::Connect) {
            return Err(Error::Command {
                command: "connect",
                detail: "it came twice",
            });
        }
        let object = command.values.first();
        let text = |key| {
            object
                .and_then(|o| o.get(key))
                .and_then(Value::to_text)
                .unwrap_or_default()
        };
        let caps = object
            .and_then(|o| o.get("capsEx"))
            .and_then(Value::as_number)
            .unwrap_or_default();
        self.client = Client {
            app: Redacted(text("app").into_owned()),
            tc_url: Redacted(text("tcUrl").into_owned()),
            user_agent: Some(text("flashVer").into_owned()).filter(|text| !text.is_empty()),
            hops: hops::of(object),
            accepts: Accepts {
                multitrack: caps as u32 & CAPS_MULTITRACK != 0,
                modifiers: caps as u32 & CAPS_MOD_EX != 0,
                metadata: [
                    "fourCcList",
                    "videoFourCcInfoMap",
                    "audioFourCcInfoMap",
                    "capsEx",
                ]
                .iter()
                .any(|key| object.is_some_and(|o| o.get(key).is_some())),
            },
        };
        if AppName::new(target::app_name(&self.client.app.0)).is_err() {
            let detail = "app is not an application's name";
            return Ok(Some(self.reject(Some(command.transaction), detail)));
        }
        self.phase = Phase::Idle;
        self.send(&Message::window_ack_size(WINDOW_ACK_BYTES));
        self.send(&Message::set_peer_bandwidth(WINDOW_ACK_BYTES));
        self.link
            .set_out_chunk_size(OUT_CHUNK_BYTES, &mut self.output);
        self.answer("_result", command.transaction, connected());
        Ok(None)
    }

    /// Refuses a `connect`. It is unknown whether its client would have published or played: it
    /// counts as a publish.
    fn reject(&mut self, transaction: Option<f64>, detail: &'static str) -> ServerEvent {
        if let Some(transaction) = transaction {
            let status = Status::new(Level::Error, "NetConnection.Connect.Rejected", detail);
            self.answer("_error", transaction, vec![Value::Null, status.to_value()]);
        }
        self.phase = Phase::Over;
        let address = Address::new(&self.client.app.0, "", "");
        self.refused(Role::Publish, &address, Reason::BadName, detail, true)
    }

    fn create_stream(&mut self, command: &Command) {
        match self.streams.create() {
            Some(id) => self.reply(command, vec![Value::Null, Value::from(f64::from(id))]),
            None => self.fail(command, "too many streams on one connection"),
        }
    }

    fn request(
        &mut self,
        role: Role,
        stream_id: u32,
        command: &Command,
    ) -> Result<Option<ServerEvent>> {
        let name = command.argument(0);
        // `publish(false)` and `play(false)` end the current publish or play.
        if name == Some(&Value::Boolean(false)) {
            return Ok(self.finish(stream_id, command));
        }
        // A value that is not a text is not a name; the host refuses it.
        let name = name.and_then(Value::to_text).unwrap_or_default();
        let address = Address::new(&self.client.app.0, &self.client.tc_url.0, &name);
        match self.phase {
            Phase::Idle => {}
            Phase::Publishing | Phase::Playing => {
                return self.ask_again(role, stream_id, &address);
            }
            Phase::Handshake(_) | Phase::Connect | Phase::Asked(_) | Phase::Over => {
                self.phase = Phase::Over;
                let detail = "it came before connect";
                return Ok(Some(self.refused(
                    role,
                    &address,
                    Reason::ProtocolError,
                    detail,
                    true,
                )));
            }
        }
        let request = self.wish(role, &address);
        self.phase = Phase::Asked(role);
        self.active = Some(Active { address, stream_id });
        Ok(Some(ServerEvent::Requested(request)))
    }

    /// Answers a repeated request again. Refuses any other request alone: it is for a second
    /// stream.
    fn ask_again(
        &mut self,
        role: Role,
        stream_id: u32,
        address: &Address,
    ) -> Result<Option<ServerEvent>> {
        let same_role = matches!(self.phase, Phase::Publishing) == (role == Role::Publish);
        let is_same = |active: &Active| {
            active.stream_id == stream_id && active.address.is_same_stream(address)
        };
        if same_role && self.active.as_ref().is_some_and(is_same) {
            self.say_started(role);
            return Ok(None);
        }
        self.declined = self.declined.saturating_add(1);
        if self.declined > MAX_DECLINED {
            return Err(Error::Command {
                command: "publish or play",
                detail: "it came too often for another stream",
            });
        }
        let detail = "a connection carries one stream at a time";
        let status = Status::refused(role, &Reason::LimitReached).because(detail);
        self.send_status_on(stream_id, &status);
        Ok(Some(self.refused(
            role,
            address,
            Reason::LimitReached,
            detail,
            false,
        )))
    }

    fn refused(
        &self,
        role: Role,
        address: &Address,
        reason: Reason,
        detail: &'static str,
        over: bool,
    ) -> ServerEvent {
        ServerEvent::Refused {
            request: self.wish(role, address),
            reason,
            detail,
            over,
        }
    }

    fn wish(&self, role: Role, address: &Address) -> Request {
        Request {
            role,
            app: address.app.clone(),
            stream: address.stream.clone(),
            credentials: address.credentials(),
            cut: address.cut(),
            user_agent: self.client.user_agent.clone(),
            hops: self.client.hops.clone(),
        }
    }

    fn finish(&mut self, stream_id: u32, command: &Command) -> Option<ServerEvent> {
        self.reply(command, vec![Value::Null, Value::Undefined]);
        let id = command.argument(0).and_then(Value::as_number);
        let id = id.map_or(0, |id| id as u32);
        let is_ours = match command.name.as_str() {
            "deleteStream" => {
                self.streams.delete(id);
                self.is_active_stream(id)
            }
            "FCUnpublish" => self.is_published(command.argument(0).and_then(Value::to_text)),
            "close" => true,
            _ => self.is_active_stream(stream_id),
        };
        let done = match self.phase {
            _ if !is_ours => return None,
            Phase::Publishing => {
                Status::new(Level::Status, "NetStream.Unpublish.Success", "unpublished")
            }
            Phase::Playing => Status::new(Level::Status, "NetStream.Play.Stop", "stopped"),
            _ => return None,
        };
        self.send_status(&done);
        self.streams.delete(self.active_stream_id());
        self.phase = Phase::Idle;
        self.active = None;
        self.told = None;
        self.playing = false;
        Some(ServerEvent::Finished)
    }

    /// Whether this is the end of the active publish or play. Clients that do not know their
    /// stream's id send 0.
    fn is_active_stream(&self, stream_id: u32) -> bool {
        let active = self.active.as_ref().map_or(0, |active| active.stream_id);
        stream_id == 0 || active == 0 || stream_id == active
    }

    fn is_published(&self, name: Option<Cow<'_, str>>) -> bool {
        let Some(active) = &self.active else {
            return false;
        };
        let same = |name: Cow<'_, str>| {
            Address::new(&self.client.app.0, "", &name).is_same_stream(&active.address)
        };
        matches!(self.phase, Phase::Publishing) && name.is_none_or(same)
    }

    fn pause(&mut self, command: &Command) -> Option<ServerEvent> {
        self.reply(command, vec![Value::Null, Value::Undefined]);
        let Some(Value::Boolean(pause)) = command.argument(0) else {
            return None;
        };
        if !matches!(self.phase, Phase::Playing) {
            return None;
        }
        let status = if *pause {
            Status::new(Level::Status, "NetStream.Pause.Notify", "paused")
        } else {
            Status::new(Level::Status, "NetStream.Unpause.Notify", "going on")
        };
        self.send_status(&status);
        Some(ServerEvent::Paused(*pause))
    }

    /// Sends an `_error`, if the command expects an answer.
    fn fail(&mut self, command: &Command, detail: &str) {
        if command.transaction > 0.0 {
            let status = Status::new(Level::Error, "NetConnection.Call.Failed", detail);
            let values = vec![Value::Null, status.to_value()];
            self.answer("_error", command.transaction, values);
        }
    }

    /// Sends a `_result`, if the command expects an answer.
    fn reply(&mut self, command: &Command, values: Vec<Value>) {
        if command.transaction > 0.0 {
            self.answer("_result", command.transaction, values);
        }
    }

    fn answer(&mut self, name: &str, transaction: f64, values: Vec<Value>) {
        self.send(&Message::command(
            0,
            &Command::new(name, transaction, values),
        ));
    }

    /// The message stream of the last request. For clients that made it on no stream: the first id
    /// that we assign.
    fn active_stream_id(&self) -> u32 {
        let id = self.active.as_ref().map(|active| active.stream_id);
        id.filter(|id| *id != 0).unwrap_or(MEDIA_STREAM_ID)
    }

    fn send_status(&mut self, status: &Status) {
        self.send_status_on(self.active_stream_id(), status);
    }

    fn send_status_on(&mut self, stream_id: u32, status: &Status) {
        let mut information = status.to_value();
        if let (true, Value::Object(properties), Some(told)) =
            (status.is_about_media(), &mut information, &self.told)
        {
            properties.push(hops::property(told));
        }
        let command = Command::new("onStatus", 0.0, vec![Value::Null, information]);
        self.send(&Message::command(stream_id, &command));
    }

    fn send(&mut self, message: &Message) {
        self.link.send(message, &mut self.output);
    }
}

/// Omits the buffers, which may contain secrets.
impl fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSession")
            .field("phase", &self.phase)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The properties and the information of a successful `connect`.
fn connected() -> Vec<Value> {
    let forwards = |fourccs: &[&str]| {
        Value::object(
            fourccs
                .iter()
                .map(|fourcc| (*fourcc, Value::from(CAN_FORWARD))),
        )
    };
    let all = VIDEO_FOURCCS
        .iter()
        .chain(&AUDIO_FOURCCS)
        .map(|fourcc| Value::from(*fourcc))
        .collect();
    let properties = Value::object([
        (
            "fmsVer",
            Value::from(concat!("Livetrail/", env!("CARGO_PKG_VERSION"))),
        ),
        ("capabilities", Value::from(31.0)),
        ("mode", Value::from(1.0)),
        ("fourCcList", Value::StrictArray(all)),
        ("videoFourCcInfoMap", forwards(&VIDEO_FOURCCS)),
        ("audioFourCcInfoMap", forwards(&AUDIO_FOURCCS)),
        (
            "capsEx",
            Value::from(f64::from(CAPS_MULTITRACK | CAPS_MOD_EX)),
        ),
    ]);
    let status = Status::new(Level::Status, "NetConnection.Connect.Success", "connected");
    let mut information = status.to_value();
    if let Value::Object(properties) = &mut information {
        properties.push(("objectEncoding".to_owned(), Value::from(0.0)));
    }
    vec![properties, information]
}
