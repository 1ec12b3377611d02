//! A viewer whose answer has begun: its socket is the egress's, and its connection looks after what the client does.

use std::{
    future::{Future as _, poll_fn},
    io,
    net::{Shutdown, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use livetrail_egress::{Egress, Seat};
use livetrail_engine::{Playback, Reason};
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
    /// The client closed.
    Gone,
    /// The client cannot be reached, or takes nothing: how that was noticed.
    Failed(String),
}

/// Sends the stream to its end. True if the connection was cut because the end could not be told otherwise.
pub(super) async fn serve(
    egress: &Egress<FlvWire>,
    limits: &HttpLimits,
    (stream, peer): (TcpStream, SocketAddr),
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
            if let Poll::Ready(error) = seat.poll_full(cx) {
                return Poll::Ready(Over::Failed(format!("writing failed: {error}")));
            }
            if let Poll::Ready(over) = poll_gone(&stream, cx) {
                return Poll::Ready(over);
            }
            while look.as_mut().poll(cx).is_ready() {
                let before = std::mem::replace(&mut writes, seat.writes());
                if seat.is_full() && before == writes {
                    let cause = format!("it took nothing for {:?}", limits.write_stall_timeout);
                    return Poll::Ready(Over::Failed(cause));
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
        Over::Gone => {
            leave(seat).await;
            false
        }
        Over::Failed(cause) => {
            let (playback, _) = seat.leave().await;
            // One whose session has ended meanwhile has its reason.
            if let Some(playback) = playback {
                log_failure(&playback, peer, &cause);
                playback.end_with(Reason::ClientClosed, &cause);
            }
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

/// An error of a connection ends its session: one line says which.
fn log_failure(playback: &Playback, peer: SocketAddr, cause: &str) {
    let (stream, session) = (playback.key().to_string(), playback.session());
    let reason = Reason::ClientClosed;
    tracing::info!(%peer, ?stream, %session, %reason, cause, "an error ended a session");
}

/// Ready when the client has closed, or cannot be reached.
fn poll_gone(stream: &TcpStream, cx: &mut Context<'_>) -> Poll<Over> {
    let mut sink = [0; SINK_BYTES];
    while stream.poll_read_ready(cx).is_ready() {
        match stream.try_read(&mut sink) {
            Ok(0) => return Poll::Ready(Over::Gone),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Over::Failed(format!("reading failed: {error}"))),
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
