//! How the judge fetches: over HTTP/1.1, with connections that stay open, several requests at the
//! same time. A test answers from a script instead.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::url;
use crate::clock::Stopwatch;

/// The maximum size of a body.
const MAX_BODY: u64 = 64 << 20;
/// The maximum size of a line, and number of lines, of a header.
const MAX_LINE: u64 = 16 << 10;
const MAX_LINES: usize = 100;
/// Longer than a server may hold a request for any target duration that is in use.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The maximum number of connections that are kept.
const MAX_IDLE: usize = 8;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The address: `http://HOST:PORT/PATH`.
    pub url: String,
    /// Whether the answer may be compressed.
    pub gzip: bool,
}

impl Ask {
    /// A request without compression.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            gzip: false,
        }
    }
}

/// An answer. Times are milliseconds since the judge began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status code; 0 if there was no answer, and then the body says why.
    pub status: u16,
    /// Names are in small letters.
    pub header: Vec<(String, String)>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// When the request was sent.
    pub asked_ms: u64,
    /// When the first byte of the body came.
    pub began_ms: u64,
    /// When the last byte came.
    pub came_ms: u64,
}

impl Answer {
    /// The value of a field, whose name is in small letters.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.header.iter().filter(|(of, _)| of == name);
        fields.next().map(|(_, value)| value.as_str())
    }

    /// Whether it is content.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }
}

/// The judge's access to a server, and its clock.
pub trait Fetch {
    /// Milliseconds since the judge began.
    fn now_ms(&self) -> u64;
    /// Waits for this long.
    fn wait_ms(&mut self, ms: u64);
    /// Sends all requests at the same time, and returns their answers in the same order.
    fn fetch(&mut self, asks: &[Ask]) -> Vec<Answer>;
}

/// HTTP/1.1 over TCP.
pub struct Http {
    clock: Stopwatch,
    idle: Mutex<Vec<(String, BufReader<TcpStream>)>>,
}

impl Http {
    /// Without connections; its clock starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Stopwatch::start(),
            idle: Mutex::new(Vec::new()),
        }
    }

    fn one(&self, ask: &Ask) -> Answer {
        let asked_ms = self.now_ms();
        // A connection that the server has closed meanwhile fails once; a new one does not.
        let host = url::split(&ask.url).0;
        let kept = self
            .kept(host)
            .and_then(|stream| self.exchange(ask, stream).ok());
        let fresh = || self.exchange(ask, BufReader::new(connect(host)?));
        let answer = kept.map_or_else(fresh, Ok);
        let mut answer = answer.unwrap_or_else(|error| Answer {
            body: error.to_string().into_bytes(),
            ..Answer::default()
        });
        (answer.asked_ms, answer.came_ms) = (asked_ms, self.now_ms());
        if answer.began_ms == 0 {
            answer.began_ms = answer.came_ms;
        }
        answer
    }

    fn kept(&self, host: &str) -> Option<BufReader<TcpStream>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().rposition(|(of, _)| of == host)?;
        Some(idle.remove(at).1)
    }

    fn exchange(&self, ask: &Ask, mut stream: BufReader<TcpStream>) -> std::io::Result<Answer> {
        let (host, path) = url::split(&ask.url);
        let encoding = if ask.gzip { "gzip" } else { "identity" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hls-judge\r\nAccept: */*\r\n\
             Accept-Encoding: {encoding}\r\n\r\n"
        );
        stream.get_mut().write_all(request.as_bytes())?;
        let status = line(&mut stream)?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.unwrap_or(0),
            ..Answer::default()
        };
        for _ in 0..MAX_LINES {
            let line = line(&mut stream)?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                answer
                    .header
                    .push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let stays = self.body(&mut stream, &mut answer)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if stays && idle.len() < MAX_IDLE {
            idle.push((host.to_owned(), stream));
        }
        Ok(answer)
    }

    /// Reads the body, and returns whether the connection can be used again.
    fn body(
        &self,
        stream: &mut BufReader<TcpStream>,
        answer: &mut Answer,
    ) -> std::io::Result<bool> {
        let is = |name, wanted| {
            answer
                .field(name)
                .is_some_and(|value| value.eq_ignore_ascii_case(wanted))
        };
        let stays = !is("connection", "close");
        let is_chunked = is("transfer-encoding", "chunked");
        let length = answer
            .field("content-length")
            .and_then(|length| length.parse::<u64>().ok());
        if is_chunked {
            loop {
                let size = line(stream)?;
                let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16);
                let size = size.map_err(|_| std::io::Error::other("a chunk without a size"))?;
                self.read(stream, size, answer)?;
                line(stream)?;
                if size == 0 {
                    return Ok(stays);
                }
            }
        }
        match length {
            Some(length) => self.read(stream, length, answer).map(|()| stays),
            None if matches!(answer.status, 204 | 304) => Ok(stays),
            None => {
                stream.take(MAX_BODY).read_to_end(&mut answer.body)?;
                Ok(false)
            }
        }
    }

    fn read(
        &self,
        stream: &mut BufReader<TcpStream>,
        length: u64,
        answer: &mut Answer,
    ) -> std::io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let before = answer.body.len() as u64;
        if before + length > MAX_BODY {
            return Err(std::io::Error::other("more than 64 MiB"));
        }
        stream.fill_buf()?;
        if answer.began_ms == 0 {
            answer.began_ms = self.now_ms();
        }
        let read = stream.take(length).read_to_end(&mut answer.body)?;
        if (read as u64) < length {
            return Err(std::io::Error::other(
                "the connection ended within the body",
            ));
        }
        Ok(())
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetch for Http {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wait_ms(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms));
    }

    fn fetch(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let this = &*self;
        if let [ask] = asks {
            return vec![this.one(ask)];
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = asks
                .iter()
                .map(|ask| scope.spawn(|| this.one(ask)))
                .collect();
            let answers = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_default());
            answers.collect()
        })
    }
}

fn connect(host: &str) -> std::io::Result<TcpStream> {
    let with_port = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let address = with_port.to_socket_addrs()?.next();
    let address = address.ok_or_else(|| std::io::Error::other("a host without an address"))?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// A line of a header, without its end.
fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut bytes)?;
    if bytes.last() != Some(&b'\n') {
        return Err(std::io::Error::other(
            "the connection ended within the header",
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
