//! Bytes that wait for a socket, whatever they are kept in: how they are written without waiting.

use std::io::{self, IoSlice};

use tokio::net::TcpStream;

/// Slices in one vectored write; Linux takes up to 1,024.
const MAX_SLICES: usize = 128;

/// Bytes in order of which some are written and the rest waits.
pub trait Unsent {
    /// Whether nothing waits.
    fn is_empty(&self) -> bool;

    /// Puts what is next into `slices`, from the first byte that is not written, and says how many it has used: at least one while
    /// something waits, and none of them empty.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize;

    /// So many more bytes are written.
    fn advance(&mut self, written: usize);

    /// Writes as much as the socket takes now; true when that was something.
    ///
    /// # Errors
    /// Those of the socket; that it is full is none.
    fn try_write(&mut self, socket: &TcpStream) -> io::Result<bool> {
        let mut any = false;
        while !self.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let count = self.fill(&mut slices);
            match socket.try_write_vectored(slices.get(..count).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            any = true;
        }
        Ok(any)
    }
}
