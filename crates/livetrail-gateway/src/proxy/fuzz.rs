//! The fuzz body: it accepts any bytes and checks the invariants.

use super::header::{MAX_V1_BYTES, MAX_V2_BYTES, ProxyOrigin, ProxyParse, parse_proxy};

/// The beginning of a connection. No value makes the parser panic; a header ends within its bounds;
/// what follows it changes nothing; and each part of it is read as the beginning of a header.
///
/// # Panics
/// If that does not hold.
#[doc(hidden)]
pub fn fuzz_proxy(bytes: &[u8]) {
    let parsed = parse_proxy(bytes);
    if let Ok(ProxyParse::Possible | ProxyParse::Begun) = parsed {
        assert!(bytes.len() < MAX_V2_BYTES);
    }
    let Ok(ProxyParse::Whole(header)) = parsed else {
        return;
    };
    let length = header.bytes;
    assert!(length <= bytes.len() && length <= MAX_V2_BYTES.max(MAX_V1_BYTES));
    let own = bytes.get(..length).unwrap_or_default();
    assert_eq!(parse_proxy(own), Ok(ProxyParse::Whole(header.clone())));
    for cut in 0..length {
        let part = parse_proxy(own.get(..cut).unwrap_or_default());
        assert!(matches!(part, Ok(ProxyParse::Possible | ProxyParse::Begun)));
    }
    if let ProxyOrigin::Client(client) = header.origin {
        assert_eq!(crate::canonical(client), client);
    }
    if let Some(authority) = header.authority {
        assert!(!authority.is_empty() && authority.len() < length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fuzz_proxy;

    /// Pieces that mean something in a header.
    const PIECES: [&[u8]; 16] = [
        b"PROXY ",
        b"TCP4",
        b"TCP6",
        b"UNKNOWN",
        b" ",
        b"192.0.2.7",
        b"2001:db8::7",
        b"1935",
        b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\x21\x11\0\x0c",
        b"\x20\0\0\0",
        b"\x21\x11\0\x12",
        &[1; 12],
        b"\x02\0\x03abc",
        b"\x03\0\x04",
    ];

    proptest! {
        #[test]
        fn the_fuzz_body_holds_for_what_headers_are_made_of(
            pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..12),
            end in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            fuzz_proxy(&[pieces.concat(), end].concat());
        }
    }
}
