//! One connection: hyper's HTTP/1 state machine, the causes that end it early, and its hand-over
//! when a stream begins. A connection of HTTP/2 is in `http2`.

use std::{
    convert::Infallible,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use hyper::{Request, body, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use livetrail_engine::{CertificateName, ClientAddress, Reason, SessionContext, log};
use livetrail_gateway::{AddressRules, Closed, Incoming, Opened, Reserved, Slot};

#[cfg(feature = "tls")]
use super::{HTTP_2, http2};
use super::{Shared, client, host, stalled::StallGuard, viewer};
use crate::session::{Link, ProxysOwn};

/// The minimum size of hyper's read buffer.
const MIN_HEADER_BYTES: usize = 8 << 10;

/// What happens to a connection next.
enum Next {
    /// The connection has ended.
    Over(Result<(), hyper::Error>),
    /// The connection must be cut: its session ended, and this is the only way to let the client
    /// know.
    Cut((Arc<SessionContext>, Reason)),
    /// The connection is in reserve and has sent no request; a newer one replaces it.
    Displaced,
    /// The head of an answer with a stream has been sent; the rest is not hyper's.
    Stream,
}

/// How a connection is counted.
enum Counted {
    Slot(Slot),
    Reserved(Arc<Reserved>),
}

impl Counted {
    fn new(opened: Opened) -> Self {
        match opened {
            Opened::Slot(slot) => Self::Slot(slot),
            Opened::Reserved(reserved) => Self::Reserved(Arc::new(reserved)),
        }
    }

    fn reserved(&self) -> Option<Arc<Reserved>> {
        match self {
            Self::Slot(_) => None,
            Self::Reserved(reserved) => Some(reserved.clone()),
        }
    }
}

/// Serves one connection until it ends. Cuts it if its session's end could not be reported in any
/// other way.
pub(super) async fn serve(shared: Arc<Shared>, incoming: Incoming) -> Closed {
    let Incoming {
        stream,
        client,
        certificate,
        is_proxys_own,
        rules,
        opened,
        stop,
        #[cfg(feature = "tls")]
        protocol,
        ..
    } = incoming;
    #[cfg(feature = "tls")]
    if protocol.as_deref() == Some(HTTP_2.as_bytes()) {
        let requests = Requests::new(&shared, (client, certificate), is_proxys_own, rules);
        return http2::serve(&shared.config, requests, stream, opened, stop).await;
    }
    let peer = client.peer;
    let mut counted = Counted::new(opened);
    let config = &shared.config;
    let link = Link::new(counted.reserved().is_some(), stop.clone());
    let requests = Requests::new(&shared, (client, certificate), is_proxys_own, rules);
    let of_connection = {
        let (link, reserved) = (link.clone(), counted.reserved());
        hyper::service::service_fn(move |request: Request<body::Incoming>| {
            if let Some(reserved) = &reserved {
                reserved.busy();
            }
            let (requests, link) = (requests.clone(), link.clone());
            async move {
                let answer = requests.answer(link.clone(), request).await;
                // By now the session is admitted, or the request has no session.
                drop(link.take_turn());
                answer
            }
        })
    };
    let io = StallGuard::new(stream, config.write_stall_timeout, link.clone());
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(unless_never(config.header_timeout))
        .max_buf_size(config.max_header_bytes.max(MIN_HEADER_BYTES))
        // A connection in reserve answers one request.
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
        let mut cut = std::pin::pin!(link.cut(config.linger));
        let mut stop = std::pin::pin!(stop.wait());
        let (mut stopping, mut is_admitted) = (false, false);
        poll_fn(|cx| {
            if !stopping && stop.as_mut().poll(cx).is_ready() {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Next::Over(ended));
            }
            if let Counted::Slot(slot) = &mut counted
                && !is_admitted
                && link.is_admitted()
            {
                is_admitted = true;
                slot.admitted();
            }
            // Not earlier: until hyper waits for more input, it may still have output.
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
                tracing::debug!(peer = log::personal(peer), %error, "HTTP connection failed");
            }
            Closed::Whole
        }
        Next::Displaced => {
            tracing::debug!(
                peer = log::personal(peer),
                "closed an HTTP connection in reserve: it sent no request, and a newer connection came"
            );
            Closed::Whole
        }
        Next::Cut((of, reason)) => {
            let (peer, via) = log::client(&of);
            tracing::info!(peer, via, session = %of.session, %reason, "HTTP connection cut: its viewer's session has ended");
            Closed::Cut
        }
        Next::Stream => {
            if let Counted::Slot(slot) = &mut counted {
                slot.admitted();
            }
            let handover = link.take_handover();
            let stream = connection.into_parts().io.into_inner().into_inner();
            let Some(handover) = handover else {
                return Closed::Cut;
            };
            let ended = handover.playback.end_signal();
            let closed = viewer::serve(&shared, stream, handover).await;
            if closed == Closed::Cut {
                let of = ended.context();
                let (peer, via) = log::client(of);
                tracing::info!(peer, via, session = %of.session, "HTTP connection cut: its viewer's session has ended");
            }
            closed
        }
    }
}

/// What answers the requests of a connection. Cloning gives another handle to the same.
#[derive(Clone)]
pub(super) struct Requests {
    service: TowerToHyperService<Router>,
    pub(super) client: ClientAddress,
    certificate: Option<CertificateName>,
    is_proxys_own: bool,
    rules: AddressRules,
}

impl Requests {
    fn new(
        shared: &Shared,
        (client, certificate): (ClientAddress, Option<CertificateName>),
        is_proxys_own: bool,
        rules: AddressRules,
    ) -> Self {
        Self {
            service: TowerToHyperService::new(shared.service.clone()),
            client,
            certificate,
            is_proxys_own,
            rules,
        }
    }

    /// The answer. The link holds how the request is counted for the address of its client.
    pub(super) async fn answer(
        &self,
        link: Link,
        request: Request<body::Incoming>,
    ) -> Result<Response, Infallible> {
        let mut request = request.map(Body::new);
        let is_shared = link.is_shared();
        request.extensions_mut().insert(link.clone());
        if self.is_proxys_own {
            request.extensions_mut().insert(ProxysOwn);
        }
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        if let Err(problem) = host::of_request(&mut request) {
            return Ok(problem.into_response());
        }
        match client::of_request(&mut request, &self.client, &self.rules, is_shared).await {
            Ok(turn) => {
                link.hold_turn(turn);
                self.service.call(request).await
            }
            Err(refused) => Ok(refused.into_response()),
        }
    }
}

/// A limit beyond the range of the clock is no limit.
pub(super) fn unless_never(limit: Duration) -> Option<Duration> {
    const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
    (limit < NEVER).then_some(limit)
}
