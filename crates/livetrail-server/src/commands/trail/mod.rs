//! `livetrail trail`.

mod check;
mod export;
mod filter;
mod init;
mod keep;
mod prove;
mod query;
mod rotate;
mod show;
mod sinks;
mod source;
mod tail;
mod verify;

use crate::{cli::Trail, output::Outcome};

pub(crate) use export::copy_site;
pub(crate) use show::{short_session, table, trail_rows};

/// Runs it.
pub(crate) fn run(command: &Trail) -> Outcome {
    match command {
        Trail::Init(args) => init::run(args),
        Trail::Query(args) => query::run(args),
        Trail::Tail(args) => tail::run(args),
        Trail::Check(args) => check::run(args),
        Trail::Verify(args) => verify::run(args),
        Trail::Checkpoint(args) => prove::checkpoint(args),
        Trail::Prove(args) => prove::prove(args),
        Trail::Export(args) => export::run(args),
        Trail::Sinks(command) => sinks::run(command),
        Trail::RotateKey(args) => rotate::run(args),
        Trail::Prune(args) => keep::prune(args),
        Trail::Hold(args) => keep::hold(args),
        Trail::ConfirmClock(keeper) => keep::confirm_clock(keeper),
    }
}
