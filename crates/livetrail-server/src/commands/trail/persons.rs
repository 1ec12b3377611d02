//! Whose records: persons are found through the vault, because entries name nobody.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use livetrail_index::{Filter, MAX_SESSIONS, SessionSet};
use livetrail_record::SessionRole;
use livetrail_trail::{Personal, Settings, chain};
use livetrail_vault::{MAX_PAGE_ROWS, Query, SessionId, Subject, VaultError};

use super::{erase::network, source::LedgerSource};
use crate::{
    config::{self, ConfigFile, Overrides},
    output::{Failure, complain},
    serve::trail_settings,
};

/// Whose records, besides `--principal`, and whether they are named.
#[derive(Debug, clap::Args)]
pub(crate) struct PersonArgs {
    /// Only sessions from this network, such as `192.0.2.0/24`, or from one address.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub(crate) peer: Option<(IpAddr, u8)>,
    /// Only sessions with exactly this user agent.
    #[arg(long, value_name = "TEXT")]
    pub(crate) user_agent: Option<String>,
    /// Show personal fields. This is on record (`admin_disclosed`). Without it they are `-`.
    #[arg(long)]
    pub(crate) personal: bool,
    /// Why they are shown, for the record. It must name nobody.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "personal",
        default_value = "not stated"
    )]
    pub(crate) purpose: String,
}

impl PersonArgs {
    /// Whether any of them is given.
    pub(super) const fn is_given(&self) -> bool {
        self.personal || self.peer.is_some() || self.user_agent.is_some()
    }

    /// The persons, with this principal.
    pub(super) fn subjects(&self, principal: Option<&str>) -> Vec<Subject> {
        let mut subjects = of_principal(principal);
        let peer = self.peer;
        subjects.extend(peer.map(|(address, bits)| Subject::Network { address, bits }));
        let agent = self.user_agent.as_ref();
        subjects.extend(agent.map(|agent| Subject::UserAgent(agent.clone())));
        subjects
    }
}

/// The persons of a command that knows only `--principal`.
pub(super) fn of_principal(principal: Option<&str>) -> Vec<Subject> {
    let subject = principal.map(|name| Subject::Principal(name.to_owned()));
    subject.into_iter().collect()
}

/// The settings of the trail in this directory.
pub(super) fn settings_of(trail: &Path, file: &ConfigFile) -> Result<Settings, Failure> {
    let overrides = Overrides {
        data: trail.parent().map(Path::to_owned),
        ..Overrides::default()
    };
    let config = config::load(file.config.as_deref(), config::variables(), &overrides)
        .map_err(Failure::configuration)?;
    trail_settings(&config).map_err(Failure::unusable)
}

/// The vault of the trail in this directory, open to read.
pub(super) fn vault_of(trail: &Path, file: &ConfigFile) -> Result<Personal, Failure> {
    let settings = settings_of(trail, file)?;
    Personal::read_only(&settings).map_err(|error| {
        let error = anyhow::Error::new(error);
        Failure::unusable(error.context(
            "the vault of personal data cannot be read: run the command as the server's user, with its --config",
        ))
    })
}

/// Whose records a filter selects, and where they are found.
pub(super) struct Persons {
    subjects: Vec<Subject>,
    /// Sessions that entries of schema 1 opened with the principal in clear, and did not end.
    in_clear: BTreeSet<SessionId>,
    trail: PathBuf,
    file: ConfigFile,
}

impl Persons {
    /// Lets the filter select persons by their sessions. `None` if nobody is asked for, or if there
    /// is no vault.
    ///
    /// Without a vault, `--principal` finds only the sessions that began in schema 1, which has
    /// names in clear. A warning says so.
    pub(super) fn find(
        filter: &mut Filter,
        subjects: Vec<Subject>,
        ledger: &LedgerSource,
        with_index: bool,
        file: &ConfigFile,
    ) -> Result<Option<Self>, Failure> {
        if subjects.is_empty() {
            return Ok(None);
        }
        let mut persons = Self {
            in_clear: BTreeSet::new(),
            trail: ledger.directory.clone(),
            file: file.clone(),
            subjects,
        };
        match persons.only_principal() {
            Some(name) => persons.in_clear = open_in_clear(ledger, name, with_index)?,
            // Records of schema 1 are found by their name, and there is no index of their
            // addresses.
            None => filter.principal = None,
        }
        match vault_of(&ledger.directory, file) {
            Ok(personal) => {
                persons.select(&personal, filter)?;
                Ok(Some(persons))
            }
            Err(failure) if persons.only_principal().is_some() => {
                complain(&format!(
                    "warning: only sessions of schema 1 are searched for this principal: {failure}"
                ));
                filter.sessions = Some(set_of(persons.in_clear)?);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Also selects sessions that have begun since. An opening is in the vault before a checkpoint
    /// covers its entry.
    pub(super) fn find_again(&self, filter: &mut Filter) -> Result<(), Failure> {
        self.select(&vault_of(&self.trail, &self.file)?, filter)
    }

    fn select(&self, personal: &Personal, filter: &mut Filter) -> Result<(), Failure> {
        let mut found: Option<BTreeSet<SessionId>> = None;
        for subject in &self.subjects {
            let mut query = Query::of(subject.clone());
            query.until_ms = filter.until_ms.unwrap_or(u64::MAX);
            let sessions = sessions_of(personal, &query)?;
            found = Some(match found {
                Some(found) => found.intersection(&sessions).copied().collect(),
                None => sessions,
            });
        }
        let mut found = found.unwrap_or_default();
        found.extend(&self.in_clear);
        filter.sessions = Some(set_of(found)?);
        Ok(())
    }

    fn only_principal(&self) -> Option<&str> {
        match self.subjects.as_slice() {
            [Subject::Principal(name)] => Some(name),
            _ => None,
        }
    }
}

/// The sessions that entries of schema 1 opened with this principal in clear, and did not end. Such
/// a session may have been ended by an entry of schema 2, after a crash and an upgrade. That entry
/// names nobody, and the vault does not know the session.
pub(super) fn open_in_clear(
    ledger: &LedgerSource,
    principal: &str,
    with_index: bool,
) -> Result<BTreeSet<SessionId>, Failure> {
    let mut filter = Filter::default();
    filter.principal = Some(principal.to_owned());
    let mut open = BTreeSet::new();
    for found in ledger.find(filter, with_index)?.by_ref() {
        let record = found.map_err(Failure::unusable)?.record;
        let Some(session) = record.session else {
            continue;
        };
        match record.action.role() {
            SessionRole::Opens(_) => open.insert(session.into_bytes()),
            SessionRole::Closes(_) => open.remove(session.as_bytes()),
            _ => false,
        };
    }
    Ok(open)
}

fn set_of(sessions: BTreeSet<SessionId>) -> Result<SessionSet, Failure> {
    SessionSet::new(sessions).map_err(Failure::unusable)
}

/// Lets a filter by a stream's name also select the tokens that entries have in place of it, in
/// applications whose names are personal according to the configuration.
///
/// # Errors
/// The file of `--config` cannot be used. Without the vault, a warning says what is not searched.
pub(super) fn find_names(
    filter: &mut Filter,
    trail: &Path,
    file: &ConfigFile,
) -> Result<(), Failure> {
    if filter.stream.is_none() {
        return Ok(());
    }
    let settings = match settings_of(trail, file) {
        Ok(settings) => settings,
        Err(failure) if file.config.is_some() => return Err(failure),
        // A copy of a trail has no configuration.
        Err(_) => return Ok(()),
    };
    let is_asked = |app: &&String| filter.app.as_ref().is_none_or(|asked| asked == *app);
    let apps: Vec<&String> = settings.personal_names.iter().filter(is_asked).collect();
    if apps.is_empty() {
        return Ok(());
    }
    match Personal::read_only(&settings) {
        Ok(personal) => {
            let secrets: Vec<_> = apps
                .into_iter()
                .map(|app| personal.name_secret(app))
                .collect();
            for secret in secrets.into_iter().flatten() {
                filter.accept_token(&secret);
            }
        }
        Err(error) => complain(&format!(
            "warning: streams whose names are personal are not searched: {}",
            chain(&error)
        )),
    }
    Ok(())
}

/// The sessions that a query selects.
pub(super) fn sessions_of(
    personal: &Personal,
    query: &Query,
) -> Result<BTreeSet<SessionId>, Failure> {
    let collect = |vault: &mut livetrail_vault::Vault| -> Result<_, VaultError> {
        let (mut sessions, mut from) = (BTreeSet::new(), None);
        loop {
            let page = vault.find(query, from, MAX_PAGE_ROWS)?;
            sessions.extend(page.rows.iter().map(|row| row.session));
            from = page.next;
            if from.is_none() || sessions.len() > MAX_SESSIONS {
                return Ok(sessions);
            }
        }
    };
    let sessions = personal.with(collect).map_err(Failure::unusable)?;
    if sessions.len() > MAX_SESSIONS {
        return Err(Failure::unusable(anyhow::anyhow!(
            "more than {MAX_SESSIONS} sessions match: give another condition, or an earlier --until"
        )));
    }
    Ok(sessions)
}
