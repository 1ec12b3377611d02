//! The commands in `docs/sinks/webhook.md`, with the service that the page shows.

use system_tests::{clock, free_address};

use crate::page::{PATIENCE, Typist, commands_of, python_of};

#[test]
fn the_commands_for_web_hooks_do_what_the_page_says() {
    let port = free_address().port().to_string();
    let mut typist = Typist::new();
    typist.writes("receiver.py", &python_of("webhook"));
    let mut service = None;
    let mut asked = 0;
    for command in commands_of("webhook") {
        let command = command.replace("9000", &port);
        if command.starts_with("python3") {
            service = Some(typist.begins(&command));
            clock::wait_until("the service listens", PATIENCE, || {
                std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
            });
            continue;
        }
        let said = typist.types(&command);
        if command.starts_with("livetrail trail sinks status") {
            assert!(
                said.contains("hooks") && said.contains("at_least_once"),
                "{said}"
            );
            asked += 1;
        }
    }
    assert_eq!(asked, 1);
    let service = service.expect("a service");
    clock::wait_until("the service has handled the start", PATIENCE, || {
        service.said().contains("server_started")
    });
    typist.stops();
}
