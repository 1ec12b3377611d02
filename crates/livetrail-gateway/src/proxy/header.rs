//! A header of the PROXY protocol (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).

use std::net::SocketAddr;

use livetrail_engine::PeerSource;

use super::{v1, v2};

/// The most bytes of a header of version 1, with its line end.
pub(super) const MAX_V1_BYTES: usize = 107;
/// The most bytes of a header of version 2. Its own limit is 65,551; proxies send some hundred.
pub(super) const MAX_V2_BYTES: usize = 4_096;

/// A header of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHeader {
    /// The version, as the source of an address: [`PeerSource::ProxyV1`] or
    /// [`PeerSource::ProxyV2`].
    pub source: PeerSource,
    /// The client of the connection.
    pub origin: ProxyOrigin,
    /// The name of the server that the client asked for, at most 255 bytes (version 2 only).
    pub authority: Option<Box<str>>,
    /// The length of the header. The client's own bytes follow it.
    pub bytes: usize,
}

/// The client of a connection, as its proxy knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyOrigin {
    /// A client with this [`canonical`](crate::canonical) address.
    Client(SocketAddr),
    /// The proxy itself, such as for a health check (`LOCAL`); or it does not know an address
    /// (`UNKNOWN`, a Unix socket).
    Proxy,
}

/// The beginning of a connection, read as a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyParse {
    /// The bytes do not begin a header.
    Absent,
    /// The bytes may begin a header, and more of them decide.
    Possible,
    /// The bytes begin a header. All of them belong to it, and more follow.
    Begun,
    /// A whole header, and perhaps bytes behind it.
    Whole(ProxyHeader),
}

/// Why a header is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// Version 1: no line end within 107 bytes.
    #[error("the line of version 1 has more than {MAX_V1_BYTES} bytes")]
    LongLine,
    /// Version 1: not `TCP4`, `TCP6` or `UNKNOWN`.
    #[error("the family of version 1 is not TCP4, TCP6 or UNKNOWN")]
    LineFamily,
    /// Version 1: not two addresses of the family.
    #[error("the line of version 1 has not two addresses of its family")]
    LineAddress,
    /// Version 1: not two ports.
    #[error("the line of version 1 has not two ports")]
    LinePort,
    /// Version 2: another version behind its signature.
    #[error("the version behind the signature is {0}, not 2")]
    Version(u8),
    /// Version 2: not `LOCAL` or `PROXY`.
    #[error("there is no command {0}")]
    Command(u8),
    /// Version 2: a reserved address family.
    #[error("there is no address family {0}")]
    Family(u8),
    /// Version 2: a reserved transport.
    #[error("there is no transport {0}")]
    Transport(u8),
    /// Version 2: more than 4,096 bytes.
    #[error("the header of version 2 has {0} bytes and may have {MAX_V2_BYTES}")]
    TooLong(usize),
    /// Version 2: too short for its addresses.
    #[error("the header of version 2 is too short for its addresses")]
    NoAddress,
    /// Version 2: a field (TLV) reaches beyond the end.
    #[error("a field reaches beyond the end of the header")]
    FieldLength,
    /// Version 2: a field that may occur once occurs twice.
    #[error("the field {0:#04x} is there twice")]
    FieldTwice(u8),
    /// Version 2: the checksum is wrong or not four bytes long.
    #[error("the checksum of the header is wrong")]
    Checksum,
    /// Version 2: the authority is not a text of at most 255 bytes.
    #[error("the authority is not a text of 1 to 255 bytes")]
    Authority,
}

/// Reads the beginning of a connection. Never reads behind a header.
///
/// # Errors
/// [`ProxyError`]: the bytes begin a header, and it is invalid.
pub fn parse_proxy(bytes: &[u8]) -> Result<ProxyParse, ProxyError> {
    for (magic, parse) in [
        (v1::MAGIC, v1::parse as fn(&[u8]) -> _),
        (v2::SIGNATURE, v2::parse),
    ] {
        if bytes.starts_with(magic) {
            return parse(bytes);
        }
        if magic.starts_with(bytes) {
            return Ok(ProxyParse::Possible);
        }
    }
    Ok(ProxyParse::Absent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_send_first_is_no_header() {
        for first in [
            &b"\x03"[..],
            b"\x16\x03\x01",
            b"GET / HTTP/1.1\r\n",
            b"POST",
            b"PROPFIND / HTTP/1.1",
            b"\r\n\r\nGET",
        ] {
            assert_eq!(parse_proxy(first), Ok(ProxyParse::Absent), "{first:?}");
        }
        for first in [
            &b""[..],
            b"P",
            b"PRO",
            b"PROXY",
            b"\r\n",
            b"\r\n\r\n\0\r\nQUIT",
        ] {
            assert_eq!(parse_proxy(first), Ok(ProxyParse::Possible), "{first:?}");
        }
        for first in [&b"PROXY "[..], b"\r\n\r\n\0\r\nQUIT\n"] {
            assert_eq!(parse_proxy(first), Ok(ProxyParse::Begun), "{first:?}");
        }
    }
}
