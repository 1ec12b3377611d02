//! The commands in `docs/sinks/otlp.md`.

use system_tests::{OtlpCollector, Rotel, clock};

use crate::page::{PATIENCE, Typist, commands_of};

#[test]
fn the_commands_for_otlp_do_what_the_page_says() {
    let receiver = OtlpCollector::start();
    let rotel = Rotel::before(&receiver);
    let mut typist = Typist::new();
    typist.knows("COLLECTOR", &format!("http://{}", rotel.address()));
    let mut asked = 0;
    for command in commands_of("otlp") {
        if command.starts_with("livetrail trail sinks status") {
            clock::wait_until("the first records are there", PATIENCE, || {
                !receiver.received().is_empty()
            });
        }
        let said = typist.types(&command);
        if command.starts_with("livetrail trail sinks status") {
            assert!(
                said.contains("observability") && said.contains("at_least_once"),
                "{said}"
            );
            asked += 1;
        }
    }
    assert_eq!(asked, 1);
    let events: Vec<_> = receiver.received();
    assert!(
        events
            .iter()
            .any(|record| record["event"] == "server_started"),
        "{events:?}"
    );
    typist.stops();
}
