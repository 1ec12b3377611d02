//! The bodies of the fuzz targets. Not an interface.

use bytes::BytesMut;

use crate::{Established, Handshake, Opened};

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
