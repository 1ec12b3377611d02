//! The client of a request: the connection's own, or the one that a trusted proxy names.

use std::net::SocketAddr;

use axum::{
    extract::ConnectInfo,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use livetrail_engine::{CertificateName, ClientAddress, PeerSource, Reason};
use livetrail_gateway::{AddressRules, AddressTurn, OverLimit};

use crate::{
    problem::Problem,
    protocol::{Forwarded, forwarded_client},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Why a request is answered without its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// `Forwarded` and `X-Forwarded-For` name two clients: one of them came from the client, and
    /// the proxy passed it on.
    Contradiction,
    /// One of them has no address where the client's is expected.
    NoAddress,
    /// The address of the client is denied.
    Denied,
    /// The address of the client has too many requests.
    OverLimit,
}

/// The client of a request with these headers, on a connection of `peer`.
///
/// Only a trusted proxy names a client. Headers of anyone else are ignored. A request of a trusted
/// proxy whose headers do not name one client is refused: no record may have the proxy's address
/// in its place.
pub(super) fn client_of(
    headers: &HeaderMap,
    peer: &ClientAddress,
    rules: &AddressRules,
) -> Result<ClientAddress, Refused> {
    let sent = |name: &HeaderName| headers.contains_key(name);
    if !sent(&header::FORWARDED) && !sent(&X_FORWARDED_FOR) {
        return Ok(*peer);
    }
    if !rules.trusts(peer.peer.ip()) {
        rules.count_ignored();
        return Ok(*peer);
    }
    let mut client: Option<SocketAddr> = None;
    for (kind, name) in [
        (Forwarded::Forwarded, &header::FORWARDED),
        (Forwarded::XForwardedFor, &X_FORWARDED_FOR),
    ] {
        if !sent(name) {
            continue;
        }
        let lines = headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
        let named = forwarded_client(kind, lines, |ip| rules.trusts(ip));
        let named = named.ok_or(Refused::NoAddress)?;
        client = match client {
            Some(other) if other.ip() != named.ip() => return Err(Refused::Contradiction),
            Some(other) if other.port() != 0 => Some(other),
            _ => Some(named),
        };
    }
    let client = client.ok_or(Refused::NoAddress)?;
    let via = peer.via.unwrap_or(peer.peer.ip());
    Ok(ClientAddress::of_proxy(client, via, PeerSource::Forwarded))
}

/// Sets the client of a request. Counts the request for its address if a proxy named it, or if its
/// connection may carry several at once. A request whose client a proxy named has no
/// [`CertificateName`].
pub(super) async fn of_request<B>(
    request: &mut Request<B>,
    peer: &ClientAddress,
    rules: &AddressRules,
    is_shared: bool,
) -> Result<Option<AddressTurn>, Refused> {
    let client = client_of(request.headers(), peer, rules);
    if matches!(client, Err(Refused::Contradiction | Refused::NoAddress)) {
        rules.count_refused();
    }
    let client = client?;
    if client.source == PeerSource::Forwarded && rules.denies(&client) {
        return Err(Refused::Denied);
    }
    let turn = match is_shared {
        true => rules.turn_of_request(&client).await.map(Some),
        false => rules.turn(&client).await,
    };
    let turn = turn.map_err(|OverLimit| Refused::OverLimit)?;
    let extensions = request.extensions_mut();
    if client.source == PeerSource::Forwarded {
        // The certificate is the proxy's.
        extensions.remove::<CertificateName>();
    }
    extensions.insert(ConnectInfo(client.peer));
    extensions.insert(client);
    Ok(turn)
}

impl Refused {
    pub(super) fn into_response(self) -> Response {
        let (status, label, detail) = match self {
            Self::Contradiction => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Forwarded and X-Forwarded-For name different clients",
            ),
            Self::NoAddress => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "Forwarded or X-Forwarded-For does not name the client's address",
            ),
            Self::Denied => (
                StatusCode::FORBIDDEN,
                Reason::AddressDenied.label(),
                "this address is not let in",
            ),
            Self::OverLimit => (
                StatusCode::TOO_MANY_REQUESTS,
                Reason::LimitReached.label(),
                "too many requests from this address wait for an answer",
            ),
        };
        let problem = Problem::new(status, label.to_owned()).detail(detail);
        let mut response = problem.into_response();
        if self == Self::OverLimit {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
        }
        response
    }
}
