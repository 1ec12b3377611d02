//! Leaves a note of what a command reads, so that it is on record who looked.

use std::path::Path;

use livetrail_engine::{Clock as _, SystemClock};

use livetrail_trail::looked::{
    Act,
    notes::{self, Done, Note},
};

use crate::output::complain;

/// Leaves a note for the server, before anything is shown. A copy of a trail has no private part
/// and no server: reading it leaves none. If the note cannot be written, a warning reports this and
/// the command continues.
pub(super) fn leave_note(trail: &Path, act: Act, what: &str, filter: &str) {
    if !trail.join("private").is_dir() {
        return;
    }
    let left = notes::filter_hash(trail, filter).and_then(|filter| {
        let done = Done::Looked {
            act,
            what: what.to_owned(),
            filter: Some(filter),
        };
        notes::leave(trail, &note(done))
    });
    if let Err(error) = left {
        complain(&format!(
            "warning: it is not on record that you looked: {error:#}"
        ));
    }
}

/// A note of the local user, at this moment.
pub(super) fn note(done: Done) -> Note {
    Note {
        ts_ms: SystemClock::new().unix_ms(),
        by: notes::local_user(),
        done,
    }
}
