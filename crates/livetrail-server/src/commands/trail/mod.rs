//! `livetrail trail`.

mod change;
pub(crate) mod check;
pub(crate) mod erase;
pub(crate) mod export;
mod filter;
mod fleet;
mod hidden;
pub(crate) mod init;
pub(crate) mod keep;
mod looked;
mod persons;
pub(crate) mod prove;
pub(crate) mod query;
pub(crate) mod review;
pub(crate) mod rotate;
mod show;
pub(crate) mod sinks;
mod source;
pub(crate) mod subject;
pub(crate) mod tail;
pub(crate) mod verify;

use crate::{cli::Trail, output::Outcome};

pub(crate) use export::copy_site;
pub(crate) use init::created_words;
pub(crate) use show::{rows_without_names, short_session, table};

/// Runs the command.
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
        Trail::Erase(args) => erase::run(args),
        Trail::Subject(args) => subject::subject(args),
        Trail::Opening(args) => subject::opening(args),
        Trail::Review(args) => review::run(args),
        Trail::ConfirmClock(keeper) => keep::confirm_clock(keeper),
    }
}
