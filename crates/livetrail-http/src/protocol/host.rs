//! Valid values of a `Host` header (RFC 9112 section 3.2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// `uri-host [ ":" port ]`; empty if the target has no authority.
pub(crate) fn is_host(text: &str) -> bool {
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

/// A byte of `reg-name`, without the delimiters that no host name has.
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
}
