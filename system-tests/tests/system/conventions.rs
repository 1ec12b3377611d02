//! Independent programs check the API's document and the metrics.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use system_tests::{Config, Server, Unpacked, clip, http, openapi_python, run, tool};

const WAIT: Duration = Duration::from_secs(60);

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/monitoring/prometheus-rules.yml"
);
const DASHBOARD: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../packaging/monitoring/grafana-dashboard.json"
);
const METRICS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

fn get(server: &Server, path: &str, headers: &[&str]) -> http::Answer {
    let answer = http::request(server.http(), "GET", path, headers).expect("an answer");
    assert_eq!(answer.status, 200, "{path}");
    answer
}

#[test]
fn the_document_of_the_api_is_valid_openapi() {
    let mut server = Server::start(Config::new());
    let document = get(&server, "/api/v1/openapi.json", &[]).text();
    let file = server.file("openapi.json");
    std::fs::write(&file, document).expect("a file");
    let mut validate = openapi_python();
    validate.args(["-m", "openapi_spec_validator"]).arg(&file);
    run("openapi-spec-validator", &validate, WAIT).success();
    server.stop();
}

#[test]
fn promtool_has_no_complaint_about_the_metrics() {
    let prometheus = Unpacked::provide("prometheus", &["prometheus"], &[]);
    let mut server = Server::start(Config::new());
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 30, None);
    server.await_frames("live/cam", 30);
    http::request(server.http(), "GET", "/live/none.flv", &[]).expect("an answer");
    let metrics = get(&server, "/metrics", &[]);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(metrics.header("content-type"), Some(kind));
    let text = metrics.text();
    assert!(
        text.contains("livetrail_sessions{role=\"publish\"} 1"),
        "{text}"
    );

    let program = prometheus.path("usr/bin/promtool");
    let mut promtool = Command::new(program)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut input = promtool.stdin.take().expect("its standard input");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let said = promtool.wait_with_output().expect("it ends");
    let words = [said.stdout, said.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    assert!(said.status.success() && words.is_empty(), "{words}\n{text}");
    // It knows nothing of dashboards: their queries are checked as rules.
    let queries = server.file("queries.yml");
    std::fs::write(&queries, rules_of(DASHBOARD)).expect("a file");
    for file in [std::path::Path::new(RULES), &queries] {
        let mut rules = Command::new(prometheus.path("usr/bin/promtool"));
        rules.args(["check", "rules"]).arg(file);
        run("promtool check rules", &rules, WAIT).success();
    }

    let accept = "accept: application/openmetrics-text; version=1.0.0";
    let open = get(&server, "/metrics", &[accept]);
    let kind = open.header("content-type").unwrap_or_default().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(open.text().ends_with("# EOF\n"));
    server.stop();
    publisher.wait(WAIT);
}

/// The queries of a dashboard as rules that record their results.
fn rules_of(dashboard: &str) -> String {
    let text = std::fs::read_to_string(dashboard).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let rules = targets.enumerate().map(|(n, target)| {
        // A text in JSON is one in YAML.
        format!(
            "      - {{ record: \"query:{n}\", expr: {} }}\n",
            target["expr"]
        )
    });
    let rules: Vec<String> = rules.collect();
    assert!(rules.len() > 30, "{}", rules.len());
    format!("groups:\n  - name: queries\n    rules:\n{}", rules.concat())
}

/// The words of a text that are names of metrics.
fn metrics_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = ["livetrail_", "process_"];
    words
        .filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

/// `docs/metrics.md` has the metrics of a running server: a test of that page compares them.
#[test]
fn every_metric_of_the_alerts_and_of_the_dashboard_exists() {
    let page = std::fs::read_to_string(METRICS).expect("the page of metrics");
    let known = metrics_in(&page);
    for file in [RULES, DASHBOARD] {
        let text = std::fs::read_to_string(file).expect("a file with metrics");
        let used = metrics_in(&text);
        assert!(used.len() > 20, "{file}: {used:?}");
        for name in used {
            // A histogram has buckets.
            let family = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(known.contains(&family), "{file}: {name} is no metric");
        }
    }
    let dashboard = std::fs::read_to_string(DASHBOARD).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: std::collections::BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has its own id");
}
