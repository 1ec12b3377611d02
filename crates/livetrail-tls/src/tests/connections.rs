//! Handshakes, and what follows them.

use std::io::IoSlice;

use bytes::BytesMut;
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::version::{TLS12, TLS13};

use super::{Joined, Site, connected, join};
use crate::{
    ACME_TLS_1, ClientAuthorities, ClientTls, Error, MAX_RECORD_OVERHEAD, MAX_RECORD_PLAIN, Opened,
    Opener, Sealer, ServerTls,
};

/// Sends `data` from one side to the other, and returns what arrives.
fn send(sealer: &mut Sealer, opener: &mut Opener, data: &[u8]) -> Vec<u8> {
    let mut records = Vec::new();
    let slices: Vec<_> = data.chunks(7_000).map(IoSlice::new).collect();
    let sealed = sealer.seal(&slices, usize::MAX, &mut records).unwrap();
    assert_eq!(sealed, data.len());
    receive(opener, &records)
}

fn receive(opener: &mut Opener, records: &[u8]) -> Vec<u8> {
    let (mut input, mut plain) = (BytesMut::from(records), BytesMut::new());
    while let Opened::Data(_) = opener.open(&mut input, &mut plain).unwrap() {}
    assert!(input.is_empty());
    plain.to_vec()
}

#[test]
fn both_versions_carry_data_in_both_directions() {
    for version in [&TLS12, &TLS13] {
        let Joined {
            mut client,
            mut server,
            to_client,
            ..
        } = connected(version);
        assert_eq!(receive(&mut client.opener, &to_client), b"", "tickets");
        for len in [1, MAX_RECORD_PLAIN, MAX_RECORD_PLAIN + 1, 100_000] {
            let data: Vec<u8> = (0..len).map(|n| n as u8).collect();
            assert!(send(&mut server.sealer, &mut client.opener, &data) == data);
            assert!(send(&mut client.sealer, &mut server.opener, &data) == data);
        }
        let mut records = Vec::new();
        client.sealer.close(&mut records).unwrap();
        let (mut input, mut plain) = (BytesMut::from(&records[..]), BytesMut::new());
        let closed = server.opener.open(&mut input, &mut plain).unwrap();
        assert_eq!(closed, Opened::Closed);
    }
}

#[test]
fn handshakes_come_in_pieces_of_any_size_and_data_may_follow_at_once() {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let server = ServerTls::new(&store, &["http/1.1"], None).unwrap();
    let client = site.client(&["h2", "http/1.1"]);
    for piece in [1, 100, usize::MAX] {
        let handshake = client.handshake("a.example").unwrap();
        let joined = join(handshake, server.handshake().unwrap(), piece).unwrap();
        let protocol = Some(&b"http/1.1"[..]);
        assert_eq!(joined.client.protocol.as_deref(), protocol);
        assert_eq!(joined.server.protocol.as_deref(), protocol);
        assert!(!joined.server.has_certificate);
    }
    // The client's last message and its first data arrive together.
    let mut client = client.handshake("a.example").unwrap();
    let mut server = server.handshake().unwrap();
    let (mut to_client, mut to_server) = (BytesMut::new(), BytesMut::new());
    let mut output = Vec::new();
    assert!(!client.advance(&mut to_client, &mut output).unwrap());
    to_server.extend_from_slice(&output);
    output.clear();
    assert!(!server.advance(&mut to_server, &mut output).unwrap());
    to_client.extend_from_slice(&output);
    output.clear();
    assert!(client.advance(&mut to_client, &mut output).unwrap());
    let mut client = client.finish().unwrap();
    client
        .sealer
        .seal(&[IoSlice::new(b"first")], 5, &mut output)
        .unwrap();
    to_server.extend_from_slice(&output);
    output.clear();
    assert!(server.advance(&mut to_server, &mut output).unwrap());
    let mut server = server.finish().unwrap();
    let mut plain = server.plain;
    while let Opened::Data(_) = server.opener.open(&mut to_server, &mut plain).unwrap() {}
    assert_eq!(&plain[..], b"first");
    assert_eq!(receive(&mut client.opener, &output), b"");
}

/// Connects a client of the library to our server, until it has its ticket.
fn connect(
    config: &std::sync::Arc<rustls::ClientConfig>,
    server: &ServerTls,
) -> rustls::ClientConnection {
    let name = "a.example".try_into().unwrap();
    let mut client = rustls::ClientConnection::new(config.clone(), name).unwrap();
    assert!(client.early_data().is_none(), "nothing may be sent early");
    let mut server = server.handshake().unwrap();
    let (mut to_server, mut to_client) = (BytesMut::new(), Vec::new());
    for _ in 0..10 {
        while client.wants_write() {
            let mut sent = Vec::new();
            client.write_tls(&mut sent).unwrap();
            to_server.extend_from_slice(&sent);
        }
        server.advance(&mut to_server, &mut to_client).unwrap();
        let mut received = &to_client[..];
        while !received.is_empty() {
            client.read_tls(&mut received).unwrap();
            client.process_new_packets().unwrap();
        }
        to_client.clear();
    }
    assert!(!client.is_handshaking());
    client
}

#[test]
fn a_connection_is_resumed_and_no_data_comes_before_its_handshake() {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let server = ServerTls::new(&store, &[], None).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(site.authority.der().clone()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(crate::server::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_early_data = true;
    let config = std::sync::Arc::new(config);
    for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let client = connect(&config, &server);
        assert_eq!(client.handshake_kind(), Some(kind));
        assert!(!client.is_early_data_accepted());
    }
}

#[test]
fn the_certificate_is_chosen_by_name_and_one_of_another_name_is_refused() {
    let site = Site::new();
    let store = site.store(vec![
        site.pair("a", &["a.example"]),
        site.pair("b", &["b.example", "*.b.example"]),
    ]);
    let server = ServerTls::new(&store, &[], None).unwrap();
    let client = site.client(&[]);
    for (name, works) in [
        ("a.example", true),
        ("B.example", true),
        ("x.b.example", true),
        ("x.y.b.example", false),
        ("c.example", false),
        ("127.0.0.1", false),
    ] {
        let client = client.handshake(name).unwrap();
        let joined = join(client, server.handshake().unwrap(), usize::MAX);
        assert_eq!(joined.is_ok(), works, "{name}");
    }
    assert!(matches!(client.handshake("a b"), Err(Error::ServerName)));
}

#[test]
fn a_client_shows_a_certificate_of_the_authority_or_is_refused() {
    let (site, stranger) = (Site::new(), Site::new());
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let authorities = ClientAuthorities::load(site.path("ca.pem")).unwrap();
    let uri = "spiffe://example.org/encoder/7";
    let pair = site.client_pair("client", uri);
    let foreign = stranger.client_pair("client", uri);
    let ca = site.path("ca.pem");
    let with = |pair: &crate::CertificateFiles| {
        ClientTls::with_certificate(Some(&ca), (&pair.chain, &pair.key), &[]).unwrap()
    };
    let (without, known, unknown) = (site.client(&[]), with(&pair), with(&foreign));
    for required in [true, false] {
        let server = ServerTls::new(&store, &[], Some((authorities.clone(), required))).unwrap();
        let join = |client: &ClientTls| {
            let client = client.handshake("a.example").unwrap();
            join(client, server.handshake().unwrap(), usize::MAX)
        };
        let peer = join(&known).unwrap().server.peer.unwrap();
        assert_eq!(peer.as_str(), uri);
        assert!(join(&unknown).is_err());
        let joined = join(&without);
        assert_eq!(joined.is_ok(), !required);
        if let Ok(joined) = joined {
            assert!(!joined.server.has_certificate && joined.server.peer.is_none());
        }
    }
    // The authorities are exchanged while the listener goes on.
    let server = ServerTls::new(&store, &[], Some((authorities.clone(), true))).unwrap();
    std::fs::copy(stranger.path("ca.pem"), site.path("ca.pem")).unwrap();
    assert!(authorities.reload().unwrap());
    assert!(!authorities.reload().unwrap());
    for (client, works) in [(&known, false), (&unknown, true)] {
        let client = client.handshake("a.example").unwrap();
        let joined = join(client, server.handshake().unwrap(), usize::MAX);
        assert_eq!(joined.is_ok(), works);
    }
}

#[test]
fn keys_change_when_the_other_side_asks_and_before_they_are_used_up() {
    let Joined {
        mut client,
        mut server,
        to_client,
        ..
    } = connected(&TLS13);
    receive(&mut client.opener, &to_client);
    for _ in 0..3 {
        server.sealer.skip_to(1 << 23);
        // The other side counts along, as if it had received them.
        client.opener.skip_to(1 << 23);
        let data = send(
            &mut server.sealer,
            &mut client.opener,
            b"after many records",
        );
        assert_eq!(data, b"after many records");
        assert_eq!(server.sealer.number(), 1);
    }
    // A request for new keys is answered before the next data.
    let mut records = Vec::new();
    client.sealer.request_keys(&mut records);
    assert_eq!(receive(&mut server.opener, &records), b"");
    assert_eq!(send(&mut client.sealer, &mut server.opener, b"new"), b"new");
    assert_eq!(send(&mut server.sealer, &mut client.opener, b"too"), b"too");
    assert_eq!(server.sealer.number(), 1);
}

#[test]
fn keys_of_the_older_version_end_the_connection_when_they_are_used_up() {
    let Joined { mut server, .. } = connected(&TLS12);
    server.sealer.skip_to(1 << 23);
    let mut records = Vec::new();
    let sealed = server
        .sealer
        .seal(&[IoSlice::new(b"x")], usize::MAX, &mut records);
    assert!(matches!(sealed, Err(Error::KeysUsedUp)) && records.is_empty());
}

#[test]
fn records_without_data_are_not_read_without_end() {
    let Joined {
        mut client,
        mut server,
        ..
    } = connected(&TLS13);
    let mut records = Vec::new();
    for _ in 0..40 {
        client.sealer.request_keys(&mut records);
    }
    let (mut input, mut plain) = (BytesMut::from(&records[..]), BytesMut::new());
    let error = server.opener.open(&mut input, &mut plain).unwrap_err();
    assert!(
        matches!(error, Error::TooManyEmptyRecords { .. }),
        "{error}"
    );
}

#[test]
fn a_handshake_has_a_bound() {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let mut server = ServerTls::new(&store, &[], None)
        .unwrap()
        .handshake()
        .unwrap();
    // A message that is announced as long as possible and never ends.
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    let mut first = true;
    let error = loop {
        input.extend_from_slice(&[22, 3, 1, 0x40, 0]);
        let mut body = vec![0; 1 << 14];
        if std::mem::take(&mut first) {
            body[..4].copy_from_slice(&[1, 0xff, 0xff, 0xff]);
        }
        input.extend_from_slice(&body);
        match server.advance(&mut input, &mut output) {
            Ok(done) => assert!(!done),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        Error::Handshake(_) | Error::HandshakeTooLong { .. }
    ));
}

#[test]
fn what_is_not_tls_is_refused_with_an_alert() {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let tls = ServerTls::new(&store, &[], None).unwrap();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[3; 1537],
        &[22, 3, 1, 0, 4, 9, 0, 0, 0],
    ] {
        let mut server = tls.handshake().unwrap();
        let (mut input, mut output) = (BytesMut::from(bytes), Vec::new());
        assert!(server.advance(&mut input, &mut output).is_err());
        assert_eq!(output.first(), Some(&21), "an alert");
    }
}

#[test]
fn a_proof_is_for_the_authority_that_asks_for_it_and_for_nobody_else() {
    let site = Site::new();
    let store = site.store(vec![site.pair("a", &["a.example"])]);
    let server = ServerTls::new(&store, &["h2"], None).unwrap();
    let asks = |protocols: &[&str], name: &str| {
        let client = site.client(protocols).handshake(name).unwrap();
        let joined = join(client, server.handshake().unwrap(), usize::MAX)?;
        Ok::<_, Error>(joined.server.protocol.unwrap())
    };
    assert!(
        asks(&[ACME_TLS_1], "b.example").is_err(),
        "nothing to prove"
    );
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["b.example".to_owned()]).unwrap();
    let made = params.signed_by(&key, &site.authority).unwrap();
    let (der, key) = (made.der().to_vec(), key.serialize_der());
    let proof = store.challenge("B.example", der, key).unwrap();
    let answered = asks(&[ACME_TLS_1], "b.example").unwrap();
    assert_eq!(answered, ACME_TLS_1.as_bytes());
    assert!(asks(&[ACME_TLS_1], "a.example").is_err());
    // Anyone else gets the certificate of the files.
    assert_eq!(asks(&["h2"], "a.example").unwrap(), b"h2");
    assert!(asks(&["h2"], "b.example").is_err());
    assert!(asks(&["h2", ACME_TLS_1], "b.example").is_err());
    drop(proof);
    assert!(asks(&[ACME_TLS_1], "b.example").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_data_arrives_however_it_is_cut_and_records_are_as_few_as_possible(
        parts in prop::collection::vec(0usize..9_000, 0..8),
        limit in 1usize..60_000,
        pieces in prop::collection::vec(1usize..5_000, 1..9),
        is_older in any::<bool>(),
    ) {
        let Joined { mut client, mut server, to_client, .. } =
            connected(if is_older { &TLS12 } else { &TLS13 });
        receive(&mut client.opener, &to_client);
        let data: Vec<Vec<u8>> = parts.iter().map(|&len| vec![len as u8; len]).collect();
        let slices: Vec<_> = data.iter().map(|part| IoSlice::new(part)).collect();
        let mut records = Vec::new();
        let sealed = server.sealer.seal(&slices, limit, &mut records).unwrap();
        let all = data.concat();
        prop_assert_eq!(sealed, all.len().min(limit));
        let count = sealed.div_ceil(MAX_RECORD_PLAIN);
        prop_assert!(records.len() <= sealed + count * MAX_RECORD_OVERHEAD);
        let (mut input, mut plain) = (BytesMut::new(), BytesMut::new());
        let mut rest = &records[..];
        for piece in pieces.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(*piece));
            input.extend_from_slice(now);
            rest = later;
            while let Opened::Data(_) = client.opener.open(&mut input, &mut plain).unwrap() {}
        }
        prop_assert!(plain == all[..sealed]);
    }

    #[test]
    fn a_changed_byte_is_found_and_brings_no_data(
        at in 0usize..60, bits in 1u8..=255, is_older in any::<bool>(),
    ) {
        let Joined { mut client, mut server, to_client, .. } =
            connected(if is_older { &TLS12 } else { &TLS13 });
        receive(&mut client.opener, &to_client);
        let mut records = Vec::new();
        server.sealer.seal(&[IoSlice::new(&[7; 40])], 40, &mut records).unwrap();
        let at = at % records.len();
        records[at] ^= bits;
        let (mut input, mut plain) = (BytesMut::from(&records[..]), BytesMut::new());
        let opened = client.opener.open(&mut input, &mut plain);
        // The minor version of the header is only a hint in TLS 1.2, and a longer length waits.
        let ignored = is_older && at == 2 && matches!(opened, Ok(Opened::Data(40)));
        prop_assert!(ignored || matches!(opened, Err(_) | Ok(Opened::Incomplete)));
        prop_assert!(ignored || plain.is_empty());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..400)) {
        let Joined { mut client, mut server, .. } = connected(&TLS13);
        crate::fuzz::records(&mut client, &mut server, &data);
        let site = Site::new();
        let store = site.store(vec![site.pair("a", &["a.example"])]);
        let tls = ServerTls::new(&store, &[], None).unwrap();
        crate::fuzz::handshake(tls.handshake().unwrap(), &data);
    }
}
