//! The target: the receiver, how to connect to it, and the names in the messages.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::error::SinksError;
use crate::settings::{DEFAULT_ENTERPRISE, DEFAULT_FACILITY, MAX_FACILITY};
use crate::tls;

pub(super) use crate::settings::Transport;

/// The form of a valid address.
const FORM: &str =
    "HOST:PORT, with the port 6514 over TLS and 601 without unless it says otherwise";

impl Transport {
    /// The default port of a receiver (RFC 5425, section 4.1; RFC 3195 for TCP).
    const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 6_514,
            Self::Tcp => 601,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }
}

/// A receiver of syslog.
#[derive(Clone, Debug)]
pub struct SyslogTarget {
    host: String,
    port: u16,
    transport: Transport,
    insecure: bool,
    server_name: Option<String>,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    takes_plain_close: bool,
    facility: u8,
    enterprise: u32,
}

impl SyslogTarget {
    /// Reads an address: `HOST`, `HOST:PORT` or `[IPv6]:PORT`.
    ///
    /// # Errors
    /// [`SinksError::Address`].
    pub fn parse(address: &str, transport: Transport) -> Result<Self, SinksError> {
        let refused = || SinksError::Address {
            kind: "syslog",
            form: FORM,
        };
        let (host, port) = split(address.trim()).ok_or_else(refused)?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@".contains(c)) {
            return Err(refused());
        }
        let port = match port {
            None => transport.default_port(),
            Some(port) => port.parse().map_err(|_| refused())?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            transport,
            insecure: false,
            server_name: None,
            ca_file: None,
            certificate: None,
            takes_plain_close: false,
            facility: DEFAULT_FACILITY,
            enterprise: DEFAULT_ENTERPRISE,
        })
    }

    /// Trusts only the authorities in this PEM file.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }

    /// Presents this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((chain.into(), key.into()));
        self
    }

    /// Sets the name in the receiver's certificate, if it is not the name in the address.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Accepts the end of the TCP connection instead of TLS's `close_notify`.
    ///
    /// This is for receivers that do not send it, such as rsyslog with its driver `gtls`. Then
    /// anyone who can end the connection on the way can cause a loss of records.
    #[must_use]
    pub const fn taking_plain_close(mut self) -> Self {
        self.takes_plain_close = true;
        self
    }

    /// Allows a connection without TLS to another machine.
    #[must_use]
    pub const fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Sets the facility, 0 to 23, and the enterprise number in the name of the structured data.
    ///
    /// # Errors
    /// [`SinksError::Facility`].
    pub fn with_names(mut self, facility: u8, enterprise: u32) -> Result<Self, SinksError> {
        if facility > MAX_FACILITY {
            return Err(SinksError::Facility { facility });
        }
        self.facility = facility;
        self.enterprise = enterprise;
        Ok(self)
    }

    /// The address, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let transport = self.transport.label();
        if self.host.contains(':') {
            return format!("syslog+{transport}://[{}]:{}", self.host, self.port);
        }
        format!("syslog+{transport}://{}:{}", self.host, self.port)
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    pub(super) const fn takes_plain_close(&self) -> bool {
        self.takes_plain_close
    }

    pub(super) const fn facility(&self) -> u8 {
        self.facility
    }

    pub(super) const fn enterprise(&self) -> u32 {
        self.enterprise
    }

    /// The connector and the server's name for TLS, or `None` without TLS.
    pub(super) fn tls(&self) -> Result<Option<(TlsConnector, ServerName<'static>)>, SinksError> {
        if self.transport == Transport::Tcp {
            if self.insecure || is_loopback(&self.host) {
                return Ok(None);
            }
            return Err(SinksError::Insecure {
                place: self.place(),
            });
        }
        let certificate = self.certificate.as_ref();
        let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
        let roots = tls::roots(self.ca_file.as_deref())?;
        let mut config = tls::client_config(roots, certificate)?;
        // A server with OpenSSL that requests certificates refuses resumed sessions, unless its
        // program has prepared for them. rsyslog has not.
        config.resumption = Resumption::disabled();
        let name = self
            .server_name
            .clone()
            .unwrap_or_else(|| self.host.clone());
        let name = ServerName::try_from(name).map_err(|error| SinksError::Tls(error.into()))?;
        Ok(Some((TlsConnector::from(Arc::new(config)), name)))
    }
}

/// Splits an address into host and port. `None` if its brackets do not match.
fn split(address: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    match address.split_once(':') {
        // An IPv6 address without brackets has no port.
        Some((_, rest)) if rest.contains(':') => Some((address, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((address, None)),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(address: &str, transport: Transport) -> Option<String> {
        let target = SyslogTarget::parse(address, transport).ok()?;
        Some(target.place())
    }

    #[test]
    fn an_address_is_a_host_and_maybe_a_port() {
        for (address, transport, wanted) in [
            (
                "logs.example.com",
                Transport::Tls,
                "syslog+tls://logs.example.com:6514",
            ),
            (
                "logs.example.com:7",
                Transport::Tls,
                "syslog+tls://logs.example.com:7",
            ),
            ("127.0.0.1", Transport::Tcp, "syslog+tcp://127.0.0.1:601"),
            ("[::1]:7", Transport::Tcp, "syslog+tcp://[::1]:7"),
            ("[::1]", Transport::Tls, "syslog+tls://[::1]:6514"),
            ("::1", Transport::Tls, "syslog+tls://[::1]:6514"),
        ] {
            assert_eq!(place(address, transport).as_deref(), Some(wanted));
        }
        for address in [
            "", ":7", "a:", "a:x", "a:70000", "[::1", "[::1]7", "tcp://a", "u@a",
        ] {
            assert_eq!(place(address, Transport::Tls), None, "{address}");
        }
    }

    #[test]
    fn without_tls_it_stays_on_this_machine_unless_configured() {
        let target = |address| SyslogTarget::parse(address, Transport::Tcp).unwrap();
        for address in ["127.0.0.1", "localhost:601", "[::1]:601"] {
            assert!(target(address).tls().unwrap().is_none(), "{address}");
        }
        for address in ["10.0.0.1", "logs.example.com"] {
            let refused = target(address).tls().err().unwrap().to_string();
            assert!(refused.contains("insecure"), "{refused}");
            assert!(target(address).insecure().tls().unwrap().is_none());
        }
    }

    #[test]
    fn a_facility_that_there_is_not_is_refused() {
        let target = SyslogTarget::parse("localhost", Transport::Tls).unwrap();
        assert!(target.clone().with_names(23, 1).is_ok());
        assert!(target.with_names(24, 1).is_err());
    }
}
