//! The meaning of messages: control messages (RTMP 1.0 sections 5.4 and 7.1) and commands.

use bytes::{BufMut, Bytes, BytesMut};
use livetrail_media::{
    amf0::{self, Value},
    tag::TagKind,
};

use super::chunk::Message;
use crate::error::Error;

const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;
const ACKNOWLEDGEMENT: u8 = 3;
const USER_CONTROL: u8 = 4;
const WINDOW_ACK_SIZE: u8 = 5;
const SET_PEER_BANDWIDTH: u8 = 6;
const AMF3_DATA: u8 = 15;
const AMF3_COMMAND: u8 = 17;
const COMMAND: u8 = 20;
const AGGREGATE: u8 = 22;

const EVENT_STREAM_BEGIN: u16 = 0;
const EVENT_STREAM_EOF: u16 = 1;
const EVENT_SET_BUFFER_LENGTH: u16 = 3;
const EVENT_PING_REQUEST: u16 = 6;
const EVENT_PING_RESPONSE: u16 = 7;

/// The dynamic limit type of "set peer bandwidth" (section 5.4.5).
const LIMIT_DYNAMIC: u8 = 2;

/// A message by its meaning.
#[derive(Debug)]
pub(crate) enum Meaning {
    SetChunkSize(u32),
    Abort {
        chunk_stream: u32,
    },
    Acknowledgement,
    WindowAckSize(u32),
    SetPeerBandwidth,
    StreamBegin,
    StreamEof,
    PingRequest(u32),
    /// A control event that needs no reaction.
    OtherControl,
    Command(Command),
    Media {
        kind: TagKind,
        body: Bytes,
    },
    Aggregate(Bytes),
    /// A message type that is not in use (shared objects).
    Unknown,
    /// A command without a name, or a control message that is too short.
    Unreadable(Error),
}

/// A command message (section 7.2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// Connects an answer with its call; 0 if no answer is wanted.
    pub(crate) transaction: f64,
    /// The command object and the arguments.
    pub(crate) values: Vec<Value>,
}

impl Command {
    pub(crate) fn new(name: &str, transaction: f64, values: Vec<Value>) -> Self {
        Self {
            name: name.to_owned(),
            transaction,
            values,
        }
    }

    /// The argument after the command object, from 0.
    pub(crate) fn argument(&self, index: usize) -> Option<&Value> {
        self.values.get(index.saturating_add(1))
    }

    /// Parses a command. The name is required; values after an error are ignored.
    fn parse(bytes: &[u8]) -> Meaning {
        let mut values = amf0::Decoder::lenient(bytes).flatten();
        let Some(Value::String(name)) = values.next() else {
            return Meaning::Unreadable(Error::Command {
                command: "(unnamed)",
                detail: "the name is not a string",
            });
        };
        let transaction = values.next().and_then(|value| value.as_number());
        Meaning::Command(Self {
            name,
            transaction: transaction.unwrap_or(0.0),
            values: values.collect(),
        })
    }

    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        Value::from(self.name.as_str()).encode(&mut out);
        Value::Number(self.transaction).encode(&mut out);
        self.values.iter().for_each(|value| value.encode(&mut out));
        out.into()
    }
}

impl Message {
    pub(crate) fn is_command(&self) -> bool {
        matches!(self.type_id, COMMAND | AMF3_COMMAND)
    }

    /// The meaning of the message.
    pub(crate) fn meaning(self) -> Meaning {
        let type_id = self.type_id;
        self.try_meaning()
            .unwrap_or(Meaning::Unreadable(Error::ControlTooShort { type_id }))
    }

    /// `None` for a control message that is too short.
    fn try_meaning(self) -> Option<Meaning> {
        let type_id = self.type_id;
        Some(match type_id {
            SET_CHUNK_SIZE => Meaning::SetChunkSize(u32_at(&self.payload, 0)?),
            ABORT => Meaning::Abort {
                chunk_stream: u32_at(&self.payload, 0)?,
            },
            ACKNOWLEDGEMENT => Meaning::Acknowledgement,
            USER_CONTROL => user_control(&self.payload)?,
            WINDOW_ACK_SIZE => Meaning::WindowAckSize(u32_at(&self.payload, 0)?),
            SET_PEER_BANDWIDTH => Meaning::SetPeerBandwidth,
            AGGREGATE => Meaning::Aggregate(self.payload),
            COMMAND => Command::parse(&self.payload),
            AMF3_COMMAND => Command::parse(&without_format(self.payload)),
            AMF3_DATA => Meaning::Media {
                kind: TagKind::Script,
                body: without_format(self.payload),
            },
            _ => match TagKind::from_id(type_id) {
                Some(kind) => Meaning::Media {
                    kind,
                    body: self.payload,
                },
                None => Meaning::Unknown,
            },
        })
    }

    pub(crate) fn set_chunk_size(bytes: u32) -> Self {
        Self::control(SET_CHUNK_SIZE, &bytes.to_be_bytes())
    }

    pub(crate) fn acknowledgement(received: u32) -> Self {
        Self::control(ACKNOWLEDGEMENT, &received.to_be_bytes())
    }

    pub(crate) fn window_ack_size(bytes: u32) -> Self {
        Self::control(WINDOW_ACK_SIZE, &bytes.to_be_bytes())
    }

    pub(crate) fn set_peer_bandwidth(bytes: u32) -> Self {
        let [a, b, c, d] = bytes.to_be_bytes();
        Self::control(SET_PEER_BANDWIDTH, &[a, b, c, d, LIMIT_DYNAMIC])
    }

    pub(crate) fn stream_begin(stream_id: u32) -> Self {
        Self::event(EVENT_STREAM_BEGIN, &[stream_id])
    }

    pub(crate) fn stream_eof(stream_id: u32) -> Self {
        Self::event(EVENT_STREAM_EOF, &[stream_id])
    }

    pub(crate) fn set_buffer_length(stream_id: u32, ms: u32) -> Self {
        Self::event(EVENT_SET_BUFFER_LENGTH, &[stream_id, ms])
    }

    pub(crate) fn ping_response(timestamp: u32) -> Self {
        Self::event(EVENT_PING_RESPONSE, &[timestamp])
    }

    pub(crate) fn command(stream_id: u32, command: &Command) -> Self {
        Self {
            type_id: COMMAND,
            timestamp_ms: 0,
            stream_id,
            payload: command.to_bytes(),
        }
    }

    /// Makes a data message that is not a frame: the values, one after the other.
    pub(crate) fn data(stream_id: u32, values: &[Value]) -> Self {
        let mut out = Vec::with_capacity(64);
        values.iter().for_each(|value| value.encode(&mut out));
        Self {
            type_id: TagKind::Script.id(),
            timestamp_ms: 0,
            stream_id,
            payload: out.into(),
        }
    }

    fn event(event: u16, fields: &[u32]) -> Self {
        let mut payload = BytesMut::with_capacity(10);
        payload.put_u16(event);
        fields.iter().for_each(|field| payload.put_u32(*field));
        Self {
            type_id: USER_CONTROL,
            timestamp_ms: 0,
            stream_id: 0,
            payload: payload.freeze(),
        }
    }

    fn control(type_id: u8, payload: &[u8]) -> Self {
        Self {
            type_id,
            timestamp_ms: 0,
            stream_id: 0,
            payload: Bytes::copy_from_slice(payload),
        }
    }
}

fn user_control(payload: &[u8]) -> Option<Meaning> {
    let (event, _) = payload.split_first_chunk::<2>()?;
    Some(match u16::from_be_bytes(*event) {
        EVENT_STREAM_BEGIN => Meaning::StreamBegin,
        EVENT_STREAM_EOF => Meaning::StreamEof,
        EVENT_PING_REQUEST => Meaning::PingRequest(u32_at(payload, 2)?),
        _ => Meaning::OtherControl,
    })
}

fn u32_at(payload: &[u8], at: usize) -> Option<u32> {
    payload
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_be_bytes(*bytes))
}

/// AMF3 messages begin with a format byte. 0 means that AMF0 follows, which is what encoders send.
fn without_format(payload: Bytes) -> Bytes {
    match payload.first() {
        Some(0) => payload.slice(1..),
        _ => payload,
    }
}

/// The messages in an aggregate (section 7.1.6): FLV tags without a file around them. Their times
/// are relative to their own clock, and are moved to the aggregate's time.
pub(crate) fn split_aggregate(body: &Bytes, timestamp_ms: u32) -> Vec<(TagKind, u32, Bytes)> {
    const TAG_HEADER_BYTES: usize = 11;
    const BACK_POINTER_BYTES: usize = 4;
    let mut messages = Vec::new();
    let mut rest: &[u8] = body;
    let mut first = None;
    while let Some(([kind, s0, s1, s2, t0, t1, t2, high, _, _, _], after)) =
        rest.split_first_chunk::<TAG_HEADER_BYTES>()
    {
        let size = u32::from_be_bytes([0, *s0, *s1, *s2]) as usize;
        // A truncated last message is ignored, as players do.
        let Some((data, after)) = after.split_at_checked(size) else {
            break;
        };
        let time = u32::from_be_bytes([*high, *t0, *t1, *t2]);
        let offset = time.wrapping_sub(*first.get_or_insert(time));
        if let Some(kind) = TagKind::from_id(*kind) {
            messages.push((
                kind,
                timestamp_ms.wrapping_add(offset),
                body.slice_ref(data),
            ));
        }
        rest = after.get(BACK_POINTER_BYTES..).unwrap_or_default();
    }
    messages
}
