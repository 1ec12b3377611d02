//! An authority of a test, and the certificates that it signs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use tempfile::TempDir;

/// An authority, and a folder with its certificate and those that it has signed. Dropping it
/// removes the folder.
pub struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// An authority of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "An authority of a test");
        let key = KeyPair::generate().expect("a key");
        let authority = Self {
            folder: TempDir::with_prefix("livetrail-certificates").expect("a folder"),
            issuer: CertifiedIssuer::self_signed(params, key).expect("an authority"),
        };
        write(&authority.ca(), &authority.issuer.pem());
        authority
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A path in the folder: `NAME.pem` or `NAME.key`.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Signs a certificate for a server at these addresses, which is also `localhost`, until this
    /// year. Writes `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn sign(&self, name: &str, addresses: &[SocketAddr], until: i32) {
        let mut names = vec!["localhost".to_owned()];
        names.extend(addresses.iter().map(|address| address.ip().to_string()));
        let params = CertificateParams::new(names).expect("names");
        self.sign_with(name, params, until);
    }

    /// Signs a certificate for a client whose alternative name is this URI or DNS name. Writes
    /// `NAME.pem` and `NAME.key`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn sign_client(&self, name: &str, alternative: &str) {
        let text = alternative.try_into().expect("ASCII");
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![match alternative.contains(':') {
            true => SanType::URI(text),
            false => SanType::DnsName(text),
        }];
        self.sign_with(name, params, 2100);
    }

    fn sign_with(&self, name: &str, mut params: CertificateParams, until: i32) {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        write(&self.path(&format!("{name}.pem")), &signed.pem());
        write(&self.path(&format!("{name}.key")), &key.serialize_pem());
    }

    /// Lines of a configuration that serve this pair.
    #[must_use]
    pub fn lines(&self, name: &str) -> String {
        let (chain, key) = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        format!("[[tls.certificate]]\nchain = {chain:?}\nkey = {key:?}")
    }
}

/// Writes a file as a whole.
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}
