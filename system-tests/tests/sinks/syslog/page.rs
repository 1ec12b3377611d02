//! The commands in `docs/sinks/syslog.md`, with the receiver that the page names.

use system_tests::clock;

use crate::page::{PATIENCE, Typist, block_of, commands_of};
use system_tests::syslog::{Kind, Receiver};

#[test]
fn the_commands_for_syslog_do_what_the_page_says() {
    let receiver = Receiver::start(Kind::Rsyslog);
    receiver.kill();
    receiver.restart_with(&block_of("syslog"));
    let received = receiver.file("received");
    let mut typist = Typist::new();
    typist.knows("RECEIVER", &receiver.address().to_string());
    for (name, file) in [
        ("RECEIVER_CA", receiver.file("ca.pem")),
        ("RECEIVED", received.clone()),
    ] {
        typist.knows(name, file.to_str().expect("a path in UTF-8"));
    }
    let (mut compared, mut verified) = (0, 0);
    for command in commands_of("syslog") {
        if command.starts_with("livetrail trail sinks status") {
            clock::wait_until("the first messages are there", PATIENCE, || {
                std::fs::read_to_string(&received).is_ok_and(|text| text.ends_with("}\n"))
            });
        }
        if command.starts_with("sed") {
            typist.awaits_metric("livetrail_sink_lag_records{", "0");
        }
        let said = typist.types(&command);
        if command.starts_with("livetrail-verify") {
            assert!(said.starts_with("SOUND"), "{said}");
            verified += 1;
        }
        if command.starts_with("livetrail trail sinks status") {
            assert!(
                said.contains("siem") && said.contains("at_least_once"),
                "{said}"
            );
        }
        if command.contains("| cmp") {
            assert_eq!(said, "", "they are the same");
            compared += 1;
        }
    }
    assert_eq!((compared, verified), (1, 1));
    let first = typist.types("head -n 1 received.jsonl");
    assert!(first.contains("\"server_started\""), "{first}");
    typist.stops();
}
