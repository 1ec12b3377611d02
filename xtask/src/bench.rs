//! `cargo xtask bench`: builds the workspace `benches/` with optimisation and runs its programs one
//! after the other. Then it runs an example of the record's crate, and at last those that need what
//! the system tests have: the servers that sinks write to, and ours.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::process::{pass_through, say};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this benchmark; without a name, all
    name: Option<String>,
    /// Passed on to the benchmark
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The programs of `benches/`, in the order in which they run.
const BENCHES: &[&str] = &[
    "offer",
    "allocations",
    "file-sink",
    "fanout",
    "viewers",
    "hls",
    "handshakes",
    "profile",
    "ledger",
    "index",
    "verify",
    "beside",
];

/// The example that measures the encoding of a record, and its name here.
const ENCODE: (&str, &str) = ("encode", "encode_cost");

/// The programs of the system tests that measure, and their names here: with optimisation, and as
/// tests are built, because what counts is what the server leaves and not how fast it is.
const SINKS: (&str, &str) = ("sinks", "sinks_speed");
const MEMORY: (&str, &str) = ("memory", "memory");

/// Runs what is asked for. Returns `false` when a benchmark could not be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let root = workspace::root()?;
    let wanted = |name: &str| arguments.name.as_deref().is_none_or(|only| only == name);
    let all = BENCHES.iter().copied().chain([ENCODE.0, SINKS.0, MEMORY.0]);
    if !all.clone().any(wanted) {
        let names: Vec<_> = all.collect();
        bail!(
            "there is no benchmark `{}`; the benchmarks are {}",
            arguments.name.as_deref().unwrap_or_default(),
            names.join(", ")
        );
    }
    let cargo = |folder: &Path| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(folder);
        command
    };
    let mut sound = true;
    let names: Vec<_> = BENCHES.iter().filter(|name| wanted(name)).collect();
    if !names.is_empty() {
        let benches = root.join("benches");
        ensure!(
            pass_through(cargo(&benches).args(["build", "--release"]))?.success(),
            "the benchmarks do not build"
        );
        for name in names {
            say(&format!("\n## {name}\n"));
            let mut command = cargo(&benches);
            command.args(["run", "--quiet", "--release", "--bin", name, "--"]);
            sound &= pass_through(command.args(&arguments.rest))?.success();
        }
    }
    if wanted(ENCODE.0) {
        say(&format!("\n## {}\n", ENCODE.0));
        let mut command = cargo(&root);
        command.args(["run", "--release", "--package", "livetrail-record"]);
        command.args(["--example", ENCODE.1, "--"]);
        sound &= pass_through(command.args(&arguments.rest))?.success();
    }
    if wanted(SINKS.0) {
        say(&format!("\n## {}\n", SINKS.0));
        let mut command = cargo(&root);
        command.args(["run", "--release", "--package", "system-tests"]);
        command.args(["--example", SINKS.1, "--"]);
        sound &= pass_through(command.args(&arguments.rest))?.success();
    }
    if wanted(MEMORY.0) {
        say(&format!("\n## {}\n", MEMORY.0));
        let mut command = cargo(&root);
        command.args(["run", "--quiet", "--package", "system-tests"]);
        command.args(["--example", MEMORY.1, "--"]);
        sound &= pass_through(command.args(&arguments.rest))?.success();
    }
    Ok(sound)
}
