//! Test programs: cargo builds them, and they run here, several at a time.
//!
//! `cargo test` runs one program after the other, and at the end of most of them all cores but one
//! are idle, because the last test is a long one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Context;
use super::steps::SYSTEM;
use crate::process::{Finished, run_all, run_for_output, typed};

/// A program that cargo has built from the tests of one target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) package: String,
    /// The target's kind and name, such as `lib livetrail_ledger`.
    pub(super) target: String,
    /// How many of its tests run at a time. Without a number, as many as there are cores.
    pub(super) tests_at_once: Option<usize>,
    /// The folder of its package, in which it runs.
    folder: PathBuf,
    path: PathBuf,
}

/// Builds the test programs that these arguments of `cargo test` choose.
pub(super) fn build(context: &Context, arguments: &[String]) -> Result<Vec<Program>> {
    let mut command = context.cargo(&["test", "--locked", "--no-run"]);
    command
        .arg("--message-format=json-render-diagnostics")
        .args(arguments);
    let what = typed(&command);
    let (finished, output) = run_for_output(&mut command, &context.label, &context.log)?;
    finished.ok(&what)?;
    let programs: Vec<_> = output.lines().filter_map(Program::of).collect();
    ensure!(
        !programs.is_empty(),
        "`{what}` has built no test program: is cargo's message still `compiler-artifact`?"
    );
    Ok(programs)
}

/// Runs them, up to `at_once` at a time, all of them also when one fails.
pub(super) fn run(context: &mut Context, programs: &[Program], at_once: usize) -> Result<()> {
    let cargo = context.cargo(&[]).get_program().to_owned();
    let commands = programs
        .iter()
        .map(|program| {
            let mut command = Command::new(&program.path);
            // As cargo does it. What else it sets is compiled in.
            command
                .current_dir(&program.folder)
                .env("CARGO", &cargo)
                .env("CARGO_MANIFEST_DIR", &program.folder);
            if let Some(tests) = program.tests_at_once {
                command.env("RUST_TEST_THREADS", tests.to_string());
            }
            (program.name(), command)
        })
        .collect();
    let (label, log) = (context.label.clone(), context.log.clone());
    let counts = &mut context.counts;
    let finished = run_all(commands, at_once, &label, &log, |line| counts.read(line))?;
    judge(programs, finished)
}

/// An error that names the programs that failed and shows the end of what each printed.
fn judge(programs: &[Program], finished: Vec<Finished>) -> Result<()> {
    let failed: Vec<_> = programs
        .iter()
        .zip(finished)
        .filter_map(|(program, finished)| Some((program, finished.ok(&program.name()).err()?)))
        .collect();
    let shown: Vec<_> = failed
        .iter()
        .map(|(program, error)| {
            let (package, target) = (&program.package, &program.target);
            format!("{error:#}\n\n`{target}` of `{package}` failed")
        })
        .collect();
    ensure!(shown.is_empty(), "{}", shown.join("\n"));
    Ok(())
}

impl Program {
    /// What a line of cargo's messages says, if it is about a test program.
    fn of(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let is_test = message["profile"]["test"].as_bool()?;
        let path = message["executable"].as_str().filter(|_| is_test)?;
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
        let target = &message["target"];
        let kind = target["kind"].as_array()?.first()?.as_str()?;
        Some(Self {
            package: package(message["package_id"].as_str()?).to_owned(),
            target: format!("{kind} {}", target["name"].as_str()?),
            tests_at_once: None,
            folder: folder.to_path_buf(),
            path: path.into(),
        })
    }

    /// Whether it tests the server under real clients. The package's own library has unit tests.
    pub(super) fn is_system_test(&self) -> bool {
        self.package == SYSTEM && self.target.starts_with("test ")
    }

    fn name(&self) -> String {
        format!("{} {}", self.package, self.target)
    }
}

/// The package that a specification of cargo names: `path+file:///a/name#0.1.0`, or with another
/// name than its folder's `path+file:///a/b#name@0.1.0`.
fn package(id: &str) -> &str {
    let (place, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => place.rsplit('/').next().unwrap_or(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEST: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/crates/livetrail-a#0.1.0","manifest_path":"/w/crates/livetrail-a/Cargo.toml","target":{"kind":["test"],"name":"it"},"profile":{"test":true},"executable":"/w/target/debug/deps/it-1"}"#;

    #[test]
    fn a_test_program_is_read_from_cargos_message_and_nothing_else_is() {
        let program = Program::of(TEST).unwrap();
        assert_eq!(program.name(), "livetrail-a test it");
        assert_eq!(program.folder, Path::new("/w/crates/livetrail-a"));
        assert_eq!(program.path, Path::new("/w/target/debug/deps/it-1"));
        let binary = TEST.replace("\"test\":true", "\"test\":false");
        let library = TEST.replace("\"/w/target/debug/deps/it-1\"", "null");
        for other in [
            binary.as_str(),
            &library,
            "{\"reason\":\"build-finished\"}",
            "warning",
        ] {
            assert_eq!(Program::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_package_is_named_by_its_folder_or_behind_it() {
        assert_eq!(package("path+file:///w/xtask#0.1.0"), "xtask");
        assert_eq!(package("path+file:///w/x#livetrail@0.1.0"), "livetrail");
    }
}
