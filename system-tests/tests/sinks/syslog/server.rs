//! A server with `[sink.syslog]`, restarted and killed in the middle.

use system_tests::{Config, Server};

use super::receiver::{Kind, Receiver};
use crate::received::{Receives, assert_all_is_received};

/// Of one log.
struct OfLog(Receiver, String);

impl Receives for OfLog {
    fn held(&self) -> Vec<(u64, Vec<u8>)> {
        self.0.held(&self.1)
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn restart(&self) {
        self.0.restart();
    }
}

#[test]
fn every_record_is_received_in_order_across_a_restart_and_a_kill() {
    let receiver = Receiver::start(Kind::Rsyslog);
    let mut server = Server::start(Config::new());
    server.stop();
    let lines = format!(
        "address = {:?}\nca_file = {:?}\n",
        receiver.address().to_string(),
        receiver.file("ca.pem")
    );
    server.set_config(Config::new().sink("siem", "syslog", &lines));
    let checkpoint = std::fs::read_to_string(server.data().join("trail/checkpoint")).unwrap();
    let origin = checkpoint.lines().next().unwrap().to_owned();
    assert_all_is_received(&mut server, &OfLog(receiver, origin));
}
