//! The commands in `docs/sinks/kafka.md`.

use system_tests::{KafkaBroker, clock};

use crate::page::{PATIENCE, Typist, commands_of};

const STATUS: &str = "livetrail trail sinks status --config livetrail.toml --data ./data";

const INIT: &str = "livetrail trail sinks init kafka --config livetrail.toml";

#[test]
fn the_commands_for_a_topic_do_what_the_page_says() {
    let address = KafkaBroker::free_address();
    let broker = KafkaBroker::start(address, address);
    let here = broker.clients_address().to_string();
    let mut typist = Typist::new();
    let mut verified = 0;
    let commands = commands_of("kafka");
    let auditing = commands
        .iter()
        .position(|command| command.contains("sinks read kafka"));
    assert!(auditing.is_some_and(|set_up| set_up <= 5), "{commands:?}");
    for command in commands {
        if command.contains("sinks read kafka") {
            clock::wait_until("the first batch is there", PATIENCE, || {
                let status = typist.types(&format!("{STATUS} --json"));
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                status[0]["cursor"].as_u64() > Some(0)
            });
        }
        let said = typist.types(&command.replace("127.0.0.1:9092", &here));
        if command == INIT {
            let made = "sink topic: topic audit is made: partitions 1, replicas 1, ";
            assert!(said.starts_with(made), "{said}");
            assert!(said.contains("retention.ms=-1"), "{said}");
        }
        if command == STATUS {
            assert!(said.contains("topic") && said.contains("ok"), "{said}");
        }
        if command.starts_with("livetrail-verify") {
            assert!(said.starts_with("SOUND  copy"), "{said}");
            verified += 1;
        }
    }
    assert_eq!(verified, 1);
    let again = typist.types(INIT);
    assert!(
        again.starts_with("sink topic: topic audit is there already: partitions 1, "),
        "{again}"
    );
    typist.stops();
}
