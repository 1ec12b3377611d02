//! Objects that are written once: put if absent, compared if present, and found even if deleted.

use bytes::Bytes;
use livetrail_replica::ReplicaError;
use livetrail_s3::ObjectLock;
use livetrail_s3::answer::{self, MAX_ANSWER_BYTES};

use super::client::{Client, refused};

/// The maximum number of versions of one object that are kept in memory.
const MAX_VERSIONS: usize = 4_096;

/// The class of an object, which determines how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Entries,
    Tiles,
    Checkpoints,
}

/// The result of a put.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// The object is new.
    Written,
    /// The object was already there, with these bytes.
    Present(Bytes),
}

impl Client {
    /// Puts an object if its key has none.
    pub(super) async fn put_once(
        &self,
        class: Class,
        key: &str,
        body: Bytes,
    ) -> Result<Put, ReplicaError> {
        let most = body.len().saturating_add(1);
        let request = self.bucket().put(key, body).if_absent();
        let request = self.kept(class, request)?;
        let what = request.what();
        let reply = self.send(request, MAX_ANSWER_BYTES).await?;
        match reply.status {
            200 => Ok(Put::Written),
            // This also happens if our own earlier put succeeded and its answer was lost.
            412 => Ok(Put::Present(self.wanted(key, most).await?)),
            status => Err(refused(&what, status, &reply.body)),
        }
    }

    /// Puts a new version of an object.
    pub(super) async fn put_newest(
        &self,
        class: Class,
        key: &str,
        body: Bytes,
    ) -> Result<(), ReplicaError> {
        let request = self.kept(class, self.bucket().put(key, body))?;
        self.ask(request).await.map(drop)
    }

    /// The first version of an object that must be there. Later versions and delete markers have no
    /// effect.
    pub(super) async fn wanted(&self, key: &str, most: usize) -> Result<Bytes, ReplicaError> {
        self.first(key, most)
            .await?
            .ok_or_else(|| ReplicaError::Damaged {
                what: format!("{key} is not there, and what was written later is: was it deleted?"),
                source: None,
            })
    }

    /// The first version of an object, if it has any.
    async fn first(&self, key: &str, most: usize) -> Result<Option<Bytes>, ReplicaError> {
        let versions = self.versions(key).await?;
        let mut contents = versions.iter().filter(|one| !one.is_delete_marker);
        let Some(first) = contents.next_back() else {
            return Ok(None);
        };
        if versions.len() > 1 {
            let above = versions.len() - 1;
            tracing::error!(
                key,
                above,
                "somebody overwrote or deleted an object of the trail; its first version is still there and is what counts"
            );
        }
        self.version(first, most).await.map(Some)
    }

    /// All versions of an object, the newest first.
    async fn versions(&self, key: &str) -> Result<Vec<answer::Version>, ReplicaError> {
        let mut after = None;
        let mut found: Vec<answer::Version> = Vec::new();
        loop {
            let body = self
                .ask(self.bucket().list_versions(key, after.as_ref()))
                .await?;
            let listed = answer::versions(&body).map_err(unreadable)?;
            found.extend(listed.versions.into_iter().filter(|one| one.key == key));
            // Only the first version matters, and it is listed last. Some of the middle versions
            // are enough.
            if found.len() > MAX_VERSIONS {
                found.drain(MAX_VERSIONS / 2..found.len() - MAX_VERSIONS / 4);
            }
            // Versions of one key are next to each other.
            after = listed.next.filter(|(next, _)| next == key);
            if after.is_none() {
                return Ok(found);
            }
        }
    }

    /// The contents of one version.
    pub(super) async fn version(
        &self,
        version: &answer::Version,
        most: usize,
    ) -> Result<Bytes, ReplicaError> {
        let request = self.bucket().get_version(&version.key, &version.version_id);
        let what = request.what();
        let reply = self.send(request, most).await?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(refused(&what, status, &reply.body)),
        }
    }

    /// At most `count` keys with this prefix that have a version, even below a delete marker.
    pub(super) async fn keys_below(
        &self,
        beginning: &str,
        count: usize,
    ) -> Result<Vec<String>, ReplicaError> {
        let body = self
            .ask(self.bucket().list_versions(beginning, None))
            .await?;
        let listed = answer::versions(&body).map_err(unreadable)?.versions;
        let with_contents = listed.into_iter().filter(|one| !one.is_delete_marker);
        let mut keys: Vec<_> = with_contents.map(|one| one.key).collect();
        keys.dedup();
        keys.truncate(count);
        Ok(keys)
    }

    /// The newest versions of an object, at most `count`, without delete markers.
    pub(super) async fn newest(
        &self,
        key: &str,
        count: usize,
    ) -> Result<Vec<answer::Version>, ReplicaError> {
        let body = self.ask(self.bucket().list_versions(key, None)).await?;
        let listed = answer::versions(&body).map_err(unreadable)?.versions;
        let of_key = |one: &answer::Version| one.key == key && !one.is_delete_marker;
        Ok(listed.into_iter().filter(of_key).take(count).collect())
    }

    /// Checks that the bucket keeps versions and can lock them, if the settings require it.
    pub(super) async fn check_bucket(&self) -> Result<(), ReplicaError> {
        let name = self.bucket().name();
        if self.options().retention.is_none() && !self.options().legal_hold {
            // The sink still sends a request, so that it reports wrong credentials at the start.
            self.ask(self.bucket().list("", "", 1)).await?;
            return Ok(());
        }
        let request = self.bucket().get_object_lock();
        let what = request.what();
        let reply = self.send(request, MAX_ANSWER_BYTES).await?;
        let locked = match reply.status {
            200 => answer::has_object_lock(&reply.body).map_err(unreadable)?,
            404 if answer::refusal(&reply.body).code != "NoSuchBucket" => false,
            status => return Err(refused(&what, status, &reply.body)),
        };
        if !locked {
            return Err(ReplicaError::unsuitable(format!(
                "bucket {name} has no Object Lock: what is put there can be overwritten and deleted. Make one with Object Lock, or \
                 set no retention to take it as it is"
            )));
        }
        let body = self.ask(self.bucket().get_versioning()).await?;
        if !answer::keeps_versions(&body).map_err(unreadable)? {
            return Err(ReplicaError::unsuitable(format!(
                "bucket {name} keeps no versions: turn versioning on"
            )));
        }
        Ok(())
    }

    fn kept(
        &self,
        class: Class,
        request: livetrail_s3::Request,
    ) -> Result<livetrail_s3::Request, ReplicaError> {
        let retain = self.options().retention.map(|retention| {
            let kept = match class {
                Class::Entries => retention.entries,
                Class::Tiles => retention.tiles,
                Class::Checkpoints => retention.checkpoints,
            };
            (retention.mode, self.now_s().saturating_add(kept.as_secs()))
        });
        let lock = ObjectLock {
            retain,
            legal_hold: self.options().legal_hold,
        };
        request
            .checksummed()
            .typed("application/octet-stream")
            .locked(&lock)
            .map_err(|error| ReplicaError::Unsuitable {
                what: "the retention is longer than a date can be".to_owned(),
                source: Some(error.into()),
            })
    }
}

pub(super) fn unreadable(error: livetrail_s3::Error) -> ReplicaError {
    ReplicaError::unavailable("the server's answer cannot be read", error)
}
