//! The end of a connection: the last bytes, and the time to read them.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{net::TcpStream, time::timeout};

use crate::{accept::Closed, transport::Transport};

/// The client's input is read and discarded meanwhile, this many bytes at a time.
const SINK_BYTES: usize = 512;
/// A client that sends more than this instead of reading is closed.
const MAX_LINGER_BYTES: usize = 4 << 20;

/// Writes the last bytes, closes the sending side, and waits for the client to close the other, for
/// at most `linger` and 4 MiB of input.
///
/// Closing a socket with unread input makes the system discard bytes that the client has not read
/// yet. So this reads and discards input meanwhile. Returns [`Closed::Cut`] if the client did not
/// close in time.
///
/// This is not cancel safe: if the future is dropped, any part of the last bytes may be written.
/// Drop the socket then.
///
/// # Panics
/// Outside of a tokio runtime with time.
pub async fn say_goodbye<'a>(
    stream: &mut Transport,
    last: impl IntoIterator<Item = &'a [u8]>,
    linger: Duration,
) -> Closed {
    let goodbye = async {
        for bytes in last {
            stream.write_all(bytes).await?;
        }
        stream.close().await?;
        let mut left = MAX_LINGER_BYTES;
        // Nothing that comes now is of interest, so it need not be decrypted.
        poll_fn(|cx| poll_closed(stream.raw(), cx, &mut left)).await
    };
    match timeout(linger, goodbye).await {
        // A client that cannot be reached reads nothing more.
        Ok(Ok(()) | Err(_)) => Closed::Whole,
        Err(_) => Closed::Cut,
    }
}

/// Ready when the client has closed its side, or cannot be reached. Its input is discarded.
pub fn poll_gone(stream: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    if !stream.is_encrypted() {
        let mut any = usize::MAX;
        return poll_closed(stream.raw(), cx, &mut any);
    }
    // Messages between the data may ask for an answer, or say that the client is done.
    while stream.poll_readable(cx).is_ready() {
        let mut sink = BytesMut::new();
        match stream.try_read_buf(&mut sink) {
            Ok(0) => return Poll::Ready(Ok(())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Pending
}

/// Ready when the client has closed its side, cannot be reached, or has sent `left` bytes.
fn poll_closed(stream: &TcpStream, cx: &mut Context<'_>, left: &mut usize) -> Poll<io::Result<()>> {
    let mut sink = [0; SINK_BYTES];
    while stream.poll_read_ready(cx).is_ready() {
        match stream.try_read(&mut sink) {
            Ok(0) => return Poll::Ready(Ok(())),
            Ok(read) => *left = left.saturating_sub(read),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        if *left == 0 {
            return Poll::Ready(Ok(()));
        }
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn pair() -> (TcpStream, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        (client.unwrap(), Transport::plain(server.unwrap().0))
    }

    #[tokio::test]
    async fn a_client_that_still_sends_reads_every_last_byte() {
        let (mut client, mut server) = pair().await;
        client.write_all(&[1; 64 << 10]).await.unwrap();
        let last = vec![2; 32 << 10];
        let goodbye = tokio::spawn(async move {
            let parts = [&last[..], &b"bye"[..]];
            say_goodbye(&mut server, parts, Duration::from_secs(10)).await
        });
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard.len(), (32 << 10) + 3);
        drop(client);
        assert_eq!(goodbye.await.unwrap(), Closed::Whole);
    }

    #[tokio::test]
    async fn a_client_that_stays_is_cut_and_one_that_sends_on_as_well() {
        let (_silent, mut server) = pair().await;
        let linger = Duration::from_millis(50);
        assert_eq!(say_goodbye(&mut server, [], linger).await, Closed::Cut);

        let (mut busy, mut server) = pair().await;
        let sends = tokio::spawn(async move { while busy.write_all(&[0; 4096]).await.is_ok() {} });
        let goodbye = say_goodbye(&mut server, [], Duration::from_secs(30));
        let closed = timeout(Duration::from_secs(20), goodbye).await;
        assert!(closed.is_ok(), "4 MiB are the end of it");
        drop(server);
        sends.await.unwrap();
    }
}
