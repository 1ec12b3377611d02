//! Names of the files in a trail's directory (ledger-format §4).

use livetrail_tlog::KeyId;

/// The published checkpoint.
pub(crate) const CHECKPOINT: &str = "checkpoint";
/// Everything that is not served.
pub(crate) const PRIVATE: &str = "private";
/// Locked with `flock` by the one process that writes.
pub(crate) const LOCK: &str = "private/lock";
/// The log's manifest: origin, keys, format.
pub(crate) const MANIFEST: &str = "private/log.json";
/// The tree that is about to be signed, or was.
pub(crate) const INTENT: &str = "private/intent";
/// One file for each replica or hold.
pub(crate) const CURSORS: &str = "private/cursors";
/// The index up to which entries were pruned.
pub(crate) const PRUNED: &str = "private/pruned";
/// The names whose answers signing waits for.
pub(crate) const HELD: &str = "private/held";
/// The last checkpoint that each witness has cosigned.
pub(crate) const WITNESSES: &str = "private/witness.json";
/// Every checkpoint that a witness has cosigned, kept forever.
pub(crate) const CHECKPOINTS: &str = "private/checkpoints";
/// The checkpoint under which a key was retired, under the key's id; served.
pub(crate) const HAND_OVERS: &str = "handover";
/// The newest checkpoint that at least this many witnesses have cosigned, under the number; served.
pub(crate) const COSIGNED: &str = "cosigned";
/// Space reserved for emergencies.
pub(crate) const BALLAST: &str = "private/ballast";
/// Tiles and bundles that are not durable yet, under temporary names; emptied at every start.
pub(crate) const STAGE: &str = "private/stage";
/// Segments of the write-ahead log.
pub(crate) const WAL: &str = "private/wal";
/// A segment of zeros, ready for use.
pub(crate) const WAL_SPARE: &str = "private/wal/spare";
/// The same while its zeros are being written.
pub(crate) const WAL_SPARE_NEW: &str = "private/wal/spare.new";
/// A segment before it has its header and its name.
pub(crate) const WAL_NEW: &str = "private/wal/segment.new";
/// Everything that is served, except checkpoints.
pub(crate) const TILES: &str = "tile";

/// The segment that begins with this index: 20 digits, so that names sort as indices do.
pub(crate) fn segment(first_index: u64) -> String {
    format!("{WAL}/{first_index:020}.wal")
}

/// The first index of the segment with this name (without the directory), if the name is valid.
pub(crate) fn segment_first_index(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".wal")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// An archived checkpoint of this size.
pub(crate) fn archived(size: u64) -> String {
    format!("{CHECKPOINTS}/{size:020}.note")
}

/// The checkpoint under which this key was retired.
pub(crate) fn hand_over(key: KeyId) -> String {
    format!("{HAND_OVERS}/{key}")
}

/// The newest checkpoint that at least this many witnesses have cosigned.
pub(crate) fn cosigned(witnesses: usize) -> String {
    format!("{COSIGNED}/{witnesses}")
}

/// The path where a tile or bundle waits until it is durable: its own path without slashes.
pub(crate) fn staged(path: &str) -> String {
    format!("{STAGE}/{}", path.replace('/', "-"))
}

/// The path where the replacement of a file is prepared: next to it if it is private, otherwise
/// among the private files.
pub(crate) fn staging_path(path: &str) -> String {
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
    fn segment_names_are_read_back_and_other_names_are_refused() {
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
