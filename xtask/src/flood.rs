//! `cargo xtask flood`: the long form of the flood by strangers: each attack for a minute, from one
//! address and from 250, on a disk with room, on one that is nearly full, and through a proxy.

use std::process::Command;

use anyhow::Result;

use crate::clock::{Stopwatch, human};
use crate::process::{pass_through, say, typed};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many seconds each of the twelve attacks lasts
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Only the test with this in its name: `fills_the_disk`, `nearly_full`, `proxy`
    only: Option<String>,
}

/// Runs the tests with their figures shown, one after the other. Returns `false` when one failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?).args([
        "test",
        "--release",
        "--package",
        "system-tests",
        "--test",
        "flood",
        "--",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.args(&arguments.only);
    command.env("LIVETRAIL_FLOOD_SECONDS", arguments.seconds.to_string());
    say(&format!(
        "twelve attacks of {} s, three times: {}",
        arguments.seconds,
        typed(&command)
    ));
    let watch = Stopwatch::start();
    let held = pass_through(&mut command)?.success();
    let outcome = if held { "held" } else { "FAILED" };
    say(&format!("flood: {outcome} · {}", human(watch.elapsed())));
    Ok(held)
}
