//! Names of the files in a trail's directory (ledger-format §4).

use livetrail_tlog::KeyId;

/// The published checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Everything that is not served.
pub(crate) const PRIVATE: &str = "private";
/// Held with `flock` by the one process that writes.
pub(crate) const LOCK: &str = "private/lock";
/// Which log this is: origin, keys, format.
pub(crate) const MANIFEST: &str = "private/log.json";
/// What is about to be signed, or was.
pub(crate) const INTENT: &str = "private/intent";
/// One file for each replica or hold.
pub(crate) const CURSORS: &str = "private/cursors";
/// Up to where entries were pruned.
pub(crate) const PRUNED: &str = "private/pruned";
/// Whose answers signing waits for.
pub(crate) const HELD: &str = "private/held";
/// What each witness has cosigned last.
pub(crate) const WITNESSES: &str = "private/witness.json";
/// Every checkpoint that a witness has cosigned, for ever.
pub(crate) const CHECKPOINTS: &str = "private/checkpoints";
/// Under a key's id, the checkpoint under which it was given up; served.
pub(crate) const HAND_OVERS: &str = "handover";
/// Under a number, the newest checkpoint that at least this many witnesses have cosigned; served.
pub(crate) const COSIGNED: &str = "cosigned";
/// Space kept for bad times.
pub(crate) const BALLAST: &str = "private/ballast";
/// Tiles and bundles that are not durable yet, under names of their own; wiped at every start.
pub(crate) const STAGE: &str = "private/stage";
/// Segments of the write-ahead log.
pub(crate) const WAL: &str = "private/wal";
/// A segment of zeros, ready for use.
pub(crate) const WAL_SPARE: &str = "private/wal/spare";
/// The same while its zeros are being written.
pub(crate) const WAL_SPARE_NEW: &str = "private/wal/spare.new";
/// A segment before it has its header and its name.
pub(crate) const WAL_NEW: &str = "private/wal/segment.new";
/// Everything that is served, but checkpoints.
pub(crate) const TILES: &str = "tile";

/// The segment that begins with this index: 20 digits, so that names sort as indices do.
pub(crate) fn segment(first_index: u64) -> String {
    format!("{WAL}/{first_index:020}.wal")
}

/// The first index of the segment with this name (without the directory), if it is one.
pub(crate) fn segment_first_index(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// An archived checkpoint of this size.
pub(crate) fn archived(size: u64) -> String {
    format!("{CHECKPOINTS}/{size:020}.note")
}

/// The checkpoint under which this key was given up.
pub(crate) fn hand_over(key: KeyId) -> String {
    format!("{HAND_OVERS}/{key}")
}

/// The newest checkpoint that at least this many witnesses have cosigned.
pub(crate) fn cosigned(witnesses: usize) -> String {
    format!("{COSIGNED}/{witnesses}")
}

/// Where a tile or bundle waits until it is durable: its path with the slashes made flat.
pub(crate) fn staged(path: &str) -> String {
    format!("{STAGE}/{}", path.replace('/', "-"))
}

/// Where the replacement of a file is prepared: beside it when it is private, else among the private ones.
pub(crate) fn staging_place(path: &str) -> String {
    if path.starts_with(PRIVATE) {
        path.to_owned()
    } else {
        format!("{PRIVATE}/{}", path.replace('/', "-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_names_are_read_back_and_others_are_not_taken_for_one() {
        assert_eq!(segment(7), "private/wal/00000000000000000007.wal");
        assert_eq!(segment_first_index("00000000000000000007.wal"), Some(7));
        for other in [
            "spare",
            "7.wal",
            "+0000000000000000007.wal",
            "99999999999999999999.wal",
        ] {
            assert_eq!(segment_first_index(other), None, "{other}");
        }
    }
}
