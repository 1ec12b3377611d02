//! `livetrail trail`.

mod check;
mod filter;
mod query;
mod show;
mod tail;

use livetrail_audit::FileTrail;

use crate::{
    cli::{Trail, TrailPath},
    output::{Failure, Outcome},
    serve::trail_file,
};

pub(crate) use show::{short_session, table, trail_rows};

/// Runs it.
pub(crate) fn run(command: &Trail) -> Outcome {
    match command {
        Trail::Query(args) => query::run(args),
        Trail::Tail(args) => tail::run(args),
        Trail::Check(args) => check::run(args),
    }
}

fn open(path: &TrailPath) -> Result<FileTrail, Failure> {
    FileTrail::open(trail_file(&path.path)).map_err(Failure::unusable)
}
