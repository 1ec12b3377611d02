//! A server with a sink of every kind whose keys are changed, both of them: no sink stops, and an
//! auditor can follow.

use std::process::Command;
use std::time::Duration;

use livetrail_replica::conformance::Place as _;
use system_tests::syslog::{Kind, Receiver};
use system_tests::{
    Config, Finished, OtlpCollector, Server, clock, livetrail, livetrail_verify, run,
};

use crate::beside::{await_state, config, origin};
use crate::kafka::Topic;
use crate::postgres::Table;
use crate::s3::Place;
use crate::syslog::OfLog;

const PATIENCE: Duration = Duration::from_secs(60);

const SINKS: [&str; 8] = [
    "postgres", "bucket", "topic", "file", "stdout", "json", "siem", "logs",
];

#[test]
fn both_keys_are_changed_under_a_sink_of_every_kind_and_each_follows_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (table, bucket, topic) = runtime.block_on(async {
        (
            Table::fresh().await,
            Place::fresh().await,
            Topic::fresh().await,
        )
    });
    let mut server = Server::start(Config::new());
    server.stop();
    let syslog = OfLog(Receiver::start(Kind::Rsyslog), origin(&server));
    let otlp = OtlpCollector::start();
    let json = format!(
        "path = {:?}\nformat = \"json\"\n",
        server.file("trail.json")
    );
    let all = config(&server, &table, &bucket, &topic)
        .sink("siem", "syslog", &syslog.settings())
        .sink(
            "logs",
            "otlp",
            &format!("endpoint = \"http://{}\"\n", otlp.address()),
        )
        .sink("json", "file", &json);
    server.set_config(all);
    let first = server.file("first.vkey");
    std::fs::copy(server.data().join("trail.vkey"), &first).expect("the first keys");

    server.start_again();
    for change in [&[][..], &["--cosigner"]] {
        assert_all_follow(&server);
        server.stop();
        trail(&server, "rotate-key", change).success();
        server.start_again();
    }
    assert_all_follow(&server);
    let forked = server.get("/metrics").text();
    for sink in SINKS {
        let line = format!("livetrail_sink_forked{{sink=\"{sink}\"}} 0");
        assert!(forked.contains(&line), "{sink}\n{forked}");
    }
    server.stop();

    // With the keys of today, and with those that signed first alone.
    for keys in [&server.data().join("trail.vkey"), &first] {
        for place in places(&server, &table, &bucket) {
            let output = verify(&place, keys).success();
            assert!(
                output.stdout.starts_with("SOUND"),
                "{place:?}\n{}",
                output.output()
            );
        }
    }
}

/// The server and the command agree that there is no problem.
fn assert_all_follow(server: &Server) {
    for sink in SINKS {
        await_state(server, sink, "following");
    }
    clock::wait_until("the command says that all is well", PATIENCE, || {
        let mut command = Command::new(livetrail());
        command.args(["trail", "sinks", "status", "--config"]);
        command.arg(server.file("livetrail.toml"));
        command.arg("--data").arg(server.data());
        let output = run("sinks status", &command, PATIENCE);
        output.status.success()
    });
}

fn trail(server: &Server, what: &str, arguments: &[&str]) -> Finished {
    let mut command = Command::new(livetrail());
    command.args(["trail", what]).arg(server.data());
    command.args(arguments);
    run(what, &command, PATIENCE)
}

/// The places where an auditor finds the trail.
fn places(server: &Server, table: &Table, bucket: &Place) -> Vec<Vec<String>> {
    let name = origin(server).replace('/', "_2F");
    let lines = |file: &str, cursor: &str| {
        ["--lines", file, "--checkpoint", cursor]
            .map(str::to_owned)
            .to_vec()
    };
    let path = |name: &str| server.file(name).display().to_string();
    vec![
        vec![server.data().join("trail").display().to_string()],
        vec!["--postgres".to_owned(), table.server.url()],
        vec![
            format!("s3://{}/{name}", bucket.name()),
            "--s3-endpoint".to_owned(),
            format!("http://{}", bucket.proxy_address()),
            "--s3-region".to_owned(),
            "us-east-1".to_owned(),
        ],
        lines(&path("trail.json"), &path("trail.json.cursor")),
    ]
}

fn verify(place: &[String], keys: &std::path::Path) -> Finished {
    let mut verify = Command::new(livetrail_verify());
    verify.args(place).arg("--vkey").arg(keys);
    verify.env("AWS_ACCESS_KEY_ID", "auditor");
    verify.env("AWS_SECRET_ACCESS_KEY", "a-secret");
    run("livetrail-verify", &verify, PATIENCE)
}
