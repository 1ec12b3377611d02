//! A server that has nothing to do writes next to nothing.

use std::time::Duration;

use system_tests::{Config, Server, clock, resources};

/// What an idle server may write in a minute, in which it records one heartbeat.
const MOST_BYTES: u64 = 100 << 10;

#[test]
fn an_idle_server_writes_less_than_100_kib_for_a_heartbeat_and_nothing_in_between() {
    // The default heartbeat comes after a minute: in this time nothing is recorded.
    let mut silent = Server::start(Config::new());
    settle(&silent);
    let before = resources::written_bytes(silent.pid());
    let nothing = clock::poll(Duration::from_secs(4), || {
        (resources::written_bytes(silent.pid()) != before).then_some(())
    });
    let written = resources::written_bytes(silent.pid()) - before;
    assert!(nothing.is_none(), "{written} bytes with nothing to record");
    silent.stop();

    let mut beating = Server::start(Config::new().audit("heartbeat = \"1s\""));
    settle(&beating);
    let first = beating.await_records("heartbeat", 1).count("heartbeat");
    let before = resources::written_bytes(beating.pid());
    let last = beating.await_records("heartbeat", first + 5);
    let beats = (last.count("heartbeat") - first) as u64;
    let each = (resources::written_bytes(beating.pid()) - before) / beats;
    assert!(each < MOST_BYTES, "{each} bytes for a heartbeat");
    beating.stop();
}

/// Waits until what the start has recorded is sealed and nothing more is written for a moment: room for later is reserved meanwhile.
#[track_caller]
fn settle(server: &Server) {
    server.await_records("server_started", 1);
    let mut last = resources::written_bytes(server.pid());
    let mut since = clock::Stopwatch::start();
    clock::wait_until(
        "nothing more to be written",
        Duration::from_secs(30),
        || {
            let now = resources::written_bytes(server.pid());
            if now != last {
                last = now;
                since = clock::Stopwatch::start();
            }
            since.elapsed() >= Duration::from_millis(400)
        },
    );
}
