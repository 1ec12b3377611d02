//! `cargo xtask bench`: builds the workspace `benches/` with optimisation and runs its programs one after the other.

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
    "ledger",
    "index",
    "verify",
];

/// Runs what is asked for; `false` when a benchmark could not be measured.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let benches = workspace::root()?.join("benches");
    if let Some(unknown) = arguments
        .name
        .as_deref()
        .filter(|name| !BENCHES.contains(name))
    {
        bail!(
            "there is no benchmark `{unknown}`; the benchmarks are {}",
            BENCHES.join(", ")
        );
    }
    let cargo = || {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&benches);
        command
    };
    ensure!(
        pass_through(cargo().args(["build", "--release"]))?.success(),
        "the benchmarks do not build"
    );
    let mut sound = true;
    for name in BENCHES.iter().filter(|name| {
        arguments
            .name
            .as_deref()
            .is_none_or(|wanted| wanted == **name)
    }) {
        say(&format!("\n## {name}\n"));
        let status = pass_through(
            cargo()
                .args(["run", "--quiet", "--release", "--bin", name, "--"])
                .args(&arguments.rest),
        )?;
        sound &= status.success();
    }
    Ok(sound)
}
