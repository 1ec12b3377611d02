//! An HTTP client of our own, as small as can be: one request over one connection, HTTP/1.0, so
//! that an answer ends with its connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// For everything that is not a stream.
const TIMEOUT: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code; 0 when the server closed the connection without an answer.
    pub status: u16,
    /// The header's lines, in small letters.
    pub header: Vec<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("not JSON: {error}\n{}", self.text()),
        }
    }

    /// The value of a header, whose name is in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.header.iter();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.next()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends a request without a body and reads the whole answer. `headers` are lines without line
/// ends.
///
/// # Errors
/// When the connection fails or the answer takes longer than 20 s.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[&str],
) -> std::io::Result<Answer> {
    exchange(to, &request_bytes(to, method, path, headers))
}

/// Sends the bytes of a request and reads the whole answer.
pub(crate) fn exchange(to: SocketAddr, request: &[u8]) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(parse(&answer))
}

/// `GET`.
///
/// # Panics
/// When there is no answer.
#[track_caller]
#[must_use]
pub fn get(to: SocketAddr, path: &str) -> Answer {
    match request(to, "GET", path, &[]) {
        Ok(answer) => answer,
        Err(error) => panic!("GET {path} from {to}: {error}"),
    }
}

/// The bytes of a request.
#[must_use]
pub fn request_bytes(to: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.0\r\nhost: {to}\r\n");
    for header in headers {
        text += &format!("{header}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

fn parse(answer: &[u8]) -> Answer {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (header, body) = answer.split_at(end.map_or(answer.len(), |end| end + 4));
    let header = String::from_utf8_lossy(header).to_lowercase();
    let mut lines = header.lines().map(str::to_owned);
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        header: lines.filter(|line| !line.is_empty()).collect(),
        body: body.to_vec(),
    }
}
