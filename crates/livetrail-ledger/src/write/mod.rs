//! Writing: the running ledger, its write-ahead log, and the steps from entries to a checkpoint.

pub(crate) mod companion;
pub(crate) mod integrate;
pub(crate) mod ledger;
pub(crate) mod reread;
pub(crate) mod seal;
pub(crate) mod wal;
pub(crate) mod watermark;
