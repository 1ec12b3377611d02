//! The bodies of the fuzz targets. Not an interface.

use std::{path::Path, sync::Arc};

use bytes::BytesMut;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

use crate::{
    CertificateFiles, CertificateStore, Established, Handshake, Opened, ServerTls,
    server::provider, store::read_certificates,
};

/// A server, and clients of both versions that trust it.
#[derive(Debug)]
pub struct Peers {
    server: ServerTls,
    name: String,
    clients: [Arc<ClientConfig>; 2],
}

impl Peers {
    /// A server with this chain and key, in PEM form, whose last certificate the clients trust.
    /// `now` is in seconds since 1970.
    #[must_use]
    pub fn new(chain: &Path, key: &Path, name: &str, now: u64) -> Option<Self> {
        let files = CertificateFiles::new(chain, key);
        let store = CertificateStore::load(vec![files], now).ok()?;
        let mut roots = RootCertStore::empty();
        let (_, certificates) = read_certificates(chain).ok()?;
        roots.add(certificates.into_iter().next_back()?).ok()?;
        let roots = Arc::new(roots);
        let client = |version: &'static SupportedProtocolVersion| {
            let mut config = ClientConfig::builder_with_provider(provider())
                .with_protocol_versions(&[version])
                .ok()?
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            config.enable_secret_extraction = true;
            config.alpn_protocols = vec![b"h2".to_vec()];
            Some(Arc::new(config))
        };
        Some(Self {
            server: ServerTls::new(&store, &["h2", "http/1.1"], None).ok()?,
            name: name.to_owned(),
            clients: [client(&TLS13)?, client(&TLS12)?],
        })
    }

    /// Feeds a server's handshake: any bytes, or what a client sends, of which bytes are changed.
    ///
    /// The first byte chooses. If it is even, the others are any bytes, the first of them the
    /// size of the pieces. If it is odd, each three are a change: the flight, the position in it,
    /// and the bits to flip.
    pub fn handshake(&self, data: &[u8]) {
        let Some((&mode, data)) = data.split_first() else {
            return;
        };
        let Ok(server) = self.server.handshake() else {
            return;
        };
        if mode & 1 == 0 {
            return handshake(server, data);
        }
        let _ = self.join(mode & 2 != 0, server, data);
    }

    /// Feeds records to the server's side of an established connection. The first byte chooses the
    /// version; for the others see [`records`].
    pub fn records(&self, data: &[u8]) {
        let Some((&mode, data)) = data.split_first() else {
            return;
        };
        let joined = self.server.handshake().ok();
        let joined = joined.and_then(|server| self.join(mode & 1 != 0, server, &[]));
        if let Some((mut client, mut server)) = joined {
            records(&mut client, &mut server, data);
        }
    }

    /// Connects a client, whose flights are changed, with the server.
    fn join(
        &self,
        is_older: bool,
        mut server: Handshake,
        changes: &[u8],
    ) -> Option<(Established, Established)> {
        let config = self.clients.get(usize::from(is_older))?;
        let mut client = Handshake::client(config.clone(), &self.name).ok()?;
        let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
        let mut output = Vec::new();
        // A handshake has at most three flights of each side.
        for flight in 0..4_u8 {
            let client_done = client.advance(&mut to_client, &mut output).ok()?;
            for change in changes.chunks_exact(3) {
                if let [of, at, bits] = change
                    && of & 3 == flight
                    && let Some(byte) = output.get_mut(usize::from(*at))
                {
                    *byte ^= bits;
                }
            }
            to_server.extend_from_slice(&output);
            output.clear();
            let server_done = server.advance(&mut to_server, &mut output).ok()?;
            to_client.extend_from_slice(&output);
            output.clear();
            if client_done && server_done {
                break;
            }
        }
        Some((client.finish().ok()?, server.finish().ok()?))
    }
}

/// Feeds any bytes to a server's handshake, in pieces of any size.
pub fn handshake(mut handshake: Handshake, data: &[u8]) {
    let Some((&size, data)) = data.split_first() else {
        return;
    };
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    for piece in data.chunks(usize::from(size).max(1)) {
        input.extend_from_slice(piece);
        output.clear();
        match handshake.advance(&mut input, &mut output) {
            Ok(false) => {}
            Ok(true) | Err(_) => return,
        }
    }
}

/// Feeds records to the receiving side of an established connection: valid ones of its peer, of
/// which bytes are changed as `data` says, and then any bytes.
pub fn records(sender: &mut Established, receiver: &mut Established, data: &[u8]) {
    let (flips, any) = data.split_at(data.len().min(4));
    let mut records = Vec::new();
    let sealed = sender
        .sealer
        .seal(&[std::io::IoSlice::new(data)], usize::MAX, &mut records);
    if sealed.is_err() {
        return;
    }
    for two in flips.chunks_exact(2) {
        if let [at, bits] = two
            && let Some(byte) = records.get_mut(usize::from(*at))
        {
            *byte ^= bits;
        }
    }
    records.extend_from_slice(any);
    let (mut input, mut plain) = (BytesMut::from(&records[..]), BytesMut::new());
    while let Ok(opened) = receiver.opener.open(&mut input, &mut plain) {
        match opened {
            Opened::Data(bytes) => assert!(bytes > 0 && bytes <= crate::MAX_RECORD_PLAIN),
            Opened::Incomplete | Opened::Closed => return,
        }
    }
}
