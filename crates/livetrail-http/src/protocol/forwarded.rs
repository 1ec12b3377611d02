//! The client that `Forwarded` (RFC 7239) or `X-Forwarded-For` names.
//!
//! ```text
//! X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.0.0.2      the socket's peer: 10.0.0.1
//!                  └ anyone's ┘  └ client ──┘  └ trusted ┘                     └ trusted
//! ```
//!
//! Each proxy appends the address of its own peer. So the list is read from the right, over trusted
//! proxies only. The first address of anyone else is the client's. What stands left of it came from
//! the client, and has no effect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use livetrail_gateway::canonical;

/// A header with addresses, each line as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Forwarded,
    XForwardedFor,
}

/// The client that these lines name, in their order. Port 0 means that only its IP address is
/// known. `None` if there is no address, or an element that had to be read is not an address: then
/// nothing is known.
pub(crate) fn client<'a>(
    kind: Kind,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusts: impl Fn(IpAddr) -> bool,
) -> Option<SocketAddr> {
    let mut last = None;
    for line in lines.rev() {
        for element in from_right(line, b',') {
            if element.is_empty() {
                continue;
            }
            let address = match kind {
                Kind::Forwarded => for_of(element).and_then(node),
                Kind::XForwardedFor => address(element),
            }?;
            if !trusts(address.ip()) {
                return Some(address);
            }
            last = Some(address);
        }
    }
    // All of them are proxies: the first of them had no proxy in front.
    last
}

/// The parts between separators outside of quotes, from the right, without white space around them.
/// An open quote hides only what is left of it, which a client may have sent.
fn from_right(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let mut quoted = false;
        let at = (0..whole.len()).rev().find(|at| match whole.get(*at) {
            Some(b'"') => {
                quoted ^= !is_escaped(whole, *at);
                false
            }
            Some(byte) => *byte == separator && !quoted,
            None => false,
        });
        let part = match at.and_then(|at| whole.split_at_checked(at)) {
            Some((before, part)) => {
                rest = Some(before);
                part.get(1..).unwrap_or_default()
            }
            None => whole,
        };
        Some(part.trim_ascii())
    })
}

/// Whether an odd number of backslashes stands before this place.
fn is_escaped(line: &[u8], at: usize) -> bool {
    let before = line.get(..at).unwrap_or_default();
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

/// The value of the one parameter `for` of an element, without its quotes.
fn for_of(element: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    for pair in from_right(element, b';') {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let Some((name, value)) = equals.and_then(|at| pair.split_at_checked(at)) else {
            continue;
        };
        if !name.eq_ignore_ascii_case(b"for") {
            continue;
        }
        let value = value.get(1..).unwrap_or_default();
        let value = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted.strip_suffix(b"\"")?,
            None => value,
        };
        if found.replace(value).is_some() {
            return None;
        }
    }
    found
}

/// The address of a node (RFC 7239 section 6): an IPv6 address has brackets. `None` for `unknown`
/// and for a name that hides it.
fn node(text: &[u8]) -> Option<SocketAddr> {
    let is_bare_v6 =
        !text.starts_with(b"[") && text.iter().filter(|byte| **byte == b':').count() > 1;
    address(text).filter(|_| !is_bare_v6)
}

/// An IP address with or without a port. An IPv6 address with a port has brackets.
fn address(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (ip, port): (IpAddr, &str) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            (ip.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => match text.parse::<Ipv6Addr>() {
            Ok(ip) => (ip.into(), ""),
            Err(_) => {
                let (ip, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (ip.parse::<Ipv4Addr>().ok()?.into(), port)
            }
        },
    };
    Some(canonical(SocketAddr::new(ip, port_of(port)?)))
}

/// `:1234`; nothing, or a port that is hidden (`:_name`), is 0.
fn port_of(text: &str) -> Option<u16> {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty().then_some(0);
    };
    if let Some(hidden) = port.strip_prefix('_') {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        return (!hidden.is_empty() && hidden.bytes().all(is_name)).then_some(0);
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(kind: Kind, lines: &[&str]) -> Option<String> {
        let proxies = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10);
        let lines = lines.iter().map(|line| line.as_bytes());
        client(kind, lines, proxies).map(|client| client.to_string())
    }

    #[test]
    fn the_first_address_from_the_right_that_is_no_proxy_is_the_client() {
        for (lines, client) in [
            (&["203.0.113.7"][..], Some("203.0.113.7:0")),
            (&["198.51.100.1, 203.0.113.7"], Some("203.0.113.7:0")),
            (
                &["198.51.100.1, 203.0.113.7 , 10.0.0.2,10.0.0.3"],
                Some("203.0.113.7:0"),
            ),
            (&["198.51.100.1", "203.0.113.7:99"], Some("203.0.113.7:99")),
            (&["203.0.113.7", "10.0.0.2"], Some("203.0.113.7:0")),
            (&["junk, 203.0.113.7"], Some("203.0.113.7:0")),
            (&["10.0.0.9, 10.0.0.2"], Some("10.0.0.9:0")),
            (&["2001:db8::7"], Some("[2001:db8::7]:0")),
            (&["[2001:db8::7]:5, ,"], Some("[2001:db8::7]:5")),
            (&["::ffff:203.0.113.7"], Some("203.0.113.7:0")),
            (&["203.0.113.7, junk"], None),
            (&["203.0.113.7, unknown, 10.0.0.2"], None),
            (&["203.0.113.7:x"], None),
            (&["203.0.113.007"], None),
            (&["[203.0.113.7]"], None),
            (&["", ","], None),
            (&[], None),
        ] {
            let read = named(Kind::XForwardedFor, lines);
            assert_eq!(read.as_deref(), client, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_its_standard_says() {
        for (lines, client) in [
            (&["for=203.0.113.7"][..], Some("203.0.113.7:0")),
            (
                &["For=\"203.0.113.7:4711\";proto=http;by=10.0.0.1"],
                Some("203.0.113.7:4711"),
            ),
            (
                &["by=10.0.0.1 ; FOR=\"[2001:db8::7]:4711\""],
                Some("[2001:db8::7]:4711"),
            ),
            (
                &["for=198.51.100.1", "for=203.0.113.7, for=10.0.0.2"],
                Some("203.0.113.7:0"),
            ),
            (&["for=\"203.0.113.7:_port\""], Some("203.0.113.7:0")),
            // A quote that a client left open hides nothing that a proxy appended.
            (
                &["for=\"198.51.100.1, for=203.0.113.7"],
                Some("203.0.113.7:0"),
            ),
            (
                &["for=\"a\\\", for=b\", for=203.0.113.7"],
                Some("203.0.113.7:0"),
            ),
            (
                &["host=\"a,b;for=1.2.3.4\";for=203.0.113.7"],
                Some("203.0.113.7:0"),
            ),
            (&["for=unknown"], None),
            (&["for=_hidden"], None),
            (&["for=203.0.113.7;for=203.0.113.8"], None),
            (&["proto=http"], None),
            (&["for=2001:db8::7"], None),
            (&["for=\"203.0.113.7"], None),
            (&["for = 203.0.113.7"], None),
        ] {
            let read = named(Kind::Forwarded, lines);
            assert_eq!(read.as_deref(), client, "{lines:?}");
        }
    }
}
