//! The commands in `docs/sinks/s3.md`.

use system_tests::{S3Server, clock};

use crate::page::{PATIENCE, Typist, commands_of};

const STATUS: &str = "livetrail trail sinks status --config livetrail.toml --data ./data";

#[test]
fn the_commands_for_a_bucket_do_what_the_page_says() {
    let endpoint = format!("http://{}", S3Server::shared().address());
    let mut typist = Typist::new();
    typist.knows("S3_ENDPOINT", &endpoint);
    typist.knows("AWS_ACCESS_KEY_ID", "administrator");
    typist.knows("AWS_SECRET_ACCESS_KEY", "a-secret");
    let mut verified = 0;
    for command in commands_of("s3") {
        if command.starts_with("livetrail-verify") {
            clock::wait_until("the first batch is there", PATIENCE, || {
                let status = typist.types(&format!("{STATUS} --json"));
                let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                status[0]["cursor"].as_u64() > Some(0)
            });
        }
        let said = typist.types(&command);
        assert!(!said.contains("a-secret"), "{said}");
        if command.starts_with("livetrail trail sinks init") {
            assert_eq!(said.trim(), "sink bucket: bucket trail is made");
        }
        if command.starts_with("livetrail-verify") {
            assert!(said.starts_with("SOUND  s3://trail/"), "{said}");
            verified += 1;
        }
    }
    assert_eq!(verified, 1);
    let again = typist.types("livetrail trail sinks init s3 --config livetrail.toml");
    assert_eq!(
        again.trim(),
        "sink bucket: bucket trail is there, as it should be"
    );
    let output = typist.stops();
    assert!(!output.contains("a-secret"), "{output}");
}
