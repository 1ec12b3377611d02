//! New keys for a trail: `livetrail trail rotate-key`.
//!
//! 1. The new secret is written next to the old one, as `<file>.next`. *After a crash the next try
//!    uses it.*
//! 2. The old key records and seals the change. *After a crash the change is on record and did not
//!    happen. The next try records it again.*
//! 3. The ledger is handed over ([`Builder::rotate_to`](livetrail_ledger::Builder::rotate_to)).
//!    *After a crash with a hand-over the old key no longer signs, and the next process that opens
//!    the trail repeats this step. After a crash without one, see step 2.*
//! 4. `<file>.next` replaces the old secret, which no longer exists. *After a crash before this,
//!    the next process that opens the trail does it, because the log has the key of `<file>.next`.*
//! 5. `trail.vkey` gets only the new verifier key, and `trail.retired` gets the old one with its
//!    hand-over. *After a crash before this, the next start of the server does it.*

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use livetrail_audit::AuditRecord;
use livetrail_clock::SystemClock;
use livetrail_ledger::{
    Identity, Ledger, LedgerError, Reader, RealStore, SharedStore, generate_seed, read_seed,
    write_seed,
};
use livetrail_record::Value;
use livetrail_tlog::VerifierKey;

use super::{
    Error, Personal, Settings, create, maintenance::Maintenance, personal::Companions, place,
    trail_directory, witness,
};
use crate::operations::key_rotated;

/// One of a trail's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// The key that signs checkpoints.
    Signer,
    /// The key that cosigns them with the time.
    Cosigner,
}

impl KeyRole {
    const fn of<T>(self, [signer, cosigner]: &[T; 2]) -> &T {
        match self {
            Self::Signer => signer,
            Self::Cosigner => cosigner,
        }
    }
}

/// The result of a change of keys.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rotated {
    /// The new verifier key.
    pub new: VerifierKey,
    /// The file with the new secret.
    pub key_file: PathBuf,
    /// The file with the verifier keys.
    pub vkey_file: PathBuf,
    /// The file with the keys that were given up.
    pub retired_file: PathBuf,
    /// Number of entries under the checkpoint of the hand-over. `None` if the call finished an
    /// earlier, interrupted change.
    pub handed_over: Option<u64>,
}

/// Gives the trail in the data directory a new key.
///
/// # Errors
/// [`Trail::open`](super::Trail::open) fails, the new key cannot be written, or the change cannot
/// be recorded.
pub fn rotate(settings: &Settings, role: KeyRole) -> Result<Rotated, Error> {
    Ok(change(settings, role)?)
}

fn change(settings: &Settings, role: KeyRole) -> anyhow::Result<Rotated> {
    let directory = trail_directory(&settings.data);
    let store: SharedStore = Arc::new(RealStore::new(&directory));
    let files = create::key_files(&directory, settings);
    let file = role.of(&files);
    let key_of = |identity: &Identity| match role {
        KeyRole::Signer => identity.signer_key().clone(),
        KeyRole::Cosigner => identity.cosigner_key().clone(),
    };
    if complete(settings, &store, &files)?.contains(file) {
        let identity = identity(&store, &files)?;
        return finish(settings, &store, &identity, file, key_of(&identity), None);
    }
    // A refusal comes before a secret is made. The record comes before the secret is used.
    let maintenance = Maintenance::begin(settings, "a key is changed")?;
    let old = identity(&store, &files)?;
    let next = next_file(file);
    if !next.exists() {
        write_seed(&next, &generate_seed()?)?;
    }
    let mut seeds = [read_seed(&files[0])?, read_seed(&files[1])?];
    seeds[usize::from(role == KeyRole::Cosigner)] = read_seed(&next).with_context(|| {
        format!(
            "{} is left from an earlier attempt: remove it",
            next.display()
        )
    })?;
    let new = create::identity(old.origin(), &seeds)?;
    maintenance.record(key_rotated(&key_of(&new), &key_of(&old))?)?;
    maintenance.end()?;
    let size = hand_over(settings, &store, old, &new)?;
    if settle(&store, &files)?.is_empty() {
        bail!("{} is not the key of the trail", next.display());
    }
    finish(settings, &store, &new, file, key_of(&new), Some(size))
}

fn finish(
    settings: &Settings,
    store: &SharedStore,
    identity: &Identity,
    file: &Path,
    new: VerifierKey,
    handed_over: Option<u64>,
) -> anyhow::Result<Rotated> {
    let vkey_file = place::vkey_file(&settings.data);
    Published::of(store, identity)?.write(&settings.data)?;
    Ok(Rotated {
        new,
        key_file: file.to_owned(),
        vkey_file,
        retired_file: place::retired_file(&settings.data),
        handed_over,
    })
}

/// The verifier keys of a trail, in the form that auditors get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    /// `trail.vkey`: the keys that sign now, one per line.
    pub(super) vkeys: String,
    /// `trail.retired`: the keys that signed before, each with size and root of its hand-over. It
    /// is empty if there are none.
    pub(super) retired: String,
    /// Every key that was given up, even if its hand-over is missing.
    given_up: Vec<String>,
}

impl Published {
    pub(super) fn of(store: &SharedStore, identity: &Identity) -> anyhow::Result<Self> {
        let reader = Reader::open(store.clone())?;
        let given_up = reader.retired_keys()?;
        Ok(Self {
            vkeys: create::vkeys_of(identity),
            retired: retired_text(&reader)?,
            given_up: given_up.iter().map(ToString::to_string).collect(),
        })
    }

    /// Writes both files for auditors. The file with retired keys is first: after a crash between
    /// the two, a key is in both files and counts up to its hand-over.
    pub(super) fn write(&self, data: &Path) -> anyhow::Result<()> {
        if !self.retired.is_empty() {
            create::write_vkeys(&place::retired_file(data), &self.retired)?;
        }
        Ok(create::write_vkeys(&place::vkey_file(data), &self.vkeys)?)
    }

    /// Checks that the files exist and have the trail's keys. They are for auditors. An error of
    /// writing them does not stop the server.
    pub(super) fn keep_up(&self, data: &Path) {
        let file = place::vkey_file(data);
        let keys = |text: &str| -> Vec<String> {
            let lines = text.lines().map(str::trim);
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        let now = keys(&self.vkeys);
        let is_known = |key: &String| now.contains(key) || self.given_up.contains(key);
        match fs::read_to_string(&file) {
            Ok(text) if !keys(&text).iter().all(is_known) => {
                tracing::warn!(
                    file = %file.display(),
                    "the file does not have the verifier keys of this trail: put it right before you give it to an auditor; they are in the trail's private/log.json"
                );
                return;
            }
            Ok(text) if keys(&text) == now && self.retired_key_is_stored(data) => return,
            _ => {}
        }
        match self.write(data) {
            Ok(()) => tracing::info!(file = %file.display(), "wrote the verifier keys"),
            Err(error) => tracing::warn!("the verifier keys are not on disk: {error:#}"),
        }
    }

    fn retired_key_is_stored(&self, data: &Path) -> bool {
        let kept = fs::read_to_string(place::retired_file(data)).unwrap_or_default();
        kept == self.retired
    }
}

/// The keys that a trail gave up, one per line, for `trail.retired`. The text is empty if there are
/// none.
///
/// # Errors
/// [`Reader::retired`] fails.
pub fn retired_text(reader: &Reader) -> Result<String, LedgerError> {
    let retired = reader.retired()?;
    if retired.is_empty() {
        return Ok(String::new());
    }
    let mut text =
        "# Keys that were given up. Each counts up to the tree of this size and root, and no further.\n"
            .to_owned();
    for key in retired {
        text += &format!("{key}\n");
    }
    Ok(text)
}

/// A copy of the record of a key change, for when its entry is pruned. It has the size and root of
/// the hand-over, which the reader could otherwise no longer find.
pub(super) fn again(reader: &Reader, record: AuditRecord) -> AuditRecord {
    let mut again = AuditRecord::new(record.action, "");
    again.extra = record.extra;
    let old = match again.extra.get("old_vkey") {
        Some(Value::Text(old)) => old.clone(),
        _ => return again,
    };
    let retired = reader.retired().unwrap_or_default();
    let Some(until) = retired
        .iter()
        .find(|retired| retired.key().to_string() == old)
        .map(livetrail_tlog::RetiredKey::until)
    else {
        return again;
    };
    let size = Value::Integer(i64::try_from(until.size).unwrap_or(i64::MAX));
    let root = Value::Text(until.root.to_string());
    // Without these fields the record says less, but it is still valid.
    let _ = again.extra.insert("handed_over_size", size);
    let _ = again.extra.insert("handed_over_root", root);
    again
}

/// Step 3. Returns the size of the hand-over.
fn hand_over(
    settings: &Settings,
    store: &SharedStore,
    old: Identity,
    new: &Identity,
) -> anyhow::Result<u64> {
    let clock = Arc::new(SystemClock::new());
    let (personal, _) = Personal::open(settings, store, clock)?;
    let mut builder =
        Ledger::builder(store.clone(), old).companions(Companions(Arc::clone(&personal)));
    if let Some(witnesses) = witness::Configured::of(settings) {
        builder = builder.floor(witnesses.floor(store.clone())?);
    }
    Ok(builder.rotate_to(new)?.head().size)
}

/// Finishes a change of keys that was interrupted after its hand-over. Returns the secret files
/// that were replaced.
///
/// # Errors
/// The new secret is missing, or a file cannot be read or renamed.
pub(super) fn complete(
    settings: &Settings,
    store: &SharedStore,
    files: &[PathBuf; 2],
) -> anyhow::Result<Vec<PathBuf>> {
    let mut settled = settle(store, files)?;
    let reader = Reader::open(store.clone())?;
    let published = reader.checkpoint()?.note().text().to_owned();
    for (role, key) in [KeyRole::Signer, KeyRole::Cosigner]
        .into_iter()
        .zip(reader.verifier_keys())
    {
        let note = reader.hand_over(key.id())?;
        let note = note.and_then(|note| livetrail_tlog::Note::parse(&note).ok());
        if note.is_none_or(|note| note.text() != published) {
            continue;
        }
        let file = role.of(files);
        let next = next_file(file);
        let mut seeds = [read_seed(&files[0])?, read_seed(&files[1])?];
        seeds[usize::from(role == KeyRole::Cosigner)] = read_seed(&next).with_context(|| {
            format!(
                "the key {key} was given up, and the change to the next one is not finished: its secret must be in {}",
                next.display()
            )
        })?;
        let new = create::identity(reader.origin(), &seeds)?;
        let size = hand_over(settings, store, identity(store, files)?, &new)?;
        tracing::info!(size, "finished a change of keys that was interrupted");
        settled.extend(settle(store, files)?);
    }
    Ok(settled)
}

/// Moves each secret that a change of keys has left next to its file into that file. Returns these
/// files.
///
/// # Errors
/// A file cannot be read or renamed.
pub(super) fn settle(store: &SharedStore, files: &[PathBuf; 2]) -> anyhow::Result<Vec<PathBuf>> {
    let mut settled = Vec::new();
    for role in [KeyRole::Signer, KeyRole::Cosigner] {
        let file = role.of(files);
        let next = next_file(file);
        if !next.exists() {
            continue;
        }
        let reader = Reader::open(store.clone())?;
        let seed = read_seed(&next)?;
        // The same seed serves for both roles, because the text of a key contains its type.
        let candidate = create::identity(reader.origin(), &[seed.clone(), seed])?;
        let key = match role {
            KeyRole::Signer => candidate.signer_key(),
            KeyRole::Cosigner => candidate.cosigner_key(),
        };
        if !reader.verifier_keys().contains(key) {
            continue;
        }
        // The rename removes the old secret. The sync comes first, because the new key of the log
        // may be only in the page cache.
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
    use super::super::Trail;
    use super::*;

    fn made(dir: &Path) -> (Settings, SharedStore, [PathBuf; 2]) {
        let settings = Settings::new(dir);
        create(&settings).unwrap();
        let directory = trail_directory(dir);
        let files = create::key_files(&directory, &settings);
        (settings, Arc::new(RealStore::new(&directory)), files)
    }

    /// Steps 1 to 3 only.
    fn hand_over_to_next(settings: &Settings, store: &SharedStore, files: &[PathBuf; 2]) {
        let next = next_file(&files[0]);
        write_seed(&next, &generate_seed().unwrap()).unwrap();
        let old = identity(store, files).unwrap();
        let seeds = [read_seed(&next).unwrap(), read_seed(&files[1]).unwrap()];
        let new = create::identity(old.origin(), &seeds).unwrap();
        let maintenance = Maintenance::begin(settings, "a test").unwrap();
        let record = key_rotated(new.signer_key(), old.signer_key()).unwrap();
        maintenance.record(record).unwrap();
        maintenance.end().unwrap();
        Ledger::builder(store.clone(), old).rotate_to(&new).unwrap();
    }

    #[test]
    fn a_change_of_keys_that_was_killed_before_the_secret_had_its_place_ends_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store, files) = made(dir.path());
        hand_over_to_next(&settings, &store, &files);
        assert!(next_file(&files[0]).exists());
        let maintenance = Maintenance::begin(&settings, "the next start").unwrap();
        maintenance.end().unwrap();
        assert!(!next_file(&files[0]).exists());
        // The files for auditors have the keys that sign, and the retired key with its hand-over.
        let vkeys = fs::read_to_string(place::vkey_file(dir.path())).unwrap();
        let now = identity(&store, &files).unwrap();
        assert_eq!(
            vkeys,
            format!("{}\n{}\n", now.signer_key(), now.cosigner_key())
        );
        let retired = fs::read_to_string(place::retired_file(dir.path())).unwrap();
        let retired = livetrail_tlog::RetiredKey::lines(&retired).unwrap();
        assert_eq!(retired, Reader::open(store).unwrap().retired().unwrap());
        assert_eq!(retired.len(), 1);
    }

    #[test]
    fn a_change_of_keys_that_was_killed_after_its_hand_over_ends_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store, files) = made(dir.path());
        let manifest = trail_directory(dir.path()).join("private/log.json");
        let before = fs::read(&manifest).unwrap();
        hand_over_to_next(&settings, &store, &files);
        // The log still has the old key, which may not sign any more.
        fs::write(&manifest, before).unwrap();
        let old = identity(&store, &files).unwrap();
        let refused = Ledger::builder(store.clone(), old).open().map(|_| ());
        assert!(matches!(refused, Err(LedgerError::KeyGivenUp { .. })));
        let next = next_file(&files[0]);
        let kept = fs::read(&next).unwrap();
        fs::remove_file(&next).unwrap();
        let error = Trail::open(&settings).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("signer.next"), "{error:#}");
        fs::write(&next, kept).unwrap();
        fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        drop(Trail::open(&settings).unwrap());
        assert!(!next.exists());
        assert_eq!(Reader::open(store).unwrap().retired().unwrap().len(), 1);
    }

    #[test]
    fn a_file_of_an_earlier_version_loses_the_keys_that_were_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store, files) = made(dir.path());
        rotate(&settings, KeyRole::Signer).unwrap();
        let (vkeys, retired) = (
            place::vkey_file(dir.path()),
            place::retired_file(dir.path()),
        );
        let now = fs::read_to_string(&vkeys).unwrap();
        let kept = fs::read_to_string(&retired).unwrap();
        let old = Reader::open(store.clone()).unwrap().retired_keys().unwrap();
        fs::write(&vkeys, format!("{now}# Given up\n{}\n", old[0])).unwrap();
        fs::remove_file(&retired).unwrap();
        drop(Trail::open(&settings).unwrap());
        assert_eq!(fs::read_to_string(&vkeys).unwrap(), now);
        assert_eq!(fs::read_to_string(&retired).unwrap(), kept);
        // Keys of another trail are not overwritten.
        let stranger = create::identity(
            "other",
            &[generate_seed().unwrap(), generate_seed().unwrap()],
        );
        let foreign = create::vkeys_of(&stranger.unwrap());
        fs::write(&vkeys, &foreign).unwrap();
        drop(Trail::open(&settings).unwrap());
        assert_eq!(fs::read_to_string(&vkeys).unwrap(), foreign);
        drop(files);
    }

    #[test]
    fn the_command_ends_what_it_had_begun_and_begins_nothing_new_then() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store, files) = made(dir.path());
        hand_over_to_next(&settings, &store, &files);
        let rotated = rotate(&settings, KeyRole::Signer).unwrap();
        assert_eq!(rotated.handed_over, None);
        let reader = Reader::open(store).unwrap();
        assert_eq!(reader.retired_keys().unwrap().len(), 1);
        assert_eq!(reader.verifier_keys()[0], rotated.new);
    }

    #[test]
    fn a_secret_that_was_made_and_not_used_is_taken_by_the_next_try_and_by_no_start() {
        let dir = tempfile::tempdir().unwrap();
        let (settings, store, files) = made(dir.path());
        let next = next_file(&files[0]);
        write_seed(&next, &generate_seed().unwrap()).unwrap();
        let seed = read_seed(&next).unwrap();
        drop(Trail::open(&settings).unwrap());
        assert!(next.exists());
        let rotated = rotate(&settings, KeyRole::Signer).unwrap();
        assert!(rotated.handed_over.is_some_and(|size| size > 0));
        assert_eq!(*read_seed(&files[0]).unwrap(), *seed);
        // The old key no longer opens the trail.
        let old = create::identity(
            Reader::open(store.clone()).unwrap().origin(),
            &[generate_seed().unwrap(), read_seed(&files[1]).unwrap()],
        );
        let refused = Ledger::builder(store, old.unwrap()).open().map(|_| ());
        assert!(matches!(refused, Err(LedgerError::Key { .. })));
    }
}
