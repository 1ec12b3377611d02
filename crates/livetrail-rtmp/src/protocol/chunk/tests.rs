//! What the chunk layer promises.

use bytes::{Bytes, BytesMut};
use livetrail_engine::{CodecId, FrameFlags, MediaFrame};
use proptest::prelude::*;

use super::{ChunkLimits, ChunkReader, FrameChunks, Message, write_message};
use crate::error::Error;

fn message(type_id: u8, timestamp_ms: u32, payload: impl Into<Bytes>) -> Message {
    Message {
        type_id,
        timestamp_ms,
        stream_id: 1,
        payload: payload.into(),
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let time = prop_oneof![any::<u32>(), 0xff_fff0u32..0x100_000f];
    let payload = prop::collection::vec(any::<u8>(), 0..700);
    (prop::sample::select(vec![8u8, 9, 18, 20]), time, payload)
        .prop_map(|(id, time, p)| message(id, time, p))
}

fn reader(chunk_bytes: u32) -> ChunkReader {
    let mut reader = ChunkReader::new(ChunkLimits::default());
    reader.set_chunk_size(chunk_bytes).unwrap();
    reader
}

fn read_all(reader: &mut ChunkReader, bytes: &[u8], piece: usize) -> Vec<Message> {
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for part in bytes.chunks(piece) {
        input.extend_from_slice(part);
        while let Some(message) = reader.next_message(&mut input).unwrap() {
            messages.push(message);
        }
        assert!(input.len() < 18, "less than a header stays behind");
    }
    messages
}

/// The chunks of a message, each by itself, on the chunk stream of its type.
fn chunks(message: &Message, chunk_bytes: usize) -> Vec<Vec<u8>> {
    let mut whole = BytesMut::new();
    write_message(message, chunk_bytes as u32, &mut whole);
    let extended = message.timestamp_ms >= 0xff_ffff;
    let (head, next) = if extended { (16, 5) } else { (12, 1) };
    let mut chunks = Vec::new();
    let mut rest = &whole[..];
    let mut header = head;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(rest.len().min(header + chunk_bytes));
        chunks.push(chunk.to_vec());
        rest = after;
        header = next;
    }
    chunks
}

proptest! {
    #[test]
    fn messages_survive_any_chunk_size_and_any_cut(
        messages in prop::collection::vec(any_message(), 0..10),
        chunk_bytes in prop_oneof![1u32..10, 1u32..1000, Just(0xff_ffff)],
        piece in 1usize..500,
    ) {
        let mut bytes = BytesMut::new();
        messages.iter().for_each(|message| write_message(message, chunk_bytes, &mut bytes));
        let mut reader = reader(chunk_bytes);
        prop_assert_eq!(read_all(&mut reader, &bytes, piece), messages);
        prop_assert_eq!(reader.partial_bytes(), 0);
    }

    #[test]
    fn interleaved_messages_are_put_together_each_by_itself(
        video in prop::collection::vec(any::<u8>(), 0..2000),
        audio in prop::collection::vec(any::<u8>(), 0..2000),
        data in prop::collection::vec(any::<u8>(), 0..2000),
        time in prop_oneof![Just(5u32), Just(0x0100_0000)],
        order in prop::collection::vec(0usize..3, 0..60),
        piece in 1usize..500,
    ) {
        let messages = [message(9, time, video), message(8, 7, audio), message(18, time, data)];
        let mut queues: Vec<_> = messages.iter().map(|m| chunks(m, 100).into_iter()).collect();
        let mut bytes: Vec<u8> = order.iter().filter_map(|at| queues[*at].next()).flatten().collect();
        bytes.extend(queues.into_iter().flatten().flatten());
        let mut read = read_all(&mut reader(100), &bytes, piece);
        read.sort_by_key(|m| m.type_id);
        let mut sent = messages.to_vec();
        sent.sort_by_key(|m| m.type_id);
        prop_assert_eq!(read, sent);
    }

    #[test]
    fn a_frames_parts_are_the_chunks_of_its_message(
        payload in prop::collection::vec(any::<u8>(), 0..900),
        time in prop_oneof![0i64..1000, 0xff_fff0i64..0x100_000f],
        chunk_bytes in 16u32..400,
    ) {
        let frame = MediaFrame::video(CodecId::H264, time, time + 40, FrameFlags::KEYFRAME, payload.clone().into());
        let chunks = FrameChunks::new(&frame, 1, chunk_bytes).unwrap();
        let sent: Vec<u8> = chunks.parts().flatten().copied().collect();
        let mut whole = BytesMut::new();
        let body = [&[0x17, 1, 0, 0, 40], &payload[..]].concat();
        write_message(&message(9, time as u32, body), chunk_bytes, &mut whole);
        prop_assert_eq!(chunks.len(), sent.len());
        prop_assert_eq!(sent, whole.to_vec());
        prop_assert!(chunks.parts().all(|part| !part.is_empty()));
    }

    #[test]
    fn any_bytes_give_messages_within_the_limits_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        piece in 1usize..500,
    ) {
        let limits = ChunkLimits { max_message_bytes: 1000, max_chunk_streams: 4, max_partial_bytes: 1500 };
        let mut reader = ChunkReader::new(limits);
        let mut input = BytesMut::new();
        'cut: for part in bytes.chunks(piece) {
            input.extend_from_slice(part);
            loop {
                match reader.next_message(&mut input) {
                    Ok(Some(message)) => prop_assert!(message.payload.len() <= 1000),
                    Ok(None) => break,
                    Err(_) => break 'cut,
                }
                prop_assert!(reader.partial_bytes() <= 1500);
            }
        }
    }
}

#[test]
fn a_message_in_one_chunk_is_a_slice_of_the_input() {
    let mut input = BytesMut::new();
    write_message(&message(9, 0, vec![7; 5000]), 65_536, &mut input);
    let expected = input[12..].as_ptr();
    let read = reader(65_536).next_message(&mut input).unwrap().unwrap();
    assert_eq!(read.payload.as_ptr(), expected);
}

#[test]
fn headers_that_leave_fields_out_take_them_from_before() {
    let mut reader = reader(128);
    let bytes = [
        &[0x04, 0, 0, 100, 0, 0, 2, 8, 1, 0, 0, 0, b'a', b'b'][..],
        &[0x44, 0, 0, 20, 0, 0, 1, 9, b'c'],
        &[0x84, 0, 0, 30, b'd'],
        &[0xc4, b'e'],
    ]
    .concat();
    let read: Vec<_> = read_all(&mut reader, &bytes, 1)
        .into_iter()
        .map(|m| (m.type_id, m.timestamp_ms, m.stream_id, m.payload.to_vec()))
        .collect();
    let expected = [
        (8, 100, b"ab".to_vec()),
        (9, 120, b"c".to_vec()),
        (9, 150, b"d".to_vec()),
        (9, 180, b"e".to_vec()),
    ];
    assert_eq!(
        read,
        expected.map(|(id, time, payload)| (id, time, 1, payload))
    );
}

#[test]
fn chunk_stream_ids_of_one_two_and_three_bytes_are_read() {
    let body = [0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0, b'x'];
    let mut reader = reader(128);
    let mut input = BytesMut::from(
        &[
            &[0x3f][..],
            &body,
            &[0x00, 200],
            &body,
            &[0x01, 1, 2],
            &body,
        ]
        .concat()[..],
    );
    for id in [63, 64 + 200, 64 + 0x0201] {
        assert!(reader.next_message(&mut input).unwrap().is_some());
        assert!(reader.streams.contains_key(&id), "{id}");
    }
}

#[test]
fn an_extended_time_may_be_missing_inside_of_a_message() {
    let time = 0x0123_4567u32.to_be_bytes();
    let head = [&[0x06, 0xff, 0xff, 0xff, 0, 0, 8, 9, 1, 0, 0, 0][..], &time].concat();
    let with = [&head[..], b"abcd", &[0xc6], &time, b"efgh"].concat();
    let without = [&head[..], b"abcd", &[0xc6], b"efgh"].concat();
    for bytes in [with, without] {
        let read = read_all(&mut reader(4), &bytes, 3);
        assert_eq!(read, [message(9, 0x0123_4567, &b"abcdefgh"[..])]);
    }
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut reader = reader(100);
    let long = chunks(&message(9, 0, vec![1; 250]), 100);
    let mut input = BytesMut::from(&long[0][..]);
    assert_eq!(reader.next_message(&mut input).unwrap(), None);
    assert_eq!(reader.partial_bytes(), 100);
    reader.abort(6);
    assert_eq!(reader.partial_bytes(), 0);
    write_message(&message(9, 5, &b"next"[..]), 100, &mut input);
    assert_eq!(
        reader.next_message(&mut input).unwrap(),
        Some(message(9, 5, &b"next"[..]))
    );
}

#[test]
fn hostile_chunks_meet_their_limit() {
    let limits = ChunkLimits {
        max_message_bytes: 1 << 20,
        max_chunk_streams: 64,
        max_partial_bytes: 3 << 20,
    };
    let feed = |bytes: &[u8]| {
        let mut reader = ChunkReader::new(limits);
        reader.set_chunk_size(0xff_ffff).unwrap();
        let mut input = BytesMut::from(bytes);
        while reader.next_message(&mut input)?.is_some() {}
        Ok::<_, Error>(reader)
    };
    // A message of 16 MB is refused at its header, before a byte of it is there.
    let huge = [0x04, 0, 0, 0, 0xff, 0xff, 0xff, 9, 0, 0, 0, 0];
    assert!(matches!(
        feed(&huge),
        Err(Error::MessageTooLarge {
            bytes: 0xff_ffff,
            limit: 0x10_0000
        })
    ));
    // 65,536 chunk streams, each with a message that has begun.
    let begun = |id: u16| {
        [
            &[0x01][..],
            &id.to_le_bytes(),
            &[0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0],
        ]
        .concat()
    };
    let many: Vec<u8> = (0..=u16::MAX).flat_map(begun).collect();
    assert!(matches!(
        feed(&many),
        Err(Error::TooManyChunkStreams { limit: 64 })
    ));
    // An announced length reserves nothing.
    let reader = feed(&[0x04, 0, 0, 0, 0x0f, 0xff, 0xff, 9, 0, 0, 0, 0, 1]).unwrap();
    assert!(reader.partial_bytes() == 1 && reader.streams[&4].partial.capacity() <= 4096);
    // Many incomplete messages, each within its limit.
    let half: Vec<u8> = (3..60u8)
        .flat_map(|id| {
            let mut bytes = vec![id, 0, 0, 0, 0x0f, 0, 0, 9, 0, 0, 0, 0];
            bytes.resize(12 + 128, 0);
            bytes
        })
        .collect();
    let tight = ChunkLimits {
        max_partial_bytes: 1000,
        ..limits
    };
    let result = ChunkReader::new(tight).next_message(&mut BytesMut::from(&half[..]));
    assert!(matches!(
        result,
        Err(Error::TooMuchPartialData { limit: 1000 })
    ));
    assert!(matches!(
        feed(&[0xc4]),
        Err(Error::ChunkHeaderMissing { chunk_stream: 4 })
    ));
    for size in [0, 0x8000_0000] {
        assert!(matches!(
            ChunkReader::new(limits).set_chunk_size(size),
            Err(Error::ChunkSize { .. })
        ));
    }
}

#[test]
fn a_message_that_begins_inside_another_is_an_error() {
    let long = chunks(&message(9, 0, vec![1; 250]), 128);
    let mut input = BytesMut::from(&[&long[0][..], &long[0][..]].concat()[..]);
    let result = ChunkReader::new(ChunkLimits::default()).next_message(&mut input);
    assert!(matches!(
        result,
        Err(Error::ChunkInterrupted { chunk_stream: 6 })
    ));
}
