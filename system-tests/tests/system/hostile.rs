//! Hostile or broken peers: each costs a bounded amount of time and memory, ends, is on record once
//! there was an attempt, and does not affect others.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use system_tests::rtmp::{
    Message, RawRtmp, amf_string, closes_within, first_handshake, flv_messages,
};
use system_tests::{Config, Packets, Server, Story, clip, clock, resources, socket, tool};

const ENDS: Duration = Duration::from_secs(30);

/// The longest that the server gives a peer before there is an attempt: 5 s for the handshake, 10 s
/// for a command, 1 s to read the reason of a refusal; and as much again for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(32);

/// The resources that all hostile peers together may make the server use.
const MAX_GROWTH_KIB: u64 = 64 << 10;

/// As many as the specification of a chunk stream id allows.
const ALL_CHUNK_STREAMS: u32 = 65_536;

/// One hostile peer: what it is, and what it does with its connection.
type Hostile = (&'static str, fn(TcpStream) -> io::Result<TcpStream>);

/// None of them gets as far as an attempt to publish or play, except the one whose `connect` names
/// no application, which is refused on record. Unless stated otherwise, they read nothing.
const BEFORE_AN_ATTEMPT: &[Hostile] = &[
    ("says nothing", Ok),
    ("stops in the middle of the handshake", |mut stream| {
        stream.write_all(&first_handshake()[..700])?;
        Ok(stream)
    }),
    (
        "stops after the first half of the handshake",
        |mut stream| {
            stream.write_all(&first_handshake())?;
            Ok(stream)
        },
    ),
    ("sends garbage", |mut stream| {
        stream.write_all(&garbage(64 << 10))?;
        Ok(stream)
    }),
    ("speaks HTTP", |mut stream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        Ok(stream)
    }),
    ("sends garbage after the handshake", |stream| {
        after_handshake(stream, &garbage(1 << 20))
    }),
    ("announces a message of 16 MB and sends it", |stream| {
        let mut bytes = set_chunk_size(0x00ff_ffff);
        bytes.extend(header(6, 0x00ff_ffff, 9));
        bytes.resize(bytes.len() + 0x00ff_ffff, 0);
        after_handshake(stream, &bytes)
    }),
    (
        "uses every chunk stream there is, and completes no message",
        |stream| {
            let mut bytes = Vec::new();
            for id in 2..ALL_CHUNK_STREAMS {
                bytes.extend(header(id, 1_000, 20));
                bytes.extend([0; 128]);
            }
            after_handshake(stream, &bytes)
        },
    ),
    ("sets a chunk size of nothing", |stream| {
        after_handshake(stream, &set_chunk_size(0))
    }),
    ("nests objects in a command ten thousand deep", |stream| {
        let mut body = amf_string("connect");
        body.extend([0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
        for _ in 0..10_000 {
            body.extend([3, 0, 1, b'a']);
        }
        let bytes = system_tests::rtmp::chunks(
            0,
            &Message {
                type_id: 20,
                timestamp: 0,
                body,
            },
        );
        after_handshake(stream, &bytes)
    }),
    ("asks and asks and never reads", |stream| {
        let mut raw = RawRtmp::over(stream)?;
        raw.open("live")?;
        let connection = raw.stream().try_clone()?;
        // Until the server reads no more: its answers are not read, so it must stop reading
        // requests.
        connection.set_write_timeout(Some(Duration::from_secs(1)))?;
        for _ in 0..2_000_000 {
            if raw.command(0, "createStream", &[vec![5]]).is_err() {
                break;
            }
        }
        Ok(connection)
    }),
    ("connects, and asks for nothing", |stream| {
        let mut raw = RawRtmp::over(stream)?;
        raw.open("live")?;
        raw.stream().try_clone()
    }),
];

#[test]
fn hostile_peers_are_closed_in_time_and_cost_little_memory() {
    let mut server = Server::start(Config::new());
    let before = Resources::settled(&server);
    let rtmp = server.rtmp();
    std::thread::scope(|scope| {
        for (what, act) in BEFORE_AN_ATTEMPT {
            scope.spawn(move || {
                let stream = socket::connect_narrow(rtmp, 4 << 10);
                stream
                    .set_write_timeout(Some(Duration::from_secs(5)))
                    .expect("a timeout");
                // A failed send counts as closed, which is checked next.
                let kept = stream.try_clone().expect("a second handle");
                let mut stream = act(stream).unwrap_or(kept);
                assert!(
                    closes_within(&mut stream, CLOSED_WITHIN),
                    "a peer that {what} is not closed"
                );
            });
        }
    });
    before.are_back(&server);
    assert_eq!(server.get("/health").status, 200);
    let refused = Story::new("rtmp", "-/-").then_because("publish_denied", "bad_name");
    server.stop().assert_sessions(&[refused]);
}

#[test]
fn publishers_that_break_the_protocol_end_with_a_reason() {
    let mut server = Server::start(Config::new());
    let before = Resources::settled(&server);
    let cases: [(&str, Vec<u8>); 4] = [
        ("garbage", garbage(1 << 20)),
        ("chunk-size", set_chunk_size(0)),
        (
            "streams",
            (2..ALL_CHUNK_STREAMS)
                .flat_map(|id| header(id, 1, 9))
                .collect(),
        ),
        ("partial", {
            let ids = 2..64;
            ids.flat_map(|id| header(id, 0x00ff_ffff, 9).into_iter().chain(vec![0; 128]))
                .collect()
        }),
    ];
    for (ended, (name, bytes)) in cases.iter().enumerate() {
        let mut publisher = admitted(server.rtmp(), name);
        for message in flv_messages(clip::small()).iter().take(50) {
            publisher.send(1, message).expect("media is taken");
        }
        server.await_frames(&format!("live/{name}"), 40);
        // The server may close in the middle of it.
        let _ = publisher.send_bytes(bytes);
        if *name == "partial" {
            // This client breaks no rule: it is only slow. Its session ends when it leaves.
            drop(publisher);
        } else {
            assert!(
                publisher.closes_within(CLOSED_WITHIN),
                "{name} is not closed"
            );
        }
        server.await_records("publish_ended", ended + 1);
    }
    before.are_back(&server);
    let broke = |stream| Story::new("rtmp", stream).published("protocol_error");
    server.stop().assert_sessions(&[
        broke("live/garbage"),
        broke("live/chunk-size"),
        broke("live/streams"),
        Story::new("rtmp", "live/partial").published("client_closed"),
    ]);
}

#[test]
fn two_thousand_silent_connections_do_not_keep_others_from_streaming() {
    const SILENT: usize = 2_000;
    resources::allow_open_files(SILENT as u64 * 2 + 512);
    // All come from one address, like the two who stream.
    let config = Config::new()
        .http("header_timeout = \"5s\"")
        .http("max_connections_per_ip = 0")
        .rtmp("max_connections_per_ip = 0");
    let mut server = Server::start(config);
    let before = Resources::settled(&server);
    let connect = |to| {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10));
        stream.expect("a connection is taken")
    };
    let watch = clock::Stopwatch::start();
    let mut silent: Vec<_> = (0..SILENT)
        .map(|at| {
            connect(if at % 4 == 0 {
                server.http()
            } else {
                server.rtmp()
            })
        })
        .collect();

    let (url, sent, out) = (
        server.rtmp_url("live/cam"),
        server.file("sent.flv"),
        server.file("out.flv"),
    );
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 4, Some(&sent));
    server.await_records("publish_started", 1);
    let viewer = tool::ffmpeg_play(&server.flv_url("live/cam"), &out);
    publisher.wait(ENDS).success();
    viewer.wait(ENDS).success();
    Packets::of(&out).assert_continue(&Packets::of(&sent), true);

    for stream in &mut silent {
        let left = CLOSED_WITHIN.saturating_sub(watch.elapsed());
        assert!(
            closes_within(stream, left),
            "a silent connection is not closed"
        );
    }
    before.are_back(&server);
    server.stop().assert_sessions(&[
        Story::new("rtmp", "live/cam").published("client_closed"),
        Story::new("http-flv", "live/cam").played("stream_ended"),
    ]);
}

/// The server's resources before any hostile peer connects.
struct Resources {
    files: usize,
    resident_kib: u64,
}

impl Resources {
    /// After one session of each kind: what is made at first use is there.
    #[track_caller]
    fn settled(server: &Server) -> Self {
        let mut raw = RawRtmp::connect(server.rtmp()).expect("a handshake");
        assert!(raw.send_bytes(&[0xff; 64]).is_ok());
        assert!(raw.closes_within(CLOSED_WITHIN));
        let files = clock::wait_for("an idle server", Duration::from_secs(20), || {
            let files = resources::open_files(server.pid());
            let idle = connections(server) == 0;
            idle.then_some(files)
        });
        Self {
            files,
            resident_kib: resources::resident_kib(server.pid()),
        }
    }

    #[track_caller]
    fn are_back(&self, server: &Server) {
        let pid = server.pid();
        clock::wait_until(
            "the server's open files are as many as before",
            CLOSED_WITHIN,
            || resources::open_files(pid) <= self.files,
        );
        let now = resources::resident_kib(pid);
        assert!(
            now <= self.resident_kib + MAX_GROWTH_KIB,
            "the server's memory has grown from {} to {now} KiB",
            self.resident_kib
        );
    }
}

/// The established connections of the server on its two ports, from its own descriptors.
fn connections(server: &Server) -> usize {
    let ports = [server.rtmp().port(), server.http().port()];
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let ours = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let port = columns.get(1).and_then(|local| local.split(':').nth(1));
        let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
        // 01 is ESTABLISHED, 08 CLOSE_WAIT.
        port.is_some_and(|port| ports.contains(&port))
            && columns
                .get(3)
                .is_some_and(|state| ["01", "08"].contains(state))
    };
    table.lines().filter(ours).count()
}

#[track_caller]
fn admitted(to: SocketAddr, name: &str) -> RawRtmp {
    let mut publisher = RawRtmp::connect(to).expect("a handshake");
    publisher.open("live").expect("a connection");
    assert_eq!(
        publisher.publish(name).expect("an answer"),
        "NetStream.Publish.Start"
    );
    publisher
}

fn after_handshake(stream: TcpStream, bytes: &[u8]) -> io::Result<TcpStream> {
    let mut raw = RawRtmp::over(stream)?;
    raw.send_bytes(bytes)?;
    raw.stream().try_clone()
}

/// A chunk's header of format 0 on any chunk stream.
fn header(id: u32, length: u32, type_id: u8) -> Vec<u8> {
    let mut bytes = match id {
        ..64 => vec![id as u8],
        64..320 => vec![0, (id - 64) as u8],
        _ => {
            let id = u16::try_from(id - 64).unwrap_or(u16::MAX);
            let [low, high] = id.to_le_bytes();
            vec![1, low, high]
        }
    };
    bytes.extend([0; 3]);
    bytes.extend(&length.to_be_bytes()[1..]);
    bytes.push(type_id);
    bytes.extend([1, 0, 0, 0]);
    bytes
}

fn set_chunk_size(bytes: u32) -> Vec<u8> {
    let mut message = header(2, 4, 1);
    message.extend(bytes.to_be_bytes());
    message
}

/// Bytes without a pattern, the same each time.
fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}
