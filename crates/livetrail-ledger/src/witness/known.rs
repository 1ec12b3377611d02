//! `private/witness.json`: the size that each witness has cosigned last. A hint for a start that
//! cannot reach it.

use std::collections::BTreeMap;

use livetrail_tlog::VerifierKey;
use serde::{Deserialize, Serialize};

use crate::{
    layout,
    store::{Access, Store, replace},
};

/// The maximum number of witnesses that are remembered, including those of former configurations.
const MAX_REMEMBERED: usize = 256;

const FORMAT: u64 = 1;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    format: u64,
    /// By verifier key.
    sizes: BTreeMap<String, u64>,
}

impl Known {
    /// Reads the file. A missing file, or one in an unknown format, is empty: the witnesses know
    /// the sizes.
    pub(super) fn read(store: &dyn Store) -> Self {
        let known = store
            .read(layout::WITNESSES)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok())
            .filter(|known| known.format == FORMAT && known.sizes.len() <= MAX_REMEMBERED);
        known.unwrap_or(Self {
            format: FORMAT,
            sizes: BTreeMap::new(),
        })
    }

    pub(super) fn size_of(&self, key: &VerifierKey) -> Option<u64> {
        self.sizes.get(&key.to_string()).copied()
    }

    /// Remembers a size and writes the file. If it cannot be written, the size is forgotten after a
    /// restart; nothing else depends on it.
    pub(super) fn remember(&mut self, key: &VerifierKey, size: u64, store: &dyn Store) {
        let key = key.to_string();
        if self.sizes.len() >= MAX_REMEMBERED && !self.sizes.contains_key(&key) {
            self.sizes.pop_first();
        }
        self.sizes.insert(key, size);
        if let Ok(bytes) = serde_json::to_vec_pretty(self) {
            let _ = replace(store, layout::WITNESSES, &bytes, Access::Private);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemStore;
    use livetrail_tlog::{CosignatureSigner, KeyName};

    fn key(n: u64) -> VerifierKey {
        let name = KeyName::new(format!("w{n}.example")).unwrap();
        CosignatureSigner::from_seed(name, &[7; 32]).verifier_key()
    }

    #[test]
    fn sizes_are_remembered_over_a_restart_and_rubbish_is_nothing() {
        let store = MemStore::new();
        store.create_dir(layout::PRIVATE).unwrap();
        let mut known = Known::read(&store);
        assert_eq!(known.size_of(&key(1)), None);
        known.remember(&key(1), 7, &store);
        known.remember(&key(2), 9, &store);
        assert_eq!(Known::read(&store).size_of(&key(1)), Some(7));
        assert_eq!(Known::read(&store), known);
        for rubbish in ["", "{}", "{\"format\":2,\"sizes\":{}}", "\u{0}"] {
            store
                .write(layout::WITNESSES, rubbish.as_bytes(), Access::Private)
                .unwrap();
            assert_eq!(Known::read(&store).size_of(&key(1)), None, "{rubbish}");
        }
    }

    #[test]
    fn it_has_a_bound() {
        let store = MemStore::new();
        store.create_dir(layout::PRIVATE).unwrap();
        let mut known = Known::read(&store);
        for n in 0..300 {
            known.remember(&key(n), n, &store);
        }
        assert_eq!(known.sizes.len(), MAX_REMEMBERED);
        assert_eq!(Known::read(&store).size_of(&key(299)), Some(299));
    }
}
