//! A viewer whose answer has begun: the egress owns its socket, and its connection watches the
//! client.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::Bytes;
use livetrail_engine::{Playback, Reason, log};
use livetrail_gateway::{
    Closed, ConnectedViewer, FrameDelay, Transport, ViewerEnd, poll_gone, say_goodbye,
};

use super::Shared;
use crate::{
    protocol::{Framing, LAST_CHUNK},
    session::Handover,
    wire::FlvWire,
};

/// Why the watch ended.
enum Over {
    /// The session ended for any reason.
    Ended(Reason),
    /// The client closed.
    Gone,
    /// The client cannot be reached, or reads nothing; the text names the symptom.
    Failed(String),
}

impl Over {
    fn writing_failed(error: &io::Error) -> Self {
        Self::Failed(format!("writing failed: {error}"))
    }
}

/// Sends the stream until it ends. Cuts the connection if the end could not be reported otherwise.
pub(super) async fn serve(shared: &Shared, mut stream: Transport, handover: Handover) -> Closed {
    let Handover { playback, variant } = handover;
    let config = &shared.config;
    let viewer = shared.viewers.connect(
        playback,
        &mut stream,
        Bytes::new(),
        variant,
        config.write_stall_timeout,
        FrameDelay::SendInterval,
    );
    let Ok(mut viewer) = viewer.await else {
        return Closed::Cut;
    };
    let over = poll_fn(|cx| poll_over(&mut viewer, &mut stream, cx)).await;
    let left = viewer.leave(&mut stream).await;
    let over = match (over, left.failed) {
        (Over::Gone, Some(error)) => Over::writing_failed(&error),
        (over, _) => over,
    };
    match over {
        Over::Ended(Reason::Evicted) => Closed::Cut,
        Over::Ended(_) => {
            drop(left.playback);
            let last_chunk = match variant.framing {
                Framing::Chunked => LAST_CHUNK,
                Framing::Plain => &[],
            };
            say_goodbye(
                &mut stream,
                [&left.unwritten[..], last_chunk],
                config.linger,
            )
            .await
        }
        // The client ended a session that was still alive.
        Over::Gone => Closed::Whole,
        Over::Failed(cause) => {
            // A session that has ended meanwhile has its own reason.
            if let Ok(playback) = left.playback {
                log_failure(&playback, &cause);
                playback.end_with(Reason::ClientClosed, &cause);
            }
            Closed::Whole
        }
    }
}

fn poll_over(
    viewer: &mut ConnectedViewer<FlvWire>,
    stream: &mut Transport,
    cx: &mut Context<'_>,
) -> Poll<Over> {
    if let Poll::Ready(end) = viewer.poll_end(cx) {
        return Poll::Ready(match end {
            ViewerEnd::Ended(reason) => Over::Ended(reason),
            ViewerEnd::Failed(error) => Over::writing_failed(&error),
            ViewerEnd::Stalled(time) => Over::Failed(format!("it read nothing for {time:?}")),
        });
    }
    // Input from the client while it watches is read and discarded.
    poll_gone(stream, cx).map(|gone| match gone {
        Ok(()) => Over::Gone,
        Err(error) => Over::Failed(format!("reading failed: {error}")),
    })
}

/// Logs the session that a connection's error ends.
fn log_failure(playback: &Playback, cause: &str) {
    let (stream, session) = (log::stream(playback.key()), playback.session());
    let reason = Reason::ClientClosed;
    let ended = playback.end_signal();
    let of = ended.context();
    let (peer, via) = log::client(of);
    tracing::info!(peer, via, ?stream, %session, %reason, cause, "an error ended a session");
}
