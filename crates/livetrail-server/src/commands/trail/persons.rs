//! Whose records: persons are found through the vault, because entries name nobody.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use livetrail_index::{Filter, MAX_SESSIONS, SessionSet};
use livetrail_trail::{Personal, Settings, chain};
use livetrail_vault::{MAX_PAGE_ROWS, Query, SessionId, Subject, VaultError};

use super::erase::network;
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
    #[command(flatten)]
    pub(crate) file: ConfigFile,
}

impl PersonArgs {
    /// Whether any of them is given.
    pub(super) const fn is_given(&self) -> bool {
        self.personal || self.peer.is_some() || self.user_agent.is_some()
    }
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

/// Lets the filter select persons by their sessions.
///
/// Without a vault, `--principal` finds only records of schema 1, which have names in clear. A
/// warning says so.
pub(super) fn find_persons(
    filter: &mut Filter,
    principal: Option<&str>,
    args: &PersonArgs,
    trail: &Path,
) -> Result<(), Failure> {
    let mut subjects = Vec::new();
    subjects.extend(principal.map(|name| Subject::Principal(name.to_owned())));
    let peer = args.peer;
    subjects.extend(peer.map(|(address, bits)| Subject::Network { address, bits }));
    let agent = args.user_agent.as_ref();
    subjects.extend(agent.map(|agent| Subject::UserAgent(agent.clone())));
    if subjects.is_empty() {
        return Ok(());
    }
    let only_principal = subjects.len() == 1 && principal.is_some();
    let personal = match vault_of(trail, &args.file) {
        Ok(personal) => personal,
        Err(failure) if only_principal => {
            complain(&format!(
                "warning: only records of schema 1 are searched for this principal: {failure}"
            ));
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    let mut found: Option<BTreeSet<SessionId>> = None;
    for subject in subjects {
        let mut query = Query::of(subject);
        query.until_ms = filter.until_ms.unwrap_or(u64::MAX);
        let sessions = sessions_of(&personal, &query)?;
        found = Some(match found {
            Some(found) => found.intersection(&sessions).copied().collect(),
            None => sessions,
        });
    }
    if !only_principal {
        // Records of schema 1 are found by their name, and there is no index of their addresses.
        filter.principal = None;
    }
    let found = SessionSet::new(found.unwrap_or_default()).map_err(Failure::unusable)?;
    filter.sessions = Some(found);
    Ok(())
}

/// Lets a filter by a stream's name also select the tokens that entries have in place of it, in
/// applications whose names are personal according to the configuration.
///
/// # Errors
/// The file of `--config` cannot be used. Without the vault, a warning says what is not searched.
pub(super) fn find_names(
    filter: &mut Filter,
    args: &PersonArgs,
    trail: &Path,
) -> Result<(), Failure> {
    if filter.stream.is_none() {
        return Ok(());
    }
    let settings = match settings_of(trail, &args.file) {
        Ok(settings) => settings,
        Err(failure) if args.file.config.is_some() => return Err(failure),
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
