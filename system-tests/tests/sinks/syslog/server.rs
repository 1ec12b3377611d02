//! A server with `[sink.syslog]`, restarted and killed in the middle.

use system_tests::syslog::{Kind, Receiver};
use system_tests::{Config, Server};

use crate::received::{Receives, assert_all_is_received};

/// Of one log.
pub(crate) struct OfLog(pub(crate) Receiver, pub(crate) String);

impl OfLog {
    /// The lines of a server's `[sink.syslog]` for this receiver, over TLS.
    pub(crate) fn settings(&self) -> String {
        format!(
            "address = {:?}\nca_file = {:?}\n",
            self.0.address().to_string(),
            self.0.file("ca.pem")
        )
    }
}

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
    let checkpoint = std::fs::read_to_string(server.data().join("trail/checkpoint")).unwrap();
    let origin = checkpoint.lines().next().unwrap().to_owned();
    let receiver = OfLog(receiver, origin);
    server.set_config(Config::new().sink("siem", "syslog", &receiver.settings()));
    assert_all_is_received(&mut server, &receiver);
}
