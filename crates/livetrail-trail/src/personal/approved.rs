//! Requests to erase that wait for approvals, and those that have them all.
//!
//! ```text
//! DATA/personal/ID.approval   the request, who agrees, since when; sealed with the vault's key
//! ```
//!
//! The trail has each approval, but never what a request selects. So this is kept here, until the
//! request has run or was forgotten. A request with all approvals that fails is repeated until it
//! is done, also by the next start.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    Personal,
    ask::ErasureRequest,
    erase::{Operation, erase},
    lock, request,
};
use crate::Error;

const APPROVAL: &str = "approval";

/// The most requests that a start reads.
const MOST: usize = 128;

/// The longest pause between two attempts, counted in calls of [`Retries::step`].
const MOST_CALLS: u32 = 120;

/// A request and who agrees with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Approval {
    /// The request.
    pub request: ErasureRequest,
    /// The tokens that agree, including the one that asked.
    pub by: BTreeSet<String>,
    /// Since when it waits, in milliseconds since 1970.
    pub since_ms: u64,
    /// It has all approvals: it is repeated until it is done.
    pub is_ready: bool,
}

impl Approval {
    /// A request that waits since then, with the approval of who asks.
    #[must_use]
    pub fn new(request: ErasureRequest, since_ms: u64) -> Self {
        Self {
            by: BTreeSet::from([request.by.clone()]),
            request,
            since_ms,
            is_ready: false,
        }
    }
}

impl Personal {
    /// Keeps a request and its approvals over a restart, in place of what was kept of it. Durable
    /// when it returns. A vault in memory keeps nothing.
    ///
    /// # Errors
    /// It cannot be sealed or written.
    pub fn keep_approval(&self, approval: &Approval) -> Result<(), Error> {
        let Some(file) = self.approval_file(&approval.request.id) else {
            return Ok(());
        };
        request::write_to(self, &file, approval)?;
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        sync(&file)
            .and_then(|()| sync(file.parent().unwrap_or(Path::new("."))))
            .map_err(|error| anyhow::Error::new(error).into())
    }

    /// Removes what was kept of a request.
    pub fn forget_approval(&self, id: &str) {
        if let Some(file) = self.approval_file(id) {
            let _ = fs::remove_file(file);
        }
    }

    /// The requests that are kept. What cannot be read is reported and left out.
    #[must_use]
    pub fn approvals(&self) -> Vec<Approval> {
        let files = request::files(self, APPROVAL).unwrap_or_default();
        let files = files.into_iter().take(MOST);
        let read = |file: PathBuf| {
            let approval: anyhow::Result<Approval> = request::read(self, &file);
            let checked = approval.and_then(|approval| {
                approval.request.check()?;
                Ok(approval)
            });
            checked
                .inspect_err(|error| {
                    tracing::warn!("a request to erase that waits cannot be read: {error:#}");
                })
                .ok()
        };
        files.filter_map(read).collect()
    }

    /// A request with all approvals has failed. It is repeated until it is done.
    pub fn repeat_erasure(&self, request: ErasureRequest) {
        lock(&self.ready).insert(request.id.clone(), request);
    }

    /// The numbers of the requests that are repeated until they are done.
    #[must_use]
    pub fn repeated_erasures(&self) -> Vec<String> {
        lock(&self.ready).keys().cloned().collect()
    }

    /// The number of a request is a plain word, so it can be a part of a file's name.
    fn approval_file(&self, id: &str) -> Option<PathBuf> {
        Some(self.directory()?.join(format!("{id}.{APPROVAL}")))
    }
}

/// When requests that failed are repeated: at once, then less and less often.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// Calls to let pass after the next failure.
    pause: u32,
    /// Calls to let pass now.
    left: u32,
}

impl Retries {
    /// Takes the requests that an earlier process did not finish.
    pub(super) async fn begin(personal: &Arc<Personal>) -> Self {
        let kept = Arc::clone(personal);
        let kept = tokio::task::spawn_blocking(move || kept.approvals()).await;
        for approval in kept.unwrap_or_default() {
            if approval.is_ready {
                personal.repeat_erasure(approval.request);
            }
        }
        Self::default()
    }

    /// Repeats the requests if it is time to.
    pub(super) async fn step(&mut self, operation: Operation<'_>) {
        let personal = Arc::clone(operation.view.personal());
        let requests: Vec<ErasureRequest> = lock(&personal.ready).values().cloned().collect();
        if requests.is_empty() {
            *self = Self::default();
            return;
        }
        if self.left > 0 {
            self.left = self.left.saturating_sub(1);
            return;
        }
        for request in requests {
            match repeat(operation, &request).await {
                Ok(()) => {
                    lock(&personal.ready).remove(&request.id);
                    personal.forget_approval(&request.id);
                    tracing::info!(request = request.id, "an erasure that had failed is done");
                }
                Err(error) => {
                    self.pause = self.pause.saturating_mul(2).clamp(1, MOST_CALLS);
                    self.left = self.pause;
                    tracing::error!(
                        request = request.id,
                        "an erasure with all approvals failed; it is repeated: {error:#}"
                    );
                    return;
                }
            }
        }
    }
}

async fn repeat(operation: Operation<'_>, request: &ErasureRequest) -> anyhow::Result<()> {
    // The part that a hold keeps runs when the hold is lifted.
    if operation.waits_for_hold(&request.id).await? {
        return Ok(());
    }
    erase(operation.pipeline, operation.view, request).await?;
    Ok(())
}
