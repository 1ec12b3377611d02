//! Creates a trail. This happens once, on request, and never as a side effect of a wrong path.

use std::{
    fs::{self, DirBuilder, File},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use livetrail_ledger::{
    Identity, Ledger, RealStore, Seed, SharedStore, generate_seed, read_seed, write_seed,
};

use super::{Error, Personal, Settings, place};

/// The data directory contains personal data. Only its owner and group may read it.
const DATA_MODE: u32 = 0o750;

/// Only the owner may read what is secret.
const PRIVATE_MODE: u32 = 0o700;

/// A trail that was just created.
#[derive(Debug)]
#[non_exhaustive]
pub struct Created {
    /// The log's name.
    pub origin: String,
    /// The trail's directory.
    pub directory: PathBuf,
    /// Its verifier keys, one per line.
    pub vkeys: String,
    /// The file that also contains them.
    pub vkey_file: PathBuf,
    /// The files with the secret keys: first the key that signs, then the key that cosigns.
    pub key_files: [PathBuf; 2],
    /// The directory of its vault of personal data.
    pub personal: PathBuf,
    /// The file with the vault's secret key. Without it nobody can read personal data again.
    pub vault_key_file: PathBuf,
}

/// Creates the data directory, the keys and the vault of personal data, unless they exist, and an
/// empty trail with a signed checkpoint. If this fails or is killed, it can be repeated: existing
/// keys are used.
///
/// # Errors
/// There is a trail already, an existing key file cannot be used, or the system refuses an
/// operation.
pub fn create(settings: &Settings) -> Result<Created, Error> {
    Ok(make(settings)?)
}

fn make(settings: &Settings) -> anyhow::Result<Created> {
    let data = settings.data.as_path();
    let directory = place::trail_directory(data);
    refuse_existing(&directory)?;
    let origin = match &settings.origin {
        Some(origin) => origin.clone(),
        None => new_origin()?,
    };
    check_origin(&origin)?;
    if origin.contains("://") {
        bail!(
            "{origin:?} has a scheme, and the name of a log has none: such as example.com/studio-1"
        );
    }
    make_directory(data, DATA_MODE)?;
    let key_files = key_files(&directory, settings);
    let seeds = match &key_files {
        [signer, cosigner] => [seed(&directory, signer)?, seed(&directory, cosigner)?],
    };
    let identity = identity(&origin, &seeds)?;
    let store: SharedStore = Arc::new(RealStore::new(&directory));
    let vault = Personal::create(settings)?;
    Ledger::create(&store, &identity)?;
    vault.mark(&store)?;
    let vkeys = vkeys_of(&identity);
    let vkey_file = place::vkey_file(data);
    write_vkeys(&vkey_file, &vkeys)?;
    Ok(Created {
        origin,
        directory,
        vkeys,
        vkey_file,
        key_files,
        personal: vault.directory,
        vault_key_file: vault.key_file,
    })
}

fn refuse_existing(directory: &Path) -> anyhow::Result<()> {
    if directory.join("private/log.json").exists() {
        bail!(
            "there is a trail in {} already: start the server without --init, or choose another data directory",
            directory.display()
        );
    }
    Ok(())
}

/// The files with the secret keys of the trail in this directory: the configured ones, or those in
/// the directory. First the key that signs, then the key that cosigns.
#[must_use]
pub fn key_files(trail: &Path, settings: &Settings) -> [PathBuf; 2] {
    let [signer, cosigner] = place::own_keys(trail);
    [
        settings.signer_key_file.clone().unwrap_or(signer),
        settings.cosigner_key_file.clone().unwrap_or(cosigner),
    ]
}

/// Checks whether a log can have this name.
///
/// # Errors
/// The name is invalid. The error says what is allowed.
pub fn check_origin(origin: &str) -> Result<(), Error> {
    if livetrail_tlog::KeyName::new(origin).is_err() {
        let refused = anyhow::anyhow!(
            "{origin:?} cannot be the name of a log: no scheme, no spaces, no +, such as example.com/studio-1"
        );
        return Err(refused.into());
    }
    Ok(())
}

/// The identity of the log, from its origin and the seeds of its two keys.
pub(super) fn identity(origin: &str, seeds: &[Seed; 2]) -> anyhow::Result<Identity> {
    check_origin(origin)?;
    let [signer, cosigner] = seeds;
    Identity::from_seeds(origin, signer, cosigner)
        .with_context(|| format!("{origin:?} cannot be the name of a log"))
}

/// Both verifier keys, one per line.
pub(super) fn vkeys_of(identity: &Identity) -> String {
    format!("{}\n{}\n", identity.signer_key(), identity.cosigner_key())
}

/// The host's name with a random part. Two logs must never have the same name, even if one replaces
/// the other.
fn new_origin() -> anyhow::Result<String> {
    let uname = rustix::system::uname();
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let host: String = uname.nodename().to_string_lossy().to_lowercase();
    let host: String = host.chars().filter(allowed).take(200).collect();
    let host = if host.is_empty() { "localhost" } else { &host };
    let random = generate_seed()?;
    let tail: String = random
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("{host}/livetrail/{tail}"))
}

/// The key in this file. A missing file is created.
fn seed(trail: &Path, file: &Path) -> anyhow::Result<Seed> {
    if file.exists() {
        return Ok(read_seed(file)?);
    }
    let above = file.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    if above.starts_with(trail) {
        make_directory(trail, 0o755)?;
        make_directory(above, PRIVATE_MODE)?;
    }
    let seed = generate_seed()?;
    // The file gets its own name only when it is complete, so that a crash leaves no half of a key.
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    if unfinished.exists() {
        fs::remove_file(&unfinished)
            .with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    write_seed(&unfinished, &seed)?;
    // Unlike a rename, a link never replaces a file that was created in between.
    fs::hard_link(&unfinished, file)
        .and_then(|()| fs::remove_file(&unfinished))
        .and_then(|()| sync_directory(above))
        .with_context(|| format!("cannot make the key file {}", file.display()))?;
    Ok(seed)
}

/// Writes the verifier keys for auditors. The file is written whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_vkeys(file: &Path, vkeys: &str) -> Result<(), Error> {
    let above = file.parent().unwrap_or(Path::new("."));
    let write = || -> anyhow::Result<()> {
        let mut new = tempfile::Builder::new()
            .prefix("trail.vkey.")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .tempfile_in(above)?;
        new.write_all(vkeys.as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(file)?;
        Ok(sync_directory(above)?)
    };
    Ok(write().with_context(|| format!("cannot write {}", file.display()))?)
}

/// Creates a directory and its missing parents. Each parent is synced, so that a power cut does not
/// remove the directory.
fn make_directory(directory: &Path, mode: u32) -> anyhow::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory
        .parent()
        .filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_directory(above, mode)?;
    }
    DirBuilder::new()
        .mode(mode)
        .create(directory)
        .and_then(|()| sync_directory(above.unwrap_or(Path::new("."))))
        .with_context(|| format!("cannot make the directory {}", directory.display()))
}

pub(super) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use livetrail_ledger::Reader;

    use super::*;

    #[test]
    fn a_trail_is_made_once_with_keys_for_their_owner_and_the_verifier_keys_next_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new/data");
        let created = create(&Settings::new(&data)).unwrap();
        for file in &created.key_files {
            let mode = fs::metadata(file).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{}", file.display());
        }
        let shown = fs::read_to_string(&created.vkey_file).unwrap();
        assert_eq!(shown, created.vkeys);
        assert!(shown.starts_with(&format!("{}+", created.origin)));
        assert_eq!(shown.lines().count(), 2);
        let reader = Reader::open(Arc::new(RealStore::new(&created.directory))).unwrap();
        assert_eq!(reader.origin(), created.origin);
        assert_eq!(reader.checkpoint().unwrap().head().size, 0);
        let again = create(&Settings::new(&data)).unwrap_err();
        assert!(again.to_string().contains("already"), "{again:#}");
        assert_eq!(fs::read_to_string(&created.vkey_file).unwrap(), shown);
    }

    #[test]
    fn keys_of_a_first_start_that_did_not_come_to_its_end_are_taken_and_half_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let [signer, cosigner] = place::own_keys(&place::trail_directory(dir.path()));
        fs::create_dir_all(signer.parent().unwrap()).unwrap();
        let kept = generate_seed().unwrap();
        write_seed(&signer, &kept).unwrap();
        let half = cosigner.with_extension("new");
        fs::write(&half, "0123").unwrap();
        let settings = Settings::new(dir.path()).origin("example.com/mine");
        let created = create(&settings).unwrap();
        assert_eq!(created.origin, "example.com/mine");
        assert_eq!(*read_seed(&signer).unwrap(), *kept);
        assert!(cosigner.is_file() && !half.exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        write_seed(&key, &generate_seed().unwrap()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let data = dir.path().join("data");
        let mut settings = Settings::new(&data);
        settings.signer_key_file = Some(key);
        let refused = create(&settings).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        assert!(!place::trail_directory(&data).exists());
    }

    #[test]
    fn names_of_new_logs_differ() {
        assert_ne!(new_origin().unwrap(), new_origin().unwrap());
    }
}
