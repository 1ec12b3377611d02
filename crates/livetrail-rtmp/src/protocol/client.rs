//! The client's side of one connection: publish or play one stream.

use std::fmt;

use bytes::{Bytes, BytesMut};
use livetrail_engine::{Hops, MediaFrame, MediaKind, Role};
use livetrail_media::amf0::Value;

use super::{
    OUT_CHUNK_BYTES,
    chunk::{ChunkLimits, FrameChunks, Message},
    handshake::ClientHandshake,
    hops,
    link::{Incoming, Link},
    message::Command,
};
use crate::{
    error::{Error, Result},
    target::RtmpUrl,
};

const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH_OR_PLAY: f64 = 5.0;
const CLOSE: f64 = 6.0;
/// The buffer length that a player reports.
const BUFFER_MS: u32 = 3_000;
/// The start of `play` for a live stream, never a recording (RTMP 1.0 section 7.2.2.1).
const START_LIVE: f64 = -1_000.0;

/// One connection of a client, from handshake to media.
///
/// Follows the drain rule of [`protocol`](super). The handshake's first bytes are in the output
/// from the start.
pub struct ClientSession {
    input: BytesMut,
    output: BytesMut,
    url: RtmpUrl,
    role: Role,
    phase: Phase,
    link: Link,
    stream_id: u32,
    /// What this client says about itself, if it is a server.
    hops: Option<Hops>,
    /// What the server said last about the stream.
    upstream: Option<Hops>,
}

#[derive(Debug)]
enum Phase {
    Handshake(ClientHandshake),
    /// Waits for the answers to `connect`, `createStream`, and `publish` or `play`, one after the
    /// other.
    Starting,
    Running,
    Over,
}

/// An event of the session.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The server has accepted the publish, or starts the play.
    Started,
    /// A frame of the stream that is played.
    Frame(MediaFrame),
    /// The server ended the publish or play. If a play ended because its publisher left, the code
    /// is `NetStream.Play.UnpublishNotify`.
    Ended {
        /// The status code.
        code: String,
        /// The description for people.
        description: String,
    },
}

impl ClientSession {
    /// Starts a publish to, or a play from, this address. `seed` fills the handshake and need not
    /// be secret.
    #[must_use]
    pub fn new(url: RtmpUrl, role: Role, limits: ChunkLimits, seed: u64) -> Self {
        let handshake = ClientHandshake::new(seed);
        let mut output = BytesMut::new();
        handshake.hello(&mut output);
        Self {
            input: BytesMut::new(),
            output,
            url,
            role,
            phase: Phase::Handshake(handshake),
            link: Link::new(limits),
            stream_id: 0,
            hops: None,
            upstream: None,
        }
    }

    /// Says that this client is a server that passes the stream on: see [`Hops`].
    #[must_use]
    pub fn with_hops(mut self, hops: Hops) -> Self {
        self.hops = Some(hops);
        self
    }

    /// What the server said last about the stream that is played: where it comes from, and its
    /// epoch. It answers a client with [hops](Self::with_hops) alone.
    #[must_use]
    pub fn upstream(&self) -> Option<&Hops> {
        self.upstream.as_ref()
    }

    /// The buffer to which the host appends received bytes.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// All output since the last call.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// The next event; `None` until more input comes.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's code, and the server's violations. The session is then
    /// over.
    pub fn poll_event(&mut self) -> Result<Option<ClientEvent>> {
        let event = self.step();
        if event.is_err() {
            self.phase = Phase::Over;
        }
        event
    }

    /// The bytes of a frame to publish. Send them after the output of
    /// [`take_output`](Self::take_output).
    ///
    /// # Errors
    /// A codec that RTMP does not carry, a frame that is too long, or a session that has not
    /// started to publish.
    pub fn frame(&self, frame: &MediaFrame) -> Result<FrameChunks> {
        if !matches!((&self.phase, self.role), (Phase::Running, Role::Publish)) {
            return Err(Error::Command {
                command: "publish",
                detail: "not publishing",
            });
        }
        FrameChunks::new(frame, self.stream_id, OUT_CHUNK_BYTES)
    }

    /// Tells the server that the client is done. The host sends the output and closes.
    pub fn close(&mut self) {
        if matches!(self.phase, Phase::Running) {
            if self.role == Role::Publish {
                let name = Value::from(self.url.stream_name());
                self.call("FCUnpublish", CLOSE, vec![Value::Null, name]);
            }
            let id = Value::from(f64::from(self.stream_id));
            self.call("deleteStream", 0.0, vec![Value::Null, id]);
        }
        self.phase = Phase::Over;
    }

    fn step(&mut self) -> Result<Option<ClientEvent>> {
        if let Phase::Handshake(handshake) = &mut self.phase {
            if !handshake.handle_input(&mut self.input, &mut self.output)? {
                return Ok(None);
            }
            self.phase = Phase::Starting;
            self.connect();
        }
        while !matches!(self.phase, Phase::Over) {
            let Some(incoming) = self.link.next(&mut self.input, &mut self.output)? else {
                return Ok(None);
            };
            let event = match incoming {
                Incoming::Command(_, command) => self.command(&command)?,
                Incoming::Media(media) if self.role == Role::Play => self
                    .link
                    .frame(&media)
                    .filter(|frame| !is_talk(frame))
                    .map(ClientEvent::Frame),
                Incoming::Frame(frame) => Some(ClientEvent::Frame(frame)),
                // The status that comes with it gives the reason.
                Incoming::Media(_) | Incoming::StreamEof | Incoming::Unreadable => None,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn command(&mut self, command: &Command) -> Result<Option<ClientEvent>> {
        match command.name.as_str() {
            "_result" => self.result(command).map(|()| None),
            // Old servers do not know the other calls, and nothing depends on them.
            "_error"
                if [CONNECT, CREATE_STREAM, PUBLISH_OR_PLAY].contains(&command.transaction) =>
            {
                Err(refused(command.argument(0)))
            }
            "onStatus" => self.status(command.argument(0)),
            _ => Ok(None),
        }
    }

    fn result(&mut self, command: &Command) -> Result<()> {
        if !matches!(self.phase, Phase::Starting) {
            return Ok(());
        }
        if command.transaction == CONNECT {
            self.create_stream();
        } else if command.transaction == CREATE_STREAM {
            let id = command
                .argument(0)
                .and_then(Value::as_number)
                .filter(|id| *id >= 0.0 && *id <= f64::from(u32::MAX));
            let Some(id) = id else {
                return Err(Error::Command {
                    command: "createStream",
                    detail: "the answer has no stream id",
                });
            };
            self.stream_id = id as u32;
            self.publish_or_play();
        }
        Ok(())
    }

    fn status(&mut self, information: Option<&Value>) -> Result<Option<ClientEvent>> {
        let text = |key| {
            information
                .and_then(|i| i.get(key))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (level, code) = (text("level"), text("code"));
        let starts = match self.role {
            Role::Publish => "NetStream.Publish.Start",
            Role::Play => "NetStream.Play.Start",
        };
        let ends = matches!(
            code,
            "NetStream.Play.UnpublishNotify" | "NetStream.Play.Stop" | "NetStream.Play.Complete"
        );
        if self.hops.is_some()
            && matches!(
                code,
                "NetStream.Play.Start" | "NetStream.Play.PublishNotify"
            )
            && let Some(upstream) = hops::of(information)
        {
            self.upstream = Some(upstream);
        }
        match self.phase {
            Phase::Starting if level == "error" => Err(refused(information)),
            Phase::Starting if code == starts => {
                self.phase = Phase::Running;
                Ok(Some(ClientEvent::Started))
            }
            Phase::Running if level == "error" || ends => {
                self.phase = Phase::Over;
                Ok(Some(ClientEvent::Ended {
                    code: code.to_owned(),
                    description: text("description").to_owned(),
                }))
            }
            _ => Ok(None),
        }
    }

    fn connect(&mut self) {
        let mut object = Value::object([
            ("app", Value::from(self.url.app.as_str())),
            ("type", Value::from("nonprivate")),
            (
                "flashVer",
                Value::from(concat!("Livetrail/", env!("CARGO_PKG_VERSION"))),
            ),
            ("tcUrl", Value::from(self.url.tc_url())),
            ("objectEncoding", Value::from(0.0)),
            ("fourCcList", Value::StrictArray(vec![Value::from("*")])),
            // Multitrack and ModEx.
            ("capsEx", Value::from(6.0)),
        ]);
        if let (Value::Object(properties), Some(hops)) = (&mut object, &self.hops) {
            properties.push(hops::property(hops));
        }
        self.link
            .set_out_chunk_size(OUT_CHUNK_BYTES, &mut self.output);
        self.call("connect", CONNECT, vec![object]);
    }

    fn create_stream(&mut self) {
        if self.role == Role::Publish {
            let name = Value::from(self.url.stream_name());
            self.call(
                "releaseStream",
                RELEASE_STREAM,
                vec![Value::Null, name.clone()],
            );
            self.call("FCPublish", FC_PUBLISH, vec![Value::Null, name]);
        }
        self.call("createStream", CREATE_STREAM, vec![Value::Null]);
    }

    fn publish_or_play(&mut self) {
        let name = Value::from(self.url.stream_name());
        let command = match self.role {
            Role::Publish => Command::new(
                "publish",
                PUBLISH_OR_PLAY,
                vec![Value::Null, name, Value::from("live")],
            ),
            Role::Play => Command::new(
                "play",
                PUBLISH_OR_PLAY,
                vec![Value::Null, name, Value::from(START_LIVE)],
            ),
        };
        self.link.send(
            &Message::command(self.stream_id, &command),
            &mut self.output,
        );
        if self.role == Role::Play {
            self.link.send(
                &Message::set_buffer_length(self.stream_id, BUFFER_MS),
                &mut self.output,
            );
        }
    }

    fn call(&mut self, name: &str, transaction: f64, values: Vec<Value>) {
        self.link.send(
            &Message::command(0, &Command::new(name, transaction, values)),
            &mut self.output,
        );
    }
}

/// Omits the buffers, which may contain secrets.
impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientSession");
        shown
            .field("url", &self.url)
            .field("role", &self.role)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// Whether the frame is data from the server to the player, and not part of the stream.
fn is_talk(frame: &MediaFrame) -> bool {
    const TALK: [&[u8]; 2] = [b"\x02\x00\x11|RtmpSampleAccess", b"\x02\x00\x08onStatus"];
    frame.kind == MediaKind::Data && TALK.iter().any(|name| frame.payload.starts_with(name))
}

fn refused(information: Option<&Value>) -> Error {
    let text = |key| {
        information
            .and_then(|i| i.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Error::Refused {
        code: text("code"),
        description: text("description"),
    }
}
