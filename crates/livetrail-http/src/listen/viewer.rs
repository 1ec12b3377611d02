//! A viewer whose answer has begun: its socket is the egress's, and its connection looks after what the client does.

use std::{
    future::{Future as _, poll_fn},
    io,
    net::Shutdown,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use livetrail_egress::{Egress, Seat};
use livetrail_engine::Reason;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

use super::HttpLimits;
use crate::{
    protocol::{FlvWire, Framing, LAST_CHUNK},
    session::Handover,
};

/// What a client says while it watches is read and not looked at.
const SINK_BYTES: usize = 512;

/// Why watching is over.
enum Over {
    /// The session ended, whoever ended it.
    Ended(Reason),
    /// The client closed, or cannot be reached.
    Gone,
    /// The client takes nothing.
    Stalled,
}

/// Sends the stream to its end. True if the connection was cut because the end could not be told otherwise.
pub(super) async fn serve(
    egress: &Egress<FlvWire>,
    limits: &HttpLimits,
    stream: TcpStream,
    handover: Handover,
) -> bool {
    let Handover { playback, variant } = handover;
    let stream = Arc::new(stream);
    let ended = playback.end_signal();
    let seat = egress.seat(playback, stream.clone(), Bytes::new(), variant);
    let Some(seat) = seat.await else {
        return true;
    };
    let over = {
        let mut ended = std::pin::pin!(ended.wait());
        let mut look = std::pin::pin!(sleep(limits.write_stall_timeout));
        let mut writes = seat.writes();
        poll_fn(|cx| {
            if let Poll::Ready(reason) = ended.as_mut().poll(cx) {
                return Poll::Ready(Over::Ended(reason));
            }
            if seat.poll_full(cx).is_ready() || poll_gone(&stream, cx).is_ready() {
                return Poll::Ready(Over::Gone);
            }
            while look.as_mut().poll(cx).is_ready() {
                let before = std::mem::replace(&mut writes, seat.writes());
                if seat.is_full() && before == writes {
                    return Poll::Ready(Over::Stalled);
                }
                look.set(sleep(limits.write_stall_timeout));
            }
            Poll::Pending
        })
        .await
    };
    match over {
        Over::Ended(Reason::Evicted) => {
            leave(seat).await;
            true
        }
        Over::Ended(_) => {
            let rest = leave(seat).await;
            let goodbye = say_goodbye(&stream, rest, variant.framing);
            timeout(limits.linger, goodbye).await.is_err()
        }
        Over::Gone | Over::Stalled => {
            leave(seat).await;
            false
        }
    }
}

/// Gives the seat up; a session that lives ends as its client's doing.
async fn leave(seat: Seat<FlvWire>) -> Bytes {
    let (playback, rest) = seat.leave().await;
    drop(playback);
    rest
}

/// Ready when the client has closed.
fn poll_gone(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<()> {
    let mut sink = [0; SINK_BYTES];
    while stream.poll_read_ready(cx).is_ready() {
        match stream.try_read(&mut sink) {
            Ok(0) => return Poll::Ready(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(()),
        }
    }
    Poll::Pending
}

/// What is left, the last chunk, and then until the client has closed, too.
async fn say_goodbye(stream: &TcpStream, rest: Bytes, framing: Framing) -> io::Result<()> {
    write_all(stream, &rest).await?;
    if framing == Framing::Chunked {
        write_all(stream, LAST_CHUNK).await?;
    }
    SockRef::from(stream).shutdown(Shutdown::Write)?;
    // Closing with unread input would make the system drop what the client has not read yet.
    poll_fn(|cx| poll_gone(stream, cx)).await;
    Ok(())
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
