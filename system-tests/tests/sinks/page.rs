//! The commands on the pages in `docs/sinks/`: each page's commands are typed in order, and each
//! must do what the page says.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use system_tests::{Finished, Postgres, Process, clock, http, livetrail, livetrail_verify, run};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The page of this kind of sink.
fn page(kind: &str) -> String {
    let path = format!("{}/../docs/sinks/{kind}.md", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The commands (lines that begin with `$ `) of the `console` blocks on this page.
pub(crate) fn commands_of(kind: &str) -> Vec<String> {
    let page = page(kind);
    let blocks = page.split("```console\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines());
    let commands: Vec<_> = lines
        .filter_map(|line| line.strip_prefix("$ "))
        .map(str::to_owned)
        .collect();
    assert!(!commands.is_empty(), "docs/sinks/{kind}.md has no commands");
    commands
}

/// The first `text` block on this page.
pub(crate) fn block_of(kind: &str) -> String {
    let page = page(kind);
    let block = page.split("```text\n").nth(1);
    let block = block.and_then(|rest| rest.split("```").next());
    block.expect("a text block").to_owned()
}

/// The `python` block on this page.
pub(crate) fn python_of(kind: &str) -> String {
    let page = page(kind);
    let block = page.split("```python\n").nth(1);
    let block = block.and_then(|rest| rest.split("```").next());
    block.expect("a program in Python").to_owned()
}

/// A shell in an empty folder that finds our programs, and a server that one of the commands
/// starts.
pub(crate) struct Typist {
    folder: tempfile::TempDir,
    http: SocketAddr,
    rtmp: SocketAddr,
    variables: Vec<(String, String)>,
    server: Option<Process>,
}

impl Typist {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            http: system_tests::free_address(),
            rtmp: system_tests::free_address(),
            variables: Vec::new(),
            server: None,
        }
    }

    /// Sets a variable for all that is typed from now on.
    pub(crate) fn knows(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Types a command. `livetrail serve` continues in the background; all others must succeed.
    /// Returns the output.
    pub(crate) fn types(&mut self, command: &str) -> String {
        let shell = self.shell(command);
        if command.starts_with("livetrail serve") {
            self.server = Some(Process::spawn(command, &shell));
            clock::wait_until("the server is healthy", PATIENCE, || {
                let answer = http::request(self.http, "GET", "/health", &[]);
                answer.is_ok_and(|answer| answer.status == 200)
            });
            return String::new();
        }
        run(command, &shell, PATIENCE).success().stdout
    }

    /// Writes a file into the folder.
    pub(crate) fn writes(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file");
    }

    /// Types a command that continues in the background.
    pub(crate) fn begins(&self, command: &str) -> Process {
        Process::spawn(command, &self.shell(command))
    }

    /// Types a command that may fail. Returns how it ended.
    pub(crate) fn tries(&self, command: &str) -> Finished {
        run(command, &self.shell(command), PATIENCE)
    }

    /// The server's metric with this beginning, as soon as it has this value.
    pub(crate) fn awaits_metric(&self, name: &str, value: &str) {
        clock::wait_until(name, PATIENCE, || {
            let answer = http::request(self.http, "GET", "/metrics", &[]);
            let text = answer.map(|answer| answer.text()).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            line.is_some_and(|line| line.rsplit(' ').next() == Some(value))
        });
    }

    /// Ends the server in order. Returns its output on both streams.
    pub(crate) fn stops(&mut self) -> String {
        let server = self.server.take().expect("it runs");
        let ended = server
            .end_by(system_tests::Signal::TERM, PATIENCE)
            .success();
        let behind = "does not have the end of the trail";
        assert!(!ended.stderr.contains(behind), "{}", ended.stderr);
        ended.output()
    }

    fn shell(&self, command: &str) -> Command {
        let folder = |binary: &'static Path| binary.parent().expect("a folder").to_path_buf();
        let own = [folder(livetrail()), folder(livetrail_verify())];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = own.into_iter().chain(std::env::split_paths(&path));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec {command}")]);
        if command.contains('>') && !command.starts_with("livetrail serve") {
            shell = Command::new("sh");
            shell.args(["-c", command]);
        }
        shell
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(all).expect("a path"))
            .envs(self.variables.iter().cloned())
            .env("LIVETRAIL_HTTP", self.http.to_string())
            .env("LIVETRAIL_RTMP", self.rtmp.to_string());
        shell
    }
}

#[test]
fn the_commands_for_postgresql_do_what_the_page_says() {
    let postgres = Postgres::start();
    let here = postgres.address().to_string();
    let mut typist = Typist::new();
    let mut last = String::new();
    for command in commands_of("postgresql") {
        let command = command.replace("127.0.0.1:5432", &here);
        if command.starts_with("livetrail-verify") {
            typist.awaits_metric("livetrail_sink_lag_records{", "0");
        }
        last = typist.types(&command);
        if command.starts_with("livetrail-verify") {
            assert!(last.starts_with("SOUND"), "{last}");
        }
        if command.starts_with("livetrail trail sinks status") {
            assert!(last.contains("archive"), "{last}");
        }
    }
    // The log's origin, how many records are there, and the checkpoint over them.
    assert!(last.contains("/livetrail/"), "{last}");
    let health = http::request(typist.http, "GET", "/health", &[]).expect("an answer");
    let health = health.json();
    assert_eq!(health["status"], "ok", "{health}");
    assert_eq!(health["sinks"][0]["state"], "following", "{health}");
    // No secret is shown anywhere.
    for path in ["/health", "/metrics", "/api/v1/sessions"] {
        let answer = http::request(typist.http, "GET", path, &[]).expect("an answer");
        assert!(!answer.text().contains("choose-one"), "{path}");
    }
    let output = typist.stops();
    assert!(!output.contains("choose-one"), "{output}");
}
