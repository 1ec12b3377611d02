//! Writing pending bytes to a socket without waiting, for any kind of buffer.

use std::io::{self, IoSlice};

use tokio::net::TcpStream;

/// Slices in one vectored write; Linux takes up to 1,024.
const MAX_SLICES: usize = 128;

/// Pending bytes, in order.
///
/// ```
/// use std::io::IoSlice;
/// use livetrail_egress::Unsent;
/// use tokio::{
///     io::AsyncReadExt as _,
///     net::{TcpListener, TcpStream},
/// };
///
/// /// The unwritten end of a text.
/// struct Text(&'static [u8]);
///
/// impl Unsent for Text {
///     fn is_empty(&self) -> bool {
///         self.0.is_empty()
///     }
///
///     fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
///         match slices.first_mut() {
///             Some(slice) if !self.0.is_empty() => {
///                 *slice = IoSlice::new(self.0);
///                 1
///             }
///             _ => 0,
///         }
///     }
///
///     fn advance(&mut self, written: usize) {
///         self.0 = self.0.get(written..).unwrap_or_default();
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let socket = TcpStream::connect(listener.local_addr()?).await?;
/// let (mut peer, _) = listener.accept().await?;
/// let mut text = Text(b"a text");
/// while !text.is_empty() {
///     socket.writable().await?;
///     text.try_write(&socket)?;
/// }
/// let mut received = [0; 6];
/// peer.read_exact(&mut received).await?;
/// assert_eq!(&received, b"a text");
/// # Ok(()) }
/// ```
pub trait Unsent {
    /// Whether no bytes are pending.
    fn is_empty(&self) -> bool;

    /// Puts the next bytes into `slices`, from the first unwritten one on, and returns the number
    /// of slices used: at least one while bytes are pending, and none of them empty.
    fn fill<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize;

    /// Marks this many more bytes as written.
    fn advance(&mut self, written: usize);

    /// Writes as much as the socket takes now; true if it took anything.
    ///
    /// # Errors
    /// Socket errors. A full socket is not an error.
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
