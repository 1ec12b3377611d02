//! Erasing openings on request, on record.
//!
//! 1. Everything that is recorded by now is sealed, so its openings are in the vault.
//! 2. `admin_erased` names the sessions and is sealed. *After a crash here the next start erases
//!    them.*
//! 3. The vault erases them. The key of openings in the write-ahead log is changed.
//! 4. If a hold keeps some of them, `admin_erasure_waits` names the hold. The request runs again
//!    when a hold is lifted.
//! 5. `admin_erasure_completed` follows when every sink with openings has passed step 2. The vault
//!    has a note until then, so that this survives a restart.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use livetrail_audit::{AuditPipeline, AuditRecord};
use livetrail_vault::{Erasure, Record, SessionId, Vault, VaultError};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::{
    Steps,
    ask::{ErasureReport, ErasureRequest, Words},
};
use crate::{Error, TrailView, operations};

/// The disk may take this long for one step.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The notes of requests that are not completed begin with this.
const NOTE: &str = "erasure ";

/// A request that is not on record as completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    #[serde(flatten)]
    words: Words,
    /// The records of it are below this entry. `None` while it runs or waits.
    below: Option<u64>,
}

/// Erases what a request selects. What a hold keeps waits for the hold. Everything is on record
/// before it is destroyed. Returns when this is sealed.
///
/// # Errors
/// A request with this number waits already; it cannot be recorded, and then nothing more is
/// erased; errors of the vault. Repeating a request is harmless.
pub async fn erase(
    pipeline: &AuditPipeline,
    view: &TrailView,
    request: &ErasureRequest,
) -> Result<ErasureReport, Error> {
    Ok(Operation { pipeline, view }.erase(request).await?)
}

/// An operation on the personal data of a trail.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) pipeline: &'a AuditPipeline,
    pub(crate) view: &'a TrailView,
}

impl Operation<'_> {
    async fn erase(self, request: &ErasureRequest) -> anyhow::Result<ErasureReport> {
        request.check()?;
        let _turn = self.view.turn.lock().await;
        let words = Words::of(request);
        if self.waits_for_hold(&request.id).await? {
            bail!(
                "a request with the number {} waits for a hold: lift the hold, or give this one another number",
                request.id
            );
        }
        self.settle().await?;
        let asked = request.for_vault();
        let done = self
            .erasing(
                move |vault, record| vault.erase(&asked, record),
                words.clone(),
            )
            .await?;
        self.report(words, done).await
    }

    /// Runs the requests that wait, as far as the holds allow. The caller has the turn.
    pub(crate) async fn run_waiting(self) -> anyhow::Result<Vec<ErasureReport>> {
        let mut reports = Vec::new();
        for name in self.waiting().await? {
            let words = Words::parse(&name);
            // When the request is complete, the vault forgets it. This note is left of it then.
            self.note(&words, None).await?;
            let step = move |vault: &mut Vault, record: &mut Record<'_>| {
                Ok(vault.run_one(&name, record)?.unwrap_or_default())
            };
            let done = self.erasing(step, words.clone()).await?;
            reports.push(self.report(words, done).await?);
        }
        Ok(reports)
    }

    /// Records what a request has done, besides its erasures.
    async fn report(
        self,
        words: Words,
        (last, steps): (Erasure, Steps),
    ) -> anyhow::Result<ErasureReport> {
        let done = steps.added_to(last);
        let mut report = ErasureReport {
            request: words.request.clone(),
            erased: done.erased,
            held: done.held,
            holds: done.holds.iter().cloned().collect(),
            unknown: done.unknown,
            damaged: done.damaged,
            completed: false,
        };
        if done.held > 0 {
            let waits = done.holds.iter();
            let waits = waits.map(|hold| operations::erasure_waits(&words, hold));
            self.record(waits.collect::<anyhow::Result<_>>()?).await?;
            return Ok(report);
        }
        let below = self.view.handle.durable_entries();
        self.note(&words, Some(below)).await?;
        let completed = self.complete(self.view.erasures_passed()).await?;
        report.completed = completed.contains(&words.request);
        Ok(report)
    }

    /// Records that requests are completed of which every sink has passed the records. `passed` is
    /// the entry below which all sinks with openings have erased what entries name: the maximum if
    /// there are none. Returns the numbers of these requests.
    pub(crate) async fn complete(self, passed: u64) -> anyhow::Result<Vec<String>> {
        let mut completed = Vec::new();
        for pending in self.pending().await? {
            if pending.below.is_none_or(|below| below > passed) {
                continue;
            }
            let record = operations::erasure_completed(&pending.words)?;
            self.record(vec![record]).await?;
            // After a crash before this it is recorded again.
            let name = note_name(&pending.words.request);
            self.vault(move |vault| vault.set_note(&name, None)).await?;
            completed.push(pending.words.request);
        }
        Ok(completed)
    }

    /// A crash may have ended requests in the middle: the vault has made their erasures since, and
    /// has forgotten those that no longer wait.
    pub(crate) async fn recover(self) -> anyhow::Result<()> {
        let _turn = self.view.turn.lock().await;
        self.run_waiting().await?;
        let waiting = self.waiting().await?;
        let waits = |words: &Words| {
            let mut names = waiting.iter();
            names.any(|name| Words::parse(name).request == words.request)
        };
        for pending in self.pending().await? {
            if pending.below.is_none() && !waits(&pending.words) {
                let below = self.view.handle.durable_entries();
                self.note(&pending.words, Some(below)).await?;
            }
        }
        Ok(())
    }

    /// Whether a request with this number waits for a hold.
    pub(super) async fn waits_for_hold(self, id: &str) -> anyhow::Result<bool> {
        let waiting = self.waiting().await?;
        Ok(waiting.iter().any(|name| Words::parse(name).request == id))
    }

    async fn waiting(self) -> anyhow::Result<Vec<String>> {
        let names = |vault: &mut Vault| {
            let names = vault.waiting().into_iter();
            Ok(names.map(str::to_owned).collect())
        };
        self.vault(names).await
    }

    async fn pending(self) -> anyhow::Result<Vec<Pending>> {
        self.vault(|vault| {
            let notes = vault.notes().filter(|(name, _)| name.starts_with(NOTE));
            Ok(notes
                .filter_map(|(_, text)| serde_json::from_str(text).ok())
                .collect())
        })
        .await
    }

    async fn note(self, words: &Words, below: Option<u64>) -> anyhow::Result<()> {
        let name = note_name(&words.request);
        let words = words.clone();
        let text = serde_json::to_string(&Pending { words, below })?;
        self.vault(move |vault| vault.set_note(&name, Some(&text)))
            .await
    }

    /// Runs an erasure of the vault. The sessions are on record, sealed, before they are erased.
    async fn erasing(
        self,
        step: impl FnMut(&mut Vault, &mut Record<'_>) -> Result<Erasure, VaultError> + Send + 'static,
        words: Words,
    ) -> anyhow::Result<(Erasure, Steps)> {
        type Asked = (Vec<SessionId>, oneshot::Sender<Result<(), String>>);
        let personal = Arc::clone(self.view.personal());
        let (ask, mut asked) = mpsc::channel::<Asked>(1);
        let running = tokio::task::spawn_blocking(move || {
            personal.erasing(step, &mut |sessions| {
                let (done, answer) = oneshot::channel();
                ask.blocking_send((sessions.to_vec(), done))?;
                Ok(answer.blocking_recv()??)
            })
        });
        while let Some((sessions, done)) = asked.recv().await {
            let records = sessions.chunks(operations::MAX_SESSIONS);
            let records = records.map(|some| operations::erased(Some(&words), some));
            let recorded = match records.collect::<anyhow::Result<_>>() {
                Ok(records) => self.record(records).await,
                Err(error) => Err(error),
            };
            let _ = done.send(recorded.map_err(|error| format!("{error:#}")));
        }
        Ok(running.await??)
    }

    /// Calls the vault outside the runtime's workers.
    pub(crate) async fn vault<T: Send + 'static>(
        self,
        act: impl FnOnce(&mut Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let personal = Arc::clone(self.view.personal());
        Ok(tokio::task::spawn_blocking(move || personal.with(act)).await??)
    }

    /// Records something, and returns when a checkpoint covers all of it.
    pub(crate) async fn record(self, records: Vec<AuditRecord>) -> anyhow::Result<()> {
        for record in records {
            let what = record.action.label().to_owned();
            let recorded = self.pipeline.record(record);
            recorded.with_context(|| format!("{what} cannot be recorded"))?;
        }
        self.settle().await
    }

    /// Returns when a checkpoint covers everything that was recorded before. Its openings are in
    /// the vault then.
    pub(crate) async fn settle(self) -> anyhow::Result<()> {
        within(self.pipeline.sync()).await??;
        let entries = self.view.handle.durable_entries();
        within(self.view.handle.sealed(entries)).await??;
        Ok(())
    }
}

async fn within<T>(done: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(TIMEOUT, done)
        .await
        .with_context(|| format!("what is recorded was not sealed within {TIMEOUT:?}"))
}

fn note_name(request: &str) -> String {
    format!("{NOTE}{request}")
}
