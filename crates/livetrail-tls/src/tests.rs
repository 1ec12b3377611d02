//! Whole connections without sockets.

mod connections;
mod store;

use std::{path::PathBuf, sync::Arc};

use bytes::BytesMut;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use crate::{
    CertificateFiles, CertificateStore, ClientTls, Error, Established, Handshake, ServerTls,
};

/// 2026-12-01, in seconds since 1970. The certificates of rcgen are valid from 1975 to 4096.
const NOW: u64 = 1_796_083_200;

/// An authority, and a directory for what it signs.
struct Site {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
        };
        std::fs::write(site.path("ca.pem"), site.authority.pem()).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a pair for these names.
    fn pair(&self, file: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.write(file, CertificateParams::new(names).unwrap())
    }

    /// Writes the pair of a client with this URI.
    fn client_pair(&self, file: &str, uri: &str) -> CertificateFiles {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        self.write(file, params)
    }

    fn write(&self, file: &str, params: CertificateParams) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &self.authority).unwrap();
        let files = CertificateFiles::new(
            self.path(&format!("{file}.pem")),
            self.path(&format!("{file}.key")),
        );
        std::fs::write(&files.chain, made.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn store(&self, pairs: Vec<CertificateFiles>) -> CertificateStore {
        CertificateStore::load(pairs, NOW).unwrap()
    }

    fn client(&self, protocols: &[&str]) -> ClientTls {
        ClientTls::new(Some(&self.path("ca.pem")), protocols).unwrap()
    }
}

/// A connection from one side to the other.
struct Joined {
    client: Established,
    server: Established,
    /// Bytes that are on their way to the client: tickets.
    to_client: BytesMut,
}

/// Passes bytes between both sides until both are done, in pieces of this many bytes.
fn join(mut client: Handshake, mut server: Handshake, piece: usize) -> Result<Joined, Error> {
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
    let (mut client_done, mut server_done) = (false, false);
    let (mut queue_server, mut queue_client) = (Vec::new(), Vec::new());
    for _ in 0..100_000 {
        client_done = client.advance(&mut to_client, &mut queue_server)?;
        pass(&mut queue_server, &mut to_server, piece);
        server_done = server.advance(&mut to_server, &mut queue_client)?;
        pass(&mut queue_client, &mut to_client, piece);
        if client_done && server_done && queue_server.is_empty() && queue_client.is_empty() {
            break;
        }
    }
    assert!(client_done && server_done);
    Ok(Joined {
        client: client.finish()?,
        server: server.finish()?,
        to_client,
    })
}

fn pass(from: &mut Vec<u8>, to: &mut BytesMut, piece: usize) {
    let rest = from.split_off(from.len().min(piece));
    to.extend_from_slice(from);
    *from = rest;
}

/// A pair of connected sides of the given version.
fn connected(version: &'static rustls::SupportedProtocolVersion) -> Joined {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let server = ServerTls::new(&store, &[], None).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(site.authority.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(crate::server::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    let client = Handshake::client(Arc::new(config), "a.example").unwrap();
    join(client, server.handshake().unwrap(), usize::MAX).unwrap()
}
