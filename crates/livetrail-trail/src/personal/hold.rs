//! Legal holds on openings, on record.
//!
//! A hold by principal, stream or time also covers sessions that come later. `admin_held` lists the
//! sessions: the first records of a hold those that there are, later ones those that have come.
//! The same hold keeps the entries from its first session on, so that pruning leaves them.

use std::path::Path;

use anyhow::{Context, bail};
use livetrail_audit::{AuditPipeline, AuditRecord};
use livetrail_index::{Filter, Index, scan};
use livetrail_ledger::{Cursor, Reader};
use livetrail_record::{Uuid, name_token};
use livetrail_vault::{HoldKind, HoldScope, SessionId};

use super::{
    ask::{ErasureReport, HoldOn, HoldReport, check_by, check_hold},
    erase::Operation,
};
use crate::{Error, TrailView, index_directory, operations};

/// Sets a legal hold on openings, and on the entries from the first one on. Returns when the record
/// of it is sealed.
///
/// # Errors
/// The name is not allowed or taken; it cannot be recorded; errors of the vault or the trail. Then
/// the hold may be in force: lift it, or set it again after that.
pub async fn hold(
    pipeline: &AuditPipeline,
    view: &TrailView,
    name: &str,
    on: &HoldOn,
    by: &str,
) -> Result<HoldReport, Error> {
    Ok(Operation { pipeline, view }.hold(name, on, by).await?)
}

/// Lifts a hold on openings, on record, and runs the erasures that wait for it. Returns what these
/// erased. A hold on entries alone is lifted in the same way.
///
/// # Errors
/// There is no such hold; it cannot be recorded, and then it stays; errors of the vault or the
/// trail.
pub async fn lift(
    pipeline: &AuditPipeline,
    view: &TrailView,
    name: &str,
    by: &str,
) -> Result<Vec<ErasureReport>, Error> {
    Ok(Operation { pipeline, view }.lift(name, by).await?)
}

impl Operation<'_> {
    async fn hold(self, name: &str, on: &HoldOn, by: &str) -> anyhow::Result<HoldReport> {
        check_hold(name, on)?;
        check_by(by)?;
        let _turn = self.view.turn.lock().await;
        let reader = &self.view.reader;
        if reader.cursors()?.iter().any(|(known, _)| known == name) {
            bail!(
                "the name {name} is taken by a hold or a sink: choose another one, or release the hold first"
            );
        }
        // Nothing may be pruned while the first entry is searched for.
        let first = reader.first_index()?;
        self.set_cursor(name, Some(first))?;
        if let Err(error) = self.hold_in_vault(name, on).await {
            self.set_cursor(name, None)?;
            return Err(error);
        }
        let listed = self.list_sessions(name, on, by).await;
        listed.with_context(|| {
            format!("the hold {name} is in force, and may not be on record: release it, and set it again")
        })
    }

    async fn hold_in_vault(self, name: &str, on: &HoldOn) -> anyhow::Result<()> {
        let scope = match on.clone() {
            HoldOn::Stream { app, name } => HoldScope::Stream { app, name },
            HoldOn::Sessions(sessions) => HoldScope::Sessions(sessions),
            HoldOn::Principal(name) => HoldScope::Principal(name),
            HoldOn::Times { from_ms, until_ms } => HoldScope::Times { from_ms, until_ms },
        };
        let held = name.to_owned();
        self.vault(move |vault| vault.set_hold(&held, &scope)).await
    }

    /// Puts a hold on record that is in force, with its sessions.
    async fn list_sessions(self, name: &str, on: &HoldOn, by: &str) -> anyhow::Result<HoldReport> {
        // What was recorded before it gets into the vault now.
        self.settle().await?;
        let from = self.first_entry(name, on).await?;
        self.set_cursor(name, Some(from))?;
        let about = |sessions: &[SessionId]| -> anyhow::Result<AuditRecord> {
            let record = operations::openings_held(name, scope_label(on), from, sessions)?;
            about(record.with_by(by), on)
        };
        let count = match on {
            HoldOn::Sessions(sessions) => {
                let records = sessions.chunks(operations::MAX_SESSIONS).map(about);
                self.record(records.collect::<anyhow::Result<_>>()?).await?;
                sessions.len()
            }
            _ => self.list_held(name, true, &about).await?,
        };
        Ok(HoldReport {
            hold: name.to_owned(),
            from,
            sessions: u64::try_from(count).unwrap_or(u64::MAX),
        })
    }

    /// Puts the sessions of a hold on record that are not yet. With `always` there is a record even
    /// if there are none.
    async fn list_held(
        self,
        name: &str,
        always: bool,
        record: &(dyn Fn(&[SessionId]) -> anyhow::Result<AuditRecord> + Sync),
    ) -> anyhow::Result<usize> {
        let mut count = 0_usize;
        loop {
            let held = name.to_owned();
            let (sessions, next) = self
                .vault(move |vault| vault.held_sessions(&held, operations::MAX_SESSIONS))
                .await?;
            if sessions.is_empty() && (count > 0 || !always) {
                return Ok(count);
            }
            self.record(vec![record(&sessions)?]).await?;
            // After a crash before this they are listed again.
            let held = name.to_owned();
            self.vault(move |vault| vault.set_held_listed(&held, next))
                .await?;
            if sessions.is_empty() {
                return Ok(count);
            }
            count = count.saturating_add(sessions.len());
        }
    }

    /// Puts sessions on record that holds cover and that came after the hold.
    pub(crate) async fn list_later(self) -> anyhow::Result<()> {
        let _turn = self.view.turn.lock().await;
        let holds = self
            .vault(|vault| {
                let names = vault.holds().into_iter();
                let kinds =
                    names.filter_map(|name| Some((name.to_owned(), vault.hold_kind(name)?)));
                Ok(kinds.collect::<Vec<_>>())
            })
            .await?;
        if holds.is_empty() {
            return Ok(());
        }
        let cursors = self.view.reader.cursors()?;
        for (name, kind) in holds {
            let cursor = cursors.iter().find(|(known, _)| *known == name);
            let (Some((_, Cursor::Hold(from))), Some(scope)) = (cursor, label_of(kind)) else {
                continue;
            };
            let record =
                |sessions: &[SessionId]| operations::openings_held(&name, scope, *from, sessions);
            self.list_held(&name, false, &record).await?;
        }
        Ok(())
    }

    async fn lift(self, name: &str, by: &str) -> anyhow::Result<Vec<ErasureReport>> {
        check_by(by)?;
        let _turn = self.view.turn.lock().await;
        let held = name.to_owned();
        let has_openings = self
            .vault(move |vault| Ok(vault.hold_kind(&held).is_some()))
            .await?;
        let has_cursor = self
            .view
            .reader
            .cursors()?
            .iter()
            .any(|(known, cursor)| known == name && matches!(cursor, Cursor::Hold(_)));
        if !has_openings && !has_cursor {
            bail!("there is no hold {name:?}: `livetrail trail hold DATA` lists them");
        }
        // The record comes first. After a crash before the next steps the hold is in force and on
        // record as lifted: lift it again.
        self.record(vec![operations::held(name, None)?.with_by(by)])
            .await?;
        if has_openings {
            let held = name.to_owned();
            self.vault(move |vault| vault.remove_hold(&held)).await?;
        }
        if has_cursor {
            self.set_cursor(name, None)?;
        }
        self.run_waiting().await
    }

    fn set_cursor(self, name: &str, from: Option<u64>) -> anyhow::Result<()> {
        let store = self.view.store.as_ref();
        Ok(self.view.holds.change(store, name, from)?)
    }

    /// The first entry of the sessions that a hold covers; the next one if there are none.
    async fn first_entry(self, name: &str, on: &HoldOn) -> anyhow::Result<u64> {
        let mut filters = Vec::new();
        let of_session = |id: &SessionId| {
            let mut filter = Filter::default();
            filter.session = Some(Uuid::from_bytes(*id).to_string());
            filter
        };
        match on {
            HoldOn::Sessions(sessions) => filters.extend(sessions.iter().map(of_session)),
            HoldOn::Principal(_) => {
                // The rows of the vault are in the order of the log.
                let held = name.to_owned();
                let (first, _) = self
                    .vault(move |vault| vault.held_sessions(&held, 1))
                    .await?;
                filters.extend(first.iter().map(of_session));
            }
            HoldOn::Stream { app, name } => {
                let mut filter = Filter::default();
                let secret = self.view.personal().name_secret(app);
                let token = secret.map(|secret| name_token(&secret, name));
                filter.app = Some(app.clone());
                filter.stream = Some(token.unwrap_or_else(|| name.clone()));
                filters.push(filter);
            }
            HoldOn::Times { from_ms, .. } => {
                let mut filter = Filter::default();
                filter.since_ms = Some(*from_ms);
                filters.push(filter);
            }
        }
        let reader = self.view.reader.clone();
        let directory = self.view.directory.clone();
        let end = self.view.handle.durable_entries();
        let found =
            tokio::task::spawn_blocking(move || first_of(&reader, directory.as_deref(), filters));
        Ok(found.await??.unwrap_or(end))
    }
}

/// The first entry that any of the filters selects.
fn first_of(
    reader: &Reader,
    trail: Option<&Path>,
    filters: Vec<Filter>,
) -> anyhow::Result<Option<u64>> {
    let mut index = trail.and_then(|trail| Index::open(&index_directory(trail), reader).ok());
    if let Some(found) = &mut index
        && found.catch_up(reader, &mut |_| true).is_err()
    {
        index = None;
    }
    let mut first: Option<u64> = None;
    for filter in filters {
        let mut hits = match &mut index {
            Some(index) => index.find(reader, filter)?,
            None => scan(reader, filter)?,
        };
        if let Some(hit) = hits.next() {
            let hit = hit.context("the trail cannot be searched")?;
            first = Some(first.map_or(hit.index, |first| first.min(hit.index)));
        }
    }
    Ok(first)
}

/// Adds what is special to a scope, without the name of a principal.
fn about(record: AuditRecord, on: &HoldOn) -> anyhow::Result<AuditRecord> {
    Ok(match on {
        HoldOn::Stream { app, name } => {
            let mut record = record;
            record.app.clone_from(app);
            record.with_stream(name.clone())
        }
        HoldOn::Times { from_ms, until_ms } => operations::with_times(record, *from_ms, *until_ms)?,
        HoldOn::Sessions(_) | HoldOn::Principal(_) => record,
    })
}

const fn scope_label(on: &HoldOn) -> &'static str {
    match on {
        HoldOn::Stream { .. } => "stream",
        HoldOn::Sessions(_) => "session",
        HoldOn::Principal(_) => "principal",
        HoldOn::Times { .. } => "time",
    }
}

/// The label of a hold's kind. `None` if a hold of this kind lists its sessions itself, or is not
/// made here.
const fn label_of(kind: HoldKind) -> Option<&'static str> {
    match kind {
        HoldKind::Stream => Some("stream"),
        HoldKind::Principal => Some("principal"),
        HoldKind::Times => Some("time"),
        _ => None,
    }
}
