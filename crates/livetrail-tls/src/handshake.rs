//! The handshake: bytes in, bytes out, until both sides have their keys.

use std::{fmt, sync::Arc};

use bytes::{Buf as _, BytesMut};
use rustls::{
    ClientConfig, ProtocolVersion, ServerConfig,
    client::UnbufferedClientConnection,
    pki_types::ServerName,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, UnbufferedStatus},
};

use crate::{
    Error,
    keys::{Kernel, Key, NextKeys},
    open::Opener,
    peer::PeerName,
    seal::Sealer,
};

/// The most bytes that a handshake may receive: a chain of certificates is the longest part.
pub const MAX_HANDSHAKE_BYTES: usize = 128 << 10;

/// One handshake, without a socket.
///
/// Call [`advance`](Self::advance) first without input, and then whenever bytes were received. Send
/// the output each time, also after an error: it is then the alert that says why. Limit the time
/// that a handshake takes.
pub struct Handshake {
    side: Side,
    received: usize,
    done: bool,
    /// Data that came in the same bytes as the end of the handshake.
    plain: BytesMut,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// A connection after its handshake.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// Reads what is received.
    pub opener: Opener,
    /// Makes what is sent.
    pub sealer: Sealer,
    /// Data that is received already. Bytes that the handshake has left in its input come after it.
    pub plain: BytesMut,
    /// The protocol that both sides have agreed on (ALPN), if any.
    pub protocol: Option<Vec<u8>>,
    /// Whether the other side has shown a certificate that was verified.
    pub has_certificate: bool,
    /// The name in that certificate.
    pub peer: Option<PeerName>,
    /// The version, such as `TLS 1.3`.
    pub version: &'static str,
}

/// What one call of the library has led to.
enum Step {
    /// Call it again.
    Again,
    /// It needs more input.
    Blocked,
    /// The handshake is over, and nothing waits to be sent.
    Done,
}

impl Handshake {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let connection = UnbufferedServerConnection::new(config).map_err(Error::Handshake)?;
        Ok(Self::new(Side::Server(connection)))
    }

    pub(crate) fn client(config: Arc<ClientConfig>, name: &str) -> Result<Self, Error> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::ServerName)?;
        let connection = UnbufferedClientConnection::new(config, name).map_err(Error::Handshake)?;
        Ok(Self::new(Side::Client(connection)))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            received: 0,
            done: false,
            plain: BytesMut::new(),
        }
    }

    /// Reads what it can of `input` and removes that, and appends what must be sent to `output`.
    /// True when the handshake is complete: send the output, then call [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Error::Handshake`], [`Error::HandshakeTooLong`]. The output may be an alert.
    pub fn advance(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<bool, Error> {
        while !self.done {
            let before = input.len();
            let mut discard = 0;
            let step = self.side.step(input, &mut discard, output, &mut self.plain);
            input.advance(discard.min(before));
            self.received = self.received.saturating_add(discard.min(before));
            if self.received.saturating_add(input.len()) > MAX_HANDSHAKE_BYTES {
                let limit = MAX_HANDSHAKE_BYTES;
                return Err(Error::HandshakeTooLong { limit });
            }
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => return Ok(false),
                Ok(Step::Done) => self.done = true,
                Err(error) => {
                    self.alert(input, output);
                    return Err(Error::Handshake(error));
                }
            }
        }
        Ok(true)
    }

    /// Appends the alert that the library has made for its error.
    fn alert(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) {
        let (mut discard, mut none) = (0, BytesMut::new());
        // An alert is one step. Without one it is the same error again.
        let _ = self.side.step(input, &mut discard, output, &mut none);
    }

    /// Takes the connection apart.
    ///
    /// # Errors
    /// [`Error::Handshake`] if the handshake is not complete.
    pub fn finish(self) -> Result<Established, Error> {
        let is_client = matches!(self.side, Side::Client(_));
        let (certificate, protocol) = match &self.side {
            Side::Server(connection) => (
                connection
                    .peer_certificates()
                    .and_then(<[_]>::first)
                    .cloned(),
                connection.alpn_protocol().map(<[u8]>::to_vec),
            ),
            Side::Client(connection) => (
                connection
                    .peer_certificates()
                    .and_then(<[_]>::first)
                    .cloned(),
                connection.alpn_protocol().map(<[u8]>::to_vec),
            ),
        };
        let (secrets, kernel) = match self.side {
            Side::Server(connection) => {
                let parts = connection.dangerous_into_kernel_connection();
                let (secrets, kernel) = parts.map_err(Error::Handshake)?;
                (secrets, Kernel::Server(kernel))
            }
            Side::Client(connection) => {
                let parts = connection.dangerous_into_kernel_connection();
                let (secrets, kernel) = parts.map_err(Error::Handshake)?;
                (secrets, Kernel::Client(kernel))
            }
        };
        let next = Arc::new(NextKeys::new(kernel));
        let version = next.version();
        Ok(Established {
            opener: Opener::new(Key::new(version, secrets.rx)?, next.clone(), is_client),
            sealer: Sealer::new(Key::new(version, secrets.tx)?, next),
            plain: self.plain,
            protocol,
            has_certificate: certificate.is_some(),
            peer: certificate.as_ref().and_then(PeerName::of),
            version: match version {
                ProtocolVersion::TLSv1_3 => "TLS 1.3",
                _ => "TLS 1.2",
            },
        })
    }
}

impl Side {
    fn step(
        &mut self,
        input: &mut [u8],
        discard: &mut usize,
        output: &mut Vec<u8>,
        plain: &mut BytesMut,
    ) -> Result<Step, rustls::Error> {
        match self {
            Self::Server(connection) => {
                let status = connection.process_tls_records(input);
                step(status, discard, output, plain)
            }
            Self::Client(connection) => {
                let status = connection.process_tls_records(input);
                step(status, discard, output, plain)
            }
        }
    }
}

/// Handles what the library asks for.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    discard: &mut usize,
    output: &mut Vec<u8>,
    plain: &mut BytesMut,
) -> Result<Step, rustls::Error> {
    *discard = status.discard;
    match status.state? {
        ConnectionState::EncodeTlsData(mut data) => {
            let start = output.len();
            let mut room = 1 << 10;
            loop {
                output.resize(start.saturating_add(room), 0);
                let slot = output.get_mut(start..).unwrap_or_default();
                match data.encode(slot) {
                    Ok(bytes) => {
                        output.truncate(start.saturating_add(bytes));
                        return Ok(Step::Again);
                    }
                    Err(EncodeError::InsufficientSize(more)) => room = more.required_size,
                    Err(EncodeError::AlreadyEncoded) => {
                        output.truncate(start);
                        return Ok(Step::Again);
                    }
                }
            }
        }
        ConnectionState::TransmitTlsData(data) => {
            // The caller sends all output before it calls again.
            data.done();
            Ok(Step::Again)
        }
        ConnectionState::ReadTraffic(mut data) => {
            while let Some(record) = data.next_record() {
                plain.extend_from_slice(record?.payload);
            }
            Ok(Step::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Step::Blocked),
        ConnectionState::WriteTraffic(_) => Ok(Step::Done),
        ConnectionState::PeerClosed | ConnectionState::Closed => {
            Err(rustls::Error::HandshakeNotComplete)
        }
        // There is no early data.
        _ => Err(rustls::Error::General("unexpected state".to_owned())),
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("received", &self.received)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
