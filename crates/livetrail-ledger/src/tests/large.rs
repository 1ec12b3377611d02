//! A trail of a hundred million entries, of which only the right edge exists: it opens, grows and
//! is sealed without the rest.

use std::sync::Arc;

use livetrail_tlog::{
    Checkpoint, Frontier, Hash, Tile, TileBuilder, TileReader, TreeHead, encode_bundle, leaf_hash,
    partial_tiles,
};

use super::harness::{Core, Seen, Still, created, entry, identity};
use crate::{
    Clock as _, layout,
    manifest::{Intent, Manifest},
    store::{Access, FaultStore, MemStore, Op, SharedStore, Store, parent},
    write::companion::Entry,
    write::wal::{Batch, Writer},
};

const SIZE: u64 = 100_000_123;

/// Leaf hashes of the last entries where they are needed, and any hashes above: the root follows
/// from those, whatever they were made of.
struct Edge;

impl TileReader for Edge {
    type Error = livetrail_tlog::Error;

    fn read_tile(&self, tile: Tile) -> Result<Vec<u8>, Self::Error> {
        let first = tile.index() * 256;
        let hashes: Vec<Hash> = (first..first + u64::from(tile.width()))
            .map(|index| match tile.level() {
                0 => leaf_hash(&entry(index)),
                level => leaf_hash(format!("level {level} hash {index}").as_bytes()),
            })
            .collect();
        tile.encode(&hashes)
    }
}

fn trail() -> MemStore {
    let mem = created();
    let put = |path: &str, bytes: &[u8]| {
        mem.create_dir(parent(path)).unwrap();
        mem.write(path, bytes, Access::Private).unwrap();
    };
    for tile in partial_tiles(SIZE) {
        put(&tile.to_string(), &Edge.read_tile(tile).unwrap());
    }
    let full = SIZE & !0xff;
    let entries: Vec<_> = (full..SIZE).map(entry).collect();
    let bundle = livetrail_tlog::partial_bundle(SIZE).unwrap();
    put(&bundle.to_string(), &encode_bundle(&entries).unwrap());
    let head: TreeHead = TileBuilder::resume(&Edge, SIZE).unwrap().head();
    let intent = Intent {
        head,
        unix_s: Still.unix_s(),
    };
    intent.write(&mem).unwrap();
    let identity = identity();
    let text = Checkpoint::new(identity.origin(), head).unwrap().encode();
    let note = identity.sign(&text, intent.unix_s).unwrap();
    put(layout::CHECKPOINT, note.encode().as_bytes());
    let log_id = Manifest::read(&mem).unwrap().log_id().unwrap();
    let mut writer = Writer::new(Arc::new(mem.clone()), log_id, false);
    let mut batch = Batch::new(full, Vec::new());
    for entry in &entries {
        batch.push(Entry::new(entry));
    }
    writer
        .commit(&batch, &Frontier::new(), || 64 << 10)
        .unwrap();
    mem
}

#[test]
fn opening_a_hundred_million_entries_reads_only_the_right_edge() {
    let mem = trail();
    let faulty = FaultStore::over_memory(mem.clone());
    let store: SharedStore = Arc::new(faulty.clone());
    let mut core = Core::open(&store, &Seen::default()).unwrap();
    assert_eq!(core.appended, SIZE);
    let reads = faulty.counts()[&Op::Read];
    assert!(reads < 20, "{reads} files were read");
    core.append(300);
    core.close().unwrap();
    let reader = crate::Reader::open(Arc::new(mem)).unwrap();
    let head = reader.checkpoint().unwrap().head();
    assert_eq!(head.size, SIZE + 300);
    assert_eq!(reader.entry(SIZE + 299).unwrap(), entry(SIZE + 299));
    let (old, proof) = reader.consistency_proof(SIZE, SIZE + 300).unwrap();
    assert_eq!(old, TileBuilder::resume(&Edge, SIZE).unwrap().head());
    head.verify_consistency(&old, &proof).unwrap();
}
