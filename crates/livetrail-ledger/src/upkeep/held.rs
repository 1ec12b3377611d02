//! Held signing: signing waits for those who must report what they have seen of this log, and have
//! not done so.
//!
//! A start seals everything that was durable before it: even an old copy of the log is a prefix of
//! the newest one, and a tree of that prefix accuses nobody. Later entries are made durable and
//! remain unsigned until everyone named here has answered.
//!
//! ```text
//! private/held   livetrail-held/v1 LF     written before the first entry that must wait,
//!                NAME LF                  removed before that entry is signed; one line per name
//! ```

use std::collections::BTreeSet;

use crate::{
    error::LedgerError,
    layout,
    store::{Access, Store, replace},
};

const FIRST_LINE: &str = "livetrail-held/v1";

/// The names in the file; empty without a file.
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

/// Durably replaces the names in the file; without names there is no file.
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
