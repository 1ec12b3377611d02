//! Where a viewer's bytes go.

use std::{io, sync::Arc};

use tokio::net::TcpStream;

use crate::{cipher::Cipher, unsent::Unsent};

/// A socket, and the encryption of what is written to it, if any. Its owner is the only writer.
#[derive(Debug)]
pub struct Output {
    /// The socket.
    pub stream: Arc<TcpStream>,
    /// The encryption.
    pub cipher: Option<Box<Cipher>>,
}

impl Output {
    /// Whether encrypted bytes wait for the socket.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.cipher
            .as_ref()
            .is_some_and(|cipher| cipher.is_pending())
    }

    /// Writes as much as the socket takes now, encrypted if need be; true if it took anything.
    ///
    /// # Errors
    /// Socket errors, and those of the encryption. A full socket is not an error.
    pub fn try_write(&mut self, unsent: &mut impl Unsent) -> io::Result<bool> {
        match &mut self.cipher {
            None => unsent.try_write(&self.stream),
            Some(cipher) => cipher.try_write_unsent(&self.stream, unsent),
        }
    }
}

impl From<Arc<TcpStream>> for Output {
    fn from(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            cipher: None,
        }
    }
}
