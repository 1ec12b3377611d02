//! Operations on personal data: through the running server, or on the trail while none runs.

use std::path::Path;

use livetrail_trail::{
    Maintenance, Settings,
    looked::notes::{self, Done},
    personal::{Answered, Asked, ErasureReport},
};

use super::looked::note;
use crate::output::{Failure, say};

/// Does what is asked. A vault that a server has open takes no second writer, so the server does
/// it.
pub(super) fn change(settings: &Settings, why: &str, asked: &Asked) -> Result<Answered, Failure> {
    let answered = match Maintenance::begin(settings, why) {
        Ok(maintenance) => {
            let answered = maintenance.run(asked);
            maintenance.end()?;
            answered.map_err(Failure::unusable)?
        }
        Err(error) if error.is_in_use() => asked.ask_server(settings).map_err(Failure::unusable)?,
        Err(error) => return Err(Failure::unusable(error)),
    };
    match answered {
        Answered::Refused(why) => Err(Failure::unusable(anyhow::anyhow!(why))),
        answered => Ok(answered),
    }
}

/// Prints what a request did.
pub(super) fn say_erased(report: &ErasureReport) -> anyhow::Result<()> {
    let request = &report.request;
    say(&format!(
        "request {request}: {} openings are erased, on record",
        report.erased
    ))?;
    if report.unknown > 0 {
        say(&format!(
            "{} sessions have no opening; one that comes later is refused",
            report.unknown
        ))?;
    }
    if report.held > 0 {
        say(&format!(
            "{} openings stay, because of the hold {}: the request waits, and runs when the hold is released",
            report.held,
            report.holds.join(", ")
        ))?;
    } else if !report.completed {
        say(
            "it is not complete: a sink has openings and has not erased them yet; `admin_erasure_completed` will say when it has",
        )?;
    }
    if report.damaged > 0 {
        say(&format!(
            "{} rows of the vault cannot be read, so it is unknown whose they are; `livetrail trail verify` does not check the vault, restore it from a back-up",
            report.damaged
        ))?;
    }
    Ok(())
}

/// Leaves a note for the server that personal fields of this many sessions will be shown. Without
/// the note nothing may be shown.
pub(super) fn note_disclosure(
    trail: &Path,
    purpose: &str,
    filter: &str,
    count: usize,
) -> Result<(), Failure> {
    let left = notes::filter_hash(trail, filter).and_then(|filter| {
        let done = Done::Disclosed {
            purpose: purpose.to_owned(),
            filter,
            count: u64::try_from(count).unwrap_or(u64::MAX),
        };
        notes::leave(trail, &note(done))
    });
    left.map_err(|error| {
        let error = anyhow::Error::new(error);
        Failure::unusable(error.context("nothing is shown, because it cannot be put on record"))
    })
}
