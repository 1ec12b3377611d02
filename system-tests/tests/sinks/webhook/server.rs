//! A server with `[sink.webhook]`, restarted and killed in the middle; and one whose operator
//! allows names.

use system_tests::{Config, HookReceiver, Server, clock};

use super::entry;
use crate::page::PATIENCE;
use crate::received::{Receives, assert_all_is_received};

impl Receives for HookReceiver {
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

fn lines(server: &Server, receiver: &HookReceiver) -> String {
    std::fs::write(server.file("hook.key"), HookReceiver::SECRET).unwrap();
    let address = receiver.address();
    format!("url = \"http://{address}/hook?tenant=7\"\nsecret_file = \"hook.key\"\n")
}

#[test]
fn every_event_is_received_in_order_across_a_restart_and_a_kill() {
    let receiver = HookReceiver::start();
    let mut server = Server::start(Config::new());
    server.stop();
    let lines = lines(&server, &receiver) + "actions = [\"*\"]\n";
    server.set_config(Config::new().sink("hooks", "webhook", &lines));
    assert_all_is_received(&mut server, &receiver);
    for request in receiver.requests() {
        assert_eq!(request["path"], "/hook?tenant=7");
    }
}

#[test]
fn session_events_alone_are_sent_and_names_stay_away() {
    let receiver = HookReceiver::start();
    let mut server = Server::start(Config::new());
    server.stop();
    let lines = lines(&server, &receiver);
    server.set_config(Config::new().sink("hooks", "webhook", &lines));
    server.start_again();
    crate::file::server::refuse(&server, 3);
    clock::wait_until("the refusals are sent", PATIENCE, || {
        receiver.received().len() >= 3
    });
    server.stop();
    let received = receiver.received();
    for event in &received {
        let action = event["record"]["action"].as_str().unwrap();
        assert!(
            action.starts_with("play_") || action.starts_with("publish_"),
            "{event}"
        );
        assert_eq!(event.get("opening"), None, "{event}");
        assert!(!event.to_string().contains("127.0.0."), "{event}");
    }
}
