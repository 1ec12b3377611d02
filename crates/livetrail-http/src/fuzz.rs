//! The fuzz body: it accepts any bytes and checks the invariants.

use crate::protocol::{is_host, wanted};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fuzz_request;

    /// Pieces that mean something in a request.
    const PIECES: [&str; 18] = [
        "/", "live", "cam", ".flv", "?", "%3F", "%2f", ";", "&", "token=", "%zz", "%", "Bearer ",
        "\n", "[::1]", ":80", "é", " ",
    ];

    proptest! {
        #[test]
        fn the_fuzz_body_holds_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_request(&bytes);
        }

        #[test]
        fn the_fuzz_body_holds_for_what_requests_are_made_of(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..20),
        ) {
            fuzz_request(pieces.concat().as_bytes());
        }
    }
}
