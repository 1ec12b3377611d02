//! All bundles of a log, scanned in parallel where the system has threads.

use livetrail_tlog::Bundle;

use crate::error::VerifyError;
use crate::scan::entry::Records;
#[cfg(feature = "host")]
use crate::scan::workers;
use crate::scan::{Scanned, scan};
use crate::sources::Source;

/// Scans every bundle of a log of `size` entries and passes each to `take`, in order, until `take`
/// returns `false`. One thread is the caller's own; more are workers.
pub(crate) fn scan_all(
    source: &dyn Source,
    size: u64,
    threads: usize,
    mut take: impl FnMut(&mut Scanned) -> bool,
) -> Result<(), VerifyError> {
    #[cfg(feature = "host")]
    if threads > 1 {
        return workers::run(source, size, threads, take);
    }
    #[cfg(not(feature = "host"))]
    let _ = threads;
    let mut records = Records::default();
    for bundle in (0..).map_while(|number| Bundle::in_tree(number, size)) {
        let mut scanned = scan(source, bundle, size, records);
        if !take(&mut scanned) {
            break;
        }
        records = scanned.into_records();
    }
    Ok(())
}
