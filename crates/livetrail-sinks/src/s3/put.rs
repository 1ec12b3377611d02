//! Each kind of object of a log: put where none is, and what it means when another one is there.

use bytes::Bytes;
use livetrail_audit::replica::ReplicaError;
use livetrail_tlog::{
    Bundle, Checkpoint, HASH_BYTES, Hash, Note, TILE_WIDTH, Tile, TreeHead, leaf_hash, parse_bundle,
};

use super::client::Client;
use super::layout::{Layout, sized};
use super::site::{damaged, head_in, unreadable};
use super::store::{Class, Put};

/// Entries.
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

/// Hashes.
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
            "{key} is there with other hashes than the ledger's"
        ))),
    }
}

/// A signed checkpoint, under its size and as the newest. The same tree may have been signed again, with another time.
pub(super) async fn put_checkpoint(
    client: &Client,
    layout: &Layout,
    head: TreeHead,
    note: &Bytes,
) -> Result<(), ReplicaError> {
    let key = sized(&layout.checkpoints(), head.size);
    if let Put::Present(theirs) = client
        .put_once(Class::Checkpoints, &key, note.clone())
        .await?
    {
        let note = Note::parse(&theirs).map_err(unreadable(&key))?;
        same_tree(head, head_in(note.text().as_bytes(), &key)?)?;
    }
    let key = layout.newest_checkpoint();
    client
        .put_newest(Class::Checkpoints, &key, note.clone())
        .await
}

/// The cursor.
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
        Put::Present(theirs) => same_tree(head, head_in(&theirs, &key)?),
    }
}

fn same_tree(ours: TreeHead, theirs: TreeHead) -> Result<(), ReplicaError> {
    if ours == theirs {
        return Ok(());
    }
    Err(ReplicaError::ForkedTree {
        size: ours.size,
        ours: ours.root,
        theirs: theirs.root,
    })
}

/// The first entry that differs in bundle or tile `number`.
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
