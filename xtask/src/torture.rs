//! `cargo xtask torture`: the long form of the ledger's system tests: hundreds of kills, several
//! rounds of faults.

use std::process::Command;

use anyhow::Result;

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, say, typed};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often the writer is killed, each time followed by recovery and a whole verification
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    kills: u32,
    /// How often the table of system-call faults is gone through, each time at other calls
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// The random numbers of an earlier run; a run that fails says its own
    #[arg(long)]
    seed: Option<u64>,
    /// Only tests with this in their name: `kills`, `faults`, `tamper`, …
    only: Option<String>,
}

/// Runs the tests with their output shown. Returns `false` when one failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?).args([
        "test",
        "--package",
        "system-tests",
        "--test",
        "ledger",
        "--",
        "--nocapture",
    ]);
    command.args(&arguments.only);
    command
        .env("LIVETRAIL_TORTURE_KILLS", arguments.kills.to_string())
        .env("LIVETRAIL_TORTURE_ROUNDS", arguments.rounds.to_string())
        .env("LIVETRAIL_TORTURE_WHOLE", "1");
    if let Some(seed) = arguments.seed {
        command.env("LIVETRAIL_TORTURE_SEED", seed.to_string());
    }
    say(&format!(
        "{} kills, {} rounds of faults: {}",
        arguments.kills,
        arguments.rounds,
        typed(&command)
    ));
    let watch = Stopwatch::start();
    let sound = pass_through(&mut command)?.success();
    let outcome = if sound { "held" } else { "FAILED" };
    say(&format!("torture: {outcome} · {}", human(watch.elapsed())));
    Ok(sound)
}
