//! Requests to witnesses over TLS: only to trusted servers.

#![cfg(feature = "witness-http")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use livetrail_ledger::{HttpTransport, MAX_ANSWER_BYTES, WitnessTransport};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

const LONG: Duration = Duration::from_secs(20);

/// A server with its own certificate for `localhost` that gives `answer` to each request. Returns
/// its address, and the certificate.
fn server(answer: String) -> (SocketAddr, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(connection, socket));
            let mut length = 0;
            let mut line = String::new();
            // A client that does not trust the certificate leaves during the handshake.
            while stream.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
                let lower = line.to_lowercase();
                if let Some(value) = lower.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_ok() {
                let _ = stream.get_mut().write_all(answer.as_bytes());
                let _ = stream.get_mut().flush();
            }
        }
    });
    (address, certificate.to_vec())
}

fn post(transport: &HttpTransport, address: SocketAddr) -> Result<(u16, Vec<u8>), String> {
    let url = format!("https://localhost:{}/add-checkpoint", address.port());
    let answer = transport.post(&url, "old 0\n\n", LONG)?;
    assert!(
        answer
            .content_type
            .is_some_and(|kind| kind == "text/x.tlog.size")
    );
    Ok((answer.status, answer.body))
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/x.tlog.size\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_witness_is_asked_over_tls_and_one_that_nobody_vouches_for_is_not() {
    let (address, certificate) = server(answer("409 Conflict", "17\n"));
    let trusting = HttpTransport::trusting([certificate.as_slice()]);
    assert_eq!(post(&trusting, address), Ok((409, b"17\n".to_vec())));
    for transport in [HttpTransport::new(), HttpTransport::trusting([])] {
        let error = post(&transport, address).unwrap_err();
        assert!(
            error.to_lowercase().contains("certificate") || error.contains("UnknownIssuer"),
            "{error}"
        );
    }
}

#[test]
fn an_answer_without_end_is_cut_and_a_redirection_is_an_answer() {
    let (address, certificate) = server(answer("200 OK", &"x".repeat(3 * MAX_ANSWER_BYTES)));
    let trusting = HttpTransport::trusting([certificate.as_slice()]);
    assert_eq!(post(&trusting, address).unwrap().1.len(), MAX_ANSWER_BYTES);
    let (address, certificate) = server(answer("302 Found\r\nLocation: http://127.0.0.1:1/", ""));
    let trusting = HttpTransport::trusting([certificate.as_slice()]);
    assert_eq!(post(&trusting, address).unwrap().0, 302);
}

#[test]
fn a_witness_that_says_nothing_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/add-checkpoint", silent.local_addr().unwrap());
    #[expect(
        clippy::disallowed_methods,
        reason = "the time that it takes is what is tested"
    )]
    let begun = Instant::now();
    let given_up = HttpTransport::new().post(&url, "old 0\n\n", Duration::from_millis(300));
    assert!(given_up.is_err());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
}
