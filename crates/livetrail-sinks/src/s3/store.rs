//! Objects that are written once: put if absent, compared if present, found again if somebody deleted them.

use bytes::Bytes;
use livetrail_audit::replica::ReplicaError;
use livetrail_s3::answer::{self, MAX_ANSWER_BYTES};
use livetrail_s3::{MAX_LISTED, ObjectLock};

use super::client::{Client, refused};
use super::layout::{size_in, sized};

/// What an object is, which says how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Entries,
    Tiles,
    Checkpoints,
}

/// How a put ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there now.
    Written,
    /// It was there already, with these bytes.
    Present(Bytes),
}

impl Client {
    /// Puts an object where none is.
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
            // Also when our own put did it, whose answer was lost.
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

    /// An object that must be there.
    pub(super) async fn wanted(&self, key: &str, most: usize) -> Result<Bytes, ReplicaError> {
        let request = self.bucket().get(key);
        let what = request.what();
        let reply = self.send(request, most).await?;
        match reply.status {
            200 => Ok(reply.body),
            404 if answer::refusal(&reply.body).code != "NoSuchBucket" => {
                self.oldest(key, most).await
            }
            status => Err(refused(&what, status, &reply.body)),
        }
    }

    /// The first version of an object that somebody put a delete marker above.
    async fn oldest(&self, key: &str, most: usize) -> Result<Bytes, ReplicaError> {
        let mut after = None;
        let mut oldest = None;
        loop {
            let body = self
                .ask(self.bucket().list_versions(key, after.as_ref()))
                .await?;
            let listed = answer::versions(&body).map_err(unreadable)?;
            let is_ours =
                |version: &&answer::Version| version.key == key && !version.is_delete_marker;
            oldest = listed.versions.iter().rfind(is_ours).cloned().or(oldest);
            // Versions of one key stand together.
            let goes_on = listed.next.filter(|(next, _)| next == key);
            if goes_on.is_none() {
                break;
            }
            after = goes_on;
        }
        let Some(oldest) = oldest else {
            return Err(ReplicaError::Damaged {
                what: format!("{key} is not there, and what was written later is: was it deleted?"),
                source: None,
            });
        };
        tracing::error!(
            key,
            "somebody deleted an object of the trail; its first version is still there"
        );
        let request = self.bucket().get_version(key, &oldest.version_id);
        let what = request.what();
        let reply = self.send(request, most).await?;
        match reply.status {
            200 => Ok(reply.body),
            status => Err(refused(&what, status, &reply.body)),
        }
    }

    /// The largest size under such a beginning.
    pub(super) async fn largest(&self, beginning: &str) -> Result<Option<u64>, ReplicaError> {
        let mut search = Search::new();
        loop {
            let after = search.probe.map(|size| sized(beginning, size));
            let after = after.as_deref().unwrap_or_default();
            let (last, more) = self.page(beginning, after).await?;
            if search.is_over(last, more) {
                return Ok(search.known);
            }
        }
    }

    /// Whether a larger size than this is under such a beginning.
    pub(super) async fn is_beyond(&self, beginning: &str, size: u64) -> Result<bool, ReplicaError> {
        let after = if size == 0 {
            String::new()
        } else {
            sized(beginning, size)
        };
        Ok(self.page(beginning, &after).await?.0.is_some())
    }

    /// The last size of a page of keys, and whether there are more.
    async fn page(
        &self,
        beginning: &str,
        after: &str,
    ) -> Result<(Option<u64>, bool), ReplicaError> {
        let body = self
            .ask(self.bucket().list(beginning, after, MAX_LISTED))
            .await?;
        let listed = answer::keys(&body).map_err(unreadable)?;
        let sizes = listed.keys.iter().rev();
        Ok((
            sizes.filter_map(|key| size_in(beginning, key)).next(),
            listed.more,
        ))
    }

    /// That the bucket keeps versions and can lock them, where that is wanted.
    pub(super) async fn check_bucket(&self) -> Result<(), ReplicaError> {
        let name = self.bucket().name();
        if self.options().retention.is_none() && !self.options().legal_hold {
            // Not without a word from the server, so that a wrong key is said at the start.
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

/// Looks for the largest of sizes that can only be listed from the smallest up, in some 130 pages at most, however many there are.
///
/// Ask for a page of those beyond [`probe`](Self::probe) and tell [`is_over`](Self::is_over) what was on it, until that says so.
#[derive(Debug)]
struct Search {
    known: Option<u64>,
    probe: Option<u64>,
    /// How far beyond the largest that is known it looks: doubled while something is there, then halved.
    step: u64,
    grows: bool,
}

impl Search {
    const fn new() -> Self {
        Self {
            known: None,
            probe: None,
            step: 256,
            grows: true,
        }
    }

    /// Takes the last size of the page, and whether there are more behind it.
    fn is_over(&mut self, last: Option<u64>, more: bool) -> bool {
        match last {
            Some(_) if !more => {
                self.known = last;
                return true;
            }
            Some(size) => {
                self.known = Some(size);
                if self.grows {
                    self.step = self.step.saturating_mul(2).max(size / 2);
                }
            }
            None if self.probe.is_none() || self.step == 0 => return true,
            None => {
                self.grows = false;
                self.step /= 2;
            }
        }
        self.probe = Some(self.known.unwrap_or(0).saturating_add(self.step));
        false
    }
}

fn unreadable(error: livetrail_s3::Error) -> ReplicaError {
    ReplicaError::unavailable("the server's answer cannot be read", error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pages of ten; how often it was asked, and the answer.
    fn find(sizes: &[u64]) -> (u32, Option<u64>) {
        let mut search = Search::new();
        for asked in 1.. {
            let after = search.probe;
            let first = sizes.partition_point(|size| after.is_some_and(|after| *size <= after));
            let beyond = &sizes[first..];
            let page = beyond.iter().take(10).next_back();
            if search.is_over(page.copied(), beyond.len() > 10) {
                return (asked, search.known);
            }
        }
        unreachable!()
    }

    #[test]
    fn the_largest_of_a_million_is_found_with_few_questions() {
        assert_eq!(find(&[]), (1, None));
        assert_eq!(find(&[7]), (1, Some(7)));
        let many: Vec<u64> = (1..=100_000).map(|number| number * 60).collect();
        let (asked, found) = find(&many);
        assert_eq!(found, Some(6_000_000));
        assert!(asked < 60, "{asked}");
        let (_, found) = find(&[many.as_slice(), &[u64::MAX - 1, u64::MAX]].concat());
        assert_eq!(found, Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn whatever_the_sizes_the_largest_is_found(
            sizes in proptest::collection::btree_set(prop_oneof![0_u64..2_000, any::<u64>()], 0..200)
        ) {
            let sizes: Vec<u64> = sizes.into_iter().collect();
            prop_assert_eq!(find(&sizes).1, sizes.last().copied());
        }
    }
}
