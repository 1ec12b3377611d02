//! The server's side of one connection.

use std::fmt;

use bytes::{Bytes, BytesMut};
use livetrail_engine::{AppName, Credentials, MediaFrame, Role};
use livetrail_media::amf0::Value;

use super::{
    MEDIA_STREAM_ID, OUT_CHUNK_BYTES,
    chunk::{ChunkLimits, Message},
    handshake::ServerHandshake,
    link::{Incoming, Link, WINDOW_ACK_BYTES},
    message::Command,
    status::{Level, Status},
};
use crate::{
    error::{Error, Result},
    target,
};

/// The longest message before a publish is admitted: commands are far shorter, and nobody has been let in yet.
const MAX_COMMAND_BYTES: usize = 64 << 10;
/// Incomplete messages, all together, before a publish is admitted.
const MAX_EARLY_PARTIAL_BYTES: usize = 2 * MAX_COMMAND_BYTES;

/// Codecs that are passed on (Enhanced RTMP, "Enhancing NetConnection connect Command").
const VIDEO_FOURCCS: [&str; 6] = ["avc1", "hvc1", "av01", "vp09", "vp08", "vvc1"];
const AUDIO_FOURCCS: [&str; 6] = ["mp4a", "Opus", ".mp3", "ac-3", "ec-3", "fLaC"];
const CAN_FORWARD: f64 = 4.0;
const CAPS_MULTITRACK: u32 = 2;
const CAPS_MOD_EX: u32 = 4;

/// One connection to a server, for one publish or one play at a time.
///
/// Follows the drain rule of [`protocol`](super): append to [`input`](Self::input), call [`poll_event`](Self::poll_event)
/// until it gives `None`, send [`take_output`](Self::take_output).
///
/// After [`ServerEvent::Requested`] nothing is read until the host has answered with [`accept`](Self::accept) or
/// [`refuse`](Self::refuse): a client that sends media early finds it waiting, not lost.
pub struct ServerSession {
    input: BytesMut,
    output: BytesMut,
    phase: Phase,
    /// Something is being played, also after an error: its end has words of its own.
    playing: bool,
    link: Link,
    limits: ChunkLimits,
    client: Client,
}

#[derive(Debug)]
enum Phase {
    Handshake(ServerHandshake),
    /// `connect` is next.
    Connect,
    /// Connected, and neither publishing nor playing.
    Idle,
    /// Asked the host, which has not answered yet.
    Asked(Role),
    Publishing,
    Playing,
    /// Refused, ended by us, or failed.
    Over,
}

/// What `connect` said.
#[derive(Debug, Default)]
struct Client {
    app: String,
    /// Where a token may be besides the stream's name. Never shown.
    places: [Secretive; 2],
    user_agent: Option<String>,
    accepts: Accepts,
}

/// What a player understands beyond RTMP 1.0, as its `connect` says. It is sent nothing that it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Accepts {
    /// Several tracks of one kind (`capsEx`).
    pub multitrack: bool,
    /// Modifiers of packets, such as nanoseconds (`capsEx`).
    pub modifiers: bool,
    /// Enhanced RTMP at all, and with it packets that describe a track: colours, speakers.
    pub metadata: bool,
}

#[derive(Default)]
struct Secretive(String);

impl fmt::Debug for Secretive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// What a client wants.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Request {
    /// To send or to watch.
    pub role: Role,
    /// The application: as sent, without instance and query, and not validated.
    pub app: String,
    /// The stream: as sent, without query, and not validated.
    pub stream: String,
    /// The token, from `?token=` of the stream or of the application.
    pub credentials: Credentials,
    /// What the client calls itself (`flashVer`).
    pub user_agent: Option<String>,
}

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent {
    /// The handshake is done.
    HandshakeDone,
    /// The client wants to publish or to play. Answer with [`ServerSession::accept`] or [`ServerSession::refuse`].
    Requested(Request),
    /// A frame from the publisher; its payload is a slice of what was received.
    Frame(MediaFrame),
    /// The client is done publishing or playing. It may ask again.
    Finished,
}

impl ServerSession {
    /// A session that waits for a client's handshake. `seed` fills the server's part of that and need not be secret.
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
        }
    }

    /// Where received bytes are appended.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// What to send: all that has gathered since the last call.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// The next event; `None` until more input comes or the host has answered.
    ///
    /// # Errors
    /// What the client did wrong. The session is over then; its output may hold a last status.
    pub fn poll_event(&mut self) -> Result<Option<ServerEvent>> {
        let event = self.step();
        if event.is_err() {
            self.phase = Phase::Over;
        }
        event
    }

    /// Admits what was asked for. A publisher's frames follow as events; a player is sent [`FrameChunks`](super::FrameChunks) for
    /// [`MEDIA_STREAM_ID`] in chunks of [`OUT_CHUNK_BYTES`], after what [`take_output`](Self::take_output) gives.
    pub fn accept(&mut self) {
        let Phase::Asked(role) = self.phase else {
            return;
        };
        self.send(&Message::stream_begin(MEDIA_STREAM_ID));
        match role {
            Role::Publish => {
                self.link.set_limits(self.limits);
                self.send_status(&Status::new(
                    Level::Status,
                    "NetStream.Publish.Start",
                    "publishing",
                ));
                self.phase = Phase::Publishing;
            }
            Role::Play => {
                self.send_status(&Status::new(
                    Level::Status,
                    "NetStream.Play.Reset",
                    "resetting",
                ));
                self.send_status(&Status::new(
                    Level::Status,
                    "NetStream.Play.Start",
                    "playing",
                ));
                let access = [
                    Value::from("|RtmpSampleAccess"),
                    Value::from(true),
                    Value::from(true),
                ];
                self.send(&Message::data(MEDIA_STREAM_ID, &access));
                self.phase = Phase::Playing;
                self.playing = true;
            }
        }
    }

    /// Refuses what was asked for. The host sends the output and closes.
    pub fn refuse(&mut self, status: &Status) {
        self.send_status(status);
        self.phase = Phase::Over;
    }

    /// Tells the client that the server ends its publish or play, or the connection; nothing before `connect`. The host sends the
    /// output and closes.
    pub fn end(&mut self, status: &Status) {
        let playing = std::mem::take(&mut self.playing);
        self.phase = Phase::Over;
        if self.client.app.is_empty() {
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

    /// What the client said that it understands.
    #[must_use]
    pub fn accepts(&self) -> Accepts {
        self.client.accepts
    }

    /// Messages that could not be read and were left out.
    #[must_use]
    pub fn unusable(&self) -> u64 {
        self.link.unusable()
    }

    /// A fault of a message that this client has not made before: to be logged. At most 17 in a session.
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
                Incoming::Command(command) => self.command(&command)?,
                // Media outside of a publish is what was under way when it ended.
                Incoming::Media(media) if matches!(self.phase, Phase::Publishing) => {
                    self.link.frame(&media).map(ServerEvent::Frame)
                }
                Incoming::Frame(frame) => Some(ServerEvent::Frame(frame)),
                Incoming::Media(_) | Incoming::StreamEof => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn command(&mut self, command: &Command) -> Result<Option<ServerEvent>> {
        match command.name.as_str() {
            "connect" => self.connect(command).map(|()| None),
            "createStream" => {
                self.reply(
                    command,
                    vec![Value::Null, Value::from(f64::from(MEDIA_STREAM_ID))],
                );
                Ok(None)
            }
            "publish" => self.request(Role::Publish, "publish", command).map(Some),
            "play" => self.request(Role::Play, "play", command).map(Some),
            "deleteStream" | "closeStream" | "FCUnpublish" | "close" => Ok(self.finish(command)),
            "getStreamLength" => {
                // In seconds; a live stream has none.
                self.reply(command, vec![Value::Null, Value::from(0.0)]);
                Ok(None)
            }
            // What encoders and players say besides; nothing here depends on it.
            "releaseStream" | "FCPublish" | "FCSubscribe" | "FCUnsubscribe" | "_checkbw"
            | "checkBandwidth" | "pause" | "pauseRaw" | "seek" | "receiveAudio"
            | "receiveVideo" => {
                self.reply(command, vec![Value::Null, Value::Undefined]);
                Ok(None)
            }
            "_result" | "_error" | "onStatus" => Ok(None),
            _ => {
                if command.transaction > 0.0 {
                    let status =
                        Status::new(Level::Error, "NetConnection.Call.Failed", "no such command");
                    self.answer(
                        "_error",
                        command.transaction,
                        vec![Value::Null, status.to_value()],
                    );
                }
                Ok(None)
            }
        }
    }

    fn connect(&mut self, command: &Command) -> Result<()> {
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
        let app_text = object.and_then(|o| o.get("app")).and_then(Value::as_str);
        let app = target::app_name(app_text.unwrap_or_default());
        if AppName::new(app).is_err() {
            let status = Status::new(
                Level::Error,
                "NetConnection.Connect.Rejected",
                "app is not an application's name",
            );
            self.answer(
                "_error",
                command.transaction,
                vec![Value::Null, status.to_value()],
            );
            return Err(Error::Command {
                command: "connect",
                detail: "app is not an application's name",
            });
        }
        let caps = object
            .and_then(|o| o.get("capsEx"))
            .and_then(Value::as_number)
            .unwrap_or_default();
        self.client = Client {
            app: app.to_owned(),
            places: [
                Secretive(text("app").into_owned()),
                Secretive(text("tcUrl").into_owned()),
            ],
            user_agent: Some(text("flashVer").into_owned()).filter(|text| !text.is_empty()),
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
        self.phase = Phase::Idle;
        self.send(&Message::window_ack_size(WINDOW_ACK_BYTES));
        self.send(&Message::set_peer_bandwidth(WINDOW_ACK_BYTES));
        self.link
            .set_out_chunk_size(OUT_CHUNK_BYTES, &mut self.output);
        self.answer("_result", command.transaction, connected());
        Ok(())
    }

    fn request(
        &mut self,
        role: Role,
        name: &'static str,
        command: &Command,
    ) -> Result<ServerEvent> {
        if !matches!(self.phase, Phase::Idle) {
            return Err(Error::Command {
                command: name,
                detail: "before connect, or while publishing or playing",
            });
        }
        let Some(stream) = command.argument(0).and_then(Value::as_str) else {
            return Err(Error::Command {
                command: name,
                detail: "the stream's name is not a string",
            });
        };
        let [app, tc_url] = &self.client.places;
        self.phase = Phase::Asked(role);
        Ok(ServerEvent::Requested(Request {
            role,
            app: self.client.app.clone(),
            stream: target::stream_name(stream).to_owned(),
            credentials: target::credentials([stream, &app.0, &tc_url.0]),
            user_agent: self.client.user_agent.clone(),
        }))
    }

    fn finish(&mut self, command: &Command) -> Option<ServerEvent> {
        if command.transaction > 0.0 {
            self.reply(command, vec![Value::Null, Value::Undefined]);
        }
        let done = match self.phase {
            Phase::Publishing => {
                Status::new(Level::Status, "NetStream.Unpublish.Success", "unpublished")
            }
            Phase::Playing => Status::new(Level::Status, "NetStream.Play.Stop", "stopped"),
            _ => return None,
        };
        self.send_status(&done);
        self.phase = Phase::Idle;
        self.playing = false;
        Some(ServerEvent::Finished)
    }

    /// A `_result`, for a command that wants one.
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

    fn send_status(&mut self, status: &Status) {
        let command = Command::new("onStatus", 0.0, vec![Value::Null, status.to_value()]);
        self.send(&Message::command(MEDIA_STREAM_ID, &command));
    }

    fn send(&mut self, message: &Message) {
        self.link.send(message, &mut self.output);
    }
}

/// Without the buffers, which may hold secrets.
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
