//! Version 2 of the PROXY protocol: a binary header.
//!
//! ```text
//!  signature (12) │ version, command (1) │ family, transport (1) │ length (2) │ addresses │ fields
//!                                                                 └ of addresses and fields ─────┘
//!  a field: type (1) │ length (2) │ value
//! ```

use std::net::{IpAddr, SocketAddr};

use livetrail_engine::PeerSource;

use super::{
    crc32c::crc32c,
    header::{MAX_V2_BYTES, ProxyError, ProxyHeader, ProxyOrigin, ProxyParse},
};
use crate::address::canonical;

/// The beginning of the header.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of the header whose length is known.
const FIXED_BYTES: usize = 16;
/// Bytes of the addresses and ports of a family.
const INET_BYTES: usize = 12;
const INET6_BYTES: usize = 36;
const UNIX_BYTES: usize = 216;

/// The fields that are read. All others are skipped.
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;

const MAX_AUTHORITY_BYTES: usize = 255;

/// Reads bytes that begin with [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8]) -> Result<ProxyParse, ProxyError> {
    let Some(([.., command, family, high, low], _)) = bytes.split_first_chunk::<FIXED_BYTES>()
    else {
        return Ok(ProxyParse::Begun);
    };
    let length = FIXED_BYTES.saturating_add(usize::from(u16::from_be_bytes([*high, *low])));
    // The header is judged before the rest has come.
    let is_local = match (command >> 4, command & 0xf) {
        (2, 0) => true,
        (2, 1) => false,
        (2, command) => return Err(ProxyError::Command(command)),
        (version, _) => return Err(ProxyError::Version(version)),
    };
    let (address_bytes, is_stream) = family_of(*family)?;
    if length > MAX_V2_BYTES {
        return Err(ProxyError::TooLong(length));
    }
    let Some(header) = bytes.get(..length) else {
        return Ok(ProxyParse::Begun);
    };
    let body = header.get(FIXED_BYTES..).unwrap_or_default();
    // A proxy may leave the addresses of its own connections out.
    let (addresses, fields) = match body.split_at_checked(address_bytes) {
        Some((addresses, fields)) => (addresses, fields),
        None if is_local => (&[][..], &[][..]),
        None => return Err(ProxyError::NoAddress),
    };
    let authority = fields_of(header, fields)?;
    let client = client_of(addresses).filter(|_| is_stream && !is_local);
    Ok(ProxyParse::Whole(ProxyHeader {
        source: PeerSource::ProxyV2,
        origin: client.map_or(ProxyOrigin::Proxy, ProxyOrigin::Client),
        authority,
        bytes: length,
    }))
}

/// The bytes of the addresses, and whether it is a stream of a family with addresses.
fn family_of(byte: u8) -> Result<(usize, bool), ProxyError> {
    let bytes = match byte >> 4 {
        0 => 0,
        1 => INET_BYTES,
        2 => INET6_BYTES,
        3 => UNIX_BYTES,
        family => return Err(ProxyError::Family(family)),
    };
    match byte & 0xf {
        1 => Ok((bytes, true)),
        0 | 2 => Ok((bytes, false)),
        transport => Err(ProxyError::Transport(transport)),
    }
}

/// The source of the addresses; `None` for a family without addresses.
fn client_of(addresses: &[u8]) -> Option<SocketAddr> {
    let (ip, ports): (IpAddr, &[u8]) = if addresses.len() == INET_BYTES {
        let (source, rest) = addresses.split_first_chunk::<4>()?;
        ((*source).into(), rest.get(4..)?)
    } else if addresses.len() == INET6_BYTES {
        let (source, rest) = addresses.split_first_chunk::<16>()?;
        ((*source).into(), rest.get(16..)?)
    } else {
        return None;
    };
    let (port, _) = ports.split_first_chunk::<2>()?;
    Some(canonical(SocketAddr::new(ip, u16::from_be_bytes(*port))))
}

/// Checks the fields, and returns the authority.
fn fields_of(header: &[u8], mut fields: &[u8]) -> Result<Option<Box<str>>, ProxyError> {
    let (mut authority, mut checked) = (None, false);
    while !fields.is_empty() {
        let Some(([kind, high, low], rest)) = fields.split_first_chunk::<3>() else {
            return Err(ProxyError::FieldLength);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((value, rest)) = rest.split_at_checked(length) else {
            return Err(ProxyError::FieldLength);
        };
        match *kind {
            AUTHORITY if authority.is_some() => return Err(ProxyError::FieldTwice(*kind)),
            AUTHORITY => authority = Some(authority_of(value)?),
            CRC32C if checked => return Err(ProxyError::FieldTwice(*kind)),
            CRC32C => {
                check(header, value, rest.len())?;
                checked = true;
            }
            _ => {}
        }
        fields = rest;
    }
    Ok(authority)
}

fn authority_of(value: &[u8]) -> Result<Box<str>, ProxyError> {
    let text = std::str::from_utf8(value).ok();
    let text = text.filter(|text| (1..=MAX_AUTHORITY_BYTES).contains(&text.len()));
    text.map(Into::into).ok_or(ProxyError::Authority)
}

/// Compares the checksum of the header, with zeros in the place of the checksum, which ends `after`
/// bytes before the header's end.
fn check(header: &[u8], value: &[u8], after: usize) -> Result<(), ProxyError> {
    let stated = <[u8; 4]>::try_from(value).map_err(|_| ProxyError::Checksum)?;
    let end = header.len().saturating_sub(after);
    let before = header.get(..end.saturating_sub(stated.len()));
    let after = header.get(end..);
    let parts = [before, Some(&[0; 4]), after].map(Option::unwrap_or_default);
    if crc32c(parts) == u32::from_be_bytes(stated) {
        Ok(())
    } else {
        Err(ProxyError::Checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with this command, family and body.
    fn header(command: u8, family: u8, body: &[&[u8]]) -> Vec<u8> {
        let body = body.concat();
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, &body].concat()
    }

    fn field(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[kind], &length[..], value].concat()
    }

    const INET: &[u8] = &[203, 0, 113, 7, 192, 0, 2, 1, 0xc8, 0x22, 7, 0x8f];

    fn whole(bytes: &[u8]) -> ProxyHeader {
        match parse(bytes).unwrap() {
            ProxyParse::Whole(header) => header,
            other => panic!("{other:?}"),
        }
    }

    fn with_checksum(fields: &[&[u8]], wrong: u32) -> Vec<u8> {
        let zeros = field(CRC32C, &[0; 4]);
        let all = [&[INET, &zeros[..]], fields].concat();
        let mut bytes = header(0x21, 0x11, &all);
        let sum = (crc32c([&bytes[..]]) ^ wrong).to_be_bytes();
        bytes[FIXED_BYTES + INET_BYTES + 3..][..4].copy_from_slice(&sum);
        bytes
    }

    #[test]
    fn a_header_names_the_client() {
        let bytes = header(0x21, 0x11, &[INET]);
        let read = whole(&[&bytes[..], b"\x03rest"].concat());
        assert_eq!(
            read.origin,
            ProxyOrigin::Client("203.0.113.7:51234".parse().unwrap())
        );
        assert_eq!((read.bytes, read.authority), (28, None));
        let v6: std::net::Ipv6Addr = "2001:db8::7".parse().unwrap();
        let ports = [0, 4, 0, 5];
        let bytes = header(0x21, 0x21, &[&v6.octets(), &[0; 16], &ports]);
        let client = ProxyOrigin::Client("[2001:db8::7]:4".parse().unwrap());
        assert_eq!(whole(&bytes).origin, client);
        for cut in SIGNATURE.len()..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(ProxyParse::Begun), "{cut}");
        }
    }

    #[test]
    fn a_connection_of_the_proxy_itself_has_no_client() {
        let unix = [0; UNIX_BYTES];
        for bytes in [
            header(0x20, 0x00, &[]),
            header(0x20, 0x11, &[INET]),
            header(0x20, 0x11, &[]),
            header(0x21, 0x00, &[]),
            header(0x21, 0x12, &[INET]),
            header(0x21, 0x31, &[&unix]),
        ] {
            assert_eq!(whole(&bytes).origin, ProxyOrigin::Proxy);
        }
    }

    #[test]
    fn checksum_and_authority_are_read() {
        let name = field(AUTHORITY, b"live.example.org");
        let read = whole(&with_checksum(&[&name, &field(0x20, &[1; 40])], 0));
        assert_eq!(read.authority.as_deref(), Some("live.example.org"));
        let wrong = parse(&with_checksum(&[&name], 1));
        assert_eq!(wrong, Err(ProxyError::Checksum));
    }

    #[test]
    fn a_wrong_header_is_refused_for_its_reason() {
        let of_fields = |fields: &[&[u8]]| header(0x21, 0x11, &[&[INET], fields].concat());
        let name = field(AUTHORITY, b"a");
        let sum = with_checksum(&[], 0);
        let sum_field = &sum[FIXED_BYTES + INET_BYTES..];
        for (bytes, why) in [
            (header(0x11, 0x11, &[INET]), ProxyError::Version(1)),
            (header(0x22, 0x11, &[INET]), ProxyError::Command(2)),
            (header(0x21, 0x41, &[INET]), ProxyError::Family(4)),
            (header(0x21, 0x13, &[INET]), ProxyError::Transport(3)),
            (header(0x21, 0x11, &[&INET[1..]]), ProxyError::NoAddress),
            (header(0x21, 0x21, &[INET]), ProxyError::NoAddress),
            (
                header(0x21, 0x11, &[&[0; 4_081]]),
                ProxyError::TooLong(4_097),
            ),
            (of_fields(&[&[4, 0]]), ProxyError::FieldLength),
            (of_fields(&[&[4, 0, 1]]), ProxyError::FieldLength),
            (
                of_fields(&[&name, &name]),
                ProxyError::FieldTwice(AUTHORITY),
            ),
            (of_fields(&[&field(AUTHORITY, b"")]), ProxyError::Authority),
            (
                of_fields(&[&field(AUTHORITY, b"\xff")]),
                ProxyError::Authority,
            ),
            (
                of_fields(&[&field(AUTHORITY, &[b'a'; 256])]),
                ProxyError::Authority,
            ),
            (of_fields(&[&field(CRC32C, &[0; 3])]), ProxyError::Checksum),
            (of_fields(&[sum_field, sum_field]), ProxyError::Checksum),
        ] {
            assert_eq!(parse(&bytes), Err(why));
        }
    }
}
