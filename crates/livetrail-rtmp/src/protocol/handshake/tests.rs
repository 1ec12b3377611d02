//! What the handshake promises.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{
    ClientHandshake, PACKET_BYTES, Packet, ServerHandshake, digest, random_packet, set_version,
};
use crate::error::Error;

fn c1_with_digest(scheme: digest::Scheme) -> Packet {
    let mut c1 = random_packet(77);
    set_version(&mut c1, [9, 0, 124, 2]);
    digest::place(&mut c1, scheme, digest::CLIENT_KEY);
    c1
}

fn answer_to(c1: &Packet) -> (Packet, Packet) {
    let mut input = BytesMut::from(&[&[3], &c1[..]].concat()[..]);
    let mut output = BytesMut::new();
    assert!(
        !ServerHandshake::new(1)
            .handle_input(&mut input, &mut output)
            .unwrap()
    );
    assert_eq!((output[0], output.len()), (3, 1 + 2 * PACKET_BYTES));
    (
        output[1..=PACKET_BYTES].try_into().unwrap(),
        output[1 + PACKET_BYTES..].try_into().unwrap(),
    )
}

#[test]
fn a_simple_client_gets_its_own_packet_back() {
    let mut c1 = random_packet(5);
    set_version(&mut c1, [0; 4]);
    let (s1, s2) = answer_to(&c1);
    assert_eq!(s1[4..8], [0; 4]);
    assert_eq!(s2, c1);
}

#[test]
fn a_client_with_a_digest_gets_one_of_the_same_scheme_and_a_valid_signature() {
    for scheme in [digest::Scheme::KeyFirst, digest::Scheme::DigestFirst] {
        let c1 = c1_with_digest(scheme);
        let (s1, s2) = answer_to(&c1);
        let (ours, _) = digest::find(&c1, digest::CLIENT_KEY).unwrap();
        assert_eq!(
            digest::find(&s1, digest::SERVER_KEY).map(|(_, found)| found),
            Some(scheme)
        );
        assert!(s1[4] >= 3);
        assert!(digest::verify_signature(&s2, &ours));
    }
}

#[test]
fn a_damaged_digest_is_answered_in_the_simple_scheme() {
    let mut c1 = c1_with_digest(digest::Scheme::DigestFirst);
    c1[1500] ^= 1;
    assert_eq!(answer_to(&c1).1, c1);
}

#[test]
fn another_version_is_refused_at_the_first_byte() {
    let mut input = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
    let result = ServerHandshake::new(1).handle_input(&mut input, &mut BytesMut::new());
    assert!(matches!(
        result,
        Err(Error::HandshakeVersion { version: b'G' })
    ));
    let result = ClientHandshake::new(1).handle_input(&mut input, &mut BytesMut::new());
    assert!(matches!(
        result,
        Err(Error::HandshakeVersion { version: b'G' })
    ));
}

proptest! {
    #[test]
    fn both_sides_finish_however_the_bytes_are_cut(seed in any::<u64>(), piece in 1usize..4000) {
        let (mut client, mut server) = (ClientHandshake::new(seed), ServerHandshake::new(!seed));
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        client.hello(&mut to_server);
        to_server.extend_from_slice(b"");
        let (mut server_input, mut client_input) = (BytesMut::new(), BytesMut::new());
        let mut done = (false, false);
        for _ in 0..10_000 {
            let moved = to_server.split_to(piece.min(to_server.len()));
            server_input.extend_from_slice(&moved);
            done.0 = server.handle_input(&mut server_input, &mut to_client).unwrap();
            let moved = to_client.split_to(piece.min(to_client.len()));
            client_input.extend_from_slice(&moved);
            done.1 = client.handle_input(&mut client_input, &mut to_server).unwrap();
            if done == (true, true) {
                break;
            }
        }
        prop_assert_eq!(done, (true, true));
        prop_assert!(server_input.is_empty() && client_input.is_empty());
    }
}
