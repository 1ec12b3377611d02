//! `cargo xtask flood`: the long form of the flood by strangers: each attack for a minute, from one
//! address and from 250, on a disk with room, on one that is nearly full, and through a proxy. Then
//! handshakes of TLS that never end, and certificates that are exchanged under joins.

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
    /// How many handshakes of TLS never end. The test and the server open two files for each
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    handshakes: u32,
    /// How often the certificate is exchanged under joins
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    exchanges: u32,
    /// Only the test with this in its name: `fills_the_disk`, `nearly_full`, `proxy`, `tls::`
    only: Option<String>,
}

/// Runs the tests with their figures shown, one after the other. Returns `false` when one failed.
pub(crate) fn run(arguments: &Arguments) -> Result<bool> {
    let watch = Stopwatch::start();
    let only = arguments.only.as_deref();
    let mut held = true;
    if only.is_none_or(|only| !only.starts_with("tls")) {
        let mut command = test("flood", only)?;
        command.env("LIVETRAIL_FLOOD_SECONDS", arguments.seconds.to_string());
        say(&format!(
            "twelve attacks of {} s, three times: {}",
            arguments.seconds,
            typed(&command)
        ));
        held &= pass_through(&mut command)?.success();
    }
    if only.is_none_or(|only| only.starts_with("tls")) {
        let mut command = test("system", Some(only.unwrap_or("tls::")))?;
        command.env("LIVETRAIL_TLS_HALF_OPEN", arguments.handshakes.to_string());
        command.env("LIVETRAIL_TLS_SWAPS", arguments.exchanges.to_string());
        say(&format!(
            "{} handshakes that never end, {} certificates: {}",
            arguments.handshakes,
            arguments.exchanges,
            typed(&command)
        ));
        held &= pass_through(&mut command)?.success();
    }
    let outcome = if held { "held" } else { "FAILED" };
    say(&format!("flood: {outcome} · {}", human(watch.elapsed())));
    Ok(held)
}

/// The command for the tests of this binary with this in their names.
fn test(binary: &str, only: Option<&str>) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root()?).args([
        "test",
        "--release",
        "--package",
        "system-tests",
        "--test",
        binary,
        "--",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.args(only);
    Ok(command)
}
