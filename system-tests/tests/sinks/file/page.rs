//! The commands in `docs/sinks/file.md`.

use system_tests::clock;

use crate::page::{PATIENCE, Typist, commands_of};

const STATUS: &str = "livetrail trail sinks status --config livetrail.toml --data ./data";

#[test]
fn the_commands_for_a_file_do_what_the_page_says() {
    let mut typist = Typist::new();
    let commands = commands_of("file");
    let set_up = commands
        .iter()
        .take_while(|typed| !typed.contains("--lines"));
    assert!(set_up.count() <= 5, "{commands:?}");
    let (mut compared, mut verified) = (0, 0);
    for command in commands {
        if command == STATUS {
            clock::wait_until("the first lines are there", PATIENCE, || {
                let status = typist.types(&format!("{STATUS} --json"));
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                let sinks = status.as_array().unwrap();
                sinks.len() == 2 && sinks.iter().all(|sink| sink["cursor"].as_u64() > Some(0))
            });
        }
        let said = typist.types(&command);
        if command.contains("cmp") {
            assert_eq!(said, "", "they are the same");
            compared += 1;
        }
        if command.contains("--lines") {
            assert!(said.starts_with("SOUND"), "{said}");
            verified += 1;
        }
        if command == STATUS {
            assert!(said.contains("lines"), "{said}");
        }
    }
    assert_eq!((compared, verified), (1, 1));
    let lines = typist.types("cat trail.tsv");
    let first = lines.lines().next().expect("a line");
    assert!(first.contains("\tserver_started\t"), "{first}");
    typist.stops();
}
