//! The `Host` of a request, strictly (RFC 9112 section 3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::{
    http::{HeaderMap, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};

use crate::problem::Problem;

/// Whether the request says as often as it must for which host it is, and whether that is one.
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

/// What is wrong with a request's `Host`.
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

/// `uri-host [ ":" port ]`; empty where the target has no authority.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if v6.parse::<Ipv6Addr>().is_ok() => ("", port),
            _ => return false,
        },
        None => {
            let at = text.find(':').unwrap_or(text.len());
            text.split_at(at)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5,
        None => port.is_empty(),
    };
    is_port && (host.parse::<Ipv4Addr>().is_ok() || host.bytes().all(is_of_name))
}

/// `reg-name`, but for the delimiters that no name of a host has.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in [
            "localhost",
            "example.com:8080",
            "127.0.0.1",
            "[::1]",
            "[::1]:8080",
            "my_host",
            "",
            "host:",
        ] {
            assert!(is_host(host), "{host}");
        }
        for host in [
            "[::1]evil",
            "[::1",
            "[evil]",
            "::1",
            "a:b",
            "a b",
            "a/b",
            "user@host",
            "host:123456",
        ] {
            assert!(!is_host(host), "{host}");
        }
    }

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
