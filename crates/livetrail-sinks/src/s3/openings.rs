//! Openings in a bucket, and their erasure.
//!
//! ```text
//!  PREFIX/ORIGIN/personal/SESSION    an opening; never locked
//!  PREFIX/ORIGIN/tombstones/SIZE     the identifiers that an erasure names
//!  PREFIX/ORIGIN/erased/SIZE         the erasure cursor; the largest one counts
//! ```
//!
//! SESSION has 32 hexadecimal digits. SIZE is the index after the entry that names the erasure.
//!
//! The steps of an erasure: put the tombstones, delete all versions of the openings, put the
//! cursor. After a crash at any of them the same erasure comes again. A writer of openings puts
//! them first, and then reads the tombstones beyond its entries. So either it finds the tombstone,
//! or the erasure finds its opening.

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use livetrail_replica::{EntryOpening, Erasure, ReplicaError, SealedRange};
use livetrail_s3::answer::{self, MAX_ANSWER_BYTES};

use super::client::{Client, refused};
use super::layout::{Layout, size_in, sized};
use super::sizes::Sizes;
use super::store::unreadable;

/// Bytes of an identifier in a tombstone.
const SESSION_BYTES: usize = 16;

/// The most bytes of a tombstone: more than an entry can name.
const MAX_TOMBSTONE_BYTES: usize = 1 << 20;

/// The erasure cursor in the bucket. `None` if it has never had an opening.
pub(super) async fn cursor(client: &Client, layout: &Layout) -> Result<Option<u64>, ReplicaError> {
    Sizes::new(client, &layout.erased()).next().await
}

/// Puts the openings of a range. None of an erased session is there afterwards.
pub(super) async fn put(
    client: &Client,
    layout: &Layout,
    range: &SealedRange,
) -> Result<(), ReplicaError> {
    if range.openings().is_empty() {
        return Ok(());
    }
    if cursor(client, layout).await?.is_none() {
        // From here on the bucket has openings.
        let key = sized(&layout.erased(), range.first());
        put_plain(client, &key, Bytes::new()).await?;
    }
    let parallel = client.options().parallel;
    stream::iter(range.openings().iter().map(Ok::<_, ReplicaError>))
        .try_for_each_concurrent(parallel, |one| put_opening(client, layout, one))
        .await?;
    let erased = tombstones_beyond(client, layout, range.first()).await?;
    let came_late = range.openings().iter().map(EntryOpening::session);
    let came_late: Vec<_> = came_late.filter(|one| erased.contains(one)).collect();
    delete(client, layout, &came_late).await
}

/// Removes openings, and moves the cursor.
pub(super) async fn erase(
    client: &Client,
    layout: &Layout,
    erasure: &Erasure,
    found: u64,
) -> Result<(), ReplicaError> {
    if erasure.span.start > found {
        return Err(ReplicaError::CursorMoved {
            expected: erasure.span.start,
            found,
        });
    }
    if !erasure.sessions.is_empty() {
        let key = sized(&layout.tombstones(), erasure.span.end);
        put_plain(client, &key, Bytes::from(erasure.sessions.concat())).await?;
        delete(client, layout, &erasure.sessions).await?;
    }
    if erasure.span.end > found {
        let key = sized(&layout.erased(), erasure.span.end);
        put_plain(client, &key, Bytes::new()).await?;
    }
    Ok(())
}

async fn put_opening(
    client: &Client,
    layout: &Layout,
    one: &EntryOpening,
) -> Result<(), ReplicaError> {
    let key = layout.opening(&one.session());
    put_plain(client, &key, Bytes::from(one.json())).await
}

/// Puts an object without a lock, if its key has none.
async fn put_plain(client: &Client, key: &str, body: Bytes) -> Result<(), ReplicaError> {
    let request = client.bucket().put(key, body).if_absent();
    let request = request.checksummed().typed("application/octet-stream");
    let what = request.what();
    let reply = client.send(request, MAX_ANSWER_BYTES).await?;
    match reply.status {
        // Each of these objects is a function of the log, so one that is there is the same.
        200 | 412 => Ok(()),
        status => Err(refused(&what, status, &reply.body)),
    }
}

/// The identifiers in tombstones beyond an index.
async fn tombstones_beyond(
    client: &Client,
    layout: &Layout,
    index: u64,
) -> Result<Vec<[u8; 16]>, ReplicaError> {
    let beginning = layout.tombstones();
    let mut after = sized(&beginning, index);
    let mut erased = Vec::new();
    loop {
        let request = client
            .bucket()
            .list(&beginning, &after, livetrail_s3::MAX_LISTED);
        let listed = answer::keys(&client.ask(request).await?).map_err(unreadable)?;
        for key in &listed.keys {
            if size_in(&beginning, key).is_none() {
                continue;
            }
            let bytes = client.wanted(key, MAX_TOMBSTONE_BYTES).await?;
            let (sessions, _) = bytes.as_chunks::<SESSION_BYTES>();
            erased.extend_from_slice(sessions);
        }
        match listed.keys.last().filter(|_| listed.more) {
            Some(last) => after.clone_from(last),
            None => return Ok(erased),
        }
    }
}

/// Deletes all versions of these openings.
async fn delete(
    client: &Client,
    layout: &Layout,
    sessions: &[[u8; 16]],
) -> Result<(), ReplicaError> {
    let parallel = client.options().parallel;
    stream::iter(sessions.iter().map(Ok::<_, ReplicaError>))
        .try_for_each_concurrent(parallel, |session| async move {
            delete_all_versions(client, &layout.opening(session)).await
        })
        .await
}

async fn delete_all_versions(client: &Client, key: &str) -> Result<(), ReplicaError> {
    loop {
        let body = client.ask(client.bucket().list_versions(key, None)).await?;
        let listed = answer::versions(&body).map_err(unreadable)?;
        let mut versions = listed.versions.iter().filter(|one| one.key == key);
        let Some(first) = versions.next() else {
            return Ok(());
        };
        for one in std::iter::once(first).chain(versions) {
            let request = client.bucket().delete_version(key, &one.version_id);
            let what = request.what();
            let reply = client.send(request, MAX_ANSWER_BYTES).await?;
            if !matches!(reply.status, 200 | 204 | 404) {
                return Err(refused(&what, reply.status, &reply.body));
            }
        }
    }
}

/// Checks that the bucket does not lock openings by itself.
pub(super) async fn check(client: &Client) -> Result<(), ReplicaError> {
    let request = client.bucket().get_object_lock();
    let what = request.what();
    let reply = client.send(request, MAX_ANSWER_BYTES).await?;
    let default = match reply.status {
        200 => answer::default_retention(&reply.body).map_err(unreadable)?,
        // It has no Object Lock.
        404 => None,
        status => return Err(refused(&what, status, &reply.body)),
    };
    match default {
        None => Ok(()),
        Some(mode) => Err(ReplicaError::unsuitable(format!(
            "bucket {} has a default retention ({mode}), which would lock openings, so that nobody could erase them: remove it \
             (the sink locks each other object itself), or say personal = \"none\"",
            client.bucket().name()
        ))),
    }
}
