//! Fuzz bodies: each accepts any bytes and checks the invariants.

use bytes::BytesMut;
use livetrail_engine::{Reason, Role};

use crate::{
    error::Result,
    protocol::{
        ChunkLimits, ChunkReader, FrameChunks, MEDIA_STREAM_ID, Message, ServerEvent,
        ServerHandshake, ServerSession, Status, write_message,
    },
};

const LIMITS: ChunkLimits = ChunkLimits {
    max_message_bytes: 1 << 16,
    max_chunk_streams: 8,
    max_partial_bytes: 1 << 17,
};
/// The longest chunk header: the most that a reader may leave in its input.
const MAX_HEADER_BYTES: usize = 18;

/// The messages must not depend on how the stream is split, and must stay within the limits. Each
/// message that was read must survive writing and reading again.
///
/// The first byte sets the size of the pieces, the second the chunk size.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_chunk(bytes: &[u8]) {
    let [piece, chunk_bytes, stream @ ..] = bytes else {
        return;
    };
    let chunk_bytes = u32::from(*chunk_bytes).max(1);
    let whole = messages(stream, stream.len().max(1), chunk_bytes);
    let pieces = messages(stream, usize::from(*piece).max(1), chunk_bytes);
    assert_eq!(whole, pieces);
    let mut written = BytesMut::new();
    whole
        .0
        .iter()
        .for_each(|message| write_message(message, chunk_bytes, &mut written));
    let (again, failed) = messages(&written, written.len().max(1), chunk_bytes);
    assert!(!failed, "what was written must be read");
    assert_eq!(whole.0, again);
}

fn messages(stream: &[u8], piece: usize, chunk_bytes: u32) -> (Vec<Message>, bool) {
    let mut reader = ChunkReader::new(LIMITS);
    assert!(reader.set_chunk_size(chunk_bytes).is_ok());
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for part in stream.chunks(piece) {
        input.extend_from_slice(part);
        loop {
            match reader.next_message(&mut input) {
                Ok(Some(message)) => {
                    assert!(message.payload.len() <= LIMITS.max_message_bytes);
                    messages.push(message);
                }
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
            assert!(reader.partial_bytes() <= LIMITS.max_partial_bytes);
        }
        assert!(
            input.len() < MAX_HEADER_BYTES,
            "less than a header stays behind"
        );
    }
    (messages, false)
}

/// The handshake reads exactly its 3,073 bytes, however they are split, and answers with the same
/// number of bytes.
///
/// The first byte sets the size of the pieces.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_handshake(bytes: &[u8]) {
    const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
    let Some((piece, stream)) = bytes.split_first() else {
        return;
    };
    let mut handshake = ServerHandshake::new(7);
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    let mut fed = 0_usize;
    for part in stream.chunks(usize::from(*piece).max(1).saturating_mul(16)) {
        input.extend_from_slice(part);
        fed = fed.saturating_add(part.len());
        match handshake.handle_input(&mut input, &mut output) {
            Ok(done) => assert_eq!(done, fed >= HANDSHAKE_BYTES),
            Err(_) => {
                assert_ne!(stream.first(), Some(&3));
                return;
            }
        }
    }
    assert!(output.is_empty() || output.len() == HANDSHAKE_BYTES);
    assert_eq!(
        input.len(),
        if fed < HANDSHAKE_BYTES {
            input.len()
        } else {
            fed.saturating_sub(HANDSHAKE_BYTES)
        }
    );
}

/// A client that has completed the handshake sends any bytes. The session yields requests and
/// frames, all frames can be sent on, and the answers are at most a bounded multiple of the input.
///
/// The first byte sets the size of the pieces, and whether requests are accepted or refused.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_session(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else {
        return;
    };
    let mut session = ServerSession::new(LIMITS, 7);
    session.input().extend_from_slice(&[3]);
    session.input().extend_from_slice(&[0; 2 * 1536]);
    let mut answered = 0_usize;
    for part in std::iter::once(&[][..]).chain(stream.chunks(usize::from(*first).max(1))) {
        session.input().extend_from_slice(part);
        let alive = drain(&mut session, first & 1 == 1).is_ok();
        answered = answered.saturating_add(session.take_output().len());
        if !alive {
            break;
        }
    }
    // The bound covers the handshake, the answer to `connect`, and one or two statuses per command
    // of at least a dozen bytes.
    assert!(
        answered <= stream.len().saturating_mul(128).saturating_add(8192),
        "{answered} for {}",
        stream.len()
    );
}

fn drain(session: &mut ServerSession, accept: bool) -> Result<()> {
    while let Some(event) = session.poll_event()? {
        match event {
            ServerEvent::Requested(request) if accept => {
                assert!(matches!(request.role, Role::Publish | Role::Play));
                session.accept();
            }
            ServerEvent::Requested(request) => {
                session.refuse(&Status::refused(request.role, &Reason::Unauthorized))
            }
            ServerEvent::Frame(frame) => {
                assert!(FrameChunks::new(&frame, MEDIA_STREAM_ID, 128).is_ok())
            }
            ServerEvent::HandshakeDone
            | ServerEvent::Refused { .. }
            | ServerEvent::Paused(_)
            | ServerEvent::Finished => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fuzz_chunk, fuzz_handshake, fuzz_session};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn the_fuzz_bodies_hold_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_chunk(&bytes);
            fuzz_session(&bytes);
        }

        #[test]
        fn the_handshakes_body_holds_for_random_bytes(piece in any::<u8>(), version in 2u8..5, length in 0usize..4000) {
            let mut bytes = vec![piece, version];
            bytes.resize(length + 2, 9);
            fuzz_handshake(&bytes);
        }
    }
}
