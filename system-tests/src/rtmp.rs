//! Our own RTMP client on a plain socket, for misbehaviour that no normal client shows: it stops
//! wherever a test wants, and sends any bytes. It shares no code with the server.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Any single read or write.
const IO_TIMEOUT: Duration = Duration::from_secs(20);

/// A message, whatever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// RTMP's message type: 8 audio, 9 video, 18 data, 20 command, …
    pub type_id: u8,
    /// In milliseconds.
    pub timestamp: u32,
    /// The content.
    pub body: Vec<u8>,
}

/// A connection to an RTMP server.
pub struct RawRtmp {
    stream: TcpStream,
    in_chunk_bytes: usize,
    begun: HashMap<u32, Begun>,
    transaction: f64,
}

/// What is known of a chunk stream that is being read.
#[derive(Default, Clone)]
struct Begun {
    timestamp: u32,
    length: usize,
    type_id: u8,
    body: Vec<u8>,
}

impl RawRtmp {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When the server does not answer as it should.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&to, IO_TIMEOUT)?)
    }

    /// Shakes hands over a connection that is there.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn over(mut stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        stream.set_nodelay(true)?;
        stream.write_all(&first_handshake())?;
        let mut answer = vec![0; 1 + 2 * 1536];
        stream.read_exact(&mut answer)?;
        stream.write_all(&answer[1..=1536])?;
        Ok(Self {
            stream,
            in_chunk_bytes: 128,
            begun: HashMap::new(),
            transaction: 0.0,
        })
    }

    /// `connect` to an application, and `createStream`.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn open(&mut self, app: &str) -> io::Result<()> {
        let properties = [
            ("app", amf_string(app)),
            ("flashVer", amf_string("LNX 9,0,124,2")),
            ("tcUrl", amf_string(&format!("rtmp://localhost/{app}"))),
        ];
        self.command(0, "connect", &[amf_object(&properties)])?;
        self.command(0, "createStream", &[amf_null()])
    }

    /// Asks to publish, and waits for the answer's code, such as `NetStream.Publish.Start`.
    ///
    /// # Errors
    /// When the connection fails or ends before the answer.
    pub fn publish(&mut self, name: &str) -> io::Result<String> {
        let arguments = [amf_null(), amf_string(name), amf_string("live")];
        self.command(1, "publish", &arguments)?;
        self.status_of("NetStream.Publish")
    }

    /// Asks to play, and waits for the answer's code, such as `NetStream.Play.Start`.
    ///
    /// # Errors
    /// When the connection fails or ends before the answer.
    pub fn play(&mut self, name: &str) -> io::Result<String> {
        let arguments = [amf_null(), amf_string(name), amf_number(-2000.0)];
        self.command(1, "play", &arguments)?;
        loop {
            let code = self.status_of("NetStream.Play")?;
            if code != "NetStream.Play.Reset" {
                return Ok(code);
            }
        }
    }

    /// Sends a command; `arguments` are AMF0 values, encoded.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn command(&mut self, stream: u32, name: &str, arguments: &[Vec<u8>]) -> io::Result<()> {
        self.transaction += 1.0;
        let mut body = amf_string(name);
        body.extend(amf_number(self.transaction));
        body.extend(arguments.concat());
        self.send(
            stream,
            &Message {
                type_id: 20,
                timestamp: 0,
                body,
            },
        )
    }

    /// Sends a message in chunks of 128 bytes.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send(&mut self, stream: u32, message: &Message) -> io::Result<()> {
        self.stream.write_all(&chunks(stream, message))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection fails.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next message.
    ///
    /// # Errors
    /// When the connection fails or ends, or nothing comes for 20 s.
    pub fn receive(&mut self) -> io::Result<Message> {
        loop {
            let [basic] = self.bytes()?;
            let id = match basic & 0x3f {
                0 => 64 + u32::from(self.bytes::<1>()?[0]),
                1 => 64 + u32::from(u16::from_le_bytes(self.bytes()?)),
                id => u32::from(id),
            };
            if let Some(message) = self.chunk(basic >> 6, id)? {
                if let (1, Ok(size)) = (message.type_id, message.body[..].try_into()) {
                    self.in_chunk_bytes = u32::from_be_bytes(size) as usize;
                }
                return Ok(message);
            }
        }
    }

    /// Waits for an `onStatus` or `_error` whose code begins with `prefix`.
    ///
    /// # Errors
    /// When the connection fails or ends before.
    pub fn status_of(&mut self, prefix: &str) -> io::Result<String> {
        loop {
            let message = self.receive()?;
            if message.type_id == 20
                && let Some(code) = amf_code(&message.body)
                && (code.starts_with(prefix) || code.starts_with("NetConnection.Connect.Rejected"))
            {
                return Ok(code);
            }
        }
    }

    /// Reads and discards until the server closes the connection; returns whether it did within
    /// `timeout`.
    pub fn closes_within(&mut self, timeout: Duration) -> bool {
        closes_within(&mut self.stream, timeout)
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn chunk(&mut self, format: u8, id: u32) -> io::Result<Option<Message>> {
        let mut begun = self.begun.remove(&id).unwrap_or_default();
        if format < 3 {
            let time = self.bytes::<3>()?;
            let mut time = u32::from_be_bytes([0, time[0], time[1], time[2]]);
            if format < 2 {
                let [a, b, c, type_id] = self.bytes()?;
                begun.length = u32::from_be_bytes([0, a, b, c]) as usize;
                begun.type_id = type_id;
            }
            if format == 0 {
                self.bytes::<4>()?;
            }
            if time == 0x00ff_ffff {
                time = u32::from_be_bytes(self.bytes()?);
            }
            begun.timestamp = if format == 0 {
                time
            } else {
                begun.timestamp.wrapping_add(time)
            };
        }
        let had = begun.body.len();
        begun
            .body
            .resize(begun.length.min(had + self.in_chunk_bytes), 0);
        self.stream.read_exact(&mut begun.body[had..])?;
        let complete = begun.body.len() == begun.length;
        let message = complete.then(|| Message {
            type_id: begun.type_id,
            timestamp: begun.timestamp,
            body: std::mem::take(&mut begun.body),
        });
        self.begun.insert(id, begun);
        Ok(message)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads and discards until the other side closes the connection; returns whether it did within
/// `timeout`.
pub fn closes_within(stream: &mut TcpStream, timeout: Duration) -> bool {
    let watch = crate::clock::Stopwatch::start();
    let mut buffer = [0; 64 << 10];
    while let Some(left) = timeout
        .checked_sub(watch.elapsed())
        .filter(|left| !left.is_zero())
    {
        if stream.set_read_timeout(Some(left)).is_err() {
            return true;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return false,
                io::ErrorKind::Interrupted => {}
                _ => return true,
            },
        }
    }
    false
}

/// C0 and C1.
#[must_use]
pub fn first_handshake() -> Vec<u8> {
    let mut bytes = vec![0; 1 + 1536];
    bytes[0] = 3;
    for (at, byte) in bytes[9..].iter_mut().enumerate() {
        *byte = (at % 251) as u8;
    }
    bytes
}

/// A message as chunks of 128 bytes on a chunk stream of its kind.
#[must_use]
pub fn chunks(stream: u32, message: &Message) -> Vec<u8> {
    let id = match message.type_id {
        8 => 4,
        9 => 6,
        18 => 5,
        _ => 3,
    };
    let length = u32::try_from(message.body.len()).expect("a message below 4 GiB");
    let mut bytes = vec![id];
    bytes.extend(&message.timestamp.min(0x00ff_fffe).to_be_bytes()[1..]);
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.push(message.type_id);
    bytes.extend(stream.to_le_bytes());
    for (at, part) in message.body.chunks(128).enumerate() {
        if at > 0 {
            bytes.push(0xc0 | id);
        }
        bytes.extend(part);
    }
    bytes
}

/// The audio, video and data tags of an FLV file, as messages.
///
/// # Panics
/// When the file cannot be read.
#[track_caller]
#[must_use]
pub fn flv_messages(file: &Path) -> Vec<Message> {
    flv_messages_of(&std::fs::read(file).expect("a clip"))
}

/// As [`flv_messages`], of a file's bytes. A tag that is cut off at the end is skipped.
#[must_use]
pub fn flv_messages_of(bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = bytes.get(13..).unwrap_or_default();
    while let [type_id, a, b, c, t1, t2, t3, t0, _, _, _, tail @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        if tail.len() < length + 4 {
            break;
        }
        messages.push(Message {
            type_id: *type_id,
            timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            body: tail[..length].to_vec(),
        });
        rest = &tail[length + 4..];
    }
    messages
}

/// The frames of one type (8 audio, 9 video) with their times, without decoder configurations.
#[must_use]
pub fn frames_of(messages: &[Message], type_id: u8) -> Vec<(u32, &[u8])> {
    let of_type = messages.iter().filter(|message| message.type_id == type_id);
    of_type
        .filter(|message| message.body.get(1).is_some_and(|kind| *kind != 0))
        .map(|message| (message.timestamp, &message.body[..]))
        .collect()
}

/// Plays a stream (`app` and name) until it ends, and gives every message.
///
/// # Panics
/// When it is not admitted.
#[track_caller]
#[must_use]
pub fn play_to_the_end(server: SocketAddr, app: &str, name: &str) -> Vec<Message> {
    let mut raw = RawRtmp::connect(server).expect("a handshake");
    raw.open(app).expect("a connection");
    assert_eq!(raw.play(name).expect("an answer"), "NetStream.Play.Start");
    let mut messages = Vec::new();
    while let Ok(message) = raw.receive() {
        messages.push(message);
    }
    messages
}

/// Asserts that this viewer's frames are those that were published, from any keyframe to the end:
/// none missing, none twice.
///
/// # Panics
/// When they are not.
#[track_caller]
pub fn assert_every_frame(viewer: usize, played: &[Message], published: &[Message]) {
    for type_id in [8, 9] {
        let all = frames_of(published, type_id);
        let got = frames_of(played, type_id);
        assert!(
            !got.is_empty(),
            "viewer {viewer} got nothing of type {type_id}"
        );
        assert!(
            all.ends_with(&got),
            "viewer {viewer} lost something of type {type_id}"
        );
        let keyframe = got[0].1.first().is_some_and(|byte| byte >> 4 == 1);
        assert!(
            type_id == 8 || keyframe,
            "viewer {viewer} begins without a keyframe"
        );
    }
}

/// AMF0 string.
#[must_use]
pub fn amf_string(text: &str) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend(amf_name(text));
    bytes
}

/// AMF0 number.
#[must_use]
pub fn amf_number(number: f64) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend(number.to_be_bytes());
    bytes
}

/// AMF0 null.
#[must_use]
pub fn amf_null() -> Vec<u8> {
    vec![5]
}

/// AMF0 object of values that are encoded already.
#[must_use]
pub fn amf_object(properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![3];
    for (name, value) in properties {
        bytes.extend(amf_name(name));
        bytes.extend(value);
    }
    bytes.extend([0, 0, 9]);
    bytes
}

fn amf_name(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// The string property `code`, wherever it is.
fn amf_code(body: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\0\x04code\x02";
    let at = body.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let length = usize::from(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let text = body.get(at + 2..at + 2 + length)?;
    Some(String::from_utf8_lossy(text).into_owned())
}
