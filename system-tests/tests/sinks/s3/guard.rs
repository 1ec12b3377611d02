//! A proxy in front of the S3 server: it forwards, refuses like S3, or is down.
//!
//! The available S3 server for tests checks no credentials and keeps nothing after its end. So the
//! proxy refuses, and a killed server is simulated as one that is unreachable and whose connections
//! break; committed objects exist again afterwards, as with a persistent store.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PASSING: u8 = 0;
const REFUSING: u8 = 1;
const DOWN: u8 = 2;
const ROTATED: u8 = 3;

/// The key that is admitted after a change of keys.
pub(super) const ROTATED_KEY: &str = "rotated";

const REFUSAL: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";

/// A running guard. It ends when this is dropped.
pub(super) struct Guard {
    address: SocketAddr,
    mode: Arc<AtomicU8>,
    accepting: JoinHandle<()>,
}

impl Guard {
    pub(super) async fn start(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = Arc::new(AtomicU8::new(PASSING));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&mode)));
        Ok(Self {
            address,
            mode,
            accepting,
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pass(&self) {
        self.mode.store(PASSING, Ordering::SeqCst);
    }

    /// New connections get a 403, whatever they ask.
    pub(super) fn refuse(&self) {
        self.mode.store(REFUSING, Ordering::SeqCst);
    }

    /// New connections are let through with the key [`ROTATED_KEY`] and refused with any other.
    pub(super) fn rotate(&self) {
        self.mode.store(ROTATED, Ordering::SeqCst);
    }

    /// New connections end at once.
    pub(super) fn go_down(&self) {
        self.mode.store(DOWN, Ordering::SeqCst);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mode: Arc<AtomicU8>) {
    while let Ok((client, _)) = listener.accept().await {
        match mode.load(Ordering::SeqCst) {
            PASSING => drop(tokio::spawn(pass(client, target, Vec::new()))),
            REFUSING => drop(tokio::spawn(refuse(client))),
            ROTATED => drop(tokio::spawn(choose(client, target))),
            _ => drop(client),
        }
    }
}

async fn choose(mut client: TcpStream, target: SocketAddr) -> io::Result<()> {
    let request = read(&mut client).await?;
    if String::from_utf8_lossy(&request).contains(&format!("Credential={ROTATED_KEY}/")) {
        pass(client, target, request).await
    } else {
        answer_refusal(client).await
    }
}

/// Forwards the bytes that were read already, and then all others.
async fn pass(mut client: TcpStream, target: SocketAddr, read: Vec<u8>) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(&read).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn refuse(mut client: TcpStream) -> io::Result<()> {
    read(&mut client).await?;
    answer_refusal(client).await
}

/// The first request, or the part of it that arrived.
async fn read(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    while !is_whole(&request) && client.read_buf(&mut request).await? > 0 {}
    Ok(request)
}

async fn answer_refusal(mut client: TcpStream) -> io::Result<()> {
    let length = REFUSAL.len();
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(REFUSAL.as_bytes()).await?;
    client.shutdown().await
}

/// Whether the header and all of the body is there.
fn is_whole(request: &[u8]) -> bool {
    let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else {
        return false;
    };
    let header = String::from_utf8_lossy(&request[..end]).to_lowercase();
    let length = header
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |length| length.trim().parse().unwrap());
    request.len() >= end + 4 + length
}
