//! What operating systems do differently, in one place.
//!
//! | | Unix | Windows |
//! |---|---|---|
//! | who may read and write a file | mode bits | not known: its access list is not read |

use std::fs::Metadata;

/// A file's permissions.
#[cfg(unix)]
pub(crate) fn mode(metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(metadata.permissions().mode() & 0o7777)
}

/// A file's permissions. `None`: there are no permission bits. A file has the access list that its
/// directory hands down, so a secret belongs in a directory that is closed to others.
#[cfg(not(unix))]
pub(crate) const fn mode(_metadata: &Metadata) -> Option<u32> {
    None
}
