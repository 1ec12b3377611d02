//! Changes to the cursor file of a sink whose destination cannot report what it holds.

use std::path::{Path, PathBuf};

use livetrail_replica::conformance::{Manipulation, TestLog};

/// The cursor file of a sink whose cursors are in this folder.
pub(crate) fn manipulate(folder: &Path, log: &TestLog, what: Manipulation) -> bool {
    let path = cursor_below(folder);
    match what {
        Manipulation::Emptied => std::fs::remove_file(path).unwrap(),
        Manipulation::Claimed => claim(&path, log.size()),
        // It is read as a whole, and has room for nothing else.
        Manipulation::Foreign => return false,
    }
    true
}

/// Changes the cursor so that it claims a hundred more entries.
pub(crate) fn claim(path: &Path, size: u64) {
    let cursor = std::fs::read(path).unwrap();
    let line = format!("\nnext {size}\n");
    let at = cursor
        .windows(line.len())
        .position(|window| window == line.as_bytes())
        .unwrap();
    let mut changed = cursor.clone();
    let more = format!("\nnext {}\n", size + 100);
    changed.splice(at..at + line.len(), more.into_bytes());
    std::fs::write(path, changed).unwrap();
}

/// The only cursor in a sink's own folder.
fn cursor_below(folder: &Path) -> PathBuf {
    let sinks = std::fs::read_dir(folder).unwrap();
    let files = sinks.flat_map(|sink| std::fs::read_dir(sink.unwrap().path()).unwrap());
    let mut cursors = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "cursor"));
    cursors.next().unwrap()
}
