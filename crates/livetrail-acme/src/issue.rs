//! The account, the certificate, and an order.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount,
    NewOrder, OrderStatus, RetryPolicy,
};
use livetrail_tls::{CertificateFiles, CertificateState, CertificateStore, ChallengeGuard};
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, date_time_ymd};
use serde::{Deserialize, Serialize};

use crate::{AcmeError, AcmeSettings, Schedule, client::Client, files::Folder};

/// The longest that an order takes.
const ORDER_SECONDS: u64 = 180;
/// The longest wait for the authority's check of the proofs, and for its signature.
const POLL_TIMEOUT: Duration = Duration::from_secs(60);
/// A name in the certificate that is served until there is one. It is nobody's (RFC 2606).
const PLACEHOLDER: &str = "placeholder.invalid";
/// How long that certificate is valid, in seconds. Each start makes a new one.
const PLACEHOLDER_LIFETIME: u64 = 7 * 86_400;
/// A time in the year 9900, in seconds since 1970. Certificates have no later year than 9999.
const LAST_TIME: u64 = 250_246_195_200;

/// The account at an authority, and the certificate that it issues. Cloning gives another handle to
/// the same.
#[derive(Clone)]
pub struct Acme(Arc<Inner>);

struct Inner {
    settings: AcmeSettings,
    folder: Folder,
    schedule: Mutex<Schedule>,
}

/// What an order has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Issued {
    /// Since when the certificate is valid, in seconds since 1970.
    pub valid_from: u64,
    /// When it expires, in seconds since 1970.
    pub expires_at: u64,
}

/// The file `account.json`.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    /// The authority's directory: another authority knows another account.
    directory: String,
    credentials: AccountCredentials,
}

impl Acme {
    /// Opens the folder, which is created with mode 0700. If it has no certificate that is valid
    /// now, makes one that no client trusts, so that listeners can start and answer the authority.
    /// `now` is in seconds since 1970.
    ///
    /// # Errors
    /// The settings are invalid, or a file cannot be read or written.
    pub fn open(
        settings: AcmeSettings,
        folder: impl Into<PathBuf>,
        now: u64,
    ) -> Result<Self, AcmeError> {
        settings.check()?;
        let folder = Folder::open(folder.into())?;
        let acme = Self(Arc::new(Inner {
            settings,
            folder,
            schedule: Mutex::default(),
        }));
        let path = acme.0.folder.certificate();
        let state = match acme.0.folder.read(&path)? {
            Some(_) => state(path.clone(), now).ok(),
            None => None,
        };
        let is_usable = state.as_ref().is_some_and(|state| !is_placeholder(state));
        if !is_usable {
            let made = placeholder(&acme.0.settings.sorted_names(), now)?;
            acme.0.folder.replace(&path, made.as_bytes())?;
        }
        if let Some(state) = state.filter(|state| acme.is_for_our_names(state)) {
            acme.schedule_mut().lifetime = Some((state.valid_from, state.expires_at));
        }
        Ok(acme)
    }

    /// The file to serve: both its chain and its key are in it. Its path does not change.
    #[must_use]
    pub fn files(&self) -> CertificateFiles {
        let path = self.0.folder.certificate();
        CertificateFiles::new(&path, &path)
    }

    /// When the next order is due.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        *self.schedule_mut()
    }

    /// Orders a certificate. `store` is that of the listeners which the authority can reach on port
    /// 443; they must be listening. The new certificate is then in [`files`](Self::files): reload
    /// the store. `now` gives the time in seconds since 1970: what is issued begins to be valid
    /// during the order.
    ///
    /// If the future is dropped, the order is given up, and nothing changes.
    ///
    /// # Errors
    /// Why there is no new certificate. It counts as a failure in [`schedule`](Self::schedule).
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O and time.
    pub async fn issue(
        &self,
        store: &CertificateStore,
        now: impl Fn() -> u64,
    ) -> Result<Issued, AcmeError> {
        let limit = Duration::from_secs(ORDER_SECONDS);
        let issued = match tokio::time::timeout(limit, self.order(store)).await {
            Ok(Ok(pem)) => self.install(&pem, now()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AcmeError::Late {
                seconds: ORDER_SECONDS,
            }),
        };
        let mut schedule = self.schedule_mut();
        match &issued {
            Ok(issued) => {
                schedule.lifetime = Some((issued.valid_from, issued.expires_at));
                schedule.failures = 0;
            }
            Err(_) => schedule.failures = schedule.failures.saturating_add(1),
        }
        issued
    }

    /// The key and the chain, in PEM form.
    async fn order(&self, store: &CertificateStore) -> Result<String, AcmeError> {
        let account = self.account().await?;
        let names = self.0.settings.sorted_names();
        let identifiers: Vec<_> = names.into_iter().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        // The proofs are served until the order is ready.
        let mut proofs: Vec<ChallengeGuard> = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                status => {
                    let detail = format!("{name} is {status:?}");
                    return Err(AcmeError::Refused { detail });
                }
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let Some(mut challenge) = challenge else {
                return Err(AcmeError::NoChallenge { name });
            };
            let (certificate, key) = proof(&name, challenge.key_authorization().digest().as_ref())?;
            proofs.push(store.challenge(&name, certificate, key)?);
            challenge.set_ready().await?;
        }
        let retries = RetryPolicy::new().timeout(POLL_TIMEOUT);
        let status = order.poll_ready(&retries).await?;
        if status != OrderStatus::Ready {
            let detail = refusals(&mut order).await;
            return Err(AcmeError::Refused { detail });
        }
        drop(proofs);
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&retries).await?;
        Ok(key + &chain)
    }

    /// The account of the file, or a new one.
    async fn account(&self) -> Result<Account, AcmeError> {
        let Inner {
            settings, folder, ..
        } = &*self.0;
        let client = Client::new(settings.directory_ca.as_deref())?;
        let builder = Account::builder_with_http(Box::new(client));
        let path = folder.account();
        if let Some(contents) = folder.read(&path)? {
            let stored: StoredAccount =
                serde_json::from_slice(&contents).map_err(|error| AcmeError::File {
                    path: path.clone(),
                    error: error.into(),
                })?;
            if stored.directory == settings.directory {
                return Ok(builder.from_credentials(stored.credentials).await?);
            }
        }
        let contact = settings.contact.as_ref();
        let contact = contact.map(|contact| format!("mailto:{contact}"));
        let contact: Vec<_> = contact.as_deref().into_iter().collect();
        let account = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let created = builder.create(&account, settings.directory.clone(), None);
        let (account, credentials) = created.await?;
        let stored = StoredAccount {
            directory: settings.directory.clone(),
            credentials,
        };
        let stored = serde_json::to_vec(&stored).map_err(instant_acme::Error::from)?;
        folder.replace(&path, &stored)?;
        Ok(account)
    }

    /// Checks what was issued, as it will be served, and puts it into its place.
    fn install(&self, pem: &str, now: u64) -> Result<Issued, AcmeError> {
        let folder = &self.0.folder;
        let new = folder.new_certificate();
        folder.write(&new, pem.as_bytes())?;
        let state = state(new.clone(), now)?;
        if !self.is_for_our_names(&state) {
            return Err(AcmeError::OtherNames);
        }
        folder.rename(&new, &folder.certificate())?;
        Ok(Issued {
            valid_from: state.valid_from,
            expires_at: state.expires_at,
        })
    }

    fn is_for_our_names(&self, state: &CertificateState) -> bool {
        let mut names = state.names.clone();
        names.sort();
        names == self.0.settings.sorted_names()
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn schedule_mut(&self) -> MutexGuard<'_, Schedule> {
        let schedule = &self.0.schedule;
        schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Acme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Acme")
            .field("settings", &self.0.settings)
            .field("schedule", &self.schedule())
            .finish_non_exhaustive()
    }
}

/// A certificate file, if it can be served.
fn state(path: PathBuf, now: u64) -> Result<CertificateState, AcmeError> {
    let files = CertificateFiles::new(&path, &path);
    let store = CertificateStore::load(vec![files], now)?;
    store.states().pop().ok_or(AcmeError::OtherNames)
}

fn is_placeholder(state: &CertificateState) -> bool {
    state.names.iter().any(|name| name == PLACEHOLDER)
}

/// A key and a certificate that no client trusts, in PEM form.
fn placeholder(names: &[String], now: u64) -> Result<String, AcmeError> {
    let names = names.iter().cloned().chain([PLACEHOLDER.to_owned()]);
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    let words = "livetrail waits for its certificate";
    params.distinguished_name.push(DnType::CommonName, words);
    // The first hour of its lifetime is over, for clocks that are late.
    let lifetime = Duration::from_secs(PLACEHOLDER_LIFETIME);
    let begin = Duration::from_secs(now.saturating_sub(3_600).min(LAST_TIME));
    #[expect(clippy::arithmetic_side_effects, reason = "before the year 9999")]
    {
        params.not_before = date_time_ymd(1970, 1, 1) + begin;
        params.not_after = params.not_before + lifetime;
    }
    let key = KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &made.pem())
}

/// The certificate that proves a name (RFC 8737 section 3), and its key, in DER form.
fn proof(name: &str, digest: &[u8]) -> Result<(Vec<u8>, Vec<u8>), AcmeError> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let made = params.self_signed(&key)?;
    Ok((made.der().to_vec(), key.serialize_der()))
}

/// Why the proofs of an order were not accepted.
async fn refusals(order: &mut instant_acme::Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let errors = state.challenges.iter().filter_map(|one| one.error.as_ref());
        if let Some(error) = errors.into_iter().next() {
            return error.to_string();
        }
    }
    "it does not say why".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-01, in seconds since 1970.
    const NOW: u64 = 1_796_083_200;

    fn settings(names: &[&str]) -> AcmeSettings {
        let mut settings = AcmeSettings::new(names.iter().map(ToString::to_string).collect());
        // Nobody listens there.
        settings.directory = "https://127.0.0.1:9/dir".to_owned();
        settings
    }

    /// Writes a certificate for these names that is valid for ten days.
    fn write(acme: &Acme, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2026, 11, 30);
        params.not_after = date_time_ymd(2026, 12, 10);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let pem = key.serialize_pem() + &made.pem();
        let folder = &acme.0.folder;
        folder
            .replace(&folder.certificate(), pem.as_bytes())
            .unwrap();
    }

    #[test]
    fn listeners_can_start_before_the_first_order_which_is_due() {
        let parent = tempfile::tempdir().unwrap();
        let open = |names: &[&str], now| {
            Acme::open(settings(names), parent.path().join("acme"), now).unwrap()
        };
        let is_due = |acme: &Acme, now| acme.schedule().wait(now, Duration::ZERO, 0).is_none();
        let acme = open(&["b.example", "a.example"], NOW);
        assert!(is_due(&acme, NOW));
        let served = |acme: &Acme, now| {
            let store = CertificateStore::load(vec![acme.files()], now).unwrap();
            store.states().pop().unwrap().names
        };
        assert!(served(&acme, NOW).contains(&PLACEHOLDER.to_owned()));
        // One that was issued is kept, and the order is not due until it must be renewed.
        write(&acme, &["a.example", "b.example"]);
        let acme = open(&["b.example", "a.example"], NOW);
        assert!(!is_due(&acme, NOW) && is_due(&acme, NOW + 6 * 86_400));
        // It is served for other names as well, until there is one for them.
        let acme = open(&["a.example"], NOW);
        assert!(is_due(&acme, NOW));
        assert_eq!(served(&acme, NOW), ["a.example", "b.example"]);
        // An expired one cannot be served.
        let later = NOW + 30 * 86_400;
        let acme = open(&["a.example", "b.example"], later);
        assert!(is_due(&acme, later));
        assert!(served(&acme, later).contains(&PLACEHOLDER.to_owned()));
    }

    #[test]
    fn what_is_issued_is_checked_before_it_takes_its_place() {
        let parent = tempfile::tempdir().unwrap();
        let acme = Acme::open(settings(&["a.example"]), parent.path().join("acme"), NOW).unwrap();
        write(&acme, &["a.example"]);
        let before = std::fs::read(acme.files().chain).unwrap();
        let names = vec!["b.example".to_owned()];
        let other = placeholder(&names, NOW).unwrap();
        assert!(matches!(
            acme.install(&other, NOW),
            Err(AcmeError::OtherNames)
        ));
        let half = &other[..other.len() / 2];
        assert!(matches!(
            acme.install(half, NOW),
            Err(AcmeError::Unusable(_))
        ));
        assert_eq!(std::fs::read(acme.files().chain).unwrap(), before);
    }

    #[tokio::test]
    async fn an_authority_that_cannot_be_reached_is_a_failure_that_counts() {
        let parent = tempfile::tempdir().unwrap();
        let mut settings = settings(&["a.example"]);
        let ca = parent.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&ca, made.cert.pem()).unwrap();
        settings.directory_ca = Some(ca);
        let acme = Acme::open(settings, parent.path().join("acme"), NOW).unwrap();
        let store = CertificateStore::load(vec![acme.files()], NOW).unwrap();
        let error = acme.issue(&store, || NOW).await.unwrap_err();
        assert!(error.to_string().contains("refused"), "{error}");
        assert_eq!(acme.schedule().failures, 1);
        let wait = acme.schedule().wait(NOW, Duration::ZERO, 0);
        assert_eq!(wait, Some(Duration::from_secs(300)));
    }
}
