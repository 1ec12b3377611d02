//! The server's trail under a witness that nobody here wrote.

use std::process::Command;
use std::time::Duration;

use system_tests::rtmp::RawRtmp;
use system_tests::{Config, Server, Witness, clock, run};

const SOON: Duration = Duration::from_secs(30);

/// A server whose trail a witness cosigns.
fn witnessed() -> (Server, Witness) {
    let mut server = Server::start(Config::new());
    server.stop();
    let vkey = std::fs::read_to_string(server.data().join("trail.vkey")).expect("verifier keys");
    let vkey = vkey.lines().next().expect("a key");
    let origin = vkey.split('+').next().expect("its name");
    let mut witness = Witness::new(server.file("witness"));
    witness.start(origin, vkey);
    let config = Config::new().trail("witness_interval = \"100ms\"");
    server.set_config(config.witness(&witness.url, &witness.key));
    server.start_again();
    (server, witness)
}

/// Something on the trail: a publisher that is let in and goes.
fn happen(server: &Server, times: usize) {
    let before = server.trail().count("publish_ended");
    for _ in 0..times {
        let mut publisher = RawRtmp::connect(server.rtmp()).expect("a handshake");
        publisher.open("live").expect("a connection");
        publisher.publish("cam").expect("an answer");
        drop(publisher);
        clock::wait_until("the end of a stream", SOON, || server.sessions().is_empty());
    }
    server.await_records("publish_ended", before + times);
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = server.get("/metrics").text();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
}

#[test]
fn a_witness_cosigns_the_trail_of_a_server_and_an_older_data_directory_is_refused_with_exit_code_2()
{
    let (mut server, mut witness) = witnessed();
    happen(&server, 2);
    clock::wait_until("cosignatures", SOON, || witness.cosigned() > 2);
    clock::wait_until("the metric", SOON, || {
        metric(&server, "livetrail_trail_witness_cosigned_entries{") > 0
    });
    assert_eq!(server.get("/health").json()["status"], "ok");
    server.stop();
    let archive = server.data().join("trail/private/checkpoints");
    let kept = std::fs::read_dir(archive).expect("an archive").count();
    assert!(kept > 0, "what was cosigned is kept");
    let (data, older, newer) = (server.data(), server.file("older"), server.file("newer"));
    let mut copy = Command::new("cp");
    copy.arg("-a").arg(&data).arg(&older);
    run("cp", &copy, SOON).success();

    server.start_again();
    happen(&server, 2);
    let before = witness.cosigned();
    clock::wait_until("cosignatures", SOON, || witness.cosigned() > before);
    let size = metric(&server, "livetrail_trail_witness_cosigned_entries{");
    server.stop();

    std::fs::rename(&data, &newer).expect("the data to move");
    std::fs::rename(&older, &data).expect("the copy to move");
    let checkpoint = data.join("trail/checkpoint");
    let published = std::fs::read(&checkpoint).expect("a checkpoint");
    let refused = run("livetrail serve", &server.command(), SOON);
    assert_eq!(refused.status.code(), Some(2), "{}", refused.told());
    for words in [
        "witness.example/w1",
        "an older copy was restored",
        "restore the newest copy",
        "trail init NEW-DATA --after",
    ] {
        assert!(refused.stderr.contains(words), "{}", refused.told());
    }
    let after = std::fs::read(&checkpoint).expect("a checkpoint");
    assert_eq!(published, after, "nothing was signed");

    // The newer one is what it says to restore; and it does.
    std::fs::rename(&data, &older).expect("the copy to move");
    std::fs::rename(&newer, &data).expect("the data to move");
    server.start_again();
    clock::wait_until("cosignatures", SOON, || {
        metric(&server, "livetrail_trail_witness_cosigned_entries{") > size
    });
    server.stop();
    assert_eq!(witness.answers()(422), 0);
}
