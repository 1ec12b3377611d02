//! The reference pages in `docs/` contain what the server itself reports, and nothing else.
//!
//! Each page has a part between two marks that is generated. A test makes it from the running
//! server and compares. With `WRITE_PAGES=1` in the environment it writes the page instead.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use system_tests::{Authority, Config, Server, clip, free_address, http, livetrail, run, tool};

const WAIT: Duration = Duration::from_secs(60);

const BEGIN: &str = "<!-- generated -->\n";
const END: &str = "<!-- end of generated -->\n";

/// The generated part of the page is `wanted`, or is written when that is asked for.
#[track_caller]
fn compare(page: &str, wanted: &str) {
    let path = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the page");
    let (head, rest) = text.split_once(BEGIN).expect("the first mark");
    let (there, tail) = rest.split_once(END).expect("the second mark");
    let wanted = format!("\n{}\n\n", wanted.trim());
    if std::env::var_os("WRITE_PAGES").is_some() {
        let text = format!("{head}{BEGIN}{wanted}{END}{tail}");
        std::fs::write(&path, text).expect("the page can be written");
        return;
    }
    let line = wanted
        .lines()
        .zip(there.lines())
        .find(|(new, old)| new != old);
    assert!(
        there == wanted,
        "docs/{page} differs from the server. Run this test with WRITE_PAGES=1, and commit the page. \
         The first line (the server's, the page's): {line:?}"
    );
}

/// A metric as the text format describes it.
struct Metric {
    name: String,
    kind: String,
    help: String,
    labels: Vec<String>,
}

fn metrics_of(text: &str) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    let mut help = "";
    for line in text.lines() {
        if let Some((_, words)) = line.strip_prefix("# HELP ").and_then(|l| l.split_once(' ')) {
            help = words;
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        {
            metrics.push(Metric {
                name: name.to_owned(),
                kind: kind.to_owned(),
                help: help.trim_end_matches('.').to_owned(),
                labels: Vec::new(),
            });
        } else if let Some(metric) = metrics.last_mut() {
            let labels = line
                .split_once('{')
                .and_then(|(_, rest)| rest.rsplit_once('}'));
            for label in labels
                .into_iter()
                .flat_map(|(labels, _)| labels.split("\","))
            {
                let name = label.split_once('=').map_or("", |(name, _)| name);
                if name != "le" && !metric.labels.iter().any(|known| known == name) {
                    metric.labels.push(name.to_owned());
                }
            }
        }
    }
    metrics
}

#[test]
fn the_page_of_metrics_has_each_metric_of_the_server_and_no_other() {
    // A witness that nobody runs, so that there is something to count.
    let witness = "witness.example.com/w1+71b65aec+BG75M/Y+XMMbD3a23cHJPGzYQZzWDpMIO4wgmHyXdUll";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trail.tsv");
    let (authority, rtmps, https) = (Authority::new(), free_address(), free_address());
    authority.sign("server", &[rtmps], 2100);
    let nowhere = "http://127.0.0.1:9/";
    let acme =
        "[tls.acme]\nnames = [\"live.example.test\"]\ndirectory = \"https://127.0.0.1:9/dir\"";
    let config = Config::new()
        .witness(nowhere, witness)
        .sink("lines", "file", &format!("path = {path:?}"))
        .rtmp(&format!("tls_listen = \"{rtmps}\""))
        .http(&format!("tls_listen = \"{https}\""))
        .lines(&authority.lines("server"))
        .lines(acme)
        .auth(
            "publish = \"open\"
play = \"open\"",
        )
        .auth_issuer("id", nowhere, "timeout = \"100ms\"")
        .auth_callback(
            nowhere,
            "timeout = \"100ms\"
applications = [\"none\"]",
        );
    let mut server = Server::start(config);
    let url = server.rtmp_url("live/cam");
    let publisher = tool::ffmpeg_publish(clip::small(), &url, 3, None);
    server.await_frames("live/cam", 30);
    http::request(server.http(), "GET", "/live/none.flv", &[]).expect("an answer");
    publisher.wait(WAIT);
    server.await_records("publish_ended", 1);
    let _ = server.get("/health");
    let mut metrics = metrics_of(&server.get("/metrics").text());
    server.stop();

    metrics.sort_by(|one, other| one.name.cmp(&other.name));
    let mut table = "| metric | type | labels | what |\n|---|---|---|---|\n".to_owned();
    for metric in metrics {
        let labels: Vec<_> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        let (name, kind, labels, help) = (metric.name, metric.kind, labels.join(", "), metric.help);
        let _ = writeln!(table, "| `{name}` | {kind} | {labels} | {help} |");
    }
    compare("metrics.md", &table);
}

#[test]
fn the_page_of_the_api_has_each_path_of_its_document_and_no_other() {
    let mut server = Server::start(Config::new());
    let document = server.get("/api/v1/openapi.json").json();
    server.stop();
    let mut text = roles_of(&document);
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            // HEAD works wherever GET does.
            if method != "head" {
                describe(
                    &mut text,
                    &format!("{} {path}", method.to_uppercase()),
                    operation,
                );
            }
        }
    }
    let schemas = document["components"]["schemas"].as_object();
    for (name, schema) in schemas.expect("schemas") {
        describe_schema(&mut text, name, schema);
    }
    compare("http-api.md", &text);
}

/// The roles of tokens, in the order of the configuration.
const ROLES: [&str; 5] = ["viewer", "operator", "auditor", "eraser", "regulator"];

/// Which role may use which path.
fn roles_of(document: &Value) -> String {
    let mut text = "## Roles\n\n".to_owned();
    let _ = writeln!(text, "| path | {} |", ROLES.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(ROLES.len()));
    let paths = document["paths"].as_object().expect("paths");
    for (path, methods) in paths {
        for (method, operation) in methods.as_object().expect("methods") {
            let roles = operation["x-roles"].as_array();
            if method == "head" {
                continue;
            }
            let may = |role: &&str| roles.is_none_or(|all| all.iter().any(|one| one == role));
            let cells = ROLES.map(|role| if may(&role) { "yes" } else { "" });
            let method = method.to_uppercase();
            let _ = writeln!(text, "| `{method} {path}` | {} |", cells.join(" | "));
        }
    }
    text
}

fn describe(text: &mut String, name: &str, operation: &Value) {
    let _ = writeln!(text, "\n## `{name}`\n");
    let words = [&operation["summary"], &operation["description"]];
    for words in words.into_iter().filter_map(Value::as_str) {
        let _ = writeln!(text, "{}\n", wrapped(words));
    }
    let parameters = operation["parameters"].as_array();
    if let Some(parameters) = parameters.filter(|all| !all.is_empty()) {
        let _ = writeln!(text, "| parameter | in | what |\n|---|---|---|");
        for one in parameters {
            let name = one["name"].as_str().unwrap_or_default();
            let place = one["in"].as_str().unwrap_or_default();
            let _ = writeln!(
                text,
                "| `{name}` | {place} | {} |",
                cell(&one["description"])
            );
        }
        let _ = writeln!(text);
    }
    let _ = writeln!(text, "| status | content | what |\n|---|---|---|");
    for (status, response) in operation["responses"].as_object().expect("responses") {
        let content = response["content"].as_object();
        let kinds: Vec<_> = content
            .into_iter()
            .flatten()
            .map(|(kind, content)| match reference(&content["schema"]) {
                Some(schema) => format!("`{kind}`: {schema}"),
                None => format!("`{kind}`"),
            })
            .collect();
        let kinds = kinds.join(", ");
        let _ = writeln!(
            text,
            "| {status} | {kinds} | {} |",
            cell(&response["description"])
        );
    }
}

fn describe_schema(text: &mut String, name: &str, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    let _ = writeln!(text, "\n## {name}\n");
    if let Some(words) = schema["description"].as_str() {
        let _ = writeln!(text, "{}\n", wrapped(words));
    }
    let _ = writeln!(text, "| property | type | what |\n|---|---|---|");
    for (name, property) in properties {
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} |",
            type_of(property),
            cell(&property["description"])
        );
    }
}

fn type_of(property: &Value) -> String {
    if let Some(name) = reference(property) {
        return name;
    }
    let of_several = property["oneOf"].as_array().into_iter().flatten();
    if let Some(name) = of_several.filter_map(reference).next() {
        return format!("{name} or null");
    }
    let mut kinds: Vec<_> = match &property["type"] {
        Value::String(kind) => vec![kind.clone()],
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    if let Some(items) = reference(&property["items"]) {
        kinds[0] = format!("array of {items}");
    }
    if let Some(values) = property["enum"].as_array() {
        let values = values.iter().filter_map(Value::as_str);
        let values: Vec<_> = values.map(|value| format!("`{value}`")).collect();
        kinds[0] = values.join(", ");
    }
    kinds.join(" or ")
}

/// A link to the schema that this value refers to, directly or as the items of an array.
fn reference(schema: &Value) -> Option<String> {
    if let Some(items) = schema["items"]["$ref"].as_str() {
        let name = items.rsplit('/').next()?;
        return Some(format!("array of [{name}](#{})", name.to_lowercase()));
    }
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some(format!("[{name}](#{})", name.to_lowercase()))
}

fn cell(words: &Value) -> String {
    let words = words.as_str().unwrap_or_default();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    words.replace('|', "\\|")
}

/// Text in lines of at most 120 columns.
fn wrapped(words: &str) -> String {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let last = lines.last_mut().expect("a line");
        if !last.is_empty() && last.chars().count() + word.chars().count() >= 120 {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n")
}

#[test]
fn the_page_of_the_configuration_has_each_setting_of_the_example() {
    let mut example = std::process::Command::new(livetrail());
    example.args(["config", "example"]);
    let example = run("livetrail config example", &example, WAIT)
        .success()
        .stdout;
    let mut text = String::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut table = Table::default();
    for line in example.lines() {
        let setting = line
            .strip_prefix('#')
            .filter(|line| !line.starts_with(' '))
            .unwrap_or(line);
        let unset = setting.len() < line.len();
        if let Some(words) = line.strip_prefix("# ") {
            comment.push(words);
        } else if setting.starts_with('[') {
            table.end(&mut text);
            let _ = writeln!(text, "\n## `{setting}`\n");
            if !comment.is_empty() {
                let _ = writeln!(text, "{}\n", wrapped(&comment.join(" ")));
            }
            comment.clear();
        } else if let Some((name, value)) = setting.split_once(" = ") {
            table.add(&mut text, name, value, unset, &comment.join(" "));
            comment.clear();
        } else if line.is_empty() && table.rows == 0 && text.is_empty() {
            // The comment at the top of the file is in the introduction of the page.
            comment.clear();
            let _ = writeln!(text, "## In front of all sections\n");
        }
    }
    table.end(&mut text);
    compare("configuration.md", &text);
}

/// A table of settings; those that share a comment share a row.
#[derive(Default)]
struct Table {
    names: String,
    defaults: String,
    words: String,
    rows: usize,
}

impl Table {
    fn add(&mut self, text: &mut String, name: &str, value: &str, unset: bool, comment: &str) {
        let default = match value.strip_suffix(" # default") {
            Some(default) => format!("`{default}`"),
            None if unset => format!("not set (`{value}`)"),
            None => format!("`{value}`"),
        };
        if comment.is_empty() {
            let _ = write!(self.names, "<br>`{name}`");
            let _ = write!(self.defaults, "<br>{default}");
            return;
        }
        self.row(text);
        self.names = format!("`{name}`");
        self.defaults = default;
        self.words = comment.replace('|', "\\|");
    }

    fn row(&mut self, text: &mut String) {
        if self.names.is_empty() {
            return;
        }
        if self.rows == 0 {
            let _ = writeln!(text, "| setting | default | what |\n|---|---|---|");
        }
        self.rows += 1;
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            self.names, self.defaults, self.words
        );
        self.names.clear();
    }

    fn end(&mut self, text: &mut String) {
        self.row(text);
        *self = Self::default();
    }
}
