//! A server session and a client session connected to each other, and a server session with hostile
//! clients.

use bytes::{Bytes, BytesMut};
use livetrail_engine::{CodecId, FrameFlags, MediaFrame, Reason, Role};
use livetrail_media::amf0::{Value, decode_all};
use proptest::prelude::*;

use super::{
    Accepts, ChunkLimits, ClientEvent, ClientSession, FrameChunks, MEDIA_STREAM_ID, Message,
    OUT_CHUNK_BYTES, Request, ServerEvent, ServerSession, Status, message::Command, write_message,
};
use crate::{
    error::{Error, Result},
    target::RtmpUrl,
};

/// A server, a client, and the bytes between them, moved in pieces of a chosen size.
struct Pair {
    server: ServerSession,
    client: ClientSession,
    to_server: BytesMut,
    to_client: BytesMut,
    piece: usize,
}

#[derive(Default)]
struct Seen {
    request: Option<Request>,
    frames: Vec<MediaFrame>,
    finished: bool,
    started: bool,
    ended: Option<String>,
}

impl Pair {
    fn new(role: Role, piece: usize) -> Self {
        let url = RtmpUrl::parse("rtmp://host/live/cam?token=secret").unwrap();
        Self {
            server: ServerSession::new(ChunkLimits::default(), 1),
            client: ClientSession::new(url, role, ChunkLimits::default(), 2),
            to_server: BytesMut::new(),
            to_client: BytesMut::new(),
            piece,
        }
    }

    /// Moves bytes and drains both sides until no bytes are left.
    fn run(&mut self, seen: &mut Seen) -> Result<()> {
        loop {
            self.to_server.extend_from_slice(&self.client.take_output());
            self.to_client.extend_from_slice(&self.server.take_output());
            if self.to_server.is_empty() && self.to_client.is_empty() {
                return Ok(());
            }
            let some = self
                .to_server
                .split_to(self.piece.min(self.to_server.len()));
            self.server.input().extend_from_slice(&some);
            while let Some(event) = self.server.poll_event()? {
                match event {
                    ServerEvent::Requested(request) => seen.request = Some(request),
                    ServerEvent::Frame(frame) => seen.frames.push(frame),
                    ServerEvent::Finished => seen.finished = true,
                    ServerEvent::HandshakeDone => {}
                    other => panic!("{other:?}"),
                }
            }
            let some = self
                .to_client
                .split_to(self.piece.min(self.to_client.len()));
            self.client.input().extend_from_slice(&some);
            while let Some(event) = self.client.poll_event()? {
                match event {
                    ClientEvent::Started => seen.started = true,
                    ClientEvent::Frame(frame) => seen.frames.push(frame),
                    ClientEvent::Ended { code, .. } => seen.ended = Some(code),
                }
            }
        }
    }
}

fn put(chunks: &FrameChunks, bytes: &mut BytesMut) {
    chunks
        .parts()
        .for_each(|part| bytes.extend_from_slice(part));
}

fn clip(sizes: &[usize]) -> Vec<MediaFrame> {
    let config = Bytes::from_static(b"\x01\x64\x00\x1e");
    let mut frames = vec![
        MediaFrame::data(
            CodecId::Amf0,
            0,
            FrameFlags::CONFIG,
            Bytes::from_static(b"\x02\x00\x0aonMetaData\x05"),
        ),
        MediaFrame::video(CodecId::H264, 0, 0, FrameFlags::CONFIG, config),
        MediaFrame::audio(
            CodecId::Aac,
            0,
            FrameFlags::CONFIG,
            Bytes::from_static(&[0x12, 0x10]),
        ),
    ];
    for (at, size) in sizes.iter().enumerate() {
        let time = 16_777_000 + 40 * at as i64;
        let payload = Bytes::from(vec![at as u8; *size + 1]);
        let flags = if at == 0 {
            FrameFlags::KEYFRAME
        } else {
            FrameFlags::NONE
        };
        frames.push(MediaFrame::video(
            CodecId::H264,
            time,
            time + 80,
            flags,
            payload.clone(),
        ));
        frames.push(MediaFrame::audio(
            CodecId::Opus,
            time + 3,
            FrameFlags::NONE,
            payload,
        ));
    }
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_publisher_reaches_the_server_frame_by_frame(
        piece in prop_oneof![1usize..50, 1usize..100_000],
        sizes in prop::collection::vec(prop_oneof![0usize..500, 60_000usize..140_000], 0..6),
    ) {
        let (mut pair, mut seen) = (Pair::new(Role::Publish, piece.max(sizes.iter().sum::<usize>() / 1_000)), Seen::default());
        pair.run(&mut seen).unwrap();
        let request = seen.request.take().unwrap();
        prop_assert_eq!((request.role, request.app.as_str(), request.stream.as_str()), (Role::Publish, "live", "cam"));
        let token = request.credentials.token.unwrap();
        prop_assert_eq!(token.expose(), "secret");
        prop_assert!(!seen.started);
        pair.server.accept();
        pair.run(&mut seen).unwrap();
        prop_assert!(seen.started);
        let frames = clip(&sizes);
        for frame in &frames {
            put(&pair.client.frame(frame).unwrap(), &mut pair.to_server);
        }
        pair.run(&mut seen).unwrap();
        prop_assert_eq!(&seen.frames, &frames);
        pair.client.close();
        pair.run(&mut seen).unwrap();
        prop_assert!(seen.finished);
    }

    #[test]
    fn a_viewer_gets_frame_by_frame_and_the_end(
        piece in prop_oneof![1usize..50, 1usize..100_000],
        sizes in prop::collection::vec(prop_oneof![0usize..500, 60_000usize..140_000], 0..6),
    ) {
        let (mut pair, mut seen) = (Pair::new(Role::Play, piece.max(sizes.iter().sum::<usize>() / 1_000)), Seen::default());
        pair.run(&mut seen).unwrap();
        prop_assert_eq!(seen.request.take().unwrap().role, Role::Play);
        pair.server.accept();
        pair.run(&mut seen).unwrap();
        prop_assert!(seen.started);
        let frames = clip(&sizes);
        for frame in &frames {
            put(&FrameChunks::new(frame, MEDIA_STREAM_ID, OUT_CHUNK_BYTES).unwrap(), &mut pair.to_client);
        }
        pair.run(&mut seen).unwrap();
        prop_assert_eq!(&seen.frames, &frames);
        pair.server.end(&Status::ended(Role::Play, &Reason::StreamEnded));
        pair.run(&mut seen).unwrap();
        prop_assert_eq!(seen.ended.as_deref(), Some("NetStream.Play.UnpublishNotify"));
    }
}

#[test]
fn a_refusal_reaches_the_client_with_its_code() {
    for (role, reason, expected) in [
        (
            Role::Publish,
            Reason::Unauthorized,
            "NetStream.Publish.BadName",
        ),
        (
            Role::Publish,
            Reason::AlreadyPublishing,
            "NetStream.Publish.BadName",
        ),
        (
            Role::Publish,
            Reason::AuditUnavailable,
            "NetStream.Publish.Rejected",
        ),
        (
            Role::Play,
            Reason::StreamNotFound,
            "NetStream.Play.StreamNotFound",
        ),
        (Role::Play, Reason::Unauthorized, "NetStream.Play.Failed"),
        (
            Role::Play,
            Reason::AppNotFound,
            "NetConnection.Connect.InvalidApp",
        ),
    ] {
        let (mut pair, mut seen) = (Pair::new(role, 1000), Seen::default());
        pair.run(&mut seen).unwrap();
        pair.server.refuse(&Status::refused(role, &reason));
        match pair.run(&mut seen) {
            Err(Error::Refused { code, description }) => {
                assert_eq!(code, expected);
                assert!(description.starts_with(reason.label()), "{description}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A server session after the handshake, for the test's input.
fn after_handshake() -> ServerSession {
    let mut server = ServerSession::new(ChunkLimits::default(), 1);
    let hello = [&[3][..], &[0; 1536 * 2]].concat();
    server.input().extend_from_slice(&hello);
    assert!(matches!(
        server.poll_event(),
        Ok(Some(ServerEvent::HandshakeDone))
    ));
    server.take_output();
    server
}

fn call(name: &str, transaction: f64, values: Vec<Value>) -> Message {
    Message::command(0, &Command::new(name, transaction, values))
}

fn send(server: &mut ServerSession, message: &Message) -> Result<Option<ServerEvent>> {
    write_message(message, 128, server.input());
    server.poll_event()
}

fn connect(app: &str) -> Message {
    call(
        "connect",
        1.0,
        vec![Value::object([
            ("app", Value::from(app)),
            ("flashVer", Value::from("FMLE/3.0")),
        ])],
    )
}

#[test]
fn connect_advertises_what_is_passed_on() {
    let mut server = after_handshake();
    assert!(
        send(&mut server, &connect("live/_definst_"))
            .unwrap()
            .is_none()
    );
    let output = server.take_output();
    let at = output.windows(7).position(|w| w == b"_result").unwrap();
    // The answer comes after our chunk size, in one chunk.
    let values = decode_all(&output[at - 3..]).unwrap();
    assert_eq!(
        values[3].get("code").and_then(Value::as_str),
        Some("NetConnection.Connect.Success")
    );
    assert_eq!(
        values[2].get("capsEx").and_then(Value::as_number),
        Some(6.0)
    );
    let map = values[2].get("videoFourCcInfoMap").unwrap();
    assert_eq!(map.get("hvc1").and_then(Value::as_number), Some(4.0));
}

#[test]
fn a_token_is_found_in_the_application_too_and_never_shown() {
    let mut server = after_handshake();
    send(&mut server, &connect("live?token=hunter2")).unwrap();
    let event = send(
        &mut server,
        &call("publish", 5.0, vec![Value::Null, Value::from("cam")]),
    )
    .unwrap();
    assert!(!format!("{event:?} {server:?}").contains("hunter2"));
    let Some(ServerEvent::Requested(request)) = event else {
        panic!("{event:?}")
    };
    assert_eq!(
        (request.app.as_str(), request.user_agent.as_deref()),
        ("live", Some("FMLE/3.0"))
    );
    assert_eq!(request.credentials.token.unwrap().expose(), "hunter2");
}

#[test]
fn nothing_is_read_between_the_request_and_its_answer() {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    send(
        &mut server,
        &call("publish", 5.0, vec![Value::Null, Value::from("cam")]),
    )
    .unwrap();
    let media = Message {
        type_id: 9,
        timestamp_ms: 1,
        stream_id: 1,
        payload: b"\x17\x01\0\0\0x"[..].into(),
    };
    assert!(send(&mut server, &media).unwrap().is_none());
    server.accept();
    let event = server.poll_event();
    assert!(
        matches!(event, Ok(Some(ServerEvent::Frame(_)))),
        "{event:?}"
    );
}

#[test]
fn a_client_may_ask_again_on_the_same_connection() {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    for stream in ["one", "two"] {
        let publish = call("publish", 5.0, vec![Value::Null, Value::from(stream)]);
        let Ok(Some(ServerEvent::Requested(request))) = send(&mut server, &publish) else {
            panic!("no request")
        };
        assert_eq!(request.stream, stream);
        server.accept();
        let done = call("deleteStream", 0.0, vec![Value::Null, Value::from(1.0)]);
        assert!(matches!(
            send(&mut server, &done),
            Ok(Some(ServerEvent::Finished))
        ));
        assert!(send(&mut server, &done).unwrap().is_none(), "it ends once");
    }
}

#[test]
fn only_a_client_that_says_so_gets_several_tracks() {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    assert_eq!(server.accepts(), Accepts::default());
    let mut server = after_handshake();
    let caps = Value::object([("app", Value::from("live")), ("capsEx", Value::from(2.0))]);
    send(&mut server, &call("connect", 1.0, vec![caps])).unwrap();
    let accepts = server.accepts();
    assert!(accepts.multitrack && accepts.metadata && !accepts.modifiers);
}

#[test]
fn before_a_publish_is_admitted_incomplete_messages_hold_little() {
    let mut server = after_handshake();
    for id in 3..60u8 {
        let header = [id, 0, 0, 0, 0, 0xff, 0xff, 9, 0, 0, 0, 0];
        server.input().extend_from_slice(&header);
        server.input().extend_from_slice(&[0; 128]);
        // A second chunk for each stream, and so on, until the limit is exceeded.
        for _ in 0..60 {
            server.input().extend_from_slice(&[0xc0 | id]);
            server.input().extend_from_slice(&[0; 128]);
        }
    }
    assert!(matches!(
        server.poll_event(),
        Err(Error::TooMuchPartialData { limit: 131_072 })
    ));
}

#[test]
fn before_a_publish_is_admitted_messages_are_short() {
    let mut server = after_handshake();
    let long = Message {
        type_id: 20,
        timestamp_ms: 0,
        stream_id: 0,
        payload: vec![0; 70_000].into(),
    };
    assert!(matches!(
        send(&mut server, &long),
        Err(Error::MessageTooLarge { limit: 65_536, .. })
    ));
}

#[test]
fn an_application_that_is_not_a_name_is_rejected_in_the_answer_to_connect() {
    let mut server = after_handshake();
    let Ok(Some(ServerEvent::Refused { request, over, .. })) = send(&mut server, &connect("\u{7}"))
    else {
        panic!("not refused")
    };
    assert!(over && request.app == "\u{7}" && request.stream.is_empty());
    let output = server.take_output();
    assert!(
        output
            .windows(28)
            .any(|w| w == b"NetConnection.Connect.Reject".as_slice())
    );
}

#[test]
fn commands_at_the_wrong_time_are_errors_and_unknown_ones_are_answered() {
    let mut server = after_handshake();
    let publish = call("publish", 5.0, vec![Value::Null, Value::from("cam")]);
    let Ok(Some(ServerEvent::Refused { request, over, .. })) = send(&mut server, &publish) else {
        panic!("not refused")
    };
    assert!(over && request.app.is_empty() && request.stream == "cam");
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    assert!(matches!(
        send(&mut server, &connect("live")),
        Err(Error::Command {
            command: "connect",
            ..
        })
    ));
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    server.take_output();
    send(&mut server, &call("makeCoffee", 9.0, vec![Value::Null])).unwrap();
    assert!(server.take_output().windows(6).any(|w| w == b"_error"));
}

#[test]
fn nested_amf_in_a_command_is_as_if_it_were_not_there() {
    let mut server = after_handshake();
    let bomb = [
        &b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0"[..],
        &b"\x0a\0\0\0\x01".repeat(10_000),
    ]
    .concat();
    let message = Message {
        type_id: 20,
        timestamp_ms: 0,
        stream_id: 0,
        payload: bomb.into(),
    };
    assert!(matches!(
        send(&mut server, &message),
        Ok(Some(ServerEvent::Refused { over: true, .. }))
    ));
}

#[test]
fn a_ping_is_answered_and_received_bytes_are_acknowledged() {
    let mut server = after_handshake();
    let control = |type_id, payload: &[u8]| Message {
        type_id,
        timestamp_ms: 0,
        stream_id: 0,
        payload: payload.to_vec().into(),
    };
    send(&mut server, &control(4, &[0, 6, 1, 2, 3, 4])).unwrap();
    assert!(server.take_output().ends_with(&[0, 7, 1, 2, 3, 4]));
    send(&mut server, &control(5, &5_000u32.to_be_bytes())).unwrap();
    server.take_output();
    for _ in 0..50 {
        send(&mut server, &control(3, &[0; 100])).unwrap();
    }
    let output = server.take_output();
    assert_eq!(
        (output.len(), output[6], output[7]),
        (16, 4, 3),
        "one acknowledgement of four bytes"
    );
}

#[test]
fn an_aggregate_is_split_on_its_own_clock() {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    send(
        &mut server,
        &call("publish", 5.0, vec![Value::Null, Value::from("cam")]),
    )
    .unwrap();
    server.accept();
    let tag = |time: u8| {
        [
            8, 0, 0, 3, 0, 0, time, 0, 0, 0, 0, 0xaf, 1, time, 0, 0, 0, 14,
        ]
    };
    let body = [tag(50), tag(73)].concat();
    let message = Message {
        type_id: 22,
        timestamp_ms: 1_000,
        stream_id: 1,
        payload: body.into(),
    };
    let mut frames = Vec::new();
    let mut event = send(&mut server, &message).unwrap();
    while let Some(ServerEvent::Frame(frame)) = event {
        frames.push((frame.dts, frame.payload.to_vec()));
        event = server.poll_event().unwrap();
    }
    assert_eq!(frames, [(1_000, vec![50]), (1_023, vec![73])]);
}

#[test]
fn amf3_wrappers_of_commands_are_accepted() {
    let mut server = after_handshake();
    let inner = connect("live");
    let message = Message {
        type_id: 17,
        payload: [&[0], &inner.payload[..]].concat().into(),
        ..inner
    };
    send(&mut server, &message).unwrap();
    assert!(server.take_output().windows(7).any(|w| w == b"_result"));
}

fn on_stream(stream_id: u32, message: Message) -> Message {
    Message {
        stream_id,
        ..message
    }
}

/// A session that publishes `live/cam` on message stream 1, without its earlier output.
fn publishing() -> ServerSession {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    send(&mut server, &call("createStream", 2.0, vec![Value::Null])).unwrap();
    let publish = call(
        "publish",
        5.0,
        vec![Value::Null, Value::from("cam?token=x")],
    );
    send(&mut server, &on_stream(1, publish)).unwrap();
    server.accept();
    server.take_output();
    server
}

fn audio(stream_id: u32) -> Message {
    Message {
        type_id: 8,
        timestamp_ms: 1,
        stream_id,
        payload: Bytes::from_static(&[0xaf, 1, 7]),
    }
}

fn says(server: &mut ServerSession, text: &str) -> bool {
    let output = server.take_output();
    output.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn a_second_stream_is_refused_alone() {
    let mut server = publishing();
    let created = call("createStream", 6.0, vec![Value::Null]);
    assert!(send(&mut server, &created).unwrap().is_none());
    let answer = decode_all(&server.take_output()[12..]).unwrap();
    assert_eq!(answer[3].as_number(), Some(2.0));
    let second = call("publish", 7.0, vec![Value::Null, Value::from("low")]);
    let event = send(&mut server, &on_stream(2, second)).unwrap();
    let Some(ServerEvent::Refused {
        request,
        reason: Reason::LimitReached,
        over: false,
        ..
    }) = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(
        (request.app.as_str(), request.stream.as_str()),
        ("live", "low")
    );
    assert!(says(&mut server, "NetStream.Publish.Rejected"));
    // Messages on the refused stream do not count for the first one.
    assert!(send(&mut server, &audio(2)).unwrap().is_none());
    assert!(matches!(
        send(&mut server, &audio(1)),
        Ok(Some(ServerEvent::Frame(_)))
    ));
    for (name, argument) in [
        ("FCUnpublish", Value::from("low")),
        ("deleteStream", Value::from(2.0)),
    ] {
        let other = call(name, 0.0, vec![Value::Null, argument]);
        assert!(send(&mut server, &other).unwrap().is_none(), "{name}");
    }
    let ours = call("FCUnpublish", 0.0, vec![Value::Null, Value::from("cam")]);
    assert!(matches!(
        send(&mut server, &ours),
        Ok(Some(ServerEvent::Finished))
    ));
}

#[test]
fn the_same_request_again_is_answered_again() {
    let mut server = publishing();
    let again = call("publish", 6.0, vec![Value::Null, Value::from("cam")]);
    assert!(send(&mut server, &on_stream(1, again)).unwrap().is_none());
    assert!(says(&mut server, "NetStream.Publish.Start"));
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    let play = call("play", 5.0, vec![Value::Null, Value::from("cam")]);
    send(&mut server, &play).unwrap();
    server.accept();
    server.take_output();
    assert!(send(&mut server, &play).unwrap().is_none());
    assert!(says(&mut server, "NetStream.Play.Start"));
}

#[test]
fn asking_for_other_streams_without_end_ends_the_connection() {
    let mut server = publishing();
    let other = call("publish", 7.0, vec![Value::Null, Value::from("low")]);
    let asked = (0..100)
        .take_while(|_| send(&mut server, &other).is_ok())
        .count();
    assert_eq!(asked, 8);
}

#[test]
fn a_message_that_cannot_be_read_costs_that_message() {
    let mut server = after_handshake();
    let raw = |type_id, payload: &[u8]| Message {
        type_id,
        timestamp_ms: 0,
        stream_id: 0,
        payload: payload.to_vec().into(),
    };
    // The agent is Latin-1, an AMF3 value follows the relevant part, and the end marker is missing.
    let object = b"\x03\0\x03app\x02\0\x04live\0\x08flashVer\x02\0\x04caf\xe9\0\x01x\x11\x06\x01";
    let odd = [&b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0"[..], object].concat();
    send(&mut server, &raw(20, &odd)).unwrap();
    assert!(server.take_output().windows(7).any(|w| w == b"_result"));
    send(&mut server, &raw(20, b"\x11\x06")).unwrap();
    send(&mut server, &raw(4, b"\0")).unwrap();
    let report = server.take_report();
    assert!(report.is_some_and(|report| report.contains("the name is not a string")));
    let publish = call("publish", 5.0, vec![Value::Null, Value::from("cam")]);
    let Ok(Some(ServerEvent::Requested(request))) = send(&mut server, &publish) else {
        panic!("no request")
    };
    assert_eq!(request.user_agent.as_deref(), Some("caf\u{fffd}"));
    server.accept();
    let bad: [&[u8]; 6] = [
        b"\xaf",
        b"\x27",
        b"\x17\x01\0\0",
        b"\x17\x03\0\0\0x",
        b"\x98hvc1x",
        b"\x90hv",
    ];
    for payload in bad {
        let type_id = if payload[0] == 0xaf { 8 } else { 9 };
        assert!(send(&mut server, &raw(type_id, payload)).unwrap().is_none());
        assert!(
            server
                .take_report()
                .is_none_or(|report| report.contains("message dropped"))
        );
    }
    assert_eq!(server.unusable(), 8);
    let good = send(&mut server, &raw(9, b"\x17\x01\0\0\0x")).unwrap();
    assert!(matches!(good, Some(ServerEvent::Frame(_))));
    // Both frames of a message with two tracks.
    let two = raw(8, b"\x95\x11Opus\x00\0\0\x01a\x01\0\0\x01b");
    for track in [0, 1] {
        let event = if track == 0 {
            send(&mut server, &two)
        } else {
            server.poll_event()
        };
        let Ok(Some(ServerEvent::Frame(frame))) = event else {
            panic!("{event:?}")
        };
        assert_eq!(frame.track, track);
    }
}

#[test]
fn values_after_an_unreadable_value_of_a_command_are_dropped() {
    let mut server = after_handshake();
    let connect = connect("live");
    // A movie clip, which no decoder supports.
    let message = Message {
        payload: [&connect.payload[..], &[4, 1, 2, 3]].concat().into(),
        ..connect
    };
    assert!(send(&mut server, &message).unwrap().is_none());
    assert!(says(&mut server, "NetConnection.Connect.Success"));
}

#[test]
fn a_viewer_pauses_and_resumes() {
    let mut server = after_handshake();
    send(&mut server, &connect("live")).unwrap();
    let pause = |on: bool| {
        let values = vec![Value::Null, Value::from(on), Value::from(0.0)];
        call("pause", 0.0, values)
    };
    assert!(send(&mut server, &pause(true)).unwrap().is_none());
    let play = call("play", 5.0, vec![Value::Null, Value::from("cam")]);
    send(&mut server, &play).unwrap();
    server.accept();
    for (on, code) in [
        (true, "NetStream.Pause.Notify"),
        (false, "NetStream.Unpause.Notify"),
    ] {
        let event = send(&mut server, &pause(on)).unwrap();
        assert!(matches!(event, Some(ServerEvent::Paused(paused)) if paused == on));
        assert!(says(&mut server, code));
    }
}

#[test]
fn an_instance_belongs_to_the_stream_and_a_cut_key_to_nobody() {
    for (app, name, stream, token) in [
        ("live/tenantA", "cam", "tenantA/cam", None),
        ("live/cam?token=ab", "cd", "cam", Some("ab/cd")),
    ] {
        let mut server = after_handshake();
        send(&mut server, &connect(app)).unwrap();
        let publish = call("publish", 5.0, vec![Value::Null, Value::from(name)]);
        let Ok(Some(ServerEvent::Requested(request))) = send(&mut server, &publish) else {
            panic!("no request")
        };
        assert_eq!(
            (request.app.as_str(), request.stream.as_str()),
            ("live", stream)
        );
        let shown = request.credentials.token;
        assert_eq!(shown.as_ref().map(|token| token.expose()), token);
    }
}
