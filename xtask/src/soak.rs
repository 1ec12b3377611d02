//! `cargo xtask soak`: the long form of the server's soak: minutes of viewers and publishers that
//! come, go and stall at random.

use std::process::Command;

use anyhow::Result;

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, say, typed};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long it continues
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(5..=1_000_000))]
    seconds: u32,
    /// The random numbers of an earlier run; each run says its own
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the test with its output shown. Returns `false` when it failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?).args([
        "test",
        "--package",
        "system-tests",
        "--test",
        "system",
        "--",
        "--nocapture",
        "soak",
    ]);
    command.env("LIVETRAIL_SOAK_SECONDS", arguments.seconds.to_string());
    if let Some(seed) = arguments.seed {
        command.env("LIVETRAIL_SOAK_SEED", seed.to_string());
    }
    say(&typed(&command));
    let watch = Stopwatch::start();
    let sound = pass_through(&mut command)?.success();
    let outcome = if sound { "held" } else { "FAILED" };
    say(&format!("soak: {outcome} · {}", human(watch.elapsed())));
    Ok(sound)
}
