//! The mark in the trail that says which vault it has.
//!
//! ```text
//! private/vault   livetrail-vault/v1
//!                 id 019aa5c5800070008000000000000001
//! ```
//!
//! It is written once the vault exists. *After a crash before that, the next start takes the vault
//! that is there.* From then on a vault that is missing, or another one, is refused: most likely
//! its volume is not mounted.

use std::io::ErrorKind;

use anyhow::{Context, bail};
use livetrail_ledger::{Access, SharedStore};
use livetrail_vault::Vault;

const FILE: &str = "private/vault";
const STAGED: &str = "private/vault.new";
const FIRST_LINE: &str = "livetrail-vault/v1";

/// The identifier of a vault.
type Id = [u8; 16];

/// The vault that the trail has. `None` if it had none yet.
pub(super) fn read(trail: &SharedStore) -> anyhow::Result<Option<Id>> {
    let bytes = match trail.read(FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {FILE} in {}", trail.place()));
        }
    };
    let id = String::from_utf8(bytes).ok().and_then(|text| parse(&text));
    match id {
        Some(id) => Ok(Some(id)),
        None => bail!(
            "{FILE} in {} is damaged: restore it from a back-up, or remove it to take the vault that is there",
            trail.place()
        ),
    }
}

/// Checks that the vault in this store is the one that the trail has.
pub(super) fn check(
    marked: Option<Id>,
    vault: &SharedStore,
    trail: &SharedStore,
) -> anyhow::Result<()> {
    let Some(marked) = marked else {
        return Ok(());
    };
    let found = Vault::id_in(vault)?;
    let what = match found {
        Some(found) if found == marked => return Ok(()),
        Some(found) => format!("another vault, {}", hex(&found)),
        None => "no vault".to_owned(),
    };
    bail!(
        "the personal data of this trail are in the vault {}, but {} has {what}: mount its volume, correct the directory, or restore it from a \
         back-up. Only if it is lost for good: remove {FILE} in {}; then the trail continues with the vault that is there, or with a new one, and \
         nobody can ever show who its earlier sessions were",
        hex(&marked),
        vault.place(),
        trail.place()
    );
}

/// Notes the vault. Durable when it returns.
pub(super) fn write(trail: &SharedStore, id: Id) -> anyhow::Result<()> {
    let text = format!("{FIRST_LINE}\nid {}\n", hex(&id));
    trail
        .write(STAGED, text.as_bytes(), Access::Private)
        .and_then(|()| trail.sync_files(&[STAGED.to_owned()]))
        .and_then(|()| trail.rename(STAGED, FILE))
        .and_then(|()| trail.sync_dir("private"))
        .with_context(|| format!("cannot write {FILE} in {}", trail.place()))
}

fn parse(text: &str) -> Option<Id> {
    let mut lines = text.lines();
    (lines.next()? == FIRST_LINE).then_some(())?;
    let digits = lines.next()?.strip_prefix("id ")?;
    let plain = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = plain.then(|| u128::from_str_radix(digits, 16).ok())??;
    lines.next().is_none().then(|| id.to_be_bytes())
}

fn hex(id: &Id) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use livetrail_ledger::MemStore;

    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_damaged_one_is_refused() {
        let trail: SharedStore = Arc::new(MemStore::new());
        trail.create_dir("private").unwrap();
        assert_eq!(read(&trail).unwrap(), None);
        let id = *b"0123456789abcdef";
        write(&trail, id).unwrap();
        assert_eq!(read(&trail).unwrap(), Some(id));
        for text in [
            "",
            "livetrail-vault/v1\nid 12\n",
            "id 0\n",
            "livetrail-vault/v1\n",
        ] {
            trail.write(FILE, text.as_bytes(), Access::Private).unwrap();
            let refused = read(&trail).unwrap_err().to_string();
            assert!(refused.contains("damaged"), "{refused}");
        }
    }
}
