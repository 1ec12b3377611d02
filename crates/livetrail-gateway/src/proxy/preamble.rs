//! Reads the first bytes of a connection, and no byte that is not a proxy's.

use std::{io, time::Duration};

use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    header::{ProxyError, ProxyHeader, ProxyParse, parse_proxy},
    v2::SIGNATURE,
};

/// How long a trusted proxy may take for its header, or for the first bytes of a client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(3);
/// The part of a header that is read at once.
const READ_BYTES: usize = 512;
/// The pause before bytes that decide nothing are read again. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a connection is closed before its gateway gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("a PROXY header came from a peer that is not a trusted proxy")]
    Untrusted,
    #[error("the PROXY header is invalid: {0}")]
    Invalid(#[from] ProxyError),
    #[error("a trusted proxy sent no PROXY header, and it is required")]
    Missing,
    #[error("a trusted proxy sent no whole PROXY header and no client's byte within 3 s")]
    Late,
}

/// How a trusted proxy begins a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    /// With a header, which has been read.
    Header(ProxyHeader),
    /// With other bytes, which have not been read.
    Bare,
    /// It has closed the connection, as after a health check that only connects.
    Closed,
}

/// Reads the header of a trusted proxy.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Preamble, Refusal> {
    match timeout(HEADER_TIMEOUT, read_header(stream)).await {
        Ok(Ok(read)) => read.map_err(Refusal::Invalid),
        Ok(Err(_)) => Ok(Preamble::Closed),
        Err(_) => Err(Refusal::Late),
    }
}

async fn read_header(stream: &mut TcpStream) -> io::Result<Result<Preamble, ProxyError>> {
    let mut header = Vec::new();
    let mut next = vec![0; READ_BYTES];
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = stream.peek(&mut next).await?;
        if seen == 0 {
            return Ok(Ok(Preamble::Closed));
        }
        let taken = header.len();
        header.extend_from_slice(next.get(..seen).unwrap_or_default());
        match parse_proxy(&header) {
            Err(error) => return Ok(Err(error)),
            Ok(ProxyParse::Absent) => return Ok(Ok(Preamble::Bare)),
            Ok(ProxyParse::Possible) => {
                // These bytes may be a client's, so they stay in the socket.
                header.truncate(taken);
                wait(&mut pause).await;
            }
            Ok(ProxyParse::Begun) => take(stream, seen, &mut next).await?,
            Ok(ProxyParse::Whole(header)) => {
                take(stream, header.bytes.saturating_sub(taken), &mut next).await?;
                return Ok(Ok(Preamble::Header(header)));
            }
        }
    }
}

/// Takes this many bytes, which have come, out of the socket.
async fn take(stream: &mut TcpStream, bytes: usize, into: &mut [u8]) -> io::Result<()> {
    let into = into.get_mut(..bytes).unwrap_or_default();
    stream.read_exact(into).await.map(|_| ())
}

/// Waits for the first bytes of a peer that is not a trusted proxy, and reads none of them. The
/// caller bounds the time.
pub(crate) async fn screen(stream: &TcpStream) -> Result<(), Refusal> {
    let mut first = [0; SIGNATURE.len()];
    let mut pause = FIRST_PAUSE;
    loop {
        // The gateway finds an error or the end for itself.
        let seen = stream.peek(&mut first).await.unwrap_or(0);
        match parse_proxy(first.get(..seen).unwrap_or_default()) {
            Ok(ProxyParse::Possible) if seen > 0 => wait(&mut pause).await,
            Ok(ProxyParse::Absent | ProxyParse::Possible) => return Ok(()),
            _ => return Err(Refusal::Untrusted),
        }
    }
}

async fn wait(pause: &mut Duration) {
    sleep(*pause).await;
    *pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::{super::header::ProxyOrigin, *};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn a_header_in_any_parts_is_read_and_nothing_behind_it() {
        let long = [
            SIGNATURE,
            &[0x21, 0x11, 3, 0xf7],
            &[203, 0, 113, 7, 0, 0, 0, 0, 0xc8, 0x22, 0, 1],
            &[4, 3, 0xe8],
            &[0; 1_000],
        ];
        let line = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 1935\r\n";
        for (header, step) in [(&long.concat()[..], 700), (&line[..], 1), (&line[..], 45)] {
            let (mut client, mut server) = pair().await;
            let bytes = [header, b"GET /"].concat();
            let write = async {
                for part in bytes.chunks(step) {
                    client.write_all(part).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let ((), preamble) = tokio::join!(write, read(&mut server));
            let Ok(Preamble::Header(read)) = preamble else {
                panic!("{preamble:?}")
            };
            let client = ProxyOrigin::Client("203.0.113.7:51234".parse().unwrap());
            assert_eq!((read.origin, read.bytes), (client, header.len()));
            let mut rest = [0; 5];
            server.read_exact(&mut rest).await.unwrap();
            assert_eq!(&rest, b"GET /");
        }
    }

    #[tokio::test]
    async fn other_bytes_stay_and_a_wrong_or_late_header_is_refused() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"PROPFIND").await.unwrap();
        assert_eq!(read(&mut server).await, Ok(Preamble::Bare));
        assert_eq!(screen(&server).await, Ok(()));
        let mut rest = [0; 8];
        server.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"PROPFIND");
        client.write_all(b"PROXY TCP9 ").await.unwrap();
        assert_eq!(screen(&server).await, Err(Refusal::Untrusted));
        client.write_all(b"\r\n").await.unwrap();
        let wrong = Err(Refusal::Invalid(ProxyError::LineFamily));
        assert_eq!(read(&mut server).await, wrong);

        let (client, mut server) = pair().await;
        drop(client);
        assert_eq!(screen(&server).await, Ok(()));
        assert_eq!(read(&mut server).await, Ok(Preamble::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_does_not_go_on_is_refused_after_its_time() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"PROXY TCP4").await.unwrap();
        server.readable().await.unwrap();
        assert_eq!(read(&mut server).await, Err(Refusal::Late));
    }
}
