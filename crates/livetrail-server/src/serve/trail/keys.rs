//! New keys for a trail: `livetrail trail rotate-key`.
//!
//! 1. The new secret is written beside the old one, as `<file>.next`. *Crash: the next try takes it.*
//! 2. The change is recorded with the old key, and sealed. *Crash: it is on record and did not happen; the next try records it again.*
//! 3. The ledger is handed over ([`Builder::rotate_to`](livetrail_ledger::Builder::rotate_to)). *Crash: the log has one of the two keys.*
//! 4. `<file>.next` takes the place of the old secret, which is gone with that. *Crash before: whoever opens the trail next does it, because the log
//!    has the key of `<file>.next`.*
//! 5. `trail.vkey` gets the new verifier key, and keeps the old one. *Crash before: the next start of the server does it.*

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_ledger::{
    Identity, Ledger, Reader, RealStore, SharedStore, generate_seed, read_seed, write_seed,
};
use livetrail_record::Value;
use livetrail_tlog::VerifierKey;

use super::{create, maintenance::Maintenance, place, trail_directory, witness};
use crate::config::Config;

/// Which of a trail's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The one that signs checkpoints.
    Signer,
    /// The one that cosigns them with the time.
    Cosigner,
}

impl Role {
    const fn of<T>(self, [signer, cosigner]: &[T; 2]) -> &T {
        match self {
            Self::Signer => signer,
            Self::Cosigner => cosigner,
        }
    }
}

/// What became of a change of keys.
pub(crate) struct Rotated {
    /// The new verifier key.
    pub(crate) new: VerifierKey,
    /// The file that has the new secret.
    pub(crate) key_file: PathBuf,
    /// The file with the verifier keys.
    pub(crate) vkey_file: PathBuf,
    /// Entries under the checkpoint of the hand-over; `None` when a change that was begun before came to its end.
    pub(crate) handed_over: Option<u64>,
}

/// Gives the trail in the data directory a new key.
///
/// # Errors
/// As [`Trail::open`](super::Trail::open); the new key cannot be kept; the change cannot be recorded.
pub(crate) fn rotate(config: &Config, role: Role) -> anyhow::Result<Rotated> {
    let directory = trail_directory(&config.data);
    let store: SharedStore = Arc::new(RealStore::new(&directory));
    let files = create::key_files(&directory, &config.trail);
    let file = role.of(&files);
    let key_of = |identity: &Identity| match role {
        Role::Signer => identity.signer_key().clone(),
        Role::Cosigner => identity.cosigner_key().clone(),
    };
    if settle(&store, &files)?.contains(file) {
        let identity = identity(&store, &files)?;
        return finish(config, &store, &identity, file, key_of(&identity), None);
    }
    // Refused before a secret is made, and recorded before it is used.
    let maintenance = Maintenance::begin(config, "a key is changed")?;
    let old = identity(&store, &files)?;
    let next = next_file(file);
    if !next.exists() {
        write_seed(&next, &generate_seed()?)?;
    }
    let mut seeds = [read_seed(&files[0])?, read_seed(&files[1])?];
    seeds[usize::from(role == Role::Cosigner)] = read_seed(&next)
        .with_context(|| format!("{} is left of an earlier try: remove it", next.display()))?;
    let new = create::identity(old.origin(), &seeds)?;
    maintenance.record(rotation(&key_of(&new), &key_of(&old))?)?;
    maintenance.end()?;
    let mut builder = Ledger::builder(store.clone(), old);
    if let Some(witnesses) = witness::Configured::of(&config.trail)? {
        builder = builder.floor(witnesses.floor(store.clone())?);
    }
    let size = builder.rotate_to(&new)?.head().size;
    if settle(&store, &files)?.is_empty() {
        bail!("{} is not the key of the trail", next.display());
    }
    finish(config, &store, &new, file, key_of(&new), Some(size))
}

/// The record of a change of keys.
pub(super) fn rotation(new: &VerifierKey, old: &VerifierKey) -> anyhow::Result<AuditRecord> {
    let text = |key: &VerifierKey| Value::Text(key.to_string());
    let record = AuditRecord::new(AuditAction::Other("admin_key_rotated".to_owned()), "");
    Ok(record
        .with_extra("vkey", text(new))?
        .with_extra("old_vkey", text(old))?)
}

fn finish(
    config: &Config,
    store: &SharedStore,
    identity: &Identity,
    file: &Path,
    new: VerifierKey,
    handed_over: Option<u64>,
) -> anyhow::Result<Rotated> {
    let vkey_file = place::vkey_file(&config.data);
    create::write_vkeys(&vkey_file, &vkeys(store, identity)?)?;
    Ok(Rotated {
        new,
        key_file: file.to_owned(),
        vkey_file,
        handed_over,
    })
}

/// The verifier keys of a trail for `trail.vkey`: those that sign now, and those that did.
pub(super) fn vkeys(store: &SharedStore, identity: &Identity) -> anyhow::Result<String> {
    let mut text = create::vkeys_of(identity);
    let retired = Reader::open(store.clone())?.retired_keys()?;
    if !retired.is_empty() {
        text += "# Given up: they verify what was signed before.\n";
    }
    for key in retired {
        text += &format!("{key}\n");
    }
    Ok(text)
}

/// Puts the secrets in their places that a change of keys has left beside them. Gives their files.
///
/// # Errors
/// A file cannot be read or renamed.
pub(super) fn settle(store: &SharedStore, files: &[PathBuf; 2]) -> anyhow::Result<Vec<PathBuf>> {
    let mut settled = Vec::new();
    for role in [Role::Signer, Role::Cosigner] {
        let file = role.of(files);
        let next = next_file(file);
        if !next.exists() {
            continue;
        }
        let reader = Reader::open(store.clone())?;
        let seed = read_seed(&next)?;
        // Whichever role: the key's text has its type in it.
        let candidate = create::identity(reader.origin(), &[seed.clone(), seed])?;
        let key = match role {
            Role::Signer => candidate.signer_key(),
            Role::Cosigner => candidate.cosigner_key(),
        };
        if !reader.verifier_keys().contains(key) {
            continue;
        }
        // The old secret goes with this, so first: that the log has the new key may be in the page cache alone.
        store
            .sync_dir("private")
            .and_then(|()| fs::rename(&next, file))
            .and_then(|()| create::sync_directory(file.parent().unwrap_or(Path::new("."))))
            .with_context(|| format!("cannot put {} in its place", next.display()))?;
        settled.push(file.clone());
    }
    Ok(settled)
}

fn identity(store: &SharedStore, files: &[PathBuf; 2]) -> anyhow::Result<Identity> {
    let reader = Reader::open(store.clone())?;
    let seeds = [read_seed(&files[0])?, read_seed(&files[1])?];
    create::identity(reader.origin(), &seeds)
}

fn next_file(file: &Path) -> PathBuf {
    let mut next = file.as_os_str().to_owned();
    next.push(".next");
    next.into()
}

#[cfg(test)]
mod tests {
    use livetrail_ledger::LedgerError;

    use super::super::Trail;
    use super::*;

    fn made(dir: &Path) -> (Config, SharedStore, [PathBuf; 2]) {
        let config = Config {
            data: dir.to_owned(),
            ..Config::default()
        };
        create(dir, &config.trail).unwrap();
        let directory = trail_directory(dir);
        let files = create::key_files(&directory, &config.trail);
        (config, Arc::new(RealStore::new(&directory)), files)
    }

    /// Steps 1 to 3, and not the rest.
    fn hand_over(config: &Config, store: &SharedStore, files: &[PathBuf; 2]) {
        let next = next_file(&files[0]);
        write_seed(&next, &generate_seed().unwrap()).unwrap();
        let old = identity(store, files).unwrap();
        let seeds = [read_seed(&next).unwrap(), read_seed(&files[1]).unwrap()];
        let new = create::identity(old.origin(), &seeds).unwrap();
        let maintenance = Maintenance::begin(config, "a test").unwrap();
        let record = rotation(new.signer_key(), old.signer_key()).unwrap();
        maintenance.record(record).unwrap();
        maintenance.end().unwrap();
        Ledger::builder(store.clone(), old).rotate_to(&new).unwrap();
    }

    #[test]
    fn a_change_of_keys_that_was_killed_before_the_secret_had_its_place_ends_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store, files) = made(dir.path());
        hand_over(&config, &store, &files);
        assert!(next_file(&files[0]).exists());
        let maintenance = Maintenance::begin(&config, "the next start").unwrap();
        maintenance.end().unwrap();
        assert!(!next_file(&files[0]).exists());
        // The file for auditors has both, the new one first.
        let vkeys = fs::read_to_string(place::vkey_file(dir.path())).unwrap();
        let now = identity(&store, &files).unwrap();
        assert!(vkeys.starts_with(&now.signer_key().to_string()), "{vkeys}");
        assert_eq!(
            vkeys.lines().filter(|line| !line.starts_with('#')).count(),
            3
        );
    }

    #[test]
    fn the_command_ends_what_it_had_begun_and_begins_nothing_new_then() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store, files) = made(dir.path());
        hand_over(&config, &store, &files);
        let rotated = rotate(&config, Role::Signer).unwrap();
        assert_eq!(rotated.handed_over, None);
        let reader = Reader::open(store).unwrap();
        assert_eq!(reader.retired_keys().unwrap().len(), 1);
        assert_eq!(reader.verifier_keys()[0], rotated.new);
    }

    #[test]
    fn a_secret_that_was_made_and_not_used_is_taken_by_the_next_try_and_by_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store, files) = made(dir.path());
        let next = next_file(&files[0]);
        write_seed(&next, &generate_seed().unwrap()).unwrap();
        let seed = read_seed(&next).unwrap();
        drop(Trail::open(&config).unwrap());
        assert!(next.exists());
        let rotated = rotate(&config, Role::Signer).unwrap();
        assert!(rotated.handed_over.is_some_and(|size| size > 0));
        assert_eq!(*read_seed(&files[0]).unwrap(), *seed);
        // The old key opens it no more.
        let old = create::identity(
            Reader::open(store.clone()).unwrap().origin(),
            &[generate_seed().unwrap(), read_seed(&files[1]).unwrap()],
        );
        let refused = Ledger::builder(store, old.unwrap()).open().map(|_| ());
        assert!(matches!(refused, Err(LedgerError::Key { .. })));
    }
}
