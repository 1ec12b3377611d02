//! TLS of the load client, and the certificate of the measured server.

use std::{
    io::IoSlice,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use bytes::{Bytes, BytesMut};
use livetrail_tls::{ClientTls, Established, Handshake, Opened};

/// The name in the server's certificate.
pub const NAME: &str = "localhost";

/// Writes a pair for [`NAME`] with a P-256 key. Returns the paths of the chain and the key.
pub fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((chain, key))
}

/// The encryption of one viewer's connection: bytes in, bytes out.
pub(super) struct Tls {
    state: State,
    /// Received, and not read yet.
    input: BytesMut,
    plain: BytesMut,
    /// Said before the handshake was complete.
    early: Vec<u8>,
}

enum State {
    Handshake(Box<Handshake>),
    Established(Box<Established>),
    /// Between the two.
    None,
}

impl Tls {
    pub(super) fn new(tls: &ClientTls) -> Result<Self> {
        Ok(Self {
            state: State::Handshake(Box::new(tls.handshake(NAME)?)),
            input: BytesMut::new(),
            plain: BytesMut::new(),
            early: Vec::new(),
        })
    }

    /// Encrypts bytes. Returns what to send now.
    pub(super) fn seal(&mut self, bytes: &[u8]) -> Result<Bytes> {
        let mut output = Vec::new();
        match &mut self.state {
            State::Established(established) => seal(established, bytes, &mut output)?,
            _ => self.early.extend_from_slice(bytes),
        }
        self.handshake(&mut output)?;
        Ok(output.into())
    }

    /// Reads received bytes. Returns the plain bytes, and what to send now.
    pub(super) fn open(&mut self, bytes: &[u8]) -> Result<(BytesMut, Bytes)> {
        let mut output = Vec::new();
        self.input.extend_from_slice(bytes);
        self.handshake(&mut output)?;
        if let State::Established(established) = &mut self.state {
            loop {
                match established.opener.open(&mut self.input, &mut self.plain)? {
                    Opened::Data(_) => {}
                    Opened::Incomplete => break,
                    Opened::Closed => bail!("the server ended the connection"),
                }
            }
        }
        Ok((self.plain.split(), output.into()))
    }

    fn handshake(&mut self, output: &mut Vec<u8>) -> Result<()> {
        let State::Handshake(handshake) = &mut self.state else {
            return Ok(());
        };
        if !handshake.advance(&mut self.input, output)? {
            return Ok(());
        }
        let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::None) else {
            return Ok(());
        };
        let mut established = handshake.finish()?;
        self.plain = established.plain.split();
        seal(&mut established, &std::mem::take(&mut self.early), output)?;
        self.state = State::Established(Box::new(established));
        Ok(())
    }
}

fn seal(established: &mut Established, bytes: &[u8], output: &mut Vec<u8>) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let taken = established
        .sealer
        .seal(&[IoSlice::new(bytes)], usize::MAX, output)?;
    (taken == bytes.len())
        .then_some(())
        .context("not everything was encrypted")
}
