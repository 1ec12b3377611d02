//! TLS of connections: the handshake in the connection's task, then its encryption.

use std::{
    future::Future,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::BytesMut;
use livetrail_egress::Encrypt;
use livetrail_tls::{
    ClientTls, Established, Handshake, MAX_RECORD_PLAIN, Opened, Opener, PeerName, Sealer,
    ServerTls,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use crate::transport::{Decrypt, Decrypted, Transport};

/// The most that is read at once during a handshake.
const READ_BYTES: usize = 4 << 10;

/// TLS of one listener, for [`Acceptor::tls`](crate::Acceptor::tls).
#[derive(Debug, Clone)]
pub struct TlsAcceptor {
    tls: ServerTls,
    handshake_timeout: Duration,
    /// Handshakes that compute at the same time: half of the processors, at least one. One computes
    /// for half a millisecond, and those who stream need the other half.
    computing: Arc<Semaphore>,
    pub(crate) counts: Arc<TlsCounts>,
}

/// Counts of handshakes.
#[derive(Debug, Default)]
pub(crate) struct TlsCounts {
    pub(crate) completed: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// What a handshake has led to.
pub(crate) struct Accepted {
    pub(crate) transport: Transport,
    pub(crate) certificate: Option<PeerName>,
    pub(crate) protocol: Option<Vec<u8>>,
}

impl TlsAcceptor {
    /// TLS with these settings. A handshake that takes longer than the timeout is given up. While
    /// it is open, it counts in the limits of connections, as any connection without a session.
    #[must_use]
    pub fn new(tls: ServerTls, handshake_timeout: Duration) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            tls,
            handshake_timeout,
            computing: Arc::new(Semaphore::new((processors / 2).max(1))),
            counts: Arc::default(),
        }
    }

    /// Does the handshake. An error is counted.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Accepted> {
        let accepted = timeout(self.handshake_timeout, self.handshake(stream));
        let accepted = match accepted.await {
            Ok(accepted) => accepted,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let count = match &accepted {
            Ok(_) => &self.counts.completed,
            Err(_) => &self.counts.failed,
        };
        count.fetch_add(1, Relaxed);
        accepted
    }

    async fn handshake(&self, mut stream: TcpStream) -> io::Result<Accepted> {
        // A connection that says nothing has no state of TLS.
        stream.readable().await?;
        let handshake = self.tls.handshake()?;
        let computing = &self.computing;
        let (established, rest) = run(handshake, &mut stream, || async {
            computing.acquire().await.ok()
        })
        .await?;
        Ok(Accepted {
            certificate: established.peer.clone(),
            protocol: established.protocol.clone(),
            transport: transport(stream, established, rest),
        })
    }
}

/// Does the handshake of a client with the server of this name. Limit its time.
///
/// # Errors
/// Socket errors, and a server that cannot be trusted.
pub async fn connect_tls(
    tls: &ClientTls,
    name: &str,
    mut stream: TcpStream,
) -> io::Result<Transport> {
    let handshake = tls.handshake(name)?;
    let (established, rest) = run(handshake, &mut stream, || std::future::ready(())).await?;
    Ok(transport(stream, established, rest))
}

fn transport(stream: TcpStream, established: Established, rest: BytesMut) -> Transport {
    let Established {
        opener,
        sealer,
        plain,
        ..
    } = established;
    Transport::encrypted(stream, Sealing(sealer), Opening(opener), (rest, plain))
}

/// Runs a handshake on a socket. Returns what was received after it.
async fn run<P>(
    mut handshake: Handshake,
    stream: &mut TcpStream,
    permit: impl Fn() -> P,
) -> io::Result<(Established, BytesMut)>
where
    P: Future,
{
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    loop {
        let advanced = {
            let _permit = permit().await;
            handshake.advance(&mut input, &mut output)
        };
        // After an error it is an alert that says why; nothing is lost if it cannot be sent.
        let written = stream.write_all(&output).await;
        output.clear();
        if advanced? {
            written?;
            return Ok((handshake.finish()?, input));
        }
        written?;
        input.reserve(READ_BYTES);
        if stream.read_buf(&mut input).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

struct Sealing(Sealer);

impl Encrypt for Sealing {
    fn encrypt(
        &mut self,
        plain: &[io::IoSlice<'_>],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        Ok(self.0.seal(plain, limit, out)?)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        Ok(self.0.close(out)?)
    }
}

struct Opening(Opener);

impl Decrypt for Opening {
    fn decrypt(&mut self, encrypted: &mut BytesMut, plain: &mut BytesMut) -> io::Result<Decrypted> {
        Ok(match self.0.open(encrypted, plain)? {
            Opened::Data(bytes) => {
                debug_assert!(bytes <= MAX_RECORD_PLAIN);
                Decrypted::Data
            }
            Opened::Incomplete => Decrypted::Incomplete,
            Opened::Closed => Decrypted::Closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use livetrail_tls::{CertificateFiles, CertificateStore};
    use tokio::net::TcpListener;

    use super::*;
    use crate::goodbye::say_goodbye;

    /// 2026-12-01, in seconds since 1970.
    const NOW: u64 = 1_796_083_200;

    /// A listener's TLS, and a client's that trusts it.
    fn site(folder: &std::path::Path, timeout: Duration) -> (TlsAcceptor, ClientTls) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let file = |name: &str, text: String| -> PathBuf {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let chain = file("chain.pem", made.cert.pem());
        let key = file("key.pem", made.signing_key.serialize_pem());
        let files = CertificateFiles::new(&chain, key);
        let store = CertificateStore::load(vec![files], NOW).unwrap();
        let tls = ServerTls::new(&store, &[], None).unwrap();
        (
            TlsAcceptor::new(tls, timeout),
            ClientTls::new(Some(&chain), &[]).unwrap(),
        )
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_joins_exchange_bytes_in_both_directions_and_end_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (server, client) = site(folder.path(), Duration::from_secs(20));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = server.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for _ in 0..100 {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let mut transport = acceptor.accept(stream).await.unwrap().transport;
                    let mut request = [0; 5];
                    transport.read_exact(&mut request).await.unwrap();
                    assert_eq!(&request, b"hello");
                    // Several records, and more than the socket takes at once.
                    let body = vec![7; 700_000];
                    let linger = Duration::from_secs(20);
                    say_goodbye(&mut transport, [&body[..], b"bye"], linger).await
                });
            }
            connections.join_all().await
        });
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let client = client.clone();
            clients.spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let mut transport = connect_tls(&client, "localhost", stream).await.unwrap();
                transport.write_all(b"hello").await.unwrap();
                let mut answer = Vec::new();
                transport.read_to_end(&mut answer).await.unwrap();
                assert!(answer.len() == 700_003 && answer.ends_with(b"bye"));
            });
        }
        clients.join_all().await;
        for closed in serving.await.unwrap() {
            assert_eq!(closed, crate::Closed::Whole);
        }
        assert_eq!(server.counts.completed.load(Relaxed), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handshake_that_does_not_end_is_given_up_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let (server, _) = site(folder.path(), Duration::from_secs(10));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for hello in [&b""[..], &[22, 3, 1, 2, 0, 1], b"GET / HTTP/1.1\r\n"] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(hello).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            assert!(server.accept(stream).await.is_err());
        }
        assert_eq!(server.counts.failed.load(Relaxed), 3);
    }
}
