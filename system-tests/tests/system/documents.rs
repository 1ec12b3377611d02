//! The commands in the documents for auditors and operators, run exactly as printed, in their
//! order.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use system_tests::{Process, clock, http, livetrail, livetrail_verify, run, tlog_python, typed};
use tempfile::TempDir;

const ENDS: Duration = Duration::from_secs(60);

/// The environment of a document's reader: an empty directory, and the programs.
struct Reader {
    folder: TempDir,
    path: String,
}

/// A line that begins with `$ `, and the exit code in its comment.
struct Typed {
    line: usize,
    command: String,
    code: i32,
}

#[test]
fn the_commands_for_auditors_run() {
    let reader = Reader::new();
    reader.must("livetrail demo --keep ./livetrail-data > demo.txt");
    reader.must("cp livetrail-data/trail.vkey .");
    assert!(reader.follow("auditor.md") >= 8);
}

#[test]
fn the_commands_for_operators_run() {
    let reader = Reader::new();
    assert!(reader.follow("operator.md") >= 12);
}

#[test]
fn the_commands_for_tls_run() {
    let reader = Reader::new();
    assert!(reader.follow("tls.md") >= 3);
}

/// The configurations of the page are those of its commands.
#[test]
fn the_commands_for_nodes_run() {
    let reader = Reader::new();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/nodes.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = page.split("```toml\n# ").skip(1);
    let files = blocks.map(|block| {
        let (name, text) = block.split_once('\n').expect("a name");
        let (text, _) = text.split_once("```").expect("an end");
        std::fs::write(reader.folder.path().join(name), text).expect("a file");
    });
    assert_eq!(files.count(), 3);
    assert!(reader.follow("nodes.md") >= 8);
}

/// Each line of a table with a column "shown by" names what shows its claims: a test, or a command.
#[test]
fn the_tests_and_commands_that_the_page_of_clauses_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["crates", "system-tests"] {
        read_sources(&root.join(folder), &mut sources);
    }
    for (page, least) in [("compliance.md", 40), ("privacy.md", 15)] {
        let text = std::fs::read_to_string(root.join("docs").join(page)).expect("the page");
        let names = shown_by(&text);
        assert!(names.len() > least, "{page}: {}", names.len());
        for name in names {
            let mut words = name.split(' ');
            let program = match words.next() {
                Some("livetrail") => Some(livetrail()),
                Some("livetrail-verify") => Some(livetrail_verify()),
                _ => None,
            };
            if let Some(program) = program {
                let mut command = Command::new(program);
                command.args(words).arg("--help");
                run(name, &command, ENDS).success();
            } else {
                let test = format!("fn {name}()");
                assert!(sources.contains(&test), "{page}: there is no test {name}");
            }
        }
    }
}

/// The names in the columns "shown by" of a page, each once.
fn shown_by(page: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut column = None;
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() < 3 {
            column = None;
        } else if let Some(found) = cells.iter().position(|cell| *cell == "shown by") {
            column = Some(found);
        } else if let Some(column) = column.filter(|_| !line.starts_with("|--")) {
            let named = cells[column].split('`').skip(1).step_by(2);
            let named: Vec<&str> = named.collect();
            assert!(!named.is_empty(), "nothing shows {line}");
            names.extend(named);
        }
    }
    names
}

fn read_sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            *text += &std::fs::read_to_string(&path).expect("a source file");
        }
    }
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let programs = folder.path().join("programs");
        std::fs::create_dir(&programs).expect("a directory for programs");
        let python = PathBuf::from(tlog_python().get_program());
        let client = python.with_file_name("aics-tlog");
        for program in [livetrail(), livetrail_verify(), &client] {
            let name = program.file_name().expect("the name of a program");
            symlink(program, programs.join(name)).expect("a program to call");
        }
        let path = std::env::var("PATH").expect("a path");
        Self {
            path: format!("{}:{path}", programs.display()),
            folder,
        }
    }

    /// Runs every command of the document. Returns their number.
    #[track_caller]
    fn follow(&self, document: &str) -> usize {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let text = std::fs::read_to_string(path.join(document)).expect("the document");
        let commands = typed_in(&text);
        for typed in &commands {
            if typed.command.starts_with("livetrail serve ") {
                self.serve(&typed.command);
                continue;
            }
            let finished = run(&typed.command, &self.shell(&typed.command), ENDS);
            let code = finished.status.code();
            let place = format!("docs/{document}:{}", typed.line);
            assert_eq!(code, Some(typed.code), "{place}\n{}", finished.output());
        }
        commands.len()
    }

    #[track_caller]
    fn must(&self, command: &str) {
        run(command, &self.shell(command), ENDS).success();
    }

    /// A server is started, and stopped when it is healthy.
    #[track_caller]
    fn serve(&self, command: &str) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        drop(listener);
        let mut shell = self.shell(&format!("exec {command}"));
        shell.env("LIVETRAIL_RTMP", "127.0.0.1:0");
        shell.env("LIVETRAIL_HTTP", address.to_string());
        let server = Process::spawn(command, &shell);
        clock::wait_until(&typed(&shell), ENDS, || {
            http::request(address, "GET", "/health", &[]).is_ok_and(|answer| answer.status == 200)
        });
        server.end_by(Signal::TERM, ENDS).success();
    }

    fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        shell
            .current_dir(self.folder.path())
            .env("PATH", &self.path);
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("LIVETRAIL_")) {
            shell.env_remove(key);
        }
        shell
    }
}

fn typed_in(text: &str) -> Vec<Typed> {
    let lines = text.lines().zip(1..);
    let typed = lines.filter_map(|(line, number)| {
        let command = line.strip_prefix("$ ")?;
        let (command, code) = match command.split_once("# exit code ") {
            Some((command, code)) => (command, code.trim().parse().expect("an exit code")),
            None => (command, 0),
        };
        Some(Typed {
            line: number,
            command: command.trim_end().to_owned(),
            code,
        })
    });
    typed.collect()
}
