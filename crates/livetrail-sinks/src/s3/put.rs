//! Puts each kind of object if it is absent, and judges an object that is already there.

use bytes::Bytes;
use livetrail_replica::{HandOver, ReplicaError};
use livetrail_tlog::{
    Bundle, Checkpoint, HASH_BYTES, Hash, Note, TILE_WIDTH, Tile, TreeHead, leaf_hash, parse_bundle,
};

use super::client::Client;
use super::layout::{Layout, sized};
use super::object::{damaged, head_in, unreadable};
use super::store::{Class, Put};

/// Puts a bundle of entries.
pub(super) async fn put_bundle(
    client: &Client,
    layout: &Layout,
    bundle: Bundle,
    ours: Bytes,
) -> Result<(), ReplicaError> {
    let key = layout.tile(bundle);
    match client.put_once(Class::Entries, &key, ours.clone()).await? {
        Put::Written => Ok(()),
        Put::Present(theirs) if theirs == ours => Ok(()),
        Put::Present(theirs) => {
            let leaves = |bytes: &Bytes| {
                let entries = parse_bundle(bundle, bytes).map_err(unreadable(&key))?;
                Ok::<_, ReplicaError>(entries.into_iter().map(leaf_hash).collect::<Vec<_>>())
            };
            Err(forked(
                bundle.index(),
                &key,
                &leaves(&ours)?,
                &leaves(&theirs)?,
            ))
        }
    }
}

/// Puts a tile of hashes.
pub(super) async fn put_tile(
    client: &Client,
    layout: &Layout,
    tile: Tile,
    hashes: Vec<Hash>,
) -> Result<(), ReplicaError> {
    let key = layout.tile(tile);
    let mut ours = Vec::with_capacity(hashes.len().saturating_mul(HASH_BYTES));
    for hash in &hashes {
        ours.extend_from_slice(hash.as_bytes());
    }
    let ours = Bytes::from(ours);
    match client.put_once(Class::Tiles, &key, ours.clone()).await? {
        Put::Written => Ok(()),
        Put::Present(theirs) if theirs == ours => Ok(()),
        Put::Present(theirs) if tile.level() == 0 => {
            let theirs = tile.parse(&theirs).map_err(unreadable(&key))?;
            Err(forked(tile.index(), &key, &hashes, &theirs))
        }
        Put::Present(_) => Err(damaged(format!(
            "{key} exists, but its hashes are not the ledger's"
        ))),
    }
}

/// Puts a signed checkpoint under its size, and as the newest one. The same tree may have been
/// signed again at another time.
pub(super) async fn put_checkpoint(
    client: &Client,
    layout: &Layout,
    origin: &str,
    head: TreeHead,
    note: &Bytes,
) -> Result<(), ReplicaError> {
    let key = sized(&layout.checkpoints(), head.size);
    if let Put::Present(theirs) = client
        .put_once(Class::Checkpoints, &key, note.clone())
        .await?
    {
        let text = Note::parse(&theirs).map_err(unreadable(&key));
        let theirs = text.and_then(|note| head_in(note.text().as_bytes(), &key, origin));
        same_tree(head, theirs, &key)?;
    }
    let key = layout.newest_checkpoint();
    client
        .put_newest(Class::Checkpoints, &key, note.clone())
        .await
}

/// Puts a commit, which is the cursor.
pub(super) async fn put_commit(
    client: &Client,
    layout: &Layout,
    origin: &str,
    head: TreeHead,
) -> Result<(), ReplicaError> {
    let key = sized(&layout.commits(), head.size);
    let text = Checkpoint::new(origin, head).map_err(unreadable("the log's name"))?;
    let body = Bytes::from(text.encode());
    match client.put_once(Class::Checkpoints, &key, body).await? {
        Put::Written => Ok(()),
        Put::Present(theirs) => same_tree(head, head_in(&theirs, &key, origin), &key),
    }
}

/// Compares our tree with the object that is already at its key. Another tree of this size is a
/// fork.
///
/// An object that is not a tree of this size is a foreign object. The sink logs it and continues,
/// because the next batch has another size.
fn same_tree(
    ours: TreeHead,
    theirs: Result<TreeHead, ReplicaError>,
    key: &str,
) -> Result<(), ReplicaError> {
    match theirs {
        Ok(theirs) if theirs == ours => Ok(()),
        Ok(theirs) if theirs.size == ours.size => Err(ReplicaError::ForkedTree {
            size: ours.size,
            ours: ours.root,
            theirs: theirs.root,
        }),
        Ok(theirs) => {
            tracing::error!(
                key,
                size = theirs.size,
                "an object in the bucket has the name of our object, but another size"
            );
            Ok(())
        }
        Err(error @ ReplicaError::Damaged { .. }) => {
            tracing::error!(key, %error, "an object in the bucket has the name of our object, and cannot be read");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Puts each hand-over under the id of the replaced key, as in the trail itself.
pub(super) async fn put_hand_overs(
    client: &Client,
    layout: &Layout,
    hand_overs: &[HandOver],
) -> Result<(), ReplicaError> {
    for hand_over in hand_overs {
        for id in &hand_over.keys {
            let key = layout.hand_over(id);
            let note = Bytes::from(hand_over.note.clone());
            let put = client.put_once(Class::Checkpoints, &key, note.clone());
            if let Put::Present(theirs) = put.await?
                && theirs != note
            {
                tracing::error!(
                    key,
                    "an object in the bucket has the name of a hand-over from key to key, and is another"
                );
            }
        }
    }
    Ok(())
}

/// Finds the first entry that differs in bundle or tile `number`.
fn forked(number: u64, key: &str, ours: &[Hash], theirs: &[Hash]) -> ReplicaError {
    let first = number.saturating_mul(u64::from(TILE_WIDTH));
    let pairs = ours.iter().zip(theirs);
    match (first..)
        .zip(pairs)
        .find(|(_, (ours, theirs))| ours != theirs)
    {
        Some((index, (ours, theirs))) => ReplicaError::Fork {
            index,
            ours: *ours,
            theirs: *theirs,
        },
        None => damaged(format!("{key} is there in another form")),
    }
}
