//! Sockets for clients that misbehave.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, sockopt};

/// Connects with a receive buffer of `bytes` (the kernel doubles it and has a minimum): a client
/// that can take little.
///
/// # Panics
/// When the connection is refused.
#[track_caller]
#[must_use]
pub fn connect_narrow(to: SocketAddr, bytes: usize) -> TcpStream {
    let connected =
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).and_then(|socket| {
            // Before connecting, because the first segment announces the window.
            sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
            rustix::net::connect(&socket, &to)?;
            Ok(socket)
        });
    match connected {
        Ok(socket) => TcpStream::from(socket),
        Err(error) => panic!("{to}: {error}"),
    }
}

/// Connects from this address.
///
/// # Errors
/// The connection is refused.
pub fn connect_from(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::from((from, 0)))?;
    rustix::net::connect(&socket, &to)?;
    Ok(TcpStream::from(socket))
}

/// Closes a connection without a goodbye: the other side gets a reset.
///
/// # Panics
/// When the socket does not take the option.
#[track_caller]
pub fn reset(stream: TcpStream) {
    let now = Some(std::time::Duration::ZERO);
    sockopt::set_socket_linger(&stream, now).expect("an option of the socket");
}
