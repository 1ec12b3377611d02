//! The limit: the same messages from a loop that does nothing but `writev`, or nothing but
//! io_uring. Without protocol, session, and slow viewers.

use std::{
    io::{ErrorKind, IoSlice, Write},
    net::{TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use livetrail_rtmp::protocol::{DEFAULT_CHUNK_BYTES, FrameChunks, Message, write_message};
use livetrail_uring::Ring;

use super::{
    clip::{self, Clip},
    message::SET_CHUNK_SIZE,
};

/// Chunks as large as those of our server.
const CHUNK_BYTES: u32 = 65_536;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    #[arg(long)]
    pub port: u16,
    /// Frames are collected for this long
    #[arg(long, default_value_t = 0)]
    pub interval_ms: u64,
    /// The writes of a message are one system call
    #[arg(long)]
    pub io_uring: bool,
    #[arg(long)]
    pub clip: Option<PathBuf>,
}

/// Sends the clip to every client, forever.
pub fn run(options: &Options) -> Result<()> {
    super::raise_open_files();
    let clip = Clip::open(&options.clip.clone().map_or_else(clip::at_hand, Ok)?)?;
    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    listener.set_nonblocking(true)?;
    let interval = Duration::from_millis(options.interval_ms);
    let mut sockets: Vec<TcpStream> = Vec::new();
    let mut ring = options.io_uring.then(Ring::new).transpose()?;
    let (start, mut batch) = (Instant::now(), Vec::new());
    // When pending frames are sent: this long after the first of them, like our server.
    let mut send_at: Option<Instant> = None;
    for (at_ms, item) in clip.repeated() {
        let due = start + Duration::from_millis(at_ms.unsigned_abs());
        if let Some(at) = send_at.take_if(|at| *at < due) {
            sleep(at.saturating_duration_since(Instant::now()));
            send(&mut sockets, &mut batch, ring.as_mut())?;
        }
        sleep(due.saturating_duration_since(Instant::now()));
        let mut frame = item.frame.clone();
        frame.pts += at_ms - frame.dts;
        frame.dts = at_ms;
        batch.push(FrameChunks::new(&frame, 1, CHUNK_BYTES)?);
        if interval.is_zero() {
            send(&mut sockets, &mut batch, ring.as_mut())?;
        } else {
            send_at.get_or_insert(due + interval);
        }
        while let Ok((mut socket, _)) = listener.accept() {
            socket.set_nodelay(true)?;
            socket.write_all(&chunk_size())?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
    }
    Ok(())
}

fn send(
    sockets: &mut Vec<TcpStream>,
    batch: &mut Vec<FrameChunks>,
    ring: Option<&mut Ring>,
) -> Result<()> {
    let slices: Vec<_> = batch
        .iter()
        .flat_map(FrameChunks::parts)
        .map(IoSlice::new)
        .collect();
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    // A viewer that does not take all of it at once is not part of this benchmark.
    match ring {
        None => sockets.retain_mut(|socket| write_all(socket, &slices, bytes)),
        Some(ring) => {
            let mut results = Vec::new();
            let sends = sockets.iter().map(|socket| (socket.as_fd(), &slices[..]));
            ring.send(sends, &mut results)?;
            let mut results = results.into_iter();
            sockets.retain(|_| matches!(results.next(), Some(Ok(written)) if written == bytes));
        }
    }
    drop(slices);
    batch.clear();
    Ok(())
}

/// The only message to a viewer that is not a frame.
fn chunk_size() -> BytesMut {
    let message = Message {
        type_id: SET_CHUNK_SIZE,
        timestamp_ms: 0,
        stream_id: 0,
        payload: Bytes::copy_from_slice(&CHUNK_BYTES.to_be_bytes()),
    };
    let mut bytes = BytesMut::new();
    write_message(&message, DEFAULT_CHUNK_BYTES, &mut bytes);
    bytes
}

fn write_all(socket: &mut TcpStream, slices: &[IoSlice<'_>], bytes: usize) -> bool {
    loop {
        match socket.write_vectored(slices) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.is_ok_and(|written| written == bytes),
        }
    }
}
