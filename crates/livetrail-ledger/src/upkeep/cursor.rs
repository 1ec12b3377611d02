//! Cursors of replicas and legal holds: the limits of retention (I6).

use livetrail_tlog::TILE_WIDTH;

use crate::{
    error::LedgerError,
    layout,
    store::{Access, Store, replace},
};

/// The contents of a file in `private/cursors/`.
///
/// ```text
/// livetrail-cursor/v1 LF
/// required | optional | hold LF
/// <index, decimal> LF
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// A required replica, before whose cursor nothing may be pruned: the next index that it needs.
    Required(u64),
    /// An optional replica, which may miss pruned entries: the next index that it needs.
    Optional(u64),
    /// A legal hold: nothing from this index on may be pruned.
    Hold(u64),
}

const FIRST_LINE: &str = "livetrail-cursor/v1";

impl Cursor {
    fn encode(self) -> String {
        let (kind, index) = match self {
            Self::Required(index) => ("required", index),
            Self::Optional(index) => ("optional", index),
            Self::Hold(index) => ("hold", index),
        };
        format!("{FIRST_LINE}\n{kind}\n{index}\n")
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let kind = lines.next()?;
        let index = lines.next()?.parse().ok()?;
        if lines.next().is_some() {
            return None;
        }
        match kind {
            "required" => Some(Self::Required(index)),
            "optional" => Some(Self::Optional(index)),
            "hold" => Some(Self::Hold(index)),
            _ => None,
        }
    }
}

/// Cursors and holds of a trail, by name.
pub(crate) fn read_cursors(store: &dyn Store) -> Result<Vec<(String, Cursor)>, LedgerError> {
    let listed = store
        .list(layout::CURSORS)
        .map_err(|error| LedgerError::io("list", layout::CURSORS, error))?;
    let mut cursors = Vec::new();
    for one in listed {
        // A file of another name is the temporary file of a replacement that a crash left behind.
        // Callers cannot give such a name.
        if one.is_dir || !is_name(&one.name) {
            continue;
        }
        let path = format!("{}/{}", layout::CURSORS, one.name);
        let bytes = store
            .read(&path)
            .map_err(|error| LedgerError::io("read", path.as_str(), error))?;
        // An unreadable cursor might be the one that forbids pruning.
        let cursor = str::from_utf8(&bytes).ok().and_then(Cursor::parse);
        cursors.push((one.name, cursor.ok_or(LedgerError::Cursor { path })?));
    }
    Ok(cursors)
}

pub(crate) fn write_cursor(
    store: &dyn Store,
    name: &str,
    cursor: Option<Cursor>,
) -> Result<(), LedgerError> {
    if !is_name(name) {
        return Err(LedgerError::CursorName {
            name: name.chars().take(80).collect(),
        });
    }
    let path = format!("{}/{name}", layout::CURSORS);
    let written = match cursor {
        Some(cursor) => store
            .create_dir(layout::CURSORS)
            .and_then(|_| replace(store, &path, cursor.encode().as_bytes(), Access::Private)),
        None => store
            .remove(&path)
            .and_then(|()| store.sync_dir(layout::CURSORS)),
    };
    written.map_err(|error| LedgerError::io("write", path, error))
}

/// Sets a legal hold on all entries from this one on, or lifts it with `None`. Durable when it
/// returns. Also works while another process writes the trail: that process reads the holds again
/// before it removes anything.
///
/// # Errors
/// [`LedgerError::CursorName`]; [`LedgerError::NoHold`] when lifting a hold that does not exist;
/// [`LedgerError::CursorTaken`] when a replica has this name; or an error of the store.
pub fn set_hold(store: &dyn Store, name: &str, from: Option<u64>) -> Result<(), LedgerError> {
    let there = read_cursors(store)?;
    let there = there.iter().find(|(known, _)| known == name);
    match there {
        Some((_, Cursor::Required(_) | Cursor::Optional(_))) => {
            return Err(LedgerError::CursorTaken {
                name: name.to_owned(),
            });
        }
        None if from.is_none() => {
            return Err(LedgerError::NoHold {
                name: name.chars().take(80).collect(),
            });
        }
        _ => {}
    }
    write_cursor(store, name, from.map(Cursor::Hold))
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// How far bundles may be pruned: the first index that must stay, when a policy is to remove
/// everything below `wanted` (I6).
///
/// Never beyond the cursor of a required replica or a hold, never beyond the sealed entries, and
/// always the first index of a bundle.
#[must_use]
pub fn prunable_below(wanted: u64, sealed: u64, cursors: &[Cursor]) -> u64 {
    let bound = cursors
        .iter()
        .filter_map(|cursor| match cursor {
            Cursor::Required(index) | Cursor::Hold(index) => Some(*index),
            Cursor::Optional(_) => None,
        })
        .chain([wanted, sealed])
        .min()
        .unwrap_or(0);
    let width = u64::from(TILE_WIDTH);
    bound.saturating_sub(bound.checked_rem(width).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemStore;
    use proptest::prelude::*;

    #[test]
    fn cursors_are_kept_and_removed_by_name() {
        let store = MemStore::new();
        write_cursor(&store, "s3", Some(Cursor::Required(7))).unwrap();
        write_cursor(&store, "case-17", Some(Cursor::Hold(3))).unwrap();
        write_cursor(&store, "s3", Some(Cursor::Required(9))).unwrap();
        let found = read_cursors(&store).unwrap();
        assert_eq!(
            found,
            [
                ("case-17".to_owned(), Cursor::Hold(3)),
                ("s3".to_owned(), Cursor::Required(9))
            ]
        );
        write_cursor(&store, "case-17", None).unwrap();
        assert_eq!(read_cursors(&store).unwrap().len(), 1);
        for name in ["", "../log", "a/b", "a.new", "ä"] {
            assert!(write_cursor(&store, name, None).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_hold_is_set_moved_and_lifted_and_is_never_a_replicas_cursor() {
        let store = MemStore::new();
        write_cursor(&store, "s3", Some(Cursor::Required(7))).unwrap();
        set_hold(&store, "case-17", Some(3)).unwrap();
        set_hold(&store, "case-17", Some(2)).unwrap();
        let found = read_cursors(&store).unwrap();
        assert_eq!(found[0], ("case-17".to_owned(), Cursor::Hold(2)));
        for from in [Some(1), None] {
            let error = set_hold(&store, "s3", from).unwrap_err();
            assert!(matches!(error, LedgerError::CursorTaken { .. }), "{error}");
        }
        set_hold(&store, "case-17", None).unwrap();
        let error = set_hold(&store, "case-17", None).unwrap_err();
        assert!(matches!(error, LedgerError::NoHold { .. }), "{error}");
        assert!(set_hold(&store, "../x", Some(1)).is_err());
        assert_eq!(read_cursors(&store).unwrap().len(), 1);
    }

    #[test]
    fn a_cursor_that_cannot_be_understood_is_not_passed_over() {
        let store = MemStore::new();
        write_cursor(&store, "s3", Some(Cursor::Required(7))).unwrap();
        store
            .write("private/cursors/s3", b"livetrail", Access::Private)
            .unwrap();
        assert!(matches!(
            read_cursors(&store),
            Err(LedgerError::Cursor { .. })
        ));
    }

    proptest! {
        #[test]
        fn i6_retention_never_passes_a_required_cursor_or_a_hold(
            wanted in 0_u64..100_000,
            sealed in 0_u64..100_000,
            required in 0_u64..100_000,
            optional in 0_u64..100_000,
            hold in 0_u64..100_000,
        ) {
            let cursors = [Cursor::Required(required), Cursor::Optional(optional), Cursor::Hold(hold)];
            let below = prunable_below(wanted, sealed, &cursors);
            prop_assert!(below <= wanted && below <= sealed && below <= required && below <= hold);
            prop_assert_eq!(below % 256, 0);
            prop_assert!(below + 256 > wanted.min(sealed).min(required).min(hold), "and no more is kept than must be");
        }
    }
}
