//! The attacks, each as fast as the machine lets it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use system_tests::rtmp::{
    Message, amf_null, amf_number, amf_object, amf_string, chunks, first_handshake,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::{CROWD, Doors};

/// The kinds of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Play over HTTP with a wrong key.
    RefusedPlays,
    /// Publish over RTMP with a wrong key.
    RefusedPublishes,
    /// Applications that do not exist, each with its own name.
    UnknownApplications,
    /// Streams that do not exist, with a right key.
    UnknownStreams,
    /// Invalid names.
    InvalidNames,
    /// Join a stream with a right key, and leave it at once.
    Churn,
}

impl Attack {
    pub(super) const ALL: [Self; 6] = [
        Self::RefusedPlays,
        Self::RefusedPublishes,
        Self::UnknownApplications,
        Self::UnknownStreams,
        Self::InvalidNames,
        Self::Churn,
    ];
}

/// The addresses that they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sources {
    /// One address.
    One,
    /// 250 addresses.
    Many,
}

impl Sources {
    pub(super) const ALL: [Self; 2] = [Self::One, Self::Many];

    fn address(self, connection: u64) -> Ipv4Addr {
        let last = match self {
            Self::One => 1,
            Self::Many => 1 + connection % 250,
        };
        Ipv4Addr::new(127, 200, 0, u8::try_from(last).unwrap_or(1))
    }
}

/// Connections at the same time.
const CONNECTIONS: u64 = 64;

/// Requests that are sent on a connection before its answers are read.
const PIPELINED: u64 = 16;

/// An answer that takes longer is not waited for: the server may hold it back.
const PATIENCE: Duration = Duration::from_secs(2);

/// Attacks for this long. Returns the number of attempts.
pub(super) fn run(doors: Doors, attack: Attack, sources: Sources, time: Duration) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let attempts = Arc::new(AtomicU64::new(0));
    let connections = Arc::new(AtomicU64::new(0));
    let Doors { http, rtmp } = doors;
    runtime.block_on(async {
        for _ in 0..CONNECTIONS {
            let (attempts, connections) = (attempts.clone(), connections.clone());
            tokio::spawn(async move {
                loop {
                    let source = sources.address(connections.fetch_add(1, Relaxed));
                    // Other tests check what the server does with it.
                    let _ = match attack {
                        Attack::RefusedPublishes => publish(source, rtmp, &attempts).await,
                        Attack::Churn => join_and_leave(source, http, &attempts).await,
                        _ => ask(attack, source, http, &attempts).await,
                    };
                    // A machine without ports, or a server that refuses, must not be asked in a
                    // busy loop.
                    sleep(Duration::from_millis(1)).await;
                }
            });
        }
        sleep(time).await;
    });
    runtime.shutdown_timeout(PATIENCE);
    attempts.load(Relaxed)
}

async fn connect(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    // No port waits for a minute after its connection.
    socket.set_zero_linger()?;
    timeout(PATIENCE, socket.connect(to)).await?
}

/// Requests of which each is refused, many on a connection.
async fn ask(
    attack: Attack,
    source: Ipv4Addr,
    http: SocketAddr,
    attempts: &AtomicU64,
) -> io::Result<()> {
    let mut stream = connect(source, http).await?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let first = attempts.fetch_add(PIPELINED, Relaxed);
        let mut requests = String::new();
        for n in first..first + PIPELINED {
            let path = match attack {
                Attack::UnknownApplications => format!("/bogus{n}/x.flv"),
                Attack::UnknownStreams => format!("/live/none{n}.flv?token={}", CROWD.1),
                Attack::InvalidNames => format!("/live/%E2%80%AE{n}.flv?token={}", CROWD.1),
                _ => format!("/live/steady.flv?token=wrong-{n}"),
            };
            requests += &format!("GET {path} HTTP/1.1\r\nhost: flood\r\nuser-agent: a{n}\r\n\r\n");
        }
        stream.write_all(requests.as_bytes()).await?;
        let mut answers = 0;
        while answers < PIPELINED {
            let read = timeout(PATIENCE, stream.read(&mut buffer)).await??;
            if read == 0 {
                return Ok(());
            }
            let text = buffer[..read]
                .windows(9)
                .filter(|part| part == b"HTTP/1.1 ");
            answers += text.count() as u64;
        }
    }
}

/// One publish with a wrong key: the client writes all of it at once and waits for the answer.
async fn publish(source: Ipv4Addr, rtmp: SocketAddr, attempts: &AtomicU64) -> io::Result<()> {
    let mut stream = connect(source, rtmp).await?;
    stream.write_all(&first_handshake()).await?;
    let mut answer = vec![0; 1 + 2 * 1536];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await??;
    let n = attempts.fetch_add(1, Relaxed);
    let app = amf_object(&[
        ("app", amf_string("live")),
        ("tcUrl", amf_string("rtmp://flood/live")),
    ]);
    let name = format!("steady?token=wrong-{n}");
    let mut all = answer[1..=1536].to_vec();
    for (stream, command, arguments) in [
        (0, "connect", vec![app]),
        (0, "createStream", vec![amf_null()]),
        (
            1,
            "publish",
            vec![amf_null(), amf_string(&name), amf_string("live")],
        ),
    ] {
        let mut body = amf_string(command);
        body.extend(amf_number(1.0));
        body.extend(arguments.concat());
        let message = Message {
            type_id: 20,
            timestamp: 0,
            body,
        };
        all.extend(chunks(stream, &message));
    }
    stream.write_all(&all).await?;
    let mut seen: Vec<u8> = Vec::new();
    let code = b"NetStream.Publish";
    while !seen.windows(code.len()).any(|part| part == code) {
        let mut part = [0; 4096];
        let read = timeout(PATIENCE, stream.read(&mut part)).await??;
        if read == 0 {
            break;
        }
        seen.extend(&part[..read]);
    }
    Ok(())
}

/// Joins the steady stream, and leaves as soon as the first bytes arrive.
async fn join_and_leave(
    source: Ipv4Addr,
    http: SocketAddr,
    attempts: &AtomicU64,
) -> io::Result<()> {
    let mut stream = connect(source, http).await?;
    attempts.fetch_add(1, Relaxed);
    let get = format!(
        "GET /live/steady.flv?token={} HTTP/1.1\r\nhost: flood\r\n\r\n",
        CROWD.1
    );
    stream.write_all(get.as_bytes()).await?;
    let mut part = [0; 512];
    // Longer than the server delays anyone.
    timeout(2 * PATIENCE, stream.read(&mut part)).await??;
    Ok(())
}
