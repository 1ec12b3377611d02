//! Signing that waits for an answer: from those who must say what they have seen of this log, and
//! have not.
//!
//! A start seals what was durable before it: a copy of the log, however old, has a beginning of what the newest one has, and a tree of that
//! beginning accuses nobody. What is recorded from then on is made durable and waits, unsigned, until everyone named here has answered.
//!
//! ```text
//! private/held   livetrail-held/v1 LF     written before the first entry that must wait, and removed before that is signed
//!                NAME LF                  one line for each
//! ```

use std::collections::BTreeSet;

use crate::{
    error::LedgerError,
    layout,
    store::{Access, Store, replace},
};

const FIRST_LINE: &str = "livetrail-held/v1";

/// The names in the file; empty when there is none.
pub(crate) fn read(store: &dyn Store) -> Result<BTreeSet<String>, LedgerError> {
    let bytes = match store.read(layout::HELD) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(LedgerError::io("read", layout::HELD, error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| LedgerError::HeldFile)?;
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(LedgerError::HeldFile);
    }
    Ok(lines.map(str::to_owned).collect())
}

/// Makes the file say these names, durably; without any there is no file.
pub(crate) fn write(store: &dyn Store, names: &BTreeSet<String>) -> Result<(), LedgerError> {
    let written = if names.is_empty() {
        match store.read(layout::HELD) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            _ => store
                .remove(layout::HELD)
                .and_then(|()| store.sync_dir(layout::PRIVATE)),
        }
    } else {
        let mut text = format!("{FIRST_LINE}\n");
        for name in names {
            text.push_str(name);
            text.push('\n');
        }
        replace(store, layout::HELD, text.as_bytes(), Access::Private)
    };
    written.map_err(|error| LedgerError::io("write", layout::HELD, error))
}
