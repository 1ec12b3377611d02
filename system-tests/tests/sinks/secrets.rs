//! Secrets of sinks: whatever fails, and however much is logged, none is shown in the log, in an
//! answer, by a command or on record.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use livetrail_replica::conformance::{Access as _, Place as _};
use system_tests::{
    Config, Finished, OtlpCollector, Postgres, Server, clock, free_address, livetrail, run,
};

use crate::kafka::Topic;
use crate::s3::Place;

const PATIENCE: Duration = Duration::from_secs(60);

/// No other text contains this.
const SECRET: &str = "kestrel7Quartz";

/// The forms in which an answer or a log could show it: plain, in an address, in base64 (of itself,
/// and of `trail:` before it).
const FORMS: [&str; 4] = [
    SECRET,
    "kestrel7%51uartz",
    "a2VzdHJlbDdRdWFydH",
    "dHJhaWw6a2VzdHJlbDdRdWFydH",
];

const PATHS: [&str; 7] = [
    "/health",
    "/metrics",
    "/api/v1/streams",
    "/api/v1/sessions",
    "/api/v1/config",
    "/api/v1/openapi.json",
    "/trail/checkpoint",
];

/// A sink with a problem: its table, and its final state.
struct Case {
    kind: &'static str,
    lines: String,
    state: &'static str,
}

/// Lets a server follow to these sinks at the most verbose log level, until each has its problem,
/// and checks all its output.
#[track_caller]
fn assert_silent(cases: &[Case], files: &[(&str, &str)]) {
    let mut server = Server::start(Config::new());
    server.stop();
    for (name, text) in files {
        std::fs::write(server.file(name), text).expect("a file");
    }
    let mut config = Config::new().log_filter("trace");
    for (number, case) in cases.iter().enumerate() {
        config = config.sink(&format!("sink-{number}"), case.kind, &case.lines);
    }
    server.set_config(config);
    server.start_again();
    for (number, case) in cases.iter().enumerate() {
        await_state(&server, number, case.state);
    }
    let mut shown = String::new();
    for path in PATHS {
        let _ = writeln!(shown, "{path}: {}", server.get(path).text());
    }
    for arguments in [
        ["trail", "sinks", "status", "--config"].as_slice(),
        &["trail", "sinks", "status", "--json", "--config"],
        &["config", "check"],
    ] {
        let output = command(&server, arguments);
        assert!(
            arguments[0] == "config" || output.status.code() == Some(1),
            "{}",
            output.output()
        );
        shown += &output.output();
    }
    shown += &server.log();
    assert!(shown.contains("DEBUG"), "the log is not loud");
    let trail = server.stop();
    trail.assert_tells_nothing_of(&FORMS);
    assert_nothing_of_it(&shown);
}

#[track_caller]
fn assert_nothing_of_it(shown: &str) {
    for line in shown.lines() {
        let seen = FORMS.iter().find(|form| line.contains(**form));
        assert!(seen.is_none(), "a secret is shown: {line}");
    }
}

fn command(server: &Server, arguments: &[&str]) -> Finished {
    let mut command = Command::new(livetrail());
    command.args(arguments).arg(server.file("livetrail.toml"));
    if arguments[0] == "trail" {
        command.arg("--data").arg(server.data());
    }
    command.env("TRAIL_URL", address_of("127.0.0.1:1"));
    run("livetrail", &command, PATIENCE)
}

fn await_state(server: &Server, number: usize, state: &str) {
    clock::wait_until(&format!("sink-{number} is {state}"), PATIENCE, || {
        let health = server.get("/health").json();
        health["sinks"][number]["state"] == state
    });
}

/// An address with the secret as its password.
fn address_of(place: &str) -> String {
    format!("postgres://trail:{SECRET}@{place}/postgres?sslmode=disable")
}

fn nobody() -> SocketAddr {
    free_address()
}

#[test]
fn no_password_of_a_database_is_shown() {
    // The server asks for a password, and expects another one.
    let server = Postgres::start_with(|data| {
        let rules =
            "host all trail 127.0.0.0/8 scram-sha-256\nhost all postgres 127.0.0.0/8 trust\n";
        std::fs::write(data.join("pg_hba.conf"), rules).expect("pg_hba.conf");
        Vec::new()
    });
    server.sql("CREATE ROLE trail LOGIN PASSWORD 'another'");
    let there = address_of(&server.address().to_string());
    let away = address_of(&nobody().to_string());
    let case = |lines: String, state| Case {
        kind: "postgres",
        lines,
        state,
    };
    assert_silent(
        &[
            case(format!("url = {there:?}\n"), "blocked"),
            case(format!("url = {away:?}\n"), "retrying"),
            case("url_file = \"url\"\n".to_owned(), "blocked"),
        ],
        &[("url", &there)],
    );
}

#[test]
fn no_key_of_a_bucket_is_shown() {
    let runtime = runtime();
    let place = runtime.block_on(async {
        let place = Place::fresh().await;
        place.revoke().await;
        place
    });
    let lines = |endpoint: SocketAddr, profile: &str| {
        format!(
            "bucket = {:?}\nregion = \"us-east-1\"\nendpoint = \"http://{endpoint}\"\nlock = \"none\"\n\
             credentials_file = \"credentials\"\nprofile = {profile:?}\n",
            place.name()
        )
    };
    let case = |endpoint, profile, state| Case {
        kind: "s3",
        lines: lines(endpoint, profile),
        state,
    };
    let credentials = format!(
        "[key]\naws_access_key_id = trail\naws_secret_access_key = {SECRET}\n\
         [token]\naws_access_key_id = trail\naws_secret_access_key = {SECRET}\naws_session_token = {SECRET}\n\
         [torn]\naws_access_key_id = trail\naws_secret_access_key {SECRET}\n"
    );
    let refusing = place.guard_address();
    assert_silent(
        &[
            case(refusing, "key", "blocked"),
            case(refusing, "token", "blocked"),
            case(nobody(), "token", "retrying"),
            case(refusing, "torn", "blocked"),
        ],
        &[("credentials", &credentials)],
    );
}

#[test]
fn no_header_for_a_collector_is_shown() {
    let receiver = OtlpCollector::start();
    receiver.behaves("{\"status\": 401}");
    let lines = |endpoint: SocketAddr, value: &str| {
        format!(
            "endpoint = \"http://{endpoint}\"\n[[sink.otlp.header]]\nname = \"authorization\"\n{value}\n"
        )
    };
    let case = |endpoint, value: &str, state| Case {
        kind: "otlp",
        lines: lines(endpoint, value),
        state,
    };
    let here = format!("value = {SECRET:?}");
    assert_silent(
        &[
            case(receiver.address(), &here, "blocked"),
            case(receiver.address(), "value_file = \"token\"", "blocked"),
            case(nobody(), &here, "retrying"),
        ],
        &[("token", SECRET)],
    );
    let sent = receiver.requests();
    assert!(
        sent.iter()
            .any(|request| request["headers"]["authorization"] == SECRET)
    );
}

#[test]
fn no_password_of_a_broker_is_shown() {
    let runtime = runtime();
    let topic = runtime.block_on(Topic::fresh());
    topic.broker.turn_everybody_away();
    let case = |address: SocketAddr, sasl, state| Case {
        kind: "kafka",
        lines: format!(
            "brokers = [\"{address}\"]\ntopic = \"audit\"\naccept = [\"one-replica\"]\ntls = false\n\
             user = \"trail\"\nsasl = {sasl:?}\npassword_file = \"password\"\n"
        ),
        state,
    };
    let there = topic.broker.clients_address();
    assert_silent(
        &[
            case(there, "plain", "blocked"),
            case(there, "scram-sha-512", "blocked"),
            case(nobody(), "plain", "retrying"),
        ],
        &[("password", SECRET)],
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A configuration that cannot be used: the error, of the server and of `config check`, has the
/// place and not the secret.
#[test]
fn no_secret_of_a_configuration_that_is_wrong_is_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("livetrail.toml");
    let address = address_of("db.example.com");
    let header =
        "endpoint = \"http://127.0.0.1:1\"\n[[sink.otlp.header]]\nname = \"authorization\"\n";
    let postgres = [
        // Another key, another type, no end, no address, a list, and two that exclude each other.
        format!("urll = {address:?}"),
        format!("url = [{address:?}]"),
        format!("url = \"{address}"),
        format!("url = {address}"),
        format!("url = \"postgres://trail:{SECRET}@db:no-port/x\""),
        format!("url = \"postgres//trail:{SECRET}@db\""),
        format!("url = \"mysql://trail:{SECRET}@db/x\""),
        format!("url = \"postgres://trail:{SECRET}@db/x?no_such_setting=1\""),
        format!("url = {address:?}\nurl_env = \"TRAIL_URL\""),
        format!("url = {address:?}\ncertificate_file = \"x\""),
        format!("url = {address:?}\nca_file = \"not-there.pem\""),
        format!("ca_file = {address:?}\nurl = 1"),
    ]
    .map(|lines| format!("[sink.postgres]\n{lines}"));
    let otlp = [
        format!("valu = {SECRET:?}"),
        format!("value = [{SECRET:?}]"),
        format!("value = \"{SECRET}"),
        format!("value = {SECRET}"),
        format!("value = {SECRET:?}\nvalue_env = \"TRAIL_TOKEN\""),
    ]
    .map(|lines| format!("[sink.otlp]\n{header}{lines}"));
    for lines in postgres.iter().chain(&otlp) {
        let text = format!("[[sink]]\nname = \"archive\"\n{lines}\n");
        std::fs::write(&file, text).expect("a configuration");
        let mut check = Command::new(livetrail());
        check.args(["config", "check"]).arg(&file);
        let mut status = Command::new(livetrail());
        status
            .args(["trail", "sinks", "status", "--config"])
            .arg(&file);
        status.arg("--data").arg(folder.path());
        let mut init = Command::new(livetrail());
        init.args(["trail", "sinks", "init", "s3", "--config"])
            .arg(&file);
        let mut serve = Command::new(livetrail());
        serve.args(["serve", "--init", "--config"]).arg(&file);
        serve.arg("--data").arg(folder.path().join("data"));
        serve.env("LIVETRAIL_HTTP", nobody().to_string());
        serve.env("LIVETRAIL_RTMP", nobody().to_string());
        // The code that reads secrets for all sinks reports what cannot be read.
        let readable = run(lines, &check, PATIENCE).status.success();
        let others = [&status, &init, &serve];
        for command in [&check]
            .into_iter()
            .chain(others.into_iter().filter(|_| readable))
        {
            let output = run(lines, command, PATIENCE);
            let shown = format!("{}{}", output.stdout, output.stderr);
            for form in FORMS {
                assert!(!shown.contains(form), "{command:?} shows it: {shown}");
            }
            if !std::ptr::eq(command, &check) {
                assert_eq!(output.status.code(), Some(2), "{}", shown);
            }
        }
    }
}
