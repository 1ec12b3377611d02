//! Receivers of records that a server sends at least once, across failures of both.

use std::time::Duration;

use system_tests::{Server, clock};

use crate::file::server::{exported, refuse};

const SOON: Duration = Duration::from_secs(60);

/// A receiver that can die.
pub(crate) trait Receives {
    /// Index and bytes of each record in the order in which they were received.
    fn held(&self) -> Vec<(u64, Vec<u8>)>;

    /// Ends it at once.
    fn kill(&self);

    /// Starts it again, over what it had received.
    fn restart(&self);
}

/// A new server goes through an outage of the receiver, a restart and a kill: each record is
/// received, in order, and repeated ones are the same.
pub(crate) fn assert_all_is_received(server: &mut Server, receiver: &impl Receives) {
    server.start_again();
    refuse(server, 300);
    receiver.kill();
    refuse(server, 50);
    receiver.restart();
    // The pause after the last attempt may be longer than a server takes to stop.
    clock::wait_until("the sink is no longer behind", SOON, || {
        server.get("/health").json()["sinks"][0]["lag_records"] == 0
    });
    server.stop();
    assert_eq!(each_once(receiver), exported(server, "entries"));

    let before = each_once(receiver).len();
    server.start_again();
    refuse(server, 50);
    clock::wait_until("records after the restart", SOON, || {
        each_once(receiver).len() > before
    });
    let health = server.get("/health").json();
    assert_eq!(health["sinks"][0]["delivery"], "at_least_once", "{health}");
    refuse(server, 50);
    server.crash();
    server.start_again();
    server.stop();
    let received = each_once(receiver);
    assert_eq!(received, exported(server, "entries"));
    let starts = received.matches("\"action\":\"server_started\"").count();
    assert_eq!(starts, 4, "one before there was a sink");
}

/// The first of each index, a line each.
pub(crate) fn each_once(receiver: &impl Receives) -> String {
    let mut first: Vec<String> = Vec::new();
    for (index, entry) in receiver.held() {
        let record = String::from_utf8(entry).expect("JSON");
        match first.get(usize::try_from(index).expect("an index")) {
            Some(known) => assert_eq!(*known, record, "entry {index} is there with two contents"),
            None => {
                assert_eq!(index, first.len() as u64, "an index is missing");
                first.push(record);
            }
        }
    }
    first.into_iter().map(|record| record + "\n").collect()
}
