//! What CI and people run: `cargo xtask test`, `tidy`, `prose`, `fuzz`, `torture`, `outage`,
//! `flood`, `soak`, `windows`, `package` and `bench`.
//!
//! Everything here drives the same tools that a person would type, prints the command when one
//! fails, and exits with 0 only if everything asked for was done and was right.

mod bench;
mod clock;
mod flood;
mod fuzz;
mod outage;
mod package;
mod process;
mod prose;
mod soak;
mod test;
mod tidy;
mod toolchain;
mod torture;
mod windows;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Test, tidy, fuzz, torture and measure Livetrail"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that CI checks: format, lints, rules of the house, licences, tests, documentation
    Test(test::Arguments),
    /// The rules of the house: which crate may know what, how files begin, how long they are
    Tidy,
    /// How this project writes: the places to rewrite, or a random sample for a careful reader
    Prose(prose::Arguments),
    /// Fuzz the parsers with libFuzzer, each target for a bounded time
    Fuzz(fuzz::Arguments),
    /// Kill the ledger's writer and break its disk, hundreds of times; verify the trail each time
    Torture(torture::Arguments),
    /// Stop each sink's server for an hour's records, kill both sides, then compare and verify
    Outage(outage::Arguments),
    /// Flood the server with refused attempts and short sessions; check what honest sessions notice
    Flood(flood::Arguments),
    /// Let viewers and publishers come, go and stall at random for ten minutes, and check the trail
    Soak(soak::Arguments),
    /// Run the verifier's Windows program under Wine, and compare its answers with those of Linux
    Windows,
    /// Make the Debian package, its bill of materials and its checksums, in target/package
    Package(package::Arguments),
    /// Run the benchmarks and print ratios against a peer
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Prose(arguments) => prose::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Torture(arguments) => torture::run(&arguments),
        Command::Outage(arguments) => outage::run(&arguments),
        Command::Flood(arguments) => flood::run(&arguments),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Windows => windows::run(),
        Command::Package(arguments) => package::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            process::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
