//! The strict check of a request's `Host` (RFC 9112 section 3.2).

use axum::{
    http::{HeaderMap, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};

use crate::{problem::Problem, protocol::is_host};

/// Checks that the request has the required number of `Host` headers, and that the value is valid.
///
/// # Errors
/// The answer: 400.
pub(super) fn check(version: Version, headers: &HeaderMap) -> Result<(), HostProblem> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return Err(HostProblem::Repeated);
    }
    match first {
        None if version >= Version::HTTP_11 => Err(HostProblem::Missing),
        None => Ok(()),
        Some(host) if host.to_str().is_ok_and(is_host) => Ok(()),
        Some(_) => Err(HostProblem::Invalid),
    }
}

/// The fault in a request's `Host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostProblem {
    Missing,
    Repeated,
    Invalid,
}

impl HostProblem {
    pub(super) fn into_response(self) -> Response {
        let detail = match self {
            Self::Missing => "a request of HTTP/1.1 has a Host header",
            Self::Repeated => "a request has one Host header, not several",
            Self::Invalid => "the Host header is not a host name or address with or without a port",
        };
        Problem::new(StatusCode::BAD_REQUEST, "bad_request")
            .detail(detail)
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_1_1_has_exactly_one() {
        let headers = |hosts: &[&str]| {
            let hosts = hosts.iter().map(|h| (header::HOST, h.parse().unwrap()));
            hosts.collect::<HeaderMap>()
        };
        let check = |version, hosts: &[&str]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers(hosts) {
                map.append(name.unwrap_or(header::HOST), value);
            }
            check(version, &map)
        };
        assert_eq!(check(Version::HTTP_11, &["x"]), Ok(()));
        assert_eq!(check(Version::HTTP_10, &[]), Ok(()));
        assert_eq!(check(Version::HTTP_11, &[]), Err(HostProblem::Missing));
        assert_eq!(
            check(Version::HTTP_10, &["a", "b"]),
            Err(HostProblem::Repeated)
        );
        assert_eq!(
            check(Version::HTTP_11, &["[::1]evil"]),
            Err(HostProblem::Invalid)
        );
    }
}
