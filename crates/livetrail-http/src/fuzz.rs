//! The fuzz body: it accepts any bytes and checks the invariants.

use std::net::IpAddr;

use crate::protocol::{Asked, Forwarded, forwarded_client, is_host, wanted};

/// Parts of an input, one on each line.
const PARTS: usize = 4;

/// A request's path, query, `Authorization` and `Host`, one on each line. No value makes the parser
/// panic. A name contains no byte that ends a name, and no more bytes than were sent.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_request(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(PARTS, '\n');
    let path = parts.next().unwrap_or_default();
    let (query, authorization) = (parts.next(), parts.next());
    if let Some(host) = parts.next()
        && is_host(host)
    {
        let unwanted = |byte: u8| matches!(byte, b'/' | b'@' | b'?' | b'#' | b' ' | b'\\');
        assert!(!host.bytes().any(unwanted), "no part of a host: {host:?}");
    }
    if let Some(Asked::Media { named, token, .. }) = Asked::read(path, query, authorization) {
        assert!(!token.contains('/') && !named.app.contains(&b'?'));
        let bytes = named.app.len().saturating_add(named.stream.len());
        assert!(bytes.saturating_add(token.len()) < path.len());
    }
    let Some(wanted) = wanted(path, query, authorization) else {
        return;
    };
    let named = wanted.named;
    let escaped = named.query.as_deref().unwrap_or_default();
    assert!(!named.app.contains(&b'?') && !named.stream.contains(&b'?'));
    let bytes = named.app.len().saturating_add(named.stream.len());
    assert!(bytes <= path.len());
    if named.is_valid {
        assert!(!named.app.contains(&b'/'));
    }
    if let Some(token) = wanted.token {
        let sources = [
            query.unwrap_or_default(),
            authorization.unwrap_or_default(),
            escaped,
        ];
        assert!(!token.is_empty());
        assert!(sources.iter().any(|source| token.len() <= source.len()));
    }
}

/// Lines of a header that names a client. No value makes the parser panic. What a client sends
/// before a proxy appends an address changes nothing, in the same line and in lines before.
///
/// # Panics
/// If that does not hold.
pub fn fuzz_forwarded(bytes: &[u8]) {
    let is_proxy = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10);
    for (kind, appended) in [
        (Forwarded::Forwarded, &b"for=203.0.113.7, for=10.0.0.2"[..]),
        (Forwarded::XForwardedFor, b"203.0.113.7, 10.0.0.2"),
    ] {
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let read = forwarded_client(kind, lines.iter().copied(), is_proxy);
        assert_eq!(read, read.map(livetrail_gateway::canonical));
        let client = "203.0.113.7:0".parse().ok();
        let with_line = lines.iter().copied().chain([appended]);
        assert_eq!(
            forwarded_client(kind, with_line.collect::<Vec<_>>().into_iter(), is_proxy),
            client
        );
        // A split has at least one part.
        let Some((last, before)) = lines.split_last() else {
            return;
        };
        let longer = [last, &b", "[..], appended].concat();
        let with_part = before.iter().copied().chain([&longer[..]]);
        assert_eq!(
            forwarded_client(kind, with_part.collect::<Vec<_>>().into_iter(), is_proxy),
            client
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{fuzz_forwarded, fuzz_request};

    /// Pieces that mean something in a request.
    const PIECES: [&str; 20] = [
        "/", "live", "cam", ".flv", "?", "%3F", "%2f", ";", "&", "token=", "%zz", "%", "Bearer ",
        "Basic ", "Ym9iOng=", "\n", "[::1]", ":80", "é", " ",
    ];

    /// Pieces that mean something in a header that names a client.
    const PARTS_OF_FORWARDED: [&str; 14] = [
        "for=",
        "\"",
        "\\",
        ",",
        ";",
        " ",
        "\n",
        "10.0.0.1",
        "192.0.2.1:80",
        "[2001:db8::1]",
        ":",
        "=",
        "unknown",
        "_x",
    ];

    proptest! {
        #[test]
        fn the_fuzz_body_holds_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_request(&bytes);
        }

        #[test]
        fn what_a_client_sends_in_forwarded_changes_nothing(
            pieces in prop::collection::vec(prop::sample::select(&PARTS_OF_FORWARDED[..]), 0..12),
        ) {
            fuzz_forwarded(pieces.concat().as_bytes());
        }

        #[test]
        fn the_fuzz_body_holds_for_what_requests_are_made_of(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..20),
        ) {
            fuzz_request(pieces.concat().as_bytes());
        }
    }
}
