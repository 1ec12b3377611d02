//! `livetrail trail tail`.

use std::{collections::VecDeque, process::ExitCode, thread, time::Duration};

use super::{filter::Filter, open, query::is_of_a_line, show};
use crate::{
    cli::TrailTail,
    output::{Failure, Outcome, complain, say},
};

/// How soon a new record is seen.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Most records that are held for `-n`.
const MAX_LINES: usize = 100_000;

/// Runs it.
pub(super) fn run(args: &TrailTail) -> Outcome {
    let filter = Filter::new(&args.filter)?;
    let mut trail = open(&args.trail)?;
    let wanted = args.lines.min(MAX_LINES);
    let mut last = VecDeque::with_capacity(wanted.min(1_024));
    for line in trail.by_ref() {
        match line {
            Ok(line) if wanted > 0 && filter.fits(&line.record) => {
                if last.len() == wanted {
                    last.pop_front();
                }
                last.push_back(line.record);
            }
            Ok(_) => {}
            Err(error) if is_of_a_line(&error) => {}
            Err(error) => return Err(Failure::unusable(error)),
        }
    }
    for record in last {
        say(&show::line(&record, args.format)?)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        match trail.next() {
            Some(Ok(line)) if filter.fits(&line.record) => {
                say(&show::line(&line.record, args.format)?)?;
            }
            Some(Ok(_)) => {}
            Some(Err(error)) if is_of_a_line(&error) => complain(&error.to_string()),
            Some(Err(error)) => return Err(Failure::unusable(error)),
            None => thread::sleep(POLL_INTERVAL),
        }
    }
}
