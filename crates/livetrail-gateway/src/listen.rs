//! The listening socket.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::{Instant, sleep},
};

use crate::{address::canonical, deny::DenyRules};

/// After an error of `accept` that is not one connection's own, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// This many failures in a row are one line in the log: one in ten seconds.
const FAILURES_PER_WARNING: u32 = 100;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// No interface has the address.
    #[error("this machine has no such address")]
    NoSuchAddress,
    /// A socket is bound to the address and port.
    #[error("another program listens on this address and port")]
    Taken,
    /// The port is below the first that anybody may use.
    #[error("this port needs the privilege to bind it (root, or CAP_NET_BIND_SERVICE)")]
    NotAllowed,
    /// Anything else the system says.
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

/// A listening socket. Peers that [`DenyRules`] refuse are closed at once and never seen by its owner.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    gateway: &'static str,
    deny: DenyRules,
}

impl Listener {
    /// Opens a listening socket. `gateway` names it in logs and reports, such as `rtmp`.
    ///
    /// # Errors
    /// [`ListenError`]: the address is taken, not this machine's, or not allowed.
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
        }
    }

    /// Sets the networks whose connections are closed at once.
    #[must_use]
    pub fn deny(mut self, rules: DenyRules) -> Self {
        self.deny = rules;
        self
    }

    /// The address that it listens on, with the port that the system chose if it was asked to.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection that is not denied, with its peer's [`canonical`] address.
    ///
    /// Errors of a single connection are skipped. Errors of the process (no file descriptors left) are logged at most once
    /// in ten seconds and waited out. Cancel safe: no connection is lost when the future is dropped.
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
                    if !self.deny.refuses(self.gateway, peer, Instant::now()) {
                        return (stream, peer);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if failures.is_multiple_of(FAILURES_PER_WARNING) {
                        let gateway = self.gateway;
                        tracing::warn!(gateway, %error, "connections cannot be accepted at the moment");
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
