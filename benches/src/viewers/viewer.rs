//! One viewer of the load client: joins, then counts.

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use livetrail_engine::Role;
use livetrail_rtmp::{
    RtmpUrl,
    protocol::{ChunkLimits, ClientEvent, ClientSession, Message as Written, write_message},
};
use mio::net::TcpStream;

use super::{flv, load::Shared, message::Message, rtmp, tls::Tls};
use crate::nanos;

/// Acknowledged at least this often, whatever window the server asks for.
const ACKNOWLEDGE_BYTES: u32 = 1 << 20;
const ACKNOWLEDGEMENT: u8 = 3;

/// Frames that a viewer keeps in mind until it knows where in the stream it is.
const MAX_AHEAD: usize = 512;

/// The target, and the form of the request.
#[derive(Clone)]
pub(super) enum Target {
    Rtmp(RtmpUrl),
    /// Host and path.
    Http(String, String),
    /// Chunks without a handshake.
    Raw,
}

/// The figures that a viewer reports about itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) frames: u64,
    pub(super) bytes: u64,
    /// Frames that were the published ones, in their order.
    pub(super) same: u64,
    /// How often a frame was another one. The viewer then continues from the next keyframe.
    pub(super) gaps: u64,
}

pub(super) struct Viewer {
    socket: TcpStream,
    reader: Reader,
    /// While it joins.
    session: Option<Box<ClientSession>>,
    tls: Option<Tls>,
    /// Encrypted, if the connection is.
    unsent: Bytes,
    unacknowledged: u32,
    place: Place,
}

enum Reader {
    Rtmp(rtmp::Chunks),
    Flv(Box<flv::Answer>),
}

/// Where a viewer is, and since when.
pub(super) struct Place {
    pub(super) stream: usize,
    /// A viewer of the storm, which joins late and together with others.
    pub(super) storm: bool,
    /// The times of its last request before it was admitted, of its admission, and of its first
    /// keyframe.
    asked_ns: u64,
    pub(super) started_ns: Option<u64>,
    pub(super) keyframe_ns: Option<u64>,
    /// The frame that is next.
    next: Option<u64>,
    ahead: Vec<(Message, u64)>,
    pub(super) counts: Counts,
}

impl Viewer {
    pub(super) fn new(
        socket: TcpStream,
        target: &Target,
        tls: Option<Tls>,
        number: usize,
        stream: usize,
        storm: bool,
    ) -> Result<Self> {
        let mut viewer = Self {
            socket,
            reader: Reader::Rtmp(rtmp::Chunks::after(rtmp::HANDSHAKE_BYTES)),
            session: None,
            tls,
            unsent: Bytes::new(),
            unacknowledged: 0,
            place: Place {
                stream,
                storm,
                asked_ns: nanos(),
                started_ns: None,
                keyframe_ns: None,
                next: None,
                ahead: Vec::new(),
                counts: Counts::default(),
            },
        };
        match target {
            Target::Rtmp(url) => {
                let limits = ChunkLimits::default();
                let mut session =
                    ClientSession::new(url.clone(), Role::Play, limits, number as u64);
                viewer.unsent = session.take_output();
                viewer.session = Some(Box::new(session));
            }
            Target::Http(host, path) => {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
                viewer.unsent = request.into();
                viewer.reader = Reader::Flv(Box::default());
            }
            Target::Raw => viewer.reader = Reader::Rtmp(rtmp::Chunks::after(0)),
        }
        if let Some(tls) = &mut viewer.tls {
            viewer.unsent = tls.seal(&viewer.unsent)?;
        }
        Ok(viewer)
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    pub(super) fn place(&mut self) -> &mut Place {
        &mut self.place
    }

    /// Reads all pending data.
    pub(super) fn read(&mut self, buffer: &mut [u8], shared: &mut Shared) -> Result<()> {
        loop {
            let n = match self.socket.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("cannot read"),
            };
            let now = nanos();
            // After the read, because data are announced before they are sent.
            shared.listen();
            let whole = n == buffer.len();
            let opened = match &mut self.tls {
                None => None,
                Some(tls) => Some(tls.open(&buffer[..n])?),
            };
            let input = match &opened {
                None => &buffer[..n],
                Some((plain, answer)) => {
                    self.send(answer)?;
                    &plain[..]
                }
            };
            if input.is_empty() {
                continue;
            }
            if self.session.is_some() {
                self.join(input, now)?;
            } else if self.place.started_ns.is_none() {
                self.place.started_ns = Some(now);
            }
            let place = &mut self.place;
            place.counts.bytes += input.len() as u64;
            match &mut self.reader {
                Reader::Rtmp(chunks) => {
                    chunks.feed(input, |message| place.message(message, now, shared))?;
                    self.acknowledge(input.len())?;
                }
                Reader::Flv(answer) => {
                    answer.feed(input, |message| place.message(message, now, shared))?;
                }
            }
            // A read that did not fill the buffer has read everything.
            if !whole {
                return Ok(());
            }
        }
    }

    /// Sends pending data.
    pub(super) fn write(&mut self) -> Result<()> {
        while !self.unsent.is_empty() {
            match self.socket.write(&self.unsent) {
                Ok(n) => self.unsent.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error).context("cannot write"),
            }
        }
        Ok(())
    }

    fn join(&mut self, input: &[u8], now: u64) -> Result<()> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        session.input().extend_from_slice(input);
        let mut started = false;
        while let Some(event) = session.poll_event()? {
            started |= matches!(event, ClientEvent::Started);
            // The rest is for the message reader, which has seen the bytes before.
            if started {
                break;
            }
        }
        let output = session.take_output();
        if started {
            self.session = None;
            self.place.started_ns = Some(now);
        }
        if !output.is_empty() {
            self.say(&output)?;
            if !started {
                self.place.asked_ns = nanos();
            }
        }
        Ok(())
    }

    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.tls {
            None => self.send(bytes),
            Some(tls) => {
                let sealed = tls.seal(bytes)?;
                self.send(&sealed)
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut all = BytesMut::from(&self.unsent[..]);
        all.extend_from_slice(bytes);
        self.unsent = all.freeze();
        self.write()
    }

    fn acknowledge(&mut self, read: usize) -> Result<()> {
        self.unacknowledged += read as u32;
        if self.unacknowledged < ACKNOWLEDGE_BYTES || self.session.is_some() {
            return Ok(());
        }
        self.unacknowledged = 0;
        let total = self.place.counts.bytes as u32;
        let message = Written {
            type_id: ACKNOWLEDGEMENT,
            timestamp_ms: 0,
            stream_id: 0,
            payload: Bytes::copy_from_slice(&total.to_be_bytes()),
        };
        let mut bytes = BytesMut::new();
        write_message(&message, 128, &mut bytes);
        self.say(&bytes)
    }
}

impl Place {
    /// The time from the last request to the first keyframe.
    pub(super) fn waited_ns(&self) -> Option<u64> {
        Some(self.keyframe_ns?.saturating_sub(self.asked_ns))
    }

    /// The time from the last request until it was admitted.
    pub(super) fn let_in_ns(&self) -> Option<u64> {
        Some(self.started_ns?.saturating_sub(self.asked_ns))
    }

    /// Whether what it gets is compared with what was published.
    pub(super) fn is_placed(&self) -> bool {
        self.next.is_some()
    }

    fn message(&mut self, message: Message, now: u64, shared: &mut Shared) {
        if !message.is_frame() {
            return;
        }
        self.counts.frames += 1;
        if self.keyframe_ns.is_none() && message.is_keyframe() {
            self.keyframe_ns = Some(now);
        }
        if self.next.is_none() {
            self.find_place(message, now, shared);
        } else {
            self.compare(message, now, shared);
        }
    }

    fn find_place(&mut self, message: Message, now: u64, shared: &mut Shared) {
        if self.ahead.is_empty() && !message.is_keyframe() {
            return;
        }
        if self.ahead.len() == MAX_AHEAD {
            self.ahead.clear();
            return;
        }
        self.ahead.push((message, now));
        let first = self.ahead[0].0;
        let published = shared.is_published();
        let timeline = shared.timeline(self.stream);
        let begins = timeline
            .keyframe(&first)
            .or_else(|| (timeline.end() == 0 && !published).then_some(0));
        if let Some(begins) = begins {
            self.next = Some(begins);
            for (message, at) in std::mem::take(&mut self.ahead) {
                self.compare(message, at, shared);
            }
        }
    }

    fn compare(&mut self, message: Message, now: u64, shared: &mut Shared) {
        let Some(next) = self.next else {
            return;
        };
        let published = shared.is_published();
        let timeline = shared.timeline(self.stream);
        let expected = match timeline.get(next) {
            None if next == timeline.end() && !published => {
                timeline.push(message, now);
                Some((message, now))
            }
            known => known.copied(),
        };
        match expected {
            Some((expected, at)) if expected == message => {
                self.next = Some(next + 1);
                self.counts.same += 1;
                // A frame from before it joined was not late.
                if self.started_ns.is_some_and(|started| started < at) {
                    shared.latency(self.storm, now.saturating_sub(at));
                }
            }
            _ => {
                self.counts.gaps += 1;
                self.next = None;
                if message.is_keyframe() {
                    self.find_place(message, now, shared);
                }
            }
        }
    }
}
