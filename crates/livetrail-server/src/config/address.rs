//! An address to listen on: `IP:PORT`, `NAME:PORT`, or a port for all IPv4 addresses here.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _},
    sync::{Mutex, PoisonError},
};

use serde::{
    Deserializer,
    de::{self, Visitor},
};

/// The addresses of names that were looked up. A name keeps its address for as long as the process
/// runs: a reload asks no name server, so it neither waits for one nor fails with it.
static RESOLVED: Mutex<BTreeMap<String, IpAddr>> = Mutex::new(BTreeMap::new());

/// The maximum number of names that are kept. Any further name is resolved each time.
const MOST_NAMES: usize = 64;

/// Parses an address. A name is looked up, once for the process, and may block until the system's
/// resolver gives up.
///
/// # Errors
/// The text is not such an address, or its name has none. The error says what is allowed.
pub(crate) fn parse(text: &str) -> Result<SocketAddr, String> {
    parse_with(text, resolved)
}

fn parse_with(
    text: &str,
    resolve: impl FnOnce(&str) -> io::Result<IpAddr>,
) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wrong = || format!("{text:?} is not an address; {ALLOWED}");
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
    let ip = match host {
        "" => Ipv4Addr::UNSPECIFIED.into(),
        name if name.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
        name if is_name(name) => {
            resolve(name).map_err(|error| format!("{name:?} has no address: {error}; {ALLOWED}"))?
        }
        _ => return Err(wrong()),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Whether a text is a host's name. The last part of a name has a letter: resolvers read `127.1` as
/// an address.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253
        && name.split('.').all(is_label)
        && last.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The address of a name: its first IPv4 address, or else its first address.
fn resolved(name: &str) -> io::Result<IpAddr> {
    let kept = || RESOLVED.lock().unwrap_or_else(PoisonError::into_inner);
    let name = name.to_ascii_lowercase();
    if let Some(ip) = kept().get(&name) {
        return Ok(*ip);
    }
    let all: Vec<_> = (name.as_str(), 0).to_socket_addrs()?.collect();
    let ip = preferred(&all).ok_or_else(|| io::Error::other("the resolver knows none"))?;
    let mut kept = kept();
    if kept.len() < MOST_NAMES {
        kept.insert(name, ip);
    }
    Ok(ip)
}

fn preferred(all: &[SocketAddr]) -> Option<IpAddr> {
    let v4 = all.iter().find(|address| address.is_ipv4());
    v4.or(all.first()).map(SocketAddr::ip)
}

/// The forms of an address, in words.
const ALLOWED: &str = "allowed is IP:PORT, such as 0.0.0.0:1935 or [::]:1935, or NAME:PORT, such as localhost:1935, or a port alone for all IPv4 addresses";

struct AddressVisitor;

impl Visitor<'_> for AddressVisitor {
    type Value = SocketAddr;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address: IP:PORT, such as 0.0.0.0:1935 or [::]:1935, NAME:PORT, or a port")
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
        let none = |_: &str| Err(io::Error::other("there is no resolver"));
        for (text, read) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:1935", "127.0.0.1:1935"),
            (":1935", "0.0.0.0:1935"),
            ("1935", "0.0.0.0:1935"),
            ("0", "0.0.0.0:0"),
        ] {
            assert_eq!(parse_with(text, none), Ok(read.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ":",
            "everywhere",
            "localhost",
            "127.0.0.1",
            "::1:x",
            "+80",
            "65536",
            "media.example.com:65536",
            "media..example.com:1935",
            "127.1:1935",
            "a b:80",
            "http://127.0.0.1:80",
        ] {
            let said = parse_with(text, |name| panic!("{name} is asked for")).unwrap_err();
            assert!(said.contains("0.0.0.0:1935"), "{said}");
        }
    }

    #[test]
    fn a_name_is_looked_up_and_one_without_an_address_is_refused() {
        let site = |name: &str| {
            assert_eq!(name, "media.example.com");
            Ok(IpAddr::from([192, 0, 2, 7]))
        };
        let read = parse_with("media.example.com:1935", site);
        assert_eq!(read, Ok("192.0.2.7:1935".parse().unwrap()));
        let none = |_: &str| Err(io::Error::other("name or service not known"));
        let said = parse_with("media.example.com:1935", none).unwrap_err();
        let words = [
            "\"media.example.com\" has no address",
            "not known",
            "NAME:PORT",
        ];
        assert!(words.iter().all(|part| said.contains(part)), "{said}");
        let of = |list: &[&str]| {
            let list: Vec<SocketAddr> = list.iter().map(|text| text.parse().unwrap()).collect();
            preferred(&list)
        };
        assert_eq!(
            of(&["[::1]:0", "192.0.2.7:0", "192.0.2.8:0"]),
            Some([192, 0, 2, 7].into())
        );
        assert_eq!(
            of(&["[2001:db8::1]:0"]),
            Some("2001:db8::1".parse().unwrap())
        );
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_name_keeps_the_address_of_its_first_look_up() {
        let mut kept = RESOLVED.lock().unwrap();
        kept.insert("kept.invalid".to_owned(), [192, 0, 2, 9].into());
        drop(kept);
        assert_eq!(
            parse("Kept.invalid:80"),
            Ok("192.0.2.9:80".parse().unwrap())
        );
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
