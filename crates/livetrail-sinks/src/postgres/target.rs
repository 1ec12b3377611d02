//! The target: the server, how to log in, and which authorities to trust.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::RootCertStore;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::SinksError;
use crate::tls;

const FORM: &str = "postgres://USER:PASSWORD@HOST:PORT/DATABASE";

/// The timeout if the address has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database, and how to connect to it.
///
/// Over a network the connection is encrypted, and the client verifies the server's certificate,
/// even if the address requires less. It trusts the system's authorities or those in
/// [`with_ca_file`](Self::with_ca_file). Only loopback addresses, Unix sockets and an explicit
/// `sslmode=disable` go without encryption.
#[derive(Clone)]
pub struct PostgresTarget {
    config: Config,
    ca_file: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl PostgresTarget {
    /// Reads an address: a URL, or `key=value` pairs as for `psql`. `sslmode` is `disable` or
    /// `require`.
    ///
    /// # Errors
    /// [`SinksError::Address`].
    pub fn parse(address: &str) -> Result<Self, SinksError> {
        let refused = || SinksError::Address {
            kind: "postgres",
            form: FORM,
        };
        let mut config: Config = address.trim().parse().map_err(|_| refused())?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(refused());
        }
        if config.get_ssl_mode() == SslMode::Prefer {
            let mode = if is_local(&config) {
                SslMode::Disable
            } else {
                SslMode::Require
            };
            config.ssl_mode(mode);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("livetrail");
        }
        Ok(Self {
            config,
            ca_file: None,
            certificate: None,
        })
    }

    /// Trusts only the authorities in this PEM file. Also encrypts connections to a loopback
    /// address.
    #[must_use]
    pub fn with_ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self.config.ssl_mode(SslMode::Require);
        self
    }

    /// Presents this certificate: PEM files with the chain and with its key.
    #[must_use]
    pub fn with_certificate(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((chain.into(), key.into()));
        self
    }

    /// Logs in with this password instead of the address's password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// Logs in with this password if the address has none.
    #[must_use]
    pub fn or_password(self, password: &str) -> Self {
        match self.config.get_password() {
            Some(_) => self,
            None => self.with_password(password),
        }
    }

    /// The host, the port and the database: the address without user and password.
    #[must_use]
    pub fn place(&self) -> String {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            #[cfg(unix)]
            Some(Host::Unix(path)) => path.display().to_string(),
            None => self
                .config
                .get_hostaddrs()
                .first()
                .map_or_else(String::new, IpAddr::to_string),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let database = self.config.get_dbname().unwrap_or_default();
        format!("postgres://{host}:{port}/{database}")
    }

    pub(super) const fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn tls(&self) -> Result<MakeRustlsConnect, SinksError> {
        let roots = match self.config.get_ssl_mode() {
            SslMode::Disable => RootCertStore::empty(),
            _ => tls::roots(self.ca_file.as_deref())?,
        };
        let certificate = self.certificate.as_ref();
        let certificate = certificate.map(|(chain, key)| (chain.as_path(), key.as_path()));
        Ok(MakeRustlsConnect::new(tls::client_config(
            roots,
            certificate,
        )?))
    }
}

fn is_local(config: &Config) -> bool {
    let hosts = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    });
    hosts && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

/// Prints the target without the password.
impl fmt::Debug for PostgresTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTarget")
            .field("place", &self.place())
            .field("user", &self.config.get_user())
            .field("ca_file", &self.ca_file)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(address: &str) -> SslMode {
        PostgresTarget::parse(address)
            .unwrap()
            .config
            .get_ssl_mode()
    }

    #[test]
    fn over_a_network_tls_is_required_unless_it_is_turned_off_in_words() {
        assert_eq!(
            mode("postgres://a:b@db.example.com/trail"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgres://a:b@db.example.com/trail?sslmode=prefer"),
            SslMode::Require
        );
        assert_eq!(mode("host=10.0.0.1 user=a"), SslMode::Require);
        assert_eq!(
            mode("postgres://a@127.0.0.1,db.example.com/trail"),
            SslMode::Require
        );
        assert_eq!(
            mode("postgres://a:b@db.example.com/trail?sslmode=disable"),
            SslMode::Disable
        );
        assert_eq!(mode("postgres://a@127.0.0.1:5433/trail"), SslMode::Disable);
        assert_eq!(mode("postgres://a@[::1]/trail"), SslMode::Disable);
        assert_eq!(mode("host=/run/postgresql user=a"), SslMode::Disable);
        let local = PostgresTarget::parse("postgres://a@127.0.0.1/trail").unwrap();
        let local = local.with_ca_file("ca.pem");
        assert_eq!(local.config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn no_password_is_shown() {
        for address in [
            "postgres://writer:hunter2@127.0.0.1:5433/trail",
            "host=127.0.0.1 port=5433 dbname=trail user=writer password=hunter2",
        ] {
            let target = PostgresTarget::parse(address).unwrap();
            assert_eq!(target.place(), "postgres://127.0.0.1:5433/trail");
            assert!(!format!("{target:?}").contains("hunter2"));
        }
        for address in [
            "postgres://writer:hunter2@127.0.0.1:port/trail",
            "hunter2",
            "mysql://writer:hunter2@127.0.0.1/trail",
            "",
        ] {
            let error = PostgresTarget::parse(address).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn files_that_are_no_certificates_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let target = PostgresTarget::parse("postgres://a@127.0.0.1/trail")
            .unwrap()
            .with_ca_file(&path);
        let words = target.tls().err().unwrap().to_string();
        assert!(words.starts_with("cannot read /"), "{words}");
        std::fs::write(&path, "no certificate").unwrap();
        let words = target.tls().err().unwrap().to_string();
        assert!(words.ends_with("no certificate in it"), "{words}");
    }
}
