//! An address to listen on: `IP:PORT`, `localhost:PORT`, or a port for every IPv4 address of this
//! machine.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use serde::{
    Deserializer,
    de::{self, Visitor},
};

/// Parses an address. Names other than `localhost` are refused, because their meaning may change
/// between two starts.
///
/// # Errors
/// The text is not such an address. The error says what is allowed.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let ip = match host {
        "" => Some(Ipv4Addr::UNSPECIFIED),
        name if name.eq_ignore_ascii_case("localhost") => Some(Ipv4Addr::LOCALHOST),
        _ => None,
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    ip.zip(port.parse().ok().filter(|_| digits))
        .map(|(ip, port)| SocketAddr::new(IpAddr::V4(ip), port))
        .ok_or_else(|| format!("{text:?} is not an address; {ALLOWED}"))
}

/// The forms of an address, in words.
const ALLOWED: &str = "allowed is IP:PORT, such as 0.0.0.0:1935 or [::]:1935, or localhost:1935, or a port alone for all IPv4 addresses; other names are not taken";

struct AddressVisitor;

impl Visitor<'_> for AddressVisitor {
    type Value = SocketAddr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address: IP:PORT, such as 0.0.0.0:1935 or [::]:1935, or a port")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketAddr, E> {
        parse(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, port: i64) -> Result<SocketAddr, E> {
        u16::try_from(port)
            .map(|port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            .map_err(|_| E::custom(format!("{port} is not a port; allowed is 0 to 65535")))
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SocketAddr, D::Error> {
    d.deserialize_any(AddressVisitor)
}

pub(super) mod optional {
    //! An optional address.
    use super::{AddressVisitor, Deserializer, SocketAddr};

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        d.deserialize_any(AddressVisitor).map(Some)
    }
}

/// Whether two sockets collide: they have the same port, and the same address or one that includes
/// the other.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let includes = |wide: IpAddr, narrow: IpAddr| match wide {
        // An IPv6 socket for all addresses accepts IPv4 as well.
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        IpAddr::V4(ip) if ip.is_unspecified() => narrow.is_ipv4(),
        _ => wide == narrow,
    };
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (includes(a, b) || includes(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, read) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:1935", "127.0.0.1:1935"),
            (":1935", "0.0.0.0:1935"),
            ("1935", "0.0.0.0:1935"),
            ("0", "0.0.0.0:0"),
        ] {
            assert_eq!(parse(text), Ok(read.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":",
            "everywhere",
            "localhost",
            "media.example.com:1935",
            "127.0.0.1",
            "::1:x",
            "+80",
            "65536",
            "http://127.0.0.1:80",
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains("0.0.0.0:1935"), "{said}");
        }
    }

    #[test]
    fn addresses_collide_when_one_includes_the_other() {
        let collide = |a: &str, b: &str| collide(a.parse().unwrap(), b.parse().unwrap());
        assert!(collide("127.0.0.1:80", "127.0.0.1:80"));
        assert!(collide("0.0.0.0:80", "127.0.0.1:80") && collide("127.0.0.1:80", "0.0.0.0:80"));
        assert!(collide("[::]:80", "127.0.0.1:80") && collide("[::]:80", "0.0.0.0:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collide("0.0.0.0:80", "[::1]:80") && !collide("0.0.0.0:80", "0.0.0.0:81"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"), "the system chooses");
    }
}
