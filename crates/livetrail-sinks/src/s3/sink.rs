//! The sink for a bucket.

use std::fmt;

use async_trait::async_trait;
use livetrail_replica::{
    Erasure, PersonalMode, ReplicaError, ReplicaSink, SealedRange, Sightings, SinkCursor,
};
use tokio::sync::Mutex;

use super::client::{Client, UnixSeconds};
use super::layout::Layout;
use super::options::S3Options;
use super::site::Site;
use super::{openings, sightings};
use crate::error::SinksError;

/// A bucket that follows the ledger. The module's documentation describes the objects and their
/// order.
///
/// Memory: the batch, the bundle that is not full yet, and 64 KiB of hashes. The bundle has at most
/// 16 MiB, and usually some 100 KiB.
pub struct S3Sink {
    name: String,
    client: Client,
    keeps_openings: bool,
    /// The state of the log in the bucket. `None` if it is not known, such as after any error.
    site: Mutex<Option<Site>>,
    /// Whether the sink has checked that the bucket is suitable.
    is_checked: Mutex<bool>,
}

impl S3Sink {
    /// Creates a sink with this name. It sends no request yet.
    ///
    /// # Errors
    /// [`SinksError::S3`] for settings that are out of bounds; an error if the file with
    /// certificates is not usable.
    pub fn new(
        name: impl Into<String>,
        options: S3Options,
        now_s: UnixSeconds,
    ) -> Result<Self, SinksError> {
        options.check()?;
        Ok(Self {
            name: name.into(),
            client: Client::new(options, now_s)?,
            keeps_openings: false,
            site: Mutex::new(None),
            is_checked: Mutex::new(false),
        })
    }

    /// Keeps openings under `personal/`, without a lock, and erases them again.
    #[must_use]
    pub const fn keeping_openings(mut self) -> Self {
        self.keeps_openings = true;
        self
    }

    /// Checks once that the bucket has Object Lock and versions.
    async fn check(&self) -> Result<(), ReplicaError> {
        let mut is_checked = self.is_checked.lock().await;
        if !*is_checked {
            self.check_now().await?;
            *is_checked = true;
        }
        Ok(())
    }

    async fn check_now(&self) -> Result<(), ReplicaError> {
        self.client.check_bucket().await?;
        if self.keeps_openings {
            openings::check(&self.client).await?;
        }
        Ok(())
    }

    fn layout(&self, origin: &str) -> Layout {
        Layout::new(&self.client.options().prefix, origin)
    }

    async fn read(&self, origin: &str) -> Result<Site, ReplicaError> {
        Site::read(&self.client, &self.client.options().prefix, origin).await
    }
}

#[async_trait]
impl ReplicaSink for S3Sink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn cursor(&self, origin: &str) -> Result<SinkCursor, ReplicaError> {
        let mut kept = self.site.lock().await;
        *kept = None;
        self.client.forget_credentials();
        self.check().await?;
        let site = self.read(origin).await?;
        let mut cursor = SinkCursor::at(site.size());
        if let Some(leaf) = site.last_leaf(&self.client).await? {
            cursor = cursor.with_last_leaf(leaf);
        }
        *kept = Some(site);
        Ok(cursor)
    }

    /// Reads the sightings, whatever the bucket's settings are.
    async fn sightings(&self, seen: &Sightings) -> Result<(), ReplicaError> {
        self.client.forget_credentials();
        let layout = Layout::new(&self.client.options().prefix, seen.origin());
        sightings::offer(&self.client, &layout, seen).await
    }

    async fn append(&self, range: &SealedRange) -> Result<(), ReplicaError> {
        self.check().await?;
        let mut kept = self.site.lock().await;
        // The state is taken out here. So a future that is dropped or fails leaves no wrong state
        // behind.
        let known = kept.take().filter(|site| site.is_of(range.origin()));
        let site = match known {
            Some(site) if !site.is_overtaken(&self.client).await? => site,
            _ => self.read(range.origin()).await?,
        };
        let size = site.size();
        if range.first() > size {
            let expected = range.first();
            return Err(ReplicaError::CursorMoved {
                expected,
                found: size,
            });
        }
        site.compare(&self.client, range).await?;
        *kept = Some(match range.starting_at(size) {
            Some(rest) => {
                if self.keeps_openings {
                    let layout = self.layout(range.origin());
                    openings::put(&self.client, &layout, &rest).await?;
                }
                site.commit(&self.client, &rest).await?
            }
            None => site,
        });
        Ok(())
    }

    fn personal(&self) -> PersonalMode {
        if self.keeps_openings {
            PersonalMode::Opening
        } else {
            PersonalMode::None
        }
    }

    async fn erasure_cursor(&self, origin: &str) -> Result<u64, ReplicaError> {
        self.client.forget_credentials();
        self.check().await?;
        match openings::cursor(&self.client, &self.layout(origin)).await? {
            Some(cursor) => Ok(cursor),
            None => Ok(self.read(origin).await?.size()),
        }
    }

    async fn erase(&self, erasure: &Erasure) -> Result<(), ReplicaError> {
        self.check().await?;
        let layout = self.layout(&erasure.origin);
        let found = match openings::cursor(&self.client, &layout).await? {
            Some(cursor) => cursor,
            None => self.read(&erasure.origin).await?.size(),
        };
        openings::erase(&self.client, &layout, erasure, found).await
    }

    async fn health(&self) -> Result<(), ReplicaError> {
        self.check_now().await
    }
}

impl fmt::Debug for S3Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Sink")
            .field("name", &self.name)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
