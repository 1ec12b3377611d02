//! A connection for one batch. Its end shows whether the receiver has read all of the batch.

use std::io::{self, ErrorKind};

use livetrail_replica::ReplicaError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error;
use super::target::SyslogTarget;

/// The maximum number of bytes that a peer may send. A receiver of syslog sends nothing, so a peer
/// that sends more is not a receiver.
const MAX_WORDS_BYTES: usize = 4_096;

/// A connection to a receiver. If it is dropped before [`close`](Self::close) has returned, it is
/// not known what the receiver has read.
pub(super) struct Connection<'a> {
    target: &'a SyslogTarget,
    stream: Stream,
}

enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl<'a> Connection<'a> {
    pub(super) async fn open(
        target: &'a SyslogTarget,
        tls: Option<&(TlsConnector, ServerName<'static>)>,
    ) -> Result<Self, ReplicaError> {
        let failed = |error| error::of_io("connect to", target, error);
        let tcp = TcpStream::connect(target.address()).await.map_err(failed)?;
        let _ = tcp.set_nodelay(true);
        let stream = match tls {
            None => Stream::Tcp(tcp),
            Some((connector, name)) => {
                let connected = connector.connect(name.clone(), tcp).await.map_err(failed)?;
                Stream::Tls(Box::new(connected))
            }
        };
        Ok(Self { target, stream })
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ReplicaError> {
        let sent = match &mut self.stream {
            Stream::Tcp(tcp) => tcp.write_all(bytes).await,
            Stream::Tls(tls) => tls.write_all(bytes).await,
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) => Err(self.why(error).await),
        }
    }

    /// Announces the end, and waits until the receiver does the same. By then the receiver has read
    /// everything.
    pub(super) async fn close(mut self) -> Result<(), ReplicaError> {
        let target = self.target;
        let ended = match &mut self.stream {
            Stream::Tcp(tcp) if has_ended(tcp) => Err(ErrorKind::ConnectionAborted.into()),
            Stream::Tcp(tcp) => tcp.shutdown().await,
            Stream::Tls(tls) => {
                // This does not end TCP, because the receiver's answer does not need that. Some
                // devices on the way end both directions if one ends.
                tls.get_mut().1.send_close_notify();
                tls.flush().await
            }
        };
        if let Err(error) = ended {
            return Err(self.why(error).await);
        }
        match self.end().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(error::talks(target)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                if target.takes_plain_close() {
                    return Ok(());
                }
                Err(error::not_confirmed(target, error))
            }
            Err(error) => Err(error::of_io("write to", target, error)),
        }
    }

    /// Reads until the receiver ends. `false` if the receiver sends data.
    async fn end(&mut self) -> io::Result<bool> {
        match &mut self.stream {
            Stream::Tcp(tcp) => until_end(tcp).await,
            Stream::Tls(tls) => until_end(tls).await,
        }
    }

    /// Finds out why a write failed. If the receiver does not accept our certificate, it reports
    /// that after our first messages.
    async fn why(&mut self, error: io::Error) -> ReplicaError {
        let said = match &mut self.stream {
            Stream::Tls(tls) => until_end(tls).await.err(),
            Stream::Tcp(_) => None,
        };
        let said = said.filter(|said| crate::tls::error_in(said).is_some());
        error::of_io("write to", self.target, said.unwrap_or(error))
    }
}

/// Whether the receiver ended first. Then it cannot have read everything.
fn has_ended(tcp: &TcpStream) -> bool {
    matches!(tcp.try_read(&mut [0]), Ok(0))
}

async fn until_end(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
    let mut words = [0; 256];
    let mut left = MAX_WORDS_BYTES;
    loop {
        match stream.read(&mut words).await? {
            0 => return Ok(true),
            read => match left.checked_sub(read) {
                Some(less) => left = less,
                None => return Ok(false),
            },
        }
    }
}
