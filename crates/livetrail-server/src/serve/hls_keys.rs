//! The file with the keys that seal the tokens of viewers: created at the first start, read again
//! when it changes, and given a new key by age.
//!
//! A file is written as a whole next to its place, synced, and renamed. A crash before that leaves
//! the file as it was; a crash after it leaves the new one.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use livetrail_audit::AuditPipeline;
use livetrail_engine::Clock;
use livetrail_hls::token::{Key, Keys};
use livetrail_http::Hls;
use tokio::time::{MissedTickBehavior, interval};
use zeroize::Zeroizing;

use crate::operator::{Deed, keys_changed};

/// How often it is checked whether the file has changed. If so, it is read.
const POLL: Duration = Duration::from_secs(5);

/// Once in this many checks the file is read in any case, and the ages of its keys are checked.
const CHECKS_A_READ: u32 = 12;

/// Longer than any file of keys. The bound is for wrong files.
const MAX_BYTES: u64 = 8_192;

/// The file, and the keys that were in it last.
#[derive(Debug)]
pub(super) struct KeyFile {
    /// `None`: the keys are in memory, because the trail is.
    path: Option<PathBuf>,
    keys: Keys,
    ages: Ages,
    /// What was wrong with the file last, so that it is reported once.
    trouble: Option<String>,
}

/// A state of the file: another one has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    /// Seconds and nanoseconds.
    changed: (i64, i64),
    size: u64,
}

/// When a key is replaced, and when it is dropped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    /// A key seals for this long. Zero: the server makes no further key.
    pub(super) key: Duration,
    /// No token lives longer.
    pub(super) token: Duration,
}

impl KeyFile {
    /// Reads the keys. Creates the file, with a new key, if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read or created, others may read or write it, or its text is invalid.
    pub(super) fn open(
        path: Option<PathBuf>,
        ages: Ages,
        clock: &dyn Clock,
    ) -> anyhow::Result<Self> {
        let new = || anyhow::Ok(Keys::new(vec![new_key(clock)?])?);
        let keys = match &path {
            None => new()?,
            Some(path) => match read(path)? {
                Some(keys) => keys,
                None => {
                    create(path, &new()?)?;
                    tracing::info!(file = %path.display(), "created the keys that seal the tokens of viewers");
                    // Another server may have been faster.
                    read(path)?.ok_or_else(|| anyhow!("{} is gone", path.display()))?
                }
            },
        };
        Ok(Self {
            path,
            keys,
            ages,
            trouble: None,
        })
    }

    /// The keys.
    pub(super) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// Reads the file again, and adds a key if the one that seals is too old. Returns whether the
    /// keys have changed, or what is wrong, if that is new. After an error the keys stay in force.
    fn step(&mut self, clock: &dyn Clock) -> anyhow::Result<bool> {
        let stepped = self.try_step(clock);
        match &stepped {
            Ok(_) => self.trouble = None,
            Err(error) => {
                let words = format!("{error:#}");
                if self.trouble.as_ref() == Some(&words) {
                    return Ok(false);
                }
                self.trouble = Some(words);
            }
        }
        stepped
    }

    fn try_step(&mut self, clock: &dyn Clock) -> anyhow::Result<bool> {
        if let Some(path) = &self.path {
            let found = read(path)?;
            let found = found.ok_or_else(|| anyhow!("{} is gone", path.display()))?;
            if !found.ids().eq(self.keys.ids()) {
                self.keys = found;
                return Ok(true);
            }
        }
        let now = clock.unix_s();
        let age = |key: &Key| Duration::from_secs(now.saturating_sub(key.created_unix_s()));
        let is_old = self.keys.sealing().map(age) >= Some(self.ages.key);
        if self.ages.key.is_zero() || !is_old {
            return Ok(false);
        }
        let keys = self.keys.rotated(new_key(clock)?);
        let keys = keys.without_expired(now, self.ages.token.as_secs());
        if let Some(path) = &self.path {
            replace(path, &keys)?;
        }
        self.keys = keys;
        Ok(true)
    }
}

fn new_key(clock: &dyn Clock) -> anyhow::Result<Key> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret)
        .map_err(|error| anyhow!("no random bytes for a key of HLS: {error}"))?;
    Ok(Key::new(*secret, clock.unix_s()))
}

/// The keys in a file. `None` if there is no file.
///
/// # Errors
/// The file cannot be read, others may read or write it, or its text is invalid. No error contains
/// any of a key.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<Keys>> {
    let shown = path.display();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {shown}")),
    };
    let metadata = file.metadata();
    let metadata = metadata.with_context(|| format!("cannot read {shown}"))?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o077 != 0 {
        bail!(
            "{shown} has mode {mode:04o}: others could admit viewers with the keys in it; `chmod 600` it, and replace its keys if others have read it"
        );
    }
    let mut text = Zeroizing::new(String::with_capacity(
        usize::try_from(MAX_BYTES).unwrap_or_default(),
    ));
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {shown}"))?;
    let keys = Keys::parse(&text);
    keys.with_context(|| shown.to_string()).map(Some)
}

/// Creates the file with these keys. If it exists meanwhile, it stays as it is.
fn create(path: &Path, keys: &Keys) -> anyhow::Result<()> {
    write(path, keys, |new| match new.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    })
}

fn replace(path: &Path, keys: &Keys) -> anyhow::Result<()> {
    write(path, keys, |new| Ok(new.persist(path).map(drop)?))
}

/// Writes the keys next to their place, readable for this user alone, and puts them there.
fn write(
    path: &Path,
    keys: &Keys,
    put: impl FnOnce(tempfile::NamedTempFile) -> io::Result<()>,
) -> anyhow::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let written = || {
        // Its mode is 0600.
        let mut new = tempfile::Builder::new()
            .prefix("hls.keys.")
            .tempfile_in(parent)?;
        new.write_all(keys.to_text().as_bytes())?;
        new.as_file().sync_all()?;
        put(new)?;
        File::open(parent)?.sync_all()
    };
    // The text of these errors has the random name of the new file.
    written().map_err(|error| anyhow!("cannot write {}: {}", path.display(), error.kind()))
}

/// Puts the keys of a file in force whenever they change. Cloning gives another handle.
#[derive(Clone)]
pub(super) struct KeyWatch {
    file: Arc<Mutex<KeyFile>>,
    hls: Hls,
    clock: Arc<dyn Clock>,
    pipeline: Arc<AuditPipeline>,
}

impl KeyWatch {
    pub(super) fn new(
        file: KeyFile,
        hls: Hls,
        clock: Arc<dyn Clock>,
        pipeline: Arc<AuditPipeline>,
    ) -> Self {
        Self {
            file: Arc::new(Mutex::new(file)),
            hls,
            clock,
            pipeline,
        }
    }

    /// Reads the file again. A change, and what is wrong with the file, is on record, with the ids
    /// of the keys.
    pub(super) fn reload(&self, deed: Deed) {
        // Held until the keys are in force, so that the newest ones come last.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_valid, words) = match file.step(&*self.clock) {
            Ok(false) => return,
            Ok(true) => {
                let ids: Vec<_> = file.keys.ids().map(|id| id.to_string()).collect();
                self.hls.set_keys(file.keys());
                tracing::info!(keys = %ids.join(" "), "the keys that seal the tokens of viewers have changed");
                (true, format!("keys of viewers' tokens: {}", ids.join(" ")))
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(%error, "the keys that seal the tokens of viewers stay as they were");
                (false, "keys of viewers' tokens: refused".to_owned())
            }
        };
        if let Err(error) = self.pipeline.record(keys_changed(is_valid, words, deed)) {
            tracing::error!(%error, "the change of keys is not on record");
        }
    }

    /// What changes when the file is written, replaced, or gets another mode. `None` if there is no
    /// file.
    fn stamp(&self) -> Option<Stamp> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let metadata = std::fs::metadata(file.path.as_ref()?).ok()?;
        Some(Stamp {
            file: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.len(),
        })
    }

    /// Watches the file until `stop` completes.
    pub(super) async fn watch(self, stop: impl Future<Output = ()>) {
        let watch = async {
            let mut ticks = interval(POLL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut seen = None;
            for check in 0_u32.. {
                ticks.tick().await;
                let watch = self.clone();
                let is_due = check % CHECKS_A_READ == 0;
                // A file on a network's disk may take long.
                let checked = tokio::task::spawn_blocking(move || {
                    let now = watch.stamp();
                    if is_due || now.is_none() || now != seen {
                        watch.reload(Deed::Files);
                    }
                    now
                });
                seen = checked.await.unwrap_or_default();
            }
        };
        tokio::select! {
            () = watch => {}
            () = stop => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use livetrail_engine::ManualClock;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const AGES: Ages = Ages {
        key: Duration::from_secs(30 * 86_400),
        token: Duration::from_secs(86_400),
    };

    fn ids(file: &KeyFile) -> Vec<String> {
        file.keys.ids().map(|id| id.to_string()).collect()
    }

    #[test]
    fn the_file_is_made_once_for_its_owner_alone_and_all_servers_read_the_same_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hls.keys");
        let clock = ManualClock::at(1_700_000_000_000);
        let open = || KeyFile::open(Some(path.clone()), AGES, &clock);
        let first = ids(&open().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        create(&path, &Keys::new(vec![new_key(&clock).unwrap()]).unwrap()).unwrap();
        assert_eq!(ids(&open().unwrap()), first);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for (mode, is_refused) in [(0o640, true), (0o602, true), (0o400, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = open().map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(error.is_err(), is_refused, "{mode:o}");
            let shown = format!("has mode {mode:04o}");
            assert!(error.is_ok() || error.unwrap_err().contains(&shown));
        }
    }

    #[test]
    fn a_key_that_is_too_old_has_a_successor_and_is_kept_as_long_as_its_tokens() {
        let dir = tempfile::tempdir().unwrap();
        let path = Some(dir.path().join("hls.keys"));
        let clock = ManualClock::at(1_700_000_000_000);
        let mut file = KeyFile::open(path.clone(), AGES, &clock).unwrap();
        let first = ids(&file);
        clock.advance(AGES.key - Duration::from_secs(1));
        assert!(!file.step(&clock).unwrap());
        clock.advance(Duration::from_secs(1));
        assert!(file.step(&clock).unwrap());
        let second = ids(&file);
        assert_eq!(second.get(1..), Some(&first[..]));
        // Another server reads both, and makes none itself.
        let shared = Ages {
            key: Duration::ZERO,
            ..AGES
        };
        let mut other = KeyFile::open(path, shared, &clock).unwrap();
        assert_eq!(ids(&other), second);
        clock.advance(AGES.key + DAY);
        assert!(!other.step(&clock).unwrap());
        // The first key's last token has expired long ago.
        assert!(file.step(&clock).unwrap());
        assert_eq!(ids(&file).get(1..), second.get(..1));
        assert!(other.step(&clock).unwrap());
        assert_eq!(ids(&other), ids(&file));
    }

    #[test]
    fn an_invalid_change_is_reported_once_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hls.keys");
        let clock = ManualClock::at(1_700_000_000_000);
        let mut file = KeyFile::open(Some(path.clone()), AGES, &clock).unwrap();
        let before = (ids(&file), fs::read(&path).unwrap());
        for wrong in ["", "x", "\n1 abc\n"] {
            fs::write(&path, wrong).unwrap();
            let error = file.step(&clock).unwrap_err();
            assert!(format!("{error:#}").contains("hls.keys: "), "{error:#}");
            assert!(!file.step(&clock).unwrap());
            assert_eq!(ids(&file), before.0);
        }
        fs::remove_file(&path).unwrap();
        assert!(file.step(&clock).is_err());
        fs::write(&path, &before.1).unwrap();
        assert!(file.step(&clock).is_err(), "others may read it now");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!file.step(&clock).unwrap());
    }
}
