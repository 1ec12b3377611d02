//! One connection: hyper's HTTP/1 state machine, who may end it early, and what becomes of it when a stream begins.

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::Poll,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use livetrail_egress::{Egress, EgressConfig};
use livetrail_engine::Reason;
use tokio::{net::TcpStream, sync::watch};

use super::{HttpLimits, stalled::StallGuard, viewer};
use crate::{protocol::FlvWire, session::Link};

/// hyper's least buffer for reading.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// What all connections of a gateway share.
pub(super) struct Shared {
    pub(super) service: Router,
    pub(super) limits: HttpLimits,
    /// What sends to viewers: started with the first, `None` if that fails.
    pub(super) egress: OnceLock<Option<Egress<FlvWire>>>,
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
            if let Err(error) = &started {
                tracing::error!(%error, "no threads to send to viewers: their connections are cut");
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
    /// To be cut: its session ended, and that cannot be told otherwise.
    Cut(Reason),
    /// The head of an answer that is a stream is sent; the rest is not hyper's.
    Stream,
}

/// Serves one connection to its end. True if it was cut because its session's end could not be told otherwise.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) -> bool {
    // Frames are written as they come: waiting to fill a segment would only add latency.
    let _ = stream.set_nodelay(true);
    let limits = shared.limits;
    let link = Link::new();
    let service = TowerToHyperService::new(shared.service.clone());
    let of_connection = {
        let link = link.clone();
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(link.clone());
            service.call(request)
        })
    };
    let io = StallGuard::new(stream, limits.write_stall_timeout, link.clone());
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes.max(MIN_HEADER_BYTES))
        .serve_connection(TokioIo::new(io), of_connection);
    let next = {
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
        Next::Cut(reason) => {
            tracing::info!(%peer, %reason, "HTTP connection cut: its viewer's session has ended");
            true
        }
        Next::Stream => {
            let handover = link.take_handover();
            let stream = connection.into_parts().io.into_inner().into_inner();
            let (Some(handover), Some(egress)) = (handover, shared.egress()) else {
                return true;
            };
            let cut = viewer::serve(egress, &limits, stream, handover).await;
            if cut {
                tracing::info!(%peer, "HTTP connection cut: its viewer's session has ended");
            }
            cut
        }
    }
}
