//! The commands in `docs/sinks/stdout.md`.

use system_tests::clock;

use crate::page::{PATIENCE, Typist, commands_of};

#[test]
fn the_commands_for_standard_output_do_what_the_page_says() {
    let mut typist = Typist::new();
    let commands = commands_of("stdout");
    let set_up = commands.iter().take_while(|typed| !typed.starts_with("jq"));
    assert!(set_up.count() <= 5, "{commands:?}");
    let (mut asked, mut verified) = (0, 0);
    for command in commands {
        if command.starts_with("jq") || command.starts_with("livetrail-verify") {
            // A sink that has not begun is not behind either.
            clock::wait_until("the first lines are there", PATIENCE, || {
                typist.types("cat lines.json").ends_with("}\n")
            });
            typist.awaits_metric("livetrail_sink_lag_records{", "0");
        }
        let said = typist.types(&command);
        if command.starts_with("jq") {
            assert!(said.starts_with("[0,\"server_started\""), "{said}");
            asked += 1;
        }
        if command.starts_with("livetrail-verify") {
            assert!(said.starts_with("SOUND"), "{said}");
            verified += 1;
        }
        if command.starts_with("livetrail trail sinks status") {
            assert!(said.contains("out"), "{said}");
        }
    }
    assert_eq!((asked, verified), (1, 1));
    typist.stops();
}
