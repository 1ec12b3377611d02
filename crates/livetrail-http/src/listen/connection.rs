//! One connection: hyper's HTTP/1 state machine, what may end it early, and what becomes of it when a stream begins.

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use livetrail_egress::{Egress, EgressConfig, IoUringUse};
use livetrail_engine::Reason;
use livetrail_gateway::{Opened, Reserved, Slot};
use tokio::{net::TcpStream, sync::watch};

use super::{HttpLimits, host, stalled::StallGuard, viewer};
use crate::{protocol::FlvWire, session::Link};

/// hyper's least buffer for reading.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// What all connections of a gateway share.
pub(super) struct Shared {
    pub(super) service: Router,
    pub(super) limits: HttpLimits,
    /// What sends to viewers: started with the first, `None` if that fails.
    pub(super) egress: OnceLock<Option<Egress<FlvWire>>>,
    /// Set with it.
    pub(super) io_uring: Arc<OnceLock<IoUringUse>>,
}

impl Shared {
    fn egress(&self) -> Option<&Egress<FlvWire>> {
        let start = || {
            let config = EgressConfig {
                threads: self.limits.egress_threads,
                send_interval: self.limits.send_interval,
                io_uring: self.limits.io_uring,
            };
            let started = Egress::start("http", config);
            match &started {
                Ok(egress) => drop(self.io_uring.set(egress.io_uring_use())),
                Err(error) => {
                    tracing::error!(%error, "no threads to send to viewers: their connections are cut");
                }
            }
            started.ok()
        };
        self.egress.get_or_init(start).as_ref()
    }
}

/// What becomes of a connection.
enum Next {
    /// It is over.
    Over(Result<(), hyper::Error>),
    /// To be cut: its session ended, and the client cannot learn of it in any other way.
    Cut(Reason),
    /// It is in reserve and said nothing, and another takes its place.
    Displaced,
    /// The head of an answer that is a stream is sent; the rest is not hyper's.
    Stream,
}

/// How a connection is counted.
enum Counted {
    Slot(Slot),
    Reserved(Arc<Reserved>),
}

impl Counted {
    /// Waits for the connection's turn. `None` when it is to be closed.
    async fn new(opened: Opened) -> Option<Self> {
        let reserved = match opened {
            Opened::Slot(mut slot) => {
                if slot.turn().await {
                    return Some(Self::Slot(slot));
                }
                slot.into_reserve()?
            }
            Opened::Reserved(reserved) => reserved,
        };
        Some(Self::Reserved(Arc::new(reserved)))
    }

    fn reserved(&self) -> Option<Arc<Reserved>> {
        match self {
            Self::Slot(_) => None,
            Self::Reserved(reserved) => Some(reserved.clone()),
        }
    }
}

/// Serves one connection to its end. True if it was cut because its session's end could not be
/// reported in any other way.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    opened: Opened,
    mut stopping: watch::Receiver<bool>,
) -> bool {
    let Some(mut counted) = Counted::new(opened).await else {
        return false;
    };
    // Frames are written as they come: waiting to fill a segment would only add latency.
    let _ = stream.set_nodelay(true);
    let limits = shared.limits;
    let link = Link::new(counted.reserved().is_some(), stopping.clone());
    let service = TowerToHyperService::new(shared.service.clone());
    let of_connection = {
        let (link, reserved) = (link.clone(), counted.reserved());
        hyper::service::service_fn(move |request: Request<Incoming>| {
            if let Some(reserved) = &reserved {
                reserved.busy();
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(link.clone());
            let service = service.clone();
            async move {
                match host::check(request.version(), request.headers()) {
                    Ok(()) => service.call(request).await,
                    Err(problem) => Ok(problem.into_response()),
                }
            }
        })
    };
    let io = StallGuard::new(stream, limits.write_stall_timeout, link.clone());
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(unless_never(limits.header_timeout))
        .max_buf_size(limits.max_header_bytes.max(MIN_HEADER_BYTES))
        // A connection in reserve answers once.
        .keep_alive(counted.reserved().is_none())
        .serve_connection(TokioIo::new(io), of_connection);
    let next = {
        let reserved = counted.reserved();
        let mut displaced = std::pin::pin!(async move {
            match reserved {
                Some(reserved) => reserved.displaced().await,
                None => std::future::pending().await,
            }
        });
        let mut cut = std::pin::pin!(link.cut(limits.linger));
        let mut stop = std::pin::pin!(stopping.wait_for(|stop| *stop));
        let mut told = false;
        poll_fn(|cx| {
            if !told && stop.as_mut().poll(cx).is_ready() {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Next::Over(ended));
            }
            // Only now: until it waits for more, hyper may still have something to write.
            if link.is_head_sent() {
                return Poll::Ready(Next::Stream);
            }
            if displaced.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Next::Displaced);
            }
            cut.as_mut().poll(cx).map(Next::Cut)
        })
        .await
    };
    match next {
        Next::Over(ended) => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "HTTP connection failed");
            }
            false
        }
        Next::Displaced => {
            tracing::debug!(%peer, "HTTP connection in reserve closed: it said nothing, and a newer one came");
            false
        }
        Next::Cut(reason) => {
            tracing::info!(%peer, %reason, "HTTP connection cut: its viewer's session has ended");
            true
        }
        Next::Stream => {
            if let Counted::Slot(slot) = &mut counted {
                slot.admitted();
            }
            let handover = link.take_handover();
            let stream = connection.into_parts().io.into_inner().into_inner();
            let (Some(handover), Some(egress)) = (handover, shared.egress()) else {
                return true;
            };
            let cut = viewer::serve(egress, &limits, (stream, peer), handover).await;
            if cut {
                tracing::info!(%peer, "HTTP connection cut: its viewer's session has ended");
            }
            cut
        }
    }
}

/// A time that lies beyond what a clock can say is no limit.
fn unless_never(limit: Duration) -> Option<Duration> {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
    (limit < NEVER).then_some(limit)
}
