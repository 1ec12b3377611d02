//! One connection: hyper's HTTP/1 state machine, and who may end it early.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpStream, sync::watch};

use super::{HttpLimits, stalled::StallGuard};
use crate::session::Link;

/// hyper's least buffer for reading.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// What all connections of a gateway share.
pub(super) struct Shared {
    pub(super) service: Router,
    pub(super) limits: HttpLimits,
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
    let io = TokioIo::new(StallGuard::new(stream, limits.write_stall_timeout));
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.max_header_bytes.max(MIN_HEADER_BYTES))
            .serve_connection(io, of_connection)
    );
    let mut cut = std::pin::pin!(link.cut(limits.linger));
    let mut told = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, %error, "HTTP connection failed");
                }
                return false;
            }
            reason = &mut cut => {
                tracing::info!(%peer, %reason, "HTTP connection cut: its viewer's session has ended");
                return true;
            }
            _ = stopping.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
