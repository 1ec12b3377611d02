//! The tree above the bundles: computes its roots, and compares its tiles from level 1 up.

use livetrail_tlog::{Frontier, Hash, TILE_WIDTH, Tile, TileBuilder, TreeHead};

use crate::finding::{Class, Finding, Findings};
use crate::scan::{Fetched, get_tile, hashes};
use crate::sources::Source;

/// The roots of full bundles are the leaves of a tree: level 1 of the log is its level 0.
pub(crate) struct Tree<'a> {
    source: &'a dyn Source,
    upper: TileBuilder,
    /// Leaf hashes of the last, partial bundle.
    rest: Vec<Hash>,
    compared: u64,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(source: &'a dyn Source) -> Self {
        Self {
            source,
            upper: TileBuilder::new(),
            rest: Vec::new(),
            compared: 0,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        self.upper
            .size()
            .saturating_mul(u64::from(TILE_WIDTH))
            .saturating_add(rest)
    }

    /// The number of compared tiles of level 1 and above.
    pub(crate) const fn compared(&self) -> u64 {
        self.compared
    }

    /// Adds the leaf hashes of the next bundle, and their root if it is full.
    pub(crate) fn push(
        &mut self,
        hashes: Vec<Hash>,
        root: Option<Hash>,
        findings: &mut Findings,
        problems: &mut Vec<String>,
    ) {
        if hashes.len() < usize::from(TILE_WIDTH) {
            self.rest = hashes;
            return;
        }
        let root = root.unwrap_or_else(|| hashes::root(&hashes));
        let mut full: Vec<(Tile, Vec<Hash>)> = Vec::new();
        // A tree of 2^64 bundles cannot have been read.
        let _ = self
            .upper
            .append(root, |tile, hashes| full.push((tile, hashes.to_vec())));
        for (tile, hashes) in full {
            self.compare(tile, &hashes, findings, problems);
        }
    }

    /// Compares the partial tiles, when the tree is complete.
    pub(crate) fn partial_tiles(&mut self, findings: &mut Findings, problems: &mut Vec<String>) {
        let tiles: Vec<_> = self
            .upper
            .partial_tiles()
            .map(|(tile, hashes)| (tile, hashes.to_vec()))
            .collect();
        for (tile, hashes) in tiles {
            self.compare(tile, &hashes, findings, problems);
        }
    }

    pub(crate) fn head(&self) -> TreeHead {
        self.head_with(&self.rest)
    }

    /// The head of the tree of all full bundles so far and these leaves.
    pub(crate) fn head_with(&self, leaves: &[Hash]) -> TreeHead {
        let size = self.upper.size().saturating_mul(u64::from(TILE_WIDTH));
        let peaks = self.upper.frontier().peaks().to_vec();
        // The size in entries is 256 times the size in bundles, so it has as many 1 bits.
        let mut frontier = Frontier::from_peaks(size, peaks).unwrap_or_default();
        for leaf in leaves {
            let _ = frontier.append(*leaf);
        }
        frontier.head()
    }

    fn compare(
        &mut self,
        below: Tile,
        hashes: &[Hash],
        findings: &mut Findings,
        problems: &mut Vec<String>,
    ) {
        let level = below.level().saturating_add(1);
        let Ok(tile) = Tile::new(level, below.index(), below.width()) else {
            return;
        };
        self.compared = self.compared.saturating_add(1);
        let span = 1_u64
            .checked_shl(u32::from(level).saturating_mul(8))
            .unwrap_or(u64::MAX);
        let first = tile
            .index()
            .saturating_mul(u64::from(TILE_WIDTH))
            .saturating_mul(span);
        let mut wrong = |class, at: usize, text: String| {
            let index = u64::try_from(at).unwrap_or(0).saturating_mul(span);
            let finding = Finding::failure(class, text);
            findings.add(finding.at(first.saturating_add(index)).path(tile));
        };
        match get_tile(self.source, tile) {
            Fetched::Bytes(bytes) => match tile.parse(&bytes) {
                Ok(found) => {
                    if let Some(at) = found.iter().zip(hashes).position(|(a, b)| a != b) {
                        let text = "the hash tile differs from the hashes of the tiles below it";
                        wrong(Class::Tile, at, text.to_owned());
                    }
                }
                Err(error) => wrong(Class::Tile, 0, error.to_string()),
            },
            Fetched::Missing => wrong(Class::Missing, 0, "the hash tile is missing".to_owned()),
            Fetched::Bad(text) => wrong(Class::Tile, 0, format!("the hash tile {text}")),
            Fetched::Problem(problem) => problems.push(problem),
        }
    }
}
