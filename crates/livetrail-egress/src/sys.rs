//! The differences between operating systems in the use of sockets, in one place.
//!
//! | | Unix | Windows |
//! |---|---|---|
//! | a write of many slices | `writev`, without tokio's readiness | `WSASend`, with tokio's readiness |
//! | many writes with one call | io_uring, on Linux alone | none: one call per viewer |

#[cfg(unix)]
mod unix {
    use std::{
        io::{self, IoSlice},
        os::fd::{AsFd as _, BorrowedFd},
    };

    use tokio::net::TcpStream;

    /// The socket as the system's calls name it.
    #[inline]
    pub(crate) fn handle(stream: &TcpStream) -> BorrowedFd<'_> {
        stream.as_fd()
    }

    /// Writes without asking tokio whether the socket has room. A full socket is `WouldBlock`, and
    /// tokio does not learn of it.
    #[inline]
    pub(crate) fn write_vectored(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(rustix::io::writev(stream, slices)?)
    }
}

#[cfg(windows)]
mod windows {
    use std::{
        io::{self, IoSlice},
        os::windows::io::{AsSocket as _, BorrowedSocket},
    };

    use tokio::net::TcpStream;

    /// The socket as the system's calls name it.
    #[inline]
    pub(crate) fn handle(stream: &TcpStream) -> BorrowedSocket<'_> {
        stream.as_socket()
    }

    /// Writes as tokio does, which must see each full socket: on Windows it asks the system for a
    /// socket's readiness again only after a write that it has seen fail.
    #[inline]
    pub(crate) fn write_vectored(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        stream.try_write_vectored(slices)
    }
}

#[cfg(unix)]
pub(crate) use unix::{handle, write_vectored};
#[cfg(windows)]
pub(crate) use windows::{handle, write_vectored};
