//! The state of one log in the bucket, and the objects that a batch adds.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream::{self, TryStreamExt as _};
use livetrail_replica::{ReplicaError, SealedRange};
use livetrail_tlog::{
    Bundle, Error as TlogError, Hash, MAX_ENTRY_BYTES, MAX_NOTE_BYTES, TILE_WIDTH, Tile,
    TileBuilder, TileReader, TreeHead, encode_entry_into, leaf_hash, parse_bundle, partial_bundle,
    partial_tiles,
};

use super::client::Client;
use super::layout::{Layout, sized};
use super::object::{damaged, head_in, unreadable};
use super::put::{put_bundle, put_checkpoint, put_commit, put_hand_overs, put_tile};
use super::sizes::{Sizes, is_beyond};

const WIDTH: u64 = TILE_WIDTH as u64;

/// The maximum number of bytes of a full bundle. A length of 2 bytes precedes each entry.
const MAX_BUNDLE_BYTES: usize = (TILE_WIDTH as usize) * (MAX_ENTRY_BYTES + 2);

/// The state of a log in the bucket: all that the next batch needs.
#[derive(Clone, Debug)]
pub(super) struct Site {
    origin: String,
    layout: Layout,
    /// The tree's right edge.
    tree: TileBuilder,
    /// The bytes of the bundle that is not full yet: fewer than 256 entries.
    open: Vec<u8>,
    /// The largest size in the name of a commit, even if that commit is unusable.
    named: u64,
}

/// The maximum number of unusable commits before the sink gives up the bucket.
const MAX_UNUSABLE: usize = 64;

/// The objects that a batch adds, and the state after it.
struct Growth {
    bundles: Vec<(Bundle, Bytes)>,
    tiles: Vec<(Tile, Vec<Hash>)>,
    grown: Site,
}

impl Site {
    /// Reads the log's state in the bucket and checks it against the commit.
    pub(super) async fn read(
        client: &Client,
        prefix: &str,
        origin: &str,
    ) -> Result<Self, ReplicaError> {
        let layout = Layout::new(prefix, origin);
        let commits = layout.commits();
        let mut sizes = Sizes::new(client, &commits);
        let mut named = None;
        let mut unusable = 0;
        loop {
            let Some(size) = sizes.next().await? else {
                if unusable > 0 {
                    break;
                }
                return Ok(Self {
                    origin: origin.to_owned(),
                    layout,
                    tree: TileBuilder::new(),
                    open: Vec::new(),
                    named: 0,
                });
            };
            let named = *named.get_or_insert(size);
            match Self::read_at(client, &layout, origin, size).await {
                Ok((tree, open)) => {
                    return Ok(Self {
                        origin: origin.to_owned(),
                        layout,
                        tree,
                        open,
                        named,
                    });
                }
                // One damaged object does not make the bucket useless: the commit below it is as
                // good. The sink writes the later entries again.
                Err(error @ ReplicaError::Damaged { .. }) => {
                    tracing::error!(commit = sized(&commits, size), %error, "cannot continue from a commit in the bucket; trying the one below it");
                    unusable += 1;
                }
                Err(error) => return Err(error),
            }
            if unusable >= MAX_UNUSABLE {
                break;
            }
        }
        Err(damaged(format!(
            "none of the {unusable} largest commits under {commits} can be gone on from"
        )))
    }

    /// Reads the state at a commit. If its parts do not match, the error is
    /// [`ReplicaError::Damaged`].
    async fn read_at(
        client: &Client,
        layout: &Layout,
        origin: &str,
        size: u64,
    ) -> Result<(TileBuilder, Vec<u8>), ReplicaError> {
        let commit = sized(&layout.commits(), size);
        let text = client.wanted(&commit, MAX_NOTE_BYTES).await?;
        let head = head_in(&text, &commit, origin)?;
        if head.size != size {
            let found = head.size;
            return Err(damaged(format!("{commit} is of {found} entries")));
        }
        let tree = read_tree(client, layout, head).await?;
        let open = match partial_bundle(size) {
            Some(bundle) => read_open(client, layout, bundle, &tree).await?,
            None => Vec::new(),
        };
        Ok((tree, open))
    }

    pub(super) fn is_of(&self, origin: &str) -> bool {
        self.origin == origin
    }

    pub(super) const fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Whether another writer has committed more meanwhile.
    pub(super) async fn is_overtaken(&self, client: &Client) -> Result<bool, ReplicaError> {
        // The sink already knows an unusable commit with a larger size in its name.
        let known = self.size().max(self.named);
        is_beyond(client, &self.layout.commits(), known).await
    }

    /// The leaf hash of the last entry.
    pub(super) async fn last_leaf(&self, client: &Client) -> Result<Option<Hash>, ReplicaError> {
        let Some(last) = self.size().checked_sub(1) else {
            return Ok(None);
        };
        Ok(self.leaves(client, last / WIDTH).await?.last().copied())
    }

    /// Compares the entries that are already there with the beginning of a range.
    pub(super) async fn compare(
        &self,
        client: &Client,
        range: &SealedRange,
    ) -> Result<(), ReplicaError> {
        let mut stored: Option<(u64, Vec<Hash>)> = None;
        for (index, _, ours) in range.iter().take_while(|(index, ..)| *index < self.size()) {
            let number = index / WIDTH;
            let leaves = match &stored {
                Some((read, leaves)) if *read == number => leaves,
                _ => {
                    &stored
                        .insert((number, self.leaves(client, number).await?))
                        .1
                }
            };
            let at = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
            match leaves.get(at) {
                Some(theirs) if theirs == ours => {}
                Some(theirs) => {
                    return Err(ReplicaError::Fork {
                        index,
                        ours: *ours,
                        theirs: *theirs,
                    });
                }
                None => return Err(damaged(format!("there is no leaf hash {index}"))),
            }
        }
        Ok(())
    }

    /// The leaf hashes of one tile.
    async fn leaves(&self, client: &Client, number: u64) -> Result<Vec<Hash>, ReplicaError> {
        let partial = self.tree.partial_tiles().next();
        if let Some((tile, hashes)) = partial
            && tile.level() == 0
            && tile.index() == number
        {
            return Ok(hashes.to_vec());
        }
        let tile = Tile::new(0, number, TILE_WIDTH).map_err(unreadable("a tile's number"))?;
        let key = self.layout.tile(tile);
        let bytes = client.wanted(&key, tile.byte_len()).await?;
        tile.parse(&bytes).map_err(unreadable(&key))
    }

    /// Commits a range that begins at this size, in the order that the module describes. Returns
    /// the state after it.
    pub(super) async fn commit(
        self,
        client: &Client,
        range: &SealedRange,
    ) -> Result<Self, ReplicaError> {
        let Growth {
            bundles,
            tiles,
            grown,
        } = self.grow(range)?;
        let head = grown.tree.head();
        let sealed = range.checkpoint().head();
        if sealed.size == head.size && sealed.root != head.root {
            return Err(ReplicaError::ForkedTree {
                size: head.size,
                ours: sealed.root,
                theirs: head.root,
            });
        }
        let parallel = client.options().parallel;
        let layout = &grown.layout;
        stream::iter(bundles.into_iter().map(Ok::<_, ReplicaError>))
            .try_for_each_concurrent(parallel, |(bundle, bytes)| {
                put_bundle(client, layout, bundle, bytes)
            })
            .await?;
        stream::iter(tiles.into_iter().map(Ok::<_, ReplicaError>))
            .try_for_each_concurrent(parallel, |(tile, hashes)| {
                put_tile(client, layout, tile, hashes)
            })
            .await?;
        put_hand_overs(client, layout, range.hand_overs()).await?;
        if sealed.size == head.size {
            put_checkpoint(client, layout, &grown.origin, sealed, range.note()).await?;
        }
        put_commit(client, layout, &grown.origin, head).await?;
        Ok(grown)
    }

    /// Computes the objects that the range adds, and the state after it.
    fn grow(mut self, range: &SealedRange) -> Result<Growth, ReplicaError> {
        // High partial tiles do not change with each batch.
        let there: Vec<Tile> = partial_tiles(self.size()).collect();
        let mut bundles = Vec::new();
        let mut tiles = Vec::new();
        for (index, entry, leaf) in range.iter() {
            encode_entry_into(&mut self.open, entry).map_err(unreadable("an entry"))?;
            self.tree
                .append(*leaf, |tile, hashes| tiles.push((tile, hashes.to_vec())))
                .map_err(unreadable("the tree"))?;
            let bundle = Bundle::in_tree(index / WIDTH, self.tree.size());
            if let Some(full) = bundle.filter(|bundle| bundle.is_full()) {
                bundles.push((full, Bytes::from(std::mem::take(&mut self.open))));
            }
        }
        if let Some(partial) = partial_bundle(self.tree.size()) {
            bundles.push((partial, Bytes::copy_from_slice(&self.open)));
        }
        let partial = self.tree.partial_tiles();
        let partial = partial.filter(|(tile, _)| !there.contains(tile));
        tiles.extend(partial.map(|(tile, hashes)| (tile, hashes.to_vec())));
        Ok(Growth {
            bundles,
            tiles,
            grown: self,
        })
    }
}

/// Reads the right edge of the tree from its partial tiles. They must match the commit.
async fn read_tree(
    client: &Client,
    layout: &Layout,
    head: TreeHead,
) -> Result<TileBuilder, ReplicaError> {
    let mut edge = Edge(BTreeMap::new());
    for tile in partial_tiles(head.size) {
        let bytes = client.wanted(&layout.tile(tile), tile.byte_len()).await?;
        edge.0.insert(tile, bytes);
    }
    let tree = TileBuilder::resume(&edge, head.size).map_err(unreadable(layout.site()))?;
    if tree.head() != head {
        let site = layout.site();
        return Err(damaged(format!(
            "the hash tiles of {site} at {} entries are not what was committed",
            head.size
        )));
    }
    Ok(tree)
}

/// Reads the bundle that is not full yet. Its entries must match the tree.
async fn read_open(
    client: &Client,
    layout: &Layout,
    bundle: Bundle,
    tree: &TileBuilder,
) -> Result<Vec<u8>, ReplicaError> {
    let key = layout.tile(bundle);
    let bytes = client.wanted(&key, MAX_BUNDLE_BYTES).await?;
    let entries = parse_bundle(bundle, &bytes).map_err(unreadable(&key))?;
    let found = entries.into_iter().map(leaf_hash);
    let leaves = tree.partial_tiles().next().map(|(_, leaves)| leaves);
    if !found.eq(leaves.unwrap_or_default().iter().copied()) {
        return Err(damaged(format!(
            "the entries of {key} are not what was committed"
        )));
    }
    Ok(bytes.into())
}

/// The partial tiles of one size.
struct Edge(BTreeMap<Tile, Bytes>);

impl TileReader for Edge {
    type Error = TlogError;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, TlogError> {
        Ok(self
            .0
            .get(&tile)
            .map(|bytes| bytes.to_vec())
            .unwrap_or_default())
    }
}
