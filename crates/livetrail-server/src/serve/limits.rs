//! What the system allows the process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// With fewer files a server of the default limits cannot hold what it lets in.
const FEW_FILES: u64 = 4_096;

/// Raises the number of files and connections that may be open to what the system allows at most: the usual default, 1,024, is
/// for programs that use `select`.
pub(super) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit on open files cannot be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current;
    match files {
        Some(files) if files < FEW_FILES => {
            tracing::warn!(
                files,
                "few files may be open: so few connections, too; raise the limit (ulimit -n)"
            );
        }
        _ => tracing::debug!(files, "open files"),
    }
}
