//! The strict check of a request's `Host` (RFC 9112 section 3.2), or of the authority that HTTP/2
//! has in its place (RFC 9113 section 8.3.1).

use axum::{
    http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header},
    response::{IntoResponse as _, Response},
};

use crate::{problem::Problem, protocol::is_host};

/// Checks a request, and gives one of HTTP/2 the `Host` that its routes expect.
///
/// # Errors
/// The answer: 400.
pub(super) fn of_request<B>(request: &mut Request<B>) -> Result<(), HostProblem> {
    let authority = match request.version() {
        Version::HTTP_2 => request.uri().authority(),
        _ => None,
    };
    let Some(authority) = authority else {
        return check(request.version(), request.headers());
    };
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HostProblem::Invalid)?;
    let sent = request.headers().get(header::HOST);
    if sent.is_some_and(|sent| !sent.as_bytes().eq_ignore_ascii_case(host.as_bytes())) {
        return Err(HostProblem::Contradiction);
    }
    if sent.is_none() {
        request.headers_mut().insert(header::HOST, host);
    }
    check(request.version(), request.headers())
}

/// Checks that the request has the required number of `Host` headers, and that the value is valid.
///
/// # Errors
/// The answer: 400.
fn check(version: Version, headers: &HeaderMap) -> Result<(), HostProblem> {
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
    Contradiction,
}

impl HostProblem {
    pub(super) fn into_response(self) -> Response {
        let detail = match self {
            Self::Missing => "a request has a Host header, or in HTTP/2 an authority",
            Self::Contradiction => "the Host header is not the request's authority",
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

    #[test]
    fn the_authority_of_http_2_is_its_host() {
        let ask = |uri: &str, host: Option<&str>| {
            let mut request = Request::builder().uri(uri).version(Version::HTTP_2);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            let mut request = request.body(()).unwrap();
            of_request(&mut request)?;
            Ok(request.headers()[header::HOST].to_str().unwrap().to_owned())
        };
        assert_eq!(ask("https://a:8443/x", None), Ok("a:8443".to_owned()));
        assert_eq!(ask("https://a/x", Some("A")), Ok("A".to_owned()));
        assert_eq!(ask("/x", Some("a")), Ok("a".to_owned()));
        assert_eq!(ask("/x", None), Err(HostProblem::Missing));
        let other = ask("https://a/x", Some("b"));
        assert_eq!(other, Err(HostProblem::Contradiction));
        assert_eq!(ask("https://u@a/x", None), Err(HostProblem::Invalid));
    }
}
