//! Full TLS handshakes per second of one core: what a server computes for each, without sockets.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use clap::Parser;
use livetrail_benches::{self as bench, thread_cpu, viewers::tls};
use livetrail_tls::{CertificateFiles, CertificateStore, ClientTls, ServerTls};

/// Measures the server's side of full handshakes: TLS 1.3, a P-256 certificate, no ticket used
#[derive(Parser)]
struct Arguments {
    /// Handshakes in each round
    #[arg(long, default_value_t = 5_000)]
    handshakes: u32,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A short run
    #[arg(long)]
    quick: bool,
}

fn main() -> Result<()> {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        (arguments.handshakes, arguments.rounds) = (500, 1);
    }
    let folder = tempfile::tempdir()?;
    let (chain, key) = tls::certificate(folder.path())?;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
    let files = CertificateFiles::new(&chain, &key);
    let store = CertificateStore::load(vec![files], now)?;
    let server = ServerTls::new(&store, &[], None)?;
    let client = ClientTls::new(Some(&chain), &[])?;
    let mut rates = Vec::new();
    for _ in 0..arguments.rounds {
        let mut used = Duration::ZERO;
        for _ in 0..arguments.handshakes {
            used += handshake(&server, &client)?;
        }
        rates.push(f64::from(arguments.handshakes) / used.as_secs_f64());
    }
    println!(
        "{} handshakes in each round, median of {} rounds",
        arguments.handshakes, arguments.rounds
    );
    let row = vec!["TLS 1.3, P-256, full".to_owned(), bench::spread(&rates, 0)];
    bench::table(&["server's side", "per second and core"], &[row]);
    Ok(())
}

/// One handshake. Returns the processor time of the server's side.
fn handshake(server: &ServerTls, client: &ClientTls) -> Result<Duration> {
    let mut used = Duration::ZERO;
    let mut client = client.handshake(tls::NAME)?;
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let mut output = Vec::new();
    let start = thread_cpu();
    let mut server = server.handshake()?;
    used += thread_cpu() - start;
    for _ in 0..4 {
        let client_done = client.advance(&mut to_client, &mut output)?;
        to_server.extend_from_slice(&output);
        output.clear();
        let start = thread_cpu();
        let server_done = server.advance(&mut to_server, &mut output)?;
        used += thread_cpu() - start;
        to_client.extend_from_slice(&output);
        output.clear();
        if client_done && server_done {
            let start = thread_cpu();
            let _established = server.finish()?;
            return Ok(used + (thread_cpu() - start));
        }
    }
    None.context("the handshake does not end")
}
