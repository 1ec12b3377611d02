//! Version 1 of the PROXY protocol: one line of text.
//!
//! ```text
//! PROXY TCP4 203.0.113.7 192.0.2.1 51234 1935 CR LF
//! PROXY UNKNOWN … CR LF
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use livetrail_engine::PeerSource;

use super::header::{MAX_V1_BYTES, ProxyError, ProxyHeader, ProxyOrigin, ProxyParse};
use crate::address::canonical;

/// The beginning of the line.
pub(super) const MAGIC: &[u8] = b"PROXY ";

const LINE_END: &[u8] = b"\r\n";

/// Reads bytes that begin with [`MAGIC`].
pub(super) fn parse(bytes: &[u8]) -> Result<ProxyParse, ProxyError> {
    let within = bytes.get(..MAX_V1_BYTES).unwrap_or(bytes);
    let end = within.windows(2).position(|pair| pair == LINE_END);
    let Some(end) = end else {
        return if bytes.len() < MAX_V1_BYTES {
            Ok(ProxyParse::Begun)
        } else {
            Err(ProxyError::LongLine)
        };
    };
    let line = within.get(MAGIC.len()..end).unwrap_or_default();
    Ok(ProxyParse::Whole(ProxyHeader {
        source: PeerSource::ProxyV1,
        origin: origin(line)?,
        authority: None,
        bytes: end.saturating_add(LINE_END.len()),
    }))
}

fn origin(line: &[u8]) -> Result<ProxyOrigin, ProxyError> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::LineAddress)?;
    let mut words = line.split(' ');
    let ip = |text: &str, is_v4: bool| -> Option<IpAddr> {
        if is_v4 {
            text.parse::<Ipv4Addr>().ok().map(IpAddr::from)
        } else {
            text.parse::<Ipv6Addr>().ok().map(IpAddr::from)
        }
    };
    let is_v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // The rest of such a line has no meaning.
        Some("UNKNOWN") => return Ok(ProxyOrigin::Proxy),
        _ => return Err(ProxyError::LineFamily),
    };
    let mut address = || words.next().and_then(|text| ip(text, is_v4));
    let (source, _) = address().zip(address()).ok_or(ProxyError::LineAddress)?;
    let mut port = || words.next().and_then(port_of);
    let (source_port, _) = port().zip(port()).ok_or(ProxyError::LinePort)?;
    match words.next() {
        None => Ok(ProxyOrigin::Client(canonical(SocketAddr::new(
            source,
            source_port,
        )))),
        Some(_) => Err(ProxyError::LinePort),
    }
}

/// A port without a sign and without leading zeros.
fn port_of(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = plain && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<(ProxyOrigin, usize), ProxyError> {
        match parse(line.as_bytes())? {
            ProxyParse::Whole(header) => Ok((header.origin, header.bytes)),
            other => panic!("{line:?}: {other:?}"),
        }
    }

    #[test]
    fn a_line_names_the_client() {
        for (line, client) in [
            (
                "PROXY TCP4 203.0.113.7 192.0.2.1 51234 1935\r\n\x03rest",
                "203.0.113.7:51234",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n",
                "255.255.255.255:65535",
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 4 5\r\n",
                "[2001:db8::7]:4",
            ),
            ("PROXY TCP6 ::ffff:192.0.2.9 ::1 4 5\r\n", "192.0.2.9:4"),
        ] {
            let length = line.find("\r\n").unwrap() + 2;
            let client = ProxyOrigin::Client(client.parse().unwrap());
            assert_eq!(read(line), Ok((client, length)), "{line}");
        }
        for line in ["PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff::ff x y\r\n"] {
            assert_eq!(read(line), Ok((ProxyOrigin::Proxy, line.len())));
        }
    }

    #[test]
    fn a_wrong_line_is_refused_for_its_reason() {
        for (line, why) in [
            ("PROXY \r\n", ProxyError::LineFamily),
            ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", ProxyError::LineFamily),
            (
                "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
                ProxyError::LineAddress,
            ),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", ProxyError::LineAddress),
            (
                "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
                ProxyError::LineAddress,
            ),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", ProxyError::LineAddress),
            (
                "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
                ProxyError::LineAddress,
            ),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", ProxyError::LinePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", ProxyError::LinePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", ProxyError::LinePort),
            (
                "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
                ProxyError::LinePort,
            ),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", ProxyError::LinePort),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n", ProxyError::LinePort),
        ] {
            assert_eq!(read(line), Err(why), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
        assert_eq!(long.len(), 107);
        assert_eq!(read(&long), Ok((ProxyOrigin::Proxy, 107)));
        let longer = format!("PROXY UNKNOWN {}\r\n", "f".repeat(92));
        assert_eq!(parse(longer.as_bytes()), Err(ProxyError::LongLine));
        assert_eq!(parse(&longer.as_bytes()[..106]), Ok(ProxyParse::Begun));
    }
}
