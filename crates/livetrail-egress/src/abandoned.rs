//! Viewers whose connections ended without detaching them.

use std::sync::Mutex;

use livetrail_engine::ViewerId;

use crate::lock;

/// Viewers whose connections were aborted, so that no task can wait for the thread. Each viewer is
/// here at most once, so there are never more than viewers.
#[derive(Debug, Default)]
pub(crate) struct Abandoned(Mutex<Vec<ViewerId>>);

impl Abandoned {
    pub(crate) fn add(&self, viewer: ViewerId) {
        lock(&self.0).push(viewer);
    }

    pub(crate) fn take(&self) -> Vec<ViewerId> {
        std::mem::take(&mut *lock(&self.0))
    }
}
