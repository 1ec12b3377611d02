//! The server's resident memory after its streams have ended: rounds of publishers, each with a GOP
//! larger than the part of it that is kept.
//!
//! ```console
//! cargo xtask bench memory
//! cargo xtask bench memory -- --publishers 40 --gop-mb 30 --frame-kb 1024 --rounds 5
//! ```
//!
//! `LIVETRAIL_BIN` names another build of the server.

#![allow(clippy::print_stdout, reason = "a program that prints its figures")]

use std::thread;
use std::time::Duration;

use system_tests::rtmp::{Message, RawRtmp};
use system_tests::{Config, Server, resources};

/// After the last publisher has gone: long enough for what is done a moment later.
const REST: Duration = Duration::from_secs(8);

fn main() {
    let number = |name: &str, default: usize| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        let value = arguments.nth(1);
        value.map_or(default, |value| value.parse().expect("a number"))
    };
    let publishers = number("--publishers", 40);
    let frame_bytes = number("--frame-kb", 1_024) << 10;
    let frames = (number("--gop-mb", 30) << 20) / frame_bytes;
    let rounds = number("--rounds", 5);
    let mut server = Server::start(Config::new());
    println!(
        "{publishers} publishers of a GOP of {frames} frames of {} KiB",
        frame_bytes >> 10
    );
    println!("| round | resident with all of them | 8 s after the last has gone |");
    println!("|------:|--------------------------:|----------------------------:|");
    println!(
        "| start |                           | {:>23} MiB |",
        resident(&server)
    );
    for round in 1..=rounds {
        // One after the other: on a busy machine all at once take longer than a publisher may stay
        // silent.
        let to = server.rtmp();
        let live: Vec<_> = (0..publishers)
            .map(|n| publish(to, n, frames, frame_bytes))
            .collect();
        let with_all = resident(&server);
        drop(live);
        thread::sleep(REST);
        let at_rest = resident(&server);
        println!("| {round:>5} | {with_all:>21} MiB | {at_rest:>23} MiB |");
    }
    server.stop();
}

fn resident(server: &Server) -> u64 {
    resources::resident_kib(server.pid()) >> 10
}

/// Publishes one GOP, and stays.
fn publish(to: std::net::SocketAddr, number: usize, frames: usize, frame_bytes: usize) -> RawRtmp {
    let mut client = RawRtmp::connect(to).expect("a connection");
    client.open("live").expect("an application");
    let status = client.publish(&format!("s{number}")).expect("a stream");
    assert_eq!(status, "NetStream.Publish.Start");
    let chunk_bytes = Message {
        type_id: 1,
        timestamp: 0,
        body: (2 * frame_bytes as u32).to_be_bytes().to_vec(),
    };
    client.send(0, &chunk_bytes).expect("larger chunks");
    // A small one first, then the rest of the GOP.
    let keyframe = Message {
        type_id: 9,
        timestamp: 0,
        body: vec![0x17, 1, 0, 0, 0, 0],
    };
    client.send(1, &keyframe).expect("a keyframe");
    let length = (frame_bytes as u32).to_be_bytes();
    for at in 0..frames {
        let time = (at as u32 * 40).to_be_bytes();
        let head = [
            &[6],
            &time[1..],
            &length[1..],
            &[9, 1, 0, 0, 0],
            &[0x27, 1, 0, 0, 0],
        ];
        let mut message = head.concat();
        message.resize(message.len() - 5 + frame_bytes, at as u8);
        client.send_bytes(&message).expect("a frame");
    }
    // An answer to this comes when all before it was taken.
    client
        .command(1, "getStreamLength", &[])
        .expect("a question");
    client.receive().expect("an answer");
    client
}
