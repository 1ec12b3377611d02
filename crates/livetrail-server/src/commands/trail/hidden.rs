//! What an answer about records does not show.

use livetrail_index::Hits;

use crate::output::complain;

/// Reports what may be missing from an answer.
pub(super) fn warn_of_hidden(hits: &Hits<'_>) {
    if hits.unreadable() > 0 {
        complain(&format!(
            "{} entries are no records; `livetrail trail verify` says which",
            hits.unreadable()
        ));
    }
    for absent in hits.absent() {
        complain(&format!(
            "entries {} to {} are missing and were not checked; `livetrail trail verify` says whether they were removed by policy",
            absent.start,
            absent.end.saturating_sub(1)
        ));
    }
}
