//! The certificates of all listeners, chosen by the name that a client asks for.

mod challenges;
mod files;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{CertificateError, ClientAuthorities};

pub use challenges::ChallengeGuard;
use challenges::Challenges;
use files::{Contents, Digest, Pair};
pub(crate) use files::{read_certificates, read_pair};

/// The files of one certificate: both in PEM form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The certificate, and after it those of its issuers.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The state of one certificate, for metrics and health.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateState {
    /// Where it comes from.
    pub files: CertificateFiles,
    /// The host names for which it is served, in lower case.
    pub names: Vec<String>,
    /// Since when all certificates of its chain are valid, in seconds since 1970.
    pub valid_from: u64,
    /// When the first certificate of its chain expires, in seconds since 1970.
    pub expires_at: u64,
    /// Why what is in the files now is not served; it is then what they had before.
    pub invalid: Option<String>,
}

/// What [`CertificateStore::reload`] has found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Reloaded {
    /// Pairs that have changed and are served from now on.
    pub changed: Vec<CertificateFiles>,
    /// Pairs and files of authorities that have changed and are not valid, once for each change.
    /// What was in them before stays in force.
    pub invalid: Vec<CertificateError>,
    /// Whether authorities of clients' certificates have changed.
    pub authorities: bool,
}

/// The certificates of all listeners. Cloning gives another handle to the same store.
///
/// A client that asks for a name gets the certificate that has it, then one with a fitting
/// wildcard (`*.example.org`); otherwise, and without a name, the first one.
#[derive(Clone)]
pub struct CertificateStore(Arc<Inner>);

struct Inner {
    served: ArcSwap<Served>,
    slots: Mutex<Vec<Slot>>,
    authorities: Mutex<Vec<Watched>>,
    challenges: Challenges,
}

/// A file of authorities, and the contents about which the owner knows.
struct Watched {
    authorities: ClientAuthorities,
    reported: Option<String>,
}

/// One pair of files.
struct Slot {
    files: CertificateFiles,
    pair: Pair,
    /// Contents that are not valid, and why.
    rejected: Option<Rejected>,
}

struct Rejected {
    digest: Digest,
    error: String,
    /// Whether the owner knows.
    is_reported: bool,
}

/// What handshakes read.
#[derive(Default)]
struct Served {
    first: Option<Arc<CertifiedKey>>,
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl CertificateStore {
    /// Reads and checks all pairs. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The first pair that cannot be used: a file cannot be read, is unfinished, or has expired, or
    /// the key is that of another certificate.
    pub fn load(files: Vec<CertificateFiles>, now: u64) -> Result<Self, CertificateError> {
        let slots = files.into_iter().map(|files| {
            let pair = Pair::new(&files, Contents::read(&files)?, now)?;
            Ok(Slot {
                files,
                pair,
                rejected: None,
            })
        });
        let slots = slots.collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Inner {
            served: ArcSwap::from_pointee(Served::of(&slots)),
            slots: Mutex::new(slots),
            authorities: Mutex::default(),
            challenges: Challenges::default(),
        })))
    }

    /// Reads these authorities again together with the certificates.
    pub fn watch(&self, authorities: &ClientAuthorities) {
        let watched = Watched {
            authorities: authorities.clone(),
            reported: None,
        };
        self.authorities().push(watched);
    }

    /// Replaces the pairs. Those that are served already and have the same contents stay as they
    /// are. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// As for [`load`](Self::load). The store then stays as it was.
    pub fn replace(&self, files: Vec<CertificateFiles>, now: u64) -> Result<(), CertificateError> {
        let fresh = Self::load(files, now)?;
        let mut slots = self.slots();
        *slots = std::mem::take(&mut *fresh.slots());
        self.0.served.store(Arc::new(Served::of(&slots)));
        Ok(())
    }

    /// Reads all files again and serves those whose contents have changed and are valid. Compares
    /// contents, because times and links say too little. `now` is in seconds since 1970.
    ///
    /// Two files do not change at once. So a change that is not valid is reported when a second
    /// call finds the same contents, or at once if `is_final`.
    ///
    /// Blocks for the time that reading takes.
    #[must_use]
    pub fn reload(&self, now: u64, is_final: bool) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let mut slots = self.slots();
        for slot in slots.iter_mut() {
            slot.reload(now, is_final, &mut reloaded);
        }
        if !reloaded.changed.is_empty() {
            self.0.served.store(Arc::new(Served::of(&slots)));
        }
        drop(slots);
        for watched in self.authorities().iter_mut() {
            match watched.authorities.reload() {
                Ok(changed) => {
                    watched.reported = None;
                    reloaded.authorities |= changed;
                }
                Err(error) => {
                    let text = error.to_string();
                    if watched.reported.replace(text.clone()) != Some(text) {
                        reloaded.invalid.push(error);
                    }
                }
            }
        }
        reloaded
    }

    /// The state of each pair, in the order of the configuration.
    #[must_use]
    pub fn states(&self) -> Vec<CertificateState> {
        let slots = self.slots();
        let states = slots.iter().map(|slot| {
            let reported = slot.rejected.as_ref().filter(|bad| bad.is_reported);
            CertificateState {
                files: slot.files.clone(),
                names: slot.pair.names.clone(),
                valid_from: slot.pair.valid_from,
                expires_at: slot.pair.expires_at,
                invalid: reported.map(|bad| bad.error.clone()),
            }
        });
        states.collect()
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorities(&self) -> MutexGuard<'_, Vec<Watched>> {
        let authorities = &self.0.authorities;
        authorities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn reload(&mut self, now: u64, is_final: bool, reloaded: &mut Reloaded) {
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            Err(error) => return self.reject(Digest::unread(&error), error, is_final, reloaded),
        };
        let digest = contents.digest();
        if digest == self.pair.digest {
            self.rejected = None;
            return;
        }
        match Pair::new(&self.files, contents, now) {
            Ok(pair) => {
                self.pair = pair;
                self.rejected = None;
                reloaded.changed.push(self.files.clone());
            }
            Err(error) => self.reject(digest, error, is_final, reloaded),
        }
    }

    fn reject(
        &mut self,
        digest: Digest,
        error: CertificateError,
        is_final: bool,
        reloaded: &mut Reloaded,
    ) {
        let before = self.rejected.take().filter(|bad| bad.digest == digest);
        let is_known = before.as_ref().is_some_and(|bad| bad.is_reported);
        let is_reported = is_final || before.is_some();
        self.rejected = Some(Rejected {
            digest,
            error: error.to_string(),
            is_reported,
        });
        if is_reported && !is_known {
            reloaded.invalid.push(error);
        }
    }
}

impl Served {
    fn of(slots: &[Slot]) -> Self {
        let mut served = Self::default();
        for slot in slots {
            let certified = &slot.pair.certified;
            served.first.get_or_insert_with(|| certified.clone());
            for name in &slot.pair.names {
                // The first pair that has a name is served for it.
                let entry = served.by_name.entry(name.clone());
                entry.or_insert_with(|| certified.clone());
            }
        }
        served
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let by_name = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || {
                let (_, parent) = name.split_once('.')?;
                self.by_name.get(&format!("*.{parent}"))
            };
            self.by_name.get(&name).or_else(wildcard)
        });
        by_name.or(self.first.as_ref()).cloned()
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if challenges::is_asked(&hello) {
            return self.0.challenges.find(hello.server_name());
        }
        self.0.served.load().find(hello.server_name())
    }
}

impl fmt::Debug for CertificateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateStore")
            .field("certificates", &self.slots().len())
            .finish_non_exhaustive()
    }
}

impl CertificateFiles {
    /// The files at these paths.
    #[must_use]
    pub fn new(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        Self {
            chain: chain.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        }
    }
}
