//! The commands of `docs/sinks.md`, run as they stand there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use livetrail_s3::{Credentials, Endpoint};
use livetrail_verify::{BucketSite, Options, Policy, Verdict, keys_in, verify};
use system_tests::{Process, S3Server, Signal, clock, http, livetrail, run};

const PAGE: &str = include_str!("../../../../docs/sinks.md");

const PATIENCE: Duration = Duration::from_secs(60);

/// The commands below the heading of their kind.
fn commands(kind: &str) -> Vec<&'static str> {
    let (_, after) = PAGE.split_once(&format!("<!-- run: {kind} -->")).unwrap();
    let block = after.split("```").nth(1).unwrap();
    block
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .collect()
}

#[test]
fn the_commands_of_the_page_set_a_bucket_up_and_the_verifier_reads_it() {
    let server = S3Server::shared();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(livetrail(), folder.path().join("livetrail")).unwrap();
    let endpoint = format!("http://{}", server.address());
    let http = clock::wait_for("a free port", PATIENCE, || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
        listener.local_addr().ok()
    });
    let shell = |command: &str| shell(folder.path(), &endpoint, http, command);
    let mut serving = None;
    for command in commands("s3") {
        if command.starts_with("livetrail serve ") {
            serving = Some(Process::spawn("serve", &shell(&format!("exec {command}"))));
            clock::wait_until("the server is healthy", PATIENCE, || {
                http::request(http, "GET", "/health", &[]).is_ok_and(|answer| answer.status == 200)
            });
            continue;
        }
        let finished = run(command, &shell(command), PATIENCE).success();
        assert!(!finished.told().contains("a-secret"), "{}", finished.told());
    }
    // What is gathered goes out when the server ends.
    let ended = serving.unwrap().end_by(Signal::TERM, PATIENCE).success();
    assert!(!ended.told().contains("a-secret"), "{}", ended.told());

    let mut policy = Policy::default();
    let keys = std::fs::read_to_string(folder.path().join("data/trail.vkey")).unwrap();
    for key in keys_in(&keys).unwrap() {
        policy.add(key).unwrap();
    }
    let options = Options {
        policy,
        ..Options::default()
    };
    let at = Endpoint::new(&endpoint, "us-east-1", true).unwrap();
    let auditor = Credentials::new("auditor", "secret", None).unwrap();
    let bucket = BucketSite::open("s3://trail/example.com_2Faudit", at, auditor).unwrap();
    let report = verify(&bucket, &options, &mut |_, _| {}).unwrap();
    assert_eq!(report.verdict, Verdict::Sound, "{report}");
    // From the first record to the last one of this boot.
    assert!(
        report.figures.records >= 2 && report.sessions.boots_total == 1,
        "{report}"
    );
}

/// The command in a shell, with what the page says that there is, and on ports of its own.
fn shell(folder: &Path, endpoint: &str, http: std::net::SocketAddr, command: &str) -> Command {
    let mut shell = Command::new("sh");
    let path = std::env::var("PATH").unwrap();
    shell.arg("-ec").arg(command).current_dir(folder);
    shell.env("PATH", format!("{}:{path}", folder.display()));
    shell.env("S3_ENDPOINT", endpoint);
    shell.env("AWS_ACCESS_KEY_ID", "administrator");
    shell.env("AWS_SECRET_ACCESS_KEY", "a-secret");
    shell.env("LIVETRAIL_HTTP", http.to_string());
    shell.env("LIVETRAIL_RTMP", "127.0.0.1:0");
    shell
}
