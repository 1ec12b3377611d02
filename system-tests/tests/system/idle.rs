//! An idle server writes almost nothing, and uses almost no processor time.

use std::time::Duration;

use system_tests::{Config, Server, clock, resources};

/// What an idle server may write in a minute, in which it records one heartbeat.
const MOST_BYTES: u64 = 100 << 10;

/// Three times what an idle server may use a second: 10 ms a minute, which is a tick of the clock.
const MOST_A_SECOND: Duration = Duration::from_micros(3 * 10_000 / 60);

/// How long the server stays idle.
const SILENCE: Duration = Duration::from_secs(6);

#[test]
fn an_idle_server_writes_less_than_100_kib_for_a_heartbeat_and_nothing_in_between() {
    // The default heartbeat comes after a minute: in this time nothing is recorded.
    let mut silent = Server::start(Config::new());
    settle(&silent);
    let most_a_second = most_a_second(&silent);
    come_to_rest(&silent, most_a_second);
    let before = resources::written_bytes(silent.pid());
    let used = resources::processor_time(silent.pid());
    let nothing = clock::poll(SILENCE, || {
        (resources::written_bytes(silent.pid()) != before).then_some(())
    });
    let written = resources::written_bytes(silent.pid()) - before;
    assert!(nothing.is_none(), "{written} bytes with nothing to record");
    let used = resources::processor_time(silent.pid()) - used;
    let most = most_a_second * u32::try_from(SILENCE.as_secs()).unwrap();
    assert!(used < most, "{used:?} in {SILENCE:?} with nothing to do");
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

/// What this idle server may use a second.
fn most_a_second(server: &Server) -> Duration {
    let metrics = server.get("/metrics").text();
    let room = |line: &str| line.trim() == "livetrail_trail_disk_pressure 0";
    if metrics.lines().any(room) {
        MOST_A_SECOND
    } else {
        // Free space is checked every second on a disk that is nearly full.
        MOST_A_SECOND * 10
    }
}

/// Waits until nothing polls any more: threads stop polling after about a second without work.
#[track_caller]
fn come_to_rest(server: &Server, most_a_second: Duration) {
    let mut last = resources::processor_time(server.pid());
    let mut since = clock::Stopwatch::start();
    clock::wait_until("the server to rest", Duration::from_secs(30), || {
        if since.elapsed() < Duration::from_secs(1) {
            return false;
        }
        let now = resources::processor_time(server.pid());
        let used = now - std::mem::replace(&mut last, now);
        since = clock::Stopwatch::start();
        used < most_a_second
    });
}

/// Waits until the records of the start are sealed and nothing more is written for a moment: space
/// for later is reserved meanwhile.
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
