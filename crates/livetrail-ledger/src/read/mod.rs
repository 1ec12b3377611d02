//! Reading: the published trail, with proofs.

pub(crate) mod proven;
pub(crate) mod reader;
pub(crate) mod sealed;
pub(crate) mod tile_check;
pub(crate) mod tree_files;
