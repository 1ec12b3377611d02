//! Reads the log's checkpoints in the bucket, without any other object.

use futures_util::stream::{self, StreamExt as _};
use livetrail_replica::{ReplicaError, Sightings};
use livetrail_tlog::MAX_NOTE_BYTES;

use super::client::Client;
use super::layout::{Layout, sized};
use super::sizes::Sizes;

/// The maximum number of objects under `checkpoints/` without a valid signature. After that the
/// answer counts as incomplete.
const MAX_UNSIGNED: usize = 256;

/// The maximum number of hand-overs that are read.
const MAX_HAND_OVERS: usize = 64;

/// The maximum number of versions of `checkpoint` that are read, the newest first. Someone may have
/// put an older checkpoint as the newest version.
const MAX_NEWEST: usize = 32;

/// Offers the largest checkpoint with a valid signature. If one object cannot be read, this logs
/// and skips it.
pub(super) async fn offer(
    client: &Client,
    layout: &Layout,
    seen: &Sightings,
) -> Result<(), ReplicaError> {
    // All three reads run, even if one of them fails.
    let handed_over = handed_over(client, layout, seen).await;
    let archived = archived(client, layout, seen).await;
    let newest = newest(client, layout, seen).await;
    handed_over.and(archived).and(newest)
}

/// Offers the checkpoints under `handover/`: the last ones that replaced keys signed.
async fn handed_over(
    client: &Client,
    layout: &Layout,
    seen: &Sightings,
) -> Result<(), ReplicaError> {
    for key in client
        .keys_below(&layout.hand_over(""), MAX_HAND_OVERS)
        .await?
    {
        match client.wanted(&key, MAX_NOTE_BYTES).await {
            Ok(note) => {
                seen.offer(&note);
            }
            Err(error @ ReplicaError::Damaged { .. }) => {
                tracing::error!(key, %error, "a hand-over in the bucket cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Offers the checkpoints under `checkpoints/`. Nothing can hide their first versions.
async fn archived(client: &Client, layout: &Layout, seen: &Sightings) -> Result<(), ReplicaError> {
    let beginning = layout.checkpoints();
    let mut sizes = Sizes::new(client, &beginning);
    for _ in 0..MAX_UNSIGNED {
        let Some(size) = sizes.next().await? else {
            return Ok(());
        };
        let key = sized(&beginning, size);
        let found = match client.wanted(&key, MAX_NOTE_BYTES).await {
            Ok(note) => seen.offer(&note),
            Err(error @ ReplicaError::Damaged { .. }) => {
                tracing::error!(key, %error, "a checkpoint in the bucket cannot be read");
                None
            }
            Err(error) => return Err(error),
        };
        match found {
            Some(head) if head.size == size => return Ok(()),
            Some(head) => {
                tracing::error!(
                    key,
                    size = head.size,
                    "a checkpoint in the bucket has a name that is not its size"
                );
            }
            None => tracing::error!(
                key,
                "an object in the bucket has a checkpoint's name and is not signed with a key of the trail"
            ),
        }
    }
    Err(ReplicaError::Damaged {
        what: format!(
            "the {MAX_UNSIGNED} largest objects under {beginning} are not signed with a key of the trail"
        ),
        source: None,
    })
}

/// Offers the versions of `checkpoint`. They remain if someone has emptied `checkpoints/`.
async fn newest(client: &Client, layout: &Layout, seen: &Sightings) -> Result<(), ReplicaError> {
    let key = layout.newest_checkpoint();
    let versions = client.newest(&key, MAX_NEWEST).await?;
    let reads: Vec<_> = versions
        .iter()
        .map(|version| client.version(version, MAX_NOTE_BYTES))
        .collect();
    let notes: Vec<_> = stream::iter(reads)
        .buffered(client.options().parallel.max(1))
        .collect()
        .await;
    let mut first = None;
    let mut failed = Ok(());
    for (nth, note) in notes.into_iter().enumerate() {
        match note {
            Ok(note) => {
                let head = seen.offer(&note);
                if nth == 0 {
                    first = head;
                }
            }
            Err(error) => failed = Err(error),
        }
    }
    let largest = seen.largest();
    if largest.is_some_and(|largest| first.is_none_or(|first| first.size < largest.size)) {
        tracing::error!(
            key,
            shows = first.map(|head| head.size),
            largest = largest.map(|head| head.size),
            "the object that a plain client takes for the newest checkpoint is not the newest: was it rolled back? The next batch replaces it"
        );
    }
    failed
}
