//! The listening socket.

use std::{io, net::SocketAddr, time::Duration};

use livetrail_engine::ClientAddress;
use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::sleep,
};

use crate::{address::canonical, clock, deny::DenyRules, proxy::TrustedProxies};

/// The pause after an error of `accept` that is not one connection's own, such as a lack of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// One warning covers this many failures in a row, so there is one in ten seconds.
const FAILURES_PER_WARNING: u32 = 100;

/// Why the gateway cannot listen on an address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// No interface has the address.
    #[error("this machine has no such address")]
    NoSuchAddress,
    /// Another socket is bound to the address and port.
    #[error("another program listens on this address and port")]
    Taken,
    /// The port requires a privilege.
    #[error("this port needs the privilege to bind it (root, or CAP_NET_BIND_SERVICE)")]
    NotAllowed,
    /// Any other error of the system.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for ListenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress,
            io::ErrorKind::AddrInUse => Self::Taken,
            io::ErrorKind::PermissionDenied => Self::NotAllowed,
            _ => Self::Io(error),
        }
    }
}

/// A listening socket. Peers that [`DenyRules`] refuse are closed at once; its owner never sees
/// them. [`TrustedProxies`] are exempt: the rules hold for the clients that they name.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    gateway: &'static str,
    deny: DenyRules,
    exempt: TrustedProxies,
}

impl Listener {
    /// Opens a listening socket. `gateway` is the name in logs and reports, such as `rtmp`.
    ///
    /// Cancel safe: a dropped future leaves no socket open.
    ///
    /// # Errors
    /// [`ListenError`]: the address is in use, not local, or not allowed.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(
        gateway: &'static str,
        address: impl ToSocketAddrs,
    ) -> Result<Self, ListenError> {
        Ok(Self::new(gateway, TcpListener::bind(address).await?))
    }

    /// Listens on a socket that is open already.
    #[must_use]
    pub fn new(gateway: &'static str, socket: TcpListener) -> Self {
        Self {
            socket,
            gateway,
            deny: DenyRules::default(),
            exempt: TrustedProxies::default(),
        }
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.deny = rules;
        self
    }

    /// Sets the proxies whose connections are not denied.
    #[must_use]
    pub fn exempt(mut self, proxies: TrustedProxies) -> Self {
        self.exempt = proxies;
        self
    }

    /// The listening address, with the port that the system chose for port 0.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection that is not denied, with its peer's [`canonical`] address.
    ///
    /// Skips errors of a single connection. Waits out errors of the process (no file descriptors
    /// left), and logs them at most once in ten seconds. Cancel safe: dropping the future loses no
    /// connection.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        let mut failures: u32 = 0;
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = self.deny.report_due() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failures = 0;
                    let peer = canonical(peer);
                    let client = ClientAddress::of_socket(peer);
                    if self.exempt.contains(peer.ip())
                        || !self.deny.refuses(self.gateway, &client, clock::now())
                    {
                        return (stream, peer);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if failures.is_multiple_of(FAILURES_PER_WARNING) {
                        let gateway = self.gateway;
                        tracing::warn!(gateway, %error, "cannot accept connections at the moment");
                    }
                    failures = failures.wrapping_add(1);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_an_address_is_named() {
        let first = Listener::bind("test", "127.0.0.1:0").await.unwrap();
        let taken = Listener::bind("test", first.local_addr().unwrap()).await;
        assert!(matches!(taken, Err(ListenError::Taken)));
        let foreign = Listener::bind("test", "192.0.2.1:0").await.unwrap_err();
        assert_eq!(foreign.to_string(), "this machine has no such address");
    }

    #[tokio::test]
    async fn a_denied_peer_is_closed_at_once_and_the_next_one_served() {
        let deny = DenyRules::new(["127.0.0.2/32".parse().unwrap()]);
        let listener = Listener::bind("test", "[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = listener.deny(deny.clone());
        let connect = async |from: &str| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            let to = SocketAddr::from(([127, 0, 0, 1], port));
            socket.connect(to).await.unwrap()
        };
        let mut denied = connect("127.0.0.2").await;
        let _served = connect("127.0.0.1").await;
        let (_, peer) = listener.accept().await;
        assert_eq!(peer.ip().to_string(), "127.0.0.1");
        assert_eq!(deny.denied(), 1);
        assert_eq!(denied.read(&mut [0; 1]).await.unwrap_or(0), 0);
    }
}
