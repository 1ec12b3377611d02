//! `livetrail trail tail`.

use std::{process::ExitCode, thread, time::Duration};

use super::{filter::filter, show, source::Source};
use crate::{
    cli::TrailTail,
    output::{Outcome, complain, say},
};

/// How soon a new record is seen, once it is published.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Most records that are held for `-n`.
const MAX_LINES: usize = 100_000;

/// Runs it.
pub(super) fn run(args: &TrailTail) -> Outcome {
    let filter = filter(&args.filter)?;
    let mut trail = Source::open(&args.trail)?;
    let wanted = args.lines.min(MAX_LINES);
    for record in trail.last(wanted, &filter)? {
        say(&show::line(&record, args.format)?)?;
    }
    if !args.follow {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        thread::sleep(POLL_INTERVAL);
        trail.each(|item| {
            match item.record {
                Ok(record) if filter.fits(&record) => say(&show::line(&record, args.format)?)?,
                Ok(_) => {}
                Err(error) => complain(&error),
            }
            Ok(())
        })?;
    }
}
