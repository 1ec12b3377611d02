//! A server with `[sink.otlp]`, restarted and killed in the middle.

use system_tests::{Config, OtlpCollector, Server};

use super::entry;
use crate::received::{Receives, assert_all_is_received};

impl Receives for OtlpCollector {
    fn held(&self) -> Vec<(u64, Vec<u8>)> {
        self.received().iter().map(entry).collect()
    }

    fn kill(&self) {
        system_tests::Receiver::kill(self);
    }

    fn restart(&self) {
        system_tests::Receiver::restart(self);
    }
}

#[test]
fn every_record_is_received_in_order_across_a_restart_and_a_kill() {
    let receiver = OtlpCollector::start();
    let mut server = Server::start(Config::new());
    server.stop();
    std::fs::write(server.file("token"), "Bearer hunter2\n").unwrap();
    let lines = format!(
        "endpoint = \"http://{}\"\n[[sink.otlp.header]]\nname = \"authorization\"\nvalue_file = \"token\"\n",
        receiver.address()
    );
    server.set_config(Config::new().sink("observability", "otlp", &lines));
    assert_all_is_received(&mut server, &receiver);
    for request in receiver.requests() {
        assert_eq!(request["headers"]["authorization"], "Bearer hunter2");
    }
}
